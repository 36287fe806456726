"""Rebuilds the embedded features of ``openmoji``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from mlabench.datasets.contract import ReportProgress
from mlabench.datasets.embedded import networks
from mlabench.datasets.embedded.openmoji.raw_files import OBTAIN, Emoji, find_openmoji, list_emoji, read_picture
from mlabench.datasets.embedded.rebuild import Rebuild, decode, numbered
from mlabench.datasets.embedded.storage import Features, Rows


def _encode(
    samples: Sequence[Emoji], split: Mapping[str, str], skipped: Counter[str], report: ReportProgress
) -> tuple[Rows, dict[str, Features]]:
    """Pictures, names and tags; tags that several emoji have are encoded once."""
    kept: list[Emoji] = []
    image = networks.encode_pictures(
        decode("pictures", samples, lambda emoji: read_picture(emoji.picture), kept, skipped, report)
    )
    name_row, tags_row = numbered(emoji.name for emoji in kept), numbered(emoji.tags for emoji in kept)
    name, tags = (networks.encode_sentences(list(rows)) for rows in (name_row, tags_row))
    report("texts", len(name_row) + len(tags_row), len(name_row) + len(tags_row))
    rows = [
        {
            "id": emoji.id,
            "class": emoji.label,
            "concept": emoji.concept,
            "split": split[emoji.concept],
            "image": str(row),
            "name": str(name_row[emoji.name]),
            "tags": str(tags_row[emoji.tags]),
        }
        for row, emoji in enumerate(kept)
    ]
    return rows, {"image": image, "name": name, "tags": tags}


# A byte each keeps the package small.
REBUILD = Rebuild(OBTAIN, find_openmoji, list_emoji, _encode, levels=dict.fromkeys(("image", "name", "tags"), 255))

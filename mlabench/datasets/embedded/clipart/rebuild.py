"""Rebuilds the embedded features of ``clipart``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from mlabench.datasets.contract import ReportProgress
from mlabench.datasets.embedded import networks
from mlabench.datasets.embedded.clipart.raw_files import (
    OBTAIN,
    Drawing,
    find_clipart,
    list_drawings,
    read_picture,
)
from mlabench.datasets.embedded.rebuild import Rebuild, decode, numbered
from mlabench.datasets.embedded.storage import Features, Rows


def _encode(
    samples: Sequence[Drawing], split: Mapping[str, str], skipped: Counter[str], report: ReportProgress
) -> tuple[Rows, dict[str, Features]]:
    """Drawings and their titles; a title that several drawings have is encoded once."""
    kept: list[Drawing] = []
    image = networks.encode_pictures(
        decode("pictures", samples, lambda drawing: read_picture(drawing.path), kept, skipped, report)
    )
    title_row = numbered(drawing.title for drawing in kept)
    text = networks.encode_sentences(list(title_row))
    report("titles", len(title_row), len(title_row))
    rows = [
        {
            "id": drawing.id,
            "class": drawing.label,
            "concept": drawing.concept,
            "split": split[drawing.concept],
            "image": str(row),
            "text": str(title_row[drawing.title]),
        }
        for row, drawing in enumerate(kept)
    ]
    return rows, {"image": image, "text": text}


# Drawings are many: a byte each keeps the package small.
REBUILD = Rebuild(OBTAIN, find_clipart, list_drawings, _encode, levels={"image": 255, "text": 4095})

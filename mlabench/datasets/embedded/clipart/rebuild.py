"""Rebuilds the embedded features of ``clipart``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from mlabench.datasets.contract import ReportProgress
from mlabench.datasets.embedded import networks
from mlabench.datasets.embedded.clipart.raw_files import (
    PACKAGES,
    Drawing,
    find_clipart,
    list_drawings,
    read_picture,
)
from mlabench.datasets.embedded.rebuild import Rebuild, decode, numbered, training_rows
from mlabench.datasets.embedded.storage import Rows, Tensors, as_bytes, as_halves


def _encode(
    samples: Sequence[Drawing], split: Mapping[str, str], skipped: Counter[str], report: ReportProgress
) -> tuple[Rows, Tensors]:
    """Drawings as bytes, titles in half precision."""
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
    used = training_rows(rows)
    return rows, as_bytes("image", image, used("image")) | as_halves("text", text, used("text"))


REBUILD = Rebuild(PACKAGES, find_clipart, list_drawings, _encode)

"""Rebuilds the embedded features of ``clipart``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlabench.datasets.contract import Inventory, ReportProgress, silent
from mlabench.datasets.embedded import networks as encoders
from mlabench.datasets.embedded.base import Tensors
from mlabench.datasets.embedded.clipart.dataset import SHIPPED
from mlabench.datasets.embedded.clipart.raw_files import Picture, find_clipart, list_pictures, read_picture
from mlabench.datasets.embedded.rebuild import (
    SHARES,
    Features,
    count_splits,
    decode,
    moments,
    numbered,
    staged,
    standardised,
    write_features,
)
from mlabench.datasets.splits import split_groups
from mlabench.errors import UserError


def check_clipart(root: Path | None = None) -> Inventory:
    """Counts the samples among the files of the Debian packages, without decoding them.

    Args:
        root: The folder that they were unpacked into; ``None`` for the installed packages.

    Raises:
        UserError: If the raw files are missing.
    """
    folder = find_clipart(root)
    listing = list_pictures(folder)
    split = split_pictures(listing.pictures)
    samples = count_splits(split[picture.concept] for picture in listing.pictures)
    return Inventory(folder, samples, dict(listing.skipped))


def prepare_clipart(
    root: Path | None = None, out: Path | None = None, progress: ReportProgress | None = None
) -> Inventory:
    """Rebuilds the features of ``clipart`` from the files of the Debian packages.

    Takes about two minutes on one core; nothing in ``out`` changes before all is done.

    Args:
        root: The folder that they were unpacked into; ``None`` for the installed packages.
        out: Folder for the features, made if need be; ``None`` for the one that ``clipart`` is loaded from.
        progress: Called after each picture and after the titles.

    Raises:
        UserError: If the raw files or ``mlabench[prepare]`` are missing, no picture of the training split
            can be read, or ``out`` cannot be written.
    """
    out = out or SHIPPED
    report = progress or silent
    listing = list_pictures(find_clipart(root))
    split = split_pictures(listing.pictures)
    with staged(out) as folder, encoders.one_thread():
        kept: list[Picture] = []
        image = encoders.encode_pictures(
            decode("pictures", listing.pictures, lambda item: read_picture(item.path), kept, listing.skipped, report)
        )
        title_row = numbered(picture.title for picture in kept)
        text = encoders.encode_sentences(list(title_row))
        report("titles", len(title_row), len(title_row))
        rows = [
            {
                "id": picture.id,
                "class": picture.label,
                "concept": picture.concept,
                "split": split[picture.concept],
                "image": str(row),
                "text": str(title_row[picture.title]),
            }
            for row, picture in enumerate(kept)
        ]
        train = [row for row in rows if row["split"] == "train"]
        if not train:
            raise UserError("no sample of the training split is left.", remedy="Unpack the Debian packages again.")
        tensors = _image_tensors(image, np.array([int(row["image"]) for row in train]))
        tensors |= standardised("text", text, np.array([int(row["text"]) for row in train]))
        made = {"skipped": listing.skipped}
        write_features(folder, rows, tensors, {"made": json.dumps(made, sort_keys=True)}, SHIPPED)
    return Inventory(out, count_splits(row["split"] for row in rows), dict(listing.skipped))


def split_pictures(pictures: Sequence[Picture]) -> dict[str, str]:
    """The split of each concept, from all pictures listed, whether they can be decoded or not."""
    return split_groups([picture.concept for picture in pictures], [picture.label for picture in pictures], SHARES)


def _image_tensors(image: Features, train: NDArray[np.int64]) -> Tensors:
    """Standardises, and rounds to the 127 steps up to each dimension's largest value, in half the space of float16."""
    mean, std = moments(image[train])
    scaled = (image - mean) / std
    step = np.abs(scaled).max(axis=0) / 127
    step = np.where(step == 0, 1, step).astype(np.float32)
    rounded = np.rint(scaled / step).astype(np.int8)
    return {"image": rounded, "image.step": step, "image.mean": mean, "image.std": std}

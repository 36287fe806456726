"""How features are stored: a table of samples, and a file of tensors as the encoders gave them.

Two forms of a tensor ``NAME``, to keep the package small: rounded to levels, ``NAME.low + NAME.step * NAME``; and
counts, most of them zero, where there is ``NAME.start``. Nothing in them is fitted to a split; what is, see
:mod:`mlabench.datasets.embedded.fitting`. Free of torch.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from mlabench.errors import UserError

TENSORS, TABLE = "features.safetensors", "samples.csv"

Rows = list[dict[str, str]]
Tensors = dict[str, NDArray[Any]]
Features = NDArray[np.float32]


def read_features(folder: Path, remedy: str = "Reinstall mlabench.") -> tuple[Rows, Tensors, dict[str, str]]:
    """The table of samples, the tensors and their metadata. Where a file is missing, the error has that remedy."""
    tensors, table = _files(folder, remedy)
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with safe_open(tensors, framework="numpy") as file:
        return rows, {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def write_features(folder: Path, rows: Rows, tensors: Tensors, metadata: dict[str, str], shipped: Path) -> None:
    """Writes the table and the tensors, and copies the data card and the licence from the folder in the package."""
    (folder / TENSORS).write_bytes(save(tensors, metadata=metadata))
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for path in shipped.iterdir():
        if path.name not in {TENSORS, TABLE}:
            shutil.copyfile(path, folder / path.name)


def fingerprint(folder: Path, options: Mapping[str, Any], remedy: str) -> str:
    """First 12 hex digits of a SHA-256 over the two files and the options that decide what is loaded."""
    files = hashlib.sha256()
    for path in _files(folder, remedy):
        files.update(path.read_bytes())
    return hashlib.sha256((files.hexdigest() + json.dumps(options, sort_keys=True)).encode()).hexdigest()[:12]


def _files(folder: Path, remedy: str) -> list[Path]:
    """The tensors and the table."""
    paths = [folder / TENSORS, folder / TABLE]
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path} is missing.", remedy=remedy)
    return paths


def as_levels(name: str, values: Features, levels: int) -> Tensors:
    """Rounded to so many equal steps from each dimension's least to its largest value."""
    low, high = values.min(axis=0), values.max(axis=0)
    step = np.where(high > low, (high - low) / levels, 1).astype(np.float32)
    rounded = np.rint((values - low) / step).clip(0, levels)
    return {name: rounded.astype(np.min_scalar_type(levels)), f"{name}.low": low, f"{name}.step": step}


def as_counts(name: str, counts: Features) -> Tensors:
    """Row ``i`` of ``counts [N, D]`` owns entries ``start[i]:start[i + 1]``; ``width`` is ``D``."""
    row, bucket = np.nonzero(counts)
    return {
        f"{name}.start": np.searchsorted(row, np.arange(len(counts) + 1)).astype(np.int32),
        f"{name}.bucket": bucket.astype(np.uint16),
        f"{name}.count": counts[row, bucket].astype(np.min_scalar_type(int(counts.max(initial=0)))),
        f"{name}.width": np.array([counts.shape[1]], np.int32),
    }


def restore(tensors: Tensors, name: str) -> Features:
    """Features as the encoder gave them, from either form. float32 ``[N, D]``"""
    if f"{name}.start" not in tensors:
        restored: Features = tensors[name] * tensors[f"{name}.step"] + tensors[f"{name}.low"]
        return restored
    start = tensors[f"{name}.start"]
    counts: Features = np.zeros((len(start) - 1, int(tensors[f"{name}.width"][0])), np.float32)
    rows = np.repeat(np.arange(len(counts)), np.diff(start))
    counts[rows, tensors[f"{name}.bucket"]] = tensors[f"{name}.count"]
    return counts

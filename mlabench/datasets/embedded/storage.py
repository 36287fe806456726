"""How features are stored: a table of samples, and a file of tensors standardised by the training split.

Three forms of a tensor ``NAME``, to keep the package small: half precision; bytes, where there is ``NAME.step``; and
sparse, where there is ``NAME.start``. Each stands beside ``NAME.mean`` and ``NAME.std``. Free of torch.
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


def moments(values: Features) -> tuple[Features, Features]:
    """Mean and standard deviation per dimension; the latter is one where nothing varies."""
    std = values.std(axis=0, dtype=np.float64)
    return values.mean(axis=0, dtype=np.float64).astype(np.float32), np.where(std < 1e-6, 1, std).astype(np.float32)


def as_halves(name: str, values: Features, train: NDArray[np.int64]) -> Tensors:
    """Standardised, in half precision; ``train`` has the row of each training sample, so that a row counts as used."""
    mean, std = moments(values[train])
    return {name: ((values - mean) / std).astype(np.float16), f"{name}.mean": mean, f"{name}.std": std}


def as_bytes(name: str, values: Features, train: NDArray[np.int64]) -> Tensors:
    """Standardised, and rounded to the 127 steps up to each dimension's largest value."""
    mean, std = moments(values[train])
    scaled = (values - mean) / std
    step = np.abs(scaled).max(axis=0) / 127
    step = np.where(step == 0, 1, step).astype(np.float32)
    rounded = np.rint(scaled / step).astype(np.int8)
    return {name: rounded, f"{name}.step": step, f"{name}.mean": mean, f"{name}.std": std}


def as_sparse(name: str, values: Features, train: NDArray[np.int64]) -> Tensors:
    """Not standardised yet, since that would fill what is empty: row ``i`` owns entries ``start[i]:start[i + 1]``."""
    mean, std = moments(values[train])
    row, bucket = np.nonzero(values)
    return {
        f"{name}.start": np.searchsorted(row, np.arange(len(values) + 1)).astype(np.int32),
        f"{name}.bucket": bucket.astype(np.uint16),
        f"{name}.weight": values[row, bucket].astype(np.float16),
        f"{name}.mean": mean,
        f"{name}.std": std,
    }


def restore(tensors: Tensors, name: str) -> Features:
    """Standardised features from any of the three forms. float32 ``[N, D]``"""
    if f"{name}.start" in tensors:
        start, mean, std = (tensors[f"{name}.{part}"] for part in ("start", "mean", "std"))
        features: Features = np.zeros((len(start) - 1, len(mean)), np.float32)
        rows = np.repeat(np.arange(len(features)), start[1:] - start[:-1])
        features[rows, tensors[f"{name}.bucket"]] = tensors[f"{name}.weight"]
        features -= mean
        features /= std
        return features
    restored: Features = tensors[name].astype(np.float32)
    return restored * tensors[f"{name}.step"] if f"{name}.step" in tensors else restored

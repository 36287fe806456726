"""Reads the frozen features that ship inside the package. Free of torch."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from mlabench.datasets.contract import Data, Split, Task
from mlabench.errors import UserError

TENSORS, TABLE = "features.safetensors", "samples.csv"

Rows = list[dict[str, str]]
Tensors = dict[str, NDArray[Any]]


def read_features(folder: Path, remedy: str = "Reinstall mlabench.") -> tuple[Rows, Tensors, dict[str, str]]:
    """Reads a folder of features: the table of samples, the tensors and their metadata.

    Args:
        folder: Where the two files are.
        remedy: What to do if they are not.

    Raises:
        UserError: If one of the two files is missing.
    """
    _require(folder, remedy)
    with (folder / TABLE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with safe_open(folder / TENSORS, framework="numpy") as file:
        return rows, {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def fingerprint(folder: Path, options: Mapping[str, Any], remedy: str) -> str:
    """First 12 hex digits of a SHA-256 over the two files and the options that decide what is loaded.

    Raises:
        UserError: If one of the two files is missing.
    """
    _require(folder, remedy)
    return hashlib.sha256((_hash(folder) + json.dumps(options, sort_keys=True)).encode()).hexdigest()[:12]


def assemble(
    rows: Rows,
    classes: Sequence[str],
    features: Mapping[str, NDArray[np.float32]],
    columns: Mapping[str, str],
    notes: tuple[str, ...],
) -> Data:
    """Builds the three splits.

    Args:
        rows: From :func:`read_features`, with the columns ``id``, ``class``, ``concept`` and ``split``.
        classes: Names of the classes, in the order of their indices.
        features: Per modality, in the task's order. ``[R, *shape]``
        columns: Per modality, the column of the table with the sample's row in ``features``.
        notes: Caveats that reports print with every number.
    """

    def split(name: str) -> Split:
        own = [row for row in rows if row["split"] == name]
        return Split(
            ids=tuple(row["id"] for row in own),
            labels=np.array([classes.index(row["class"]) for row in own], dtype=np.int64),
            inputs={
                modality: values[[int(row[columns[modality]]) for row in own]] for modality, values in features.items()
            },
            groups=tuple(row["concept"] for row in own),
        )

    return Data(
        task=Task(
            modalities=tuple(features),
            classes=tuple(classes),
            shapes={modality: values.shape[1:] for modality, values in features.items()},
        ),
        train=split("train"),
        validation=split("validation"),
        test=split("test"),
        notes=notes,
    )


def _require(folder: Path, remedy: str) -> None:
    for name in (TENSORS, TABLE):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing.", remedy=remedy)


@cache
def _hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (TENSORS, TABLE):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()

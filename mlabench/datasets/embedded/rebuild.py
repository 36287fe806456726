"""What rebuilding the embedded features from raw files has in common: ``mlabench data prepare``."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from mlabench.datasets.contract import ReportProgress
from mlabench.datasets.embedded.base import TABLE, TENSORS, Rows, Tensors
from mlabench.errors import cannot_write
from mlabench.media import UnreadableError

#: Share of the samples per split.
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}

Features = NDArray[np.float32]
_Item = TypeVar("_Item")
_Values = TypeVar("_Values")


def decode(
    stage: str,
    items: Sequence[_Item],
    read: Callable[[_Item], _Values],
    kept: list[_Item],
    skipped: Counter[str],
    report: ReportProgress,
) -> Iterator[_Values]:
    """Yields what can be read and appends its item to ``kept``; counts the rest."""
    for done, item in enumerate(items, start=1):
        try:
            values = read(item)
        except UnreadableError as reason:
            skipped[str(reason)] += 1
        else:
            kept.append(item)
            yield values
        report(stage, done, len(items))


def count_splits(splits: Iterable[str]) -> dict[str, int]:
    """Number of samples per split, in the order of :data:`SHARES`."""
    sizes = Counter(splits)
    return {split: sizes[split] for split in SHARES}


def numbered(keys: Iterable[str]) -> dict[str, int]:
    """Numbers distinct keys in the order of their first appearance."""
    return {key: number for number, key in enumerate(dict.fromkeys(keys))}


def moments(values: Features) -> tuple[Features, Features]:
    """Mean and standard deviation per dimension; the latter is one where nothing varies."""
    std = values.std(axis=0, dtype=np.float64)
    return values.mean(axis=0, dtype=np.float64).astype(np.float32), np.where(std < 1e-6, 1, std).astype(np.float32)


def standardised(name: str, values: Features, train: NDArray[np.int64]) -> Tensors:
    """Standardises with the training samples' moments, each counted as often as it is used."""
    mean, std = moments(values[train])
    return {name: ((values - mean) / std).astype(np.float16), f"{name}.mean": mean, f"{name}.std": std}


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` whose files are moved in at the end, so that an interruption changes nothing."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        staging = tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.")
    except OSError as error:
        raise cannot_write("features", out, error) from error
    with staging as name:
        yield Path(name)
        try:
            for path in Path(name).iterdir():
                path.replace(out / path.name)
        except OSError as error:
            raise cannot_write("features", out, error) from error


def write_features(folder: Path, rows: Rows, tensors: Tensors, metadata: dict[str, str], shipped: Path) -> None:
    """Writes the tensors and the table.

    Args:
        folder: Where to write.
        rows: At least one; all have the columns of the first.
        tensors: By name.
        metadata: Stored with the tensors.
        shipped: The dataset's folder in the package; its data card and licence go wherever the features go.
    """
    (folder / TENSORS).write_bytes(save(tensors, metadata=metadata))
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for path in shipped.iterdir():
        if path.name not in {TENSORS, TABLE}:
            shutil.copyfile(path, folder / path.name)

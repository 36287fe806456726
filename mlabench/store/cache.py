"""Arrays on disk that are made once and shared by all trials and processes. Free of torch.

An array is known by a hash of everything that decides its values, so a change anywhere makes another one, and none is
ever out of date. While it is being made, each finished row is noted beside it: work resumes where it stopped, also
after a kill.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from mlabench.errors import UserError, cannot_write
from mlabench.registry import cache_folder

VALUES, DONE, FAILURES, ABOUT = "values.npy", "done.npy", "failures.jsonl", "about.json"
#: States of a row, and their type.
_TODO, _MADE, _DOUBTFUL = range(3)
_STATES = np.dtype(np.uint8)
#: What reading an array raises if it is damaged.
_DAMAGED = (OSError, ValueError, TypeError, RecursionError)


@dataclass(frozen=True)
class CachedArray:
    """A finished array: its folder, ``values [R, *shape]``, memory-mapped and read-only, and why rows failed.

    The values of a row that could not be made are zeros. ``doubtful`` are rows that were made with complaints.
    """

    folder: Path
    values: NDArray[Any]
    failures: Mapping[int, str]
    doubtful: frozenset[int] = frozenset()


class Draft:
    """An array that is being made in ``folder``."""

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.folder = folder
        try:
            self._open(shape, dtype)
        except _DAMAGED:  # there is none yet, or a power cut has damaged it
            folder.mkdir(parents=True, exist_ok=True)
            _require_space(folder, prod(shape) * dtype.itemsize)
            np.lib.format.open_memmap(folder / VALUES, mode="w+", dtype=dtype, shape=shape).flush()
            (folder / FAILURES).write_bytes(b"")
            # Last, because it says that the others are there.
            np.lib.format.open_memmap(folder / DONE, mode="w+", dtype=_STATES, shape=shape[:1]).flush()
            self._open(shape, dtype)

    def _open(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._done = _checked(self.folder / DONE, shape[:1], _STATES, mode="r+")
        self.values = _checked(self.folder / VALUES, shape, dtype, mode="r+")
        _read_failures(self.folder)

    @property
    def todo(self) -> NDArray[np.int64]:
        """The rows that are not made yet."""
        return np.flatnonzero(self._done == _TODO)

    def finish(
        self, rows: Sequence[int] | NDArray[np.int64], failures: Mapping[int, str], doubtful: Collection[int] = ()
    ) -> None:
        """Notes that ``rows`` are written, which of them failed and why, and which were made with complaints."""
        self.values.flush()  # type: ignore[attr-defined]
        if failures:
            with (self.folder / FAILURES).open("a", encoding="utf-8") as file:
                file.writelines(json.dumps([row, reason]) + "\n" for row, reason in failures.items())
                file.flush()
                os.fsync(file.fileno())  # as the values: a row that is done without them would pass for one of zeros
        self._done[rows] = [_DOUBTFUL if row in doubtful else _MADE for row in rows]
        self._done.flush()  # type: ignore[attr-defined]

    def close(self) -> None:
        """Releases the files, which some systems require before a folder can be renamed."""
        del self.values, self._done


def open_array(path: Path, mode: Literal["r", "r+"] = "r") -> NDArray[Any]:
    """Maps an array into memory; nothing in the file is executed."""
    array: NDArray[Any] = np.load(path, mmap_mode=mode, allow_pickle=False)
    return array


def cached_array(
    name: str, key: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any], make: Callable[[Draft], None]
) -> CachedArray:
    """The array with this key, made if it is not there yet. Two processes never make the same one.

    Args:
        name: Start of the folder's name, for people.
        key: Everything that decides the values, as plain data.
        shape: Its shape, rows first.
        dtype: Its type.
        make: Writes the rows :attr:`Draft.todo`, and calls :meth:`Draft.finish` after each few of them.
    """
    text = json.dumps({**key, "shape": shape, "dtype": dtype.str}, sort_keys=True)
    folder = cache_folder() / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    if not folder.is_dir():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_name(f".{folder.name}.lock")):
                if not folder.is_dir():
                    _make(folder, text, shape, dtype, make)
        except OSError as error:
            raise cannot_write("the cache (MLABENCH_CACHE says where it is)", folder, error) from error
    return _open(folder, shape, dtype)


def _make(
    folder: Path, about: str, shape: tuple[int, ...], dtype: np.dtype[Any], make: Callable[[Draft], None]
) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    with closing(Draft(partial, shape, dtype)) as draft:
        make(draft)
        if len(draft.todo):
            raise RuntimeError(f"{len(draft.todo)} rows of {folder.name} were not made")
    (partial / ABOUT).write_text(about, encoding="utf-8")
    partial.rename(folder)


def _open(folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> CachedArray:
    try:
        doubtful = np.flatnonzero(open_array(folder / DONE) == _DOUBTFUL).tolist()
        return CachedArray(folder, _checked(folder / VALUES, shape, dtype), _read_failures(folder), frozenset(doubtful))
    except _DAMAGED as error:
        problem, remedy = f"this cached array is damaged ({error}).", "Delete its folder and run again."
        raise UserError(problem, remedy=remedy, file=str(folder)) from error


def _checked(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], mode: Literal["r", "r+"] = "r") -> NDArray[Any]:
    array = open_array(path, mode)
    if (array.shape, array.dtype) != (shape, dtype):
        raise ValueError(f"it holds {array.dtype} of the shape {array.shape}, not {dtype} of {shape}")
    return array


def _read_failures(folder: Path) -> dict[int, str]:
    lines = (folder / FAILURES).read_text(encoding="utf-8").splitlines()
    return {int(row): str(reason) for row, reason in map(json.loads, lines)}


def _require_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        problem = f"the decoded inputs need {size / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free."
        remedy = "Make room, or let the environment variable MLABENCH_CACHE name a folder on a larger disk."
        raise UserError(problem, remedy=remedy, file=str(folder))

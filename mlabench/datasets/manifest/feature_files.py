"""Feature arrays from safetensors, ``.npz`` and ``.npy`` files. Nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from safetensors import safe_open

from mlabench.errors import UserError
from mlabench.media import UnreadableError
from mlabench.registry import suggest

Features = NDArray[np.float32]


def read_arrays(path: Path, names: Collection[str], rows: int) -> dict[str, Features]:
    """Reads the arrays ``names`` from a ``.safetensors`` or ``.npz`` file, no others. float32 ``[rows, ...]`` each"""
    read = {".safetensors": _read_safetensors, ".npz": _read_npz}.get(path.suffix.lower())
    if read is None:
        raise UserError(
            "is neither a .safetensors nor a .npz file.",
            remedy="Write one array per modality with `safetensors.numpy.save_file` or `numpy.savez`.",
            file=str(path),
        )
    try:
        known, arrays = read(path, names)
    except Exception as error:  # the parsers raise whatever they like on damaged files
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UserError(
            f"cannot be read as {path.suffix} ({reason}).",
            remedy="It must hold one float16, float32 or float64 array per modality.",
            file=str(path),
        ) from error
    for name in names:
        if name not in arrays:
            raise UserError(
                f"holds no array {name!r} (it holds {', '.join(known) or 'none'}).",
                remedy=suggest(name, known) or "Name each array like its modality.",
                file=str(path),
            )
        if arrays[name].ndim < 2 or len(arrays[name]) != rows:
            raise UserError(
                f"the array {name!r} has the shape {arrays[name].shape}, but the table has {rows} rows.",
                remedy=f"Its shape must be ({rows}, ...): one row of features for each row of the table, in order.",
                file=str(path),
            )
    return {name: _as_features(arrays[name], path, f"the array {name!r} ") for name in names}


def read_array(path: Path) -> Features:
    """Reads one sample's features from a ``.npy`` file. float32, of any shape but ``[]``"""
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # as above
        raise UnreadableError("unreadable feature file") from error
    if not array.ndim:
        raise UserError("holds a single number, not an array.", file=str(path))
    return _as_features(array, path, "")


def _as_features(array: NDArray[Any], path: Path, what: str) -> Features:
    if array.dtype.kind != "f" or not array.size:
        raise UserError(
            f"{what}holds {array.dtype} of the shape {array.shape}, not floating-point numbers.",
            remedy="Convert it with `.astype('float32')`.",
            file=str(path),
        )
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused as such
        return array.astype(np.float32)


def _read_safetensors(path: Path, names: Collection[str]) -> tuple[list[str], dict[str, NDArray[Any]]]:
    with safe_open(path, framework="numpy") as file:
        known = list(file.keys())
        return known, {name: file.get_tensor(name) for name in names if name in known}


def _read_npz(path: Path, names: Collection[str]) -> tuple[list[str], dict[str, NDArray[Any]]]:
    with path.open("rb") as file, NpzFile(file, allow_pickle=False) as archive:
        known = list(archive.files)
        # A member that is not an array comes as bytes.
        return known, {name: np.asarray(archive[name]) for name in names if name in known}

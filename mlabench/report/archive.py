"""Reading a few arrays out of many archives."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mlabench.store import Arrays

#: An array of version 1.0 of the format begins with this, and with the length of its header in two bytes.
_MAGIC = npy.magic(1, 0)
_DATA = len(_MAGIC) + 2


def read_arrays(path: Path, names: Iterable[str]) -> Arrays:
    """Those of the named arrays that are in an archive of :func:`numpy.savez`; they cannot be written to.

    :func:`numpy.load` takes a third longer: it reads in small pieces, and the headers of thousands of arrays of the
    same few shapes one by one.

    Raises:
        OSError, ValueError, EOFError, BadZipFile, zlib.error: If the archive is damaged, or holds what would have to be
            unpickled.
    """
    with ZipFile(path) as archive:
        inside = set(archive.namelist())
        return {name: _array(archive.read(f"{name}.npy")) for name in names if f"{name}.npy" in inside}


def _array(content: bytes) -> NDArray[Any]:
    start = _DATA + int.from_bytes(content[len(_MAGIC) : _DATA], "little")
    if not content.startswith(_MAGIC) or start == len(content):  # a longer header, or no elements
        return np.asarray(npy.read_array(BytesIO(content), allow_pickle=False))
    shape, by_columns, dtype = _header(content[len(_MAGIC) : start])
    if dtype.hasobject:
        raise ValueError("this array would have to be unpickled")
    return np.frombuffer(content, dtype, offset=start).reshape(shape, order="F" if by_columns else "C")


@lru_cache
def _header(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    shape, by_columns, dtype = npy.read_array_header_1_0(BytesIO(content))
    return shape, by_columns, dtype

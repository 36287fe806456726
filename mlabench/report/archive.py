"""Reading a few arrays out of many archives."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mlabench.store import Arrays

#: An array of version 1.0 of the format begins with this, and with the length of its header in two bytes.
_MAGIC = npy.magic(1, 0)
_DATA = len(_MAGIC) + 2


class ArchiveReader:
    """Reads arrays out of archives of :func:`numpy.savez`; they cannot be written to.

    :func:`numpy.load` takes a third longer: it reads in small pieces, and the headers of thousands of arrays of the
    same few shapes one by one.

    Args:
        shared: Names of arrays that are the same in most archives. They are kept, and read again only where their file
            has another size or checksum (CRC-32).
    """

    def __init__(self, shared: Collection[str] = ()) -> None:
        self._shared = frozenset(shared)
        self._kept: dict[tuple[int, int], NDArray[Any]] = {}

    def read(self, path: Path, names: Iterable[str]) -> Arrays:
        """Those of the named arrays that are in an archive.

        Raises:
            OSError, ValueError, EOFError, BadZipFile, zlib.error: If the archive is damaged, or holds what would have
                to be unpickled.
        """
        with ZipFile(path) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            return {name: self._read(archive, entries[name], name) for name in names if name in entries}

    def _read(self, archive: ZipFile, entry: ZipInfo, name: str) -> NDArray[Any]:
        if name not in self._shared:
            return _array(archive.read(entry))
        key = entry.file_size, entry.CRC
        if key not in self._kept:
            self._kept[key] = _array(archive.read(entry))
        return self._kept[key]


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

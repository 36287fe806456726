"""The files of a contribution: which there may be, how large, and what they were when it was packed.

Nothing in the folder is trusted: no link is followed, no file is opened that has no place here, and arrays are read
only if they are as large as they say.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile

import numpy as np

from mlabench.contributing.card import CARD
from mlabench.contributing.finding import Finding, differences

#: The file that defines the contributed methods, as ``--plugin`` takes it.
PLUGIN = "plugin.py"
#: What the report says of the contributed results, as its own file of this name.
VERDICTS = "verdicts.json"
#: The checksum of every other file, as ``sha256sum`` writes them.
SUMS = "SHA256SUMS"

_MIB = 2**20
#: What may lie in the folder, and how large it may be.
_ALLOWED = {
    re.escape(CARD): _MIB // 16,
    re.escape(PLUGIN): _MIB,
    re.escape(VERDICTS): 16 * _MIB,
    SUMS: 4 * _MIB,
    r"plans/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\.json": 16 * _MIB,
    r"samples/[0-9a-f]{16}\.npz": 4 * _MIB,
    r"trials/[A-Za-z0-9_+][A-Za-z0-9_.+-]{0,119}/(record\.json|outcomes\.npz)": 4 * _MIB,
}
#: All files together.
_LARGEST = 256 * _MIB
#: What the arrays of one archive may take in memory.
_UNPACKED = 64 * _MIB
#: The arrays of each kind of archive.
_ARRAYS = {"samples": {"ids", "groups", "labels"}, "trials": {"about", "present", "correct", "brier"}}


def files_in(folder: Path) -> list[str]:
    """The files of a contribution, by their paths in it with slashes, sorted. Links are not followed."""
    found = []
    for place, inside, names in os.walk(folder):
        links = [name for name in inside if Path(place, name).is_symlink()]
        found += [Path(place, name).relative_to(folder).as_posix() for name in (*names, *links)]
    return sorted(found)


def foreign(folder: Path, names: Iterable[str]) -> Iterator[Finding]:
    """What has no place in a contribution: links, other files, large files, archives of something else."""
    total = 0
    for name in names:
        path = folder / name
        largest = next((size for pattern, size in _ALLOWED.items() if re.fullmatch(pattern, name)), None)
        if path.is_symlink() or not path.is_file():
            yield Finding(name, "", "is not a plain file.")
        elif largest is None:
            yield Finding(name, "", "has no place in a contribution. Remove it.")
        elif (size := path.stat().st_size) > largest:
            yield Finding(name, "", f"has {size:,} bytes, more than the {largest:,} that it may have.")
        elif name.endswith(".npz") and (problem := _wrong_archive(path, _ARRAYS[name.partition("/")[0]])):
            yield Finding(name, "", problem)
        else:
            total += size
    if total > _LARGEST:
        yield Finding(".", "", f"has {total:,} bytes, more than the {_LARGEST:,} that it may have.")


def _wrong_archive(path: Path, arrays: set[str]) -> str:
    """Why an archive must not be read; empty if it may be."""
    try:
        with ZipFile(path) as archive:
            members = archive.infolist()
            if sorted(member.filename for member in members) != sorted(f"{name}.npy" for name in arrays):
                return f"must hold {', '.join(sorted(arrays))}, and nothing else."
            if sum(member.file_size for member in members) > _UNPACKED:
                return f"takes more than {_UNPACKED:,} bytes unpacked."
            for member in members:
                with archive.open(member) as file:
                    if not _is_as_large_as_it_says(file, member.file_size):
                        return f"{member.filename} is not an array of the size that it says."
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, BadZipFile) as error:
        return f"cannot be read ({type(error).__name__})."
    return ""


def _is_as_large_as_it_says(file: IO[bytes], size: int) -> bool:
    """Whether an array has as many bytes as its header says, and no objects, which would be pickled."""
    if np.lib.format.read_magic(file) != (1, 0):
        return False
    shape, _, kind = np.lib.format.read_array_header_1_0(file)
    return not kind.hasobject and file.tell() + prod(shape) * kind.itemsize == size


# -- the checksums of all files ------------------------------------------------------------------


def sums(folder: Path) -> str:
    """The content of :data:`SUMS`."""
    names = [name for name in files_in(folder) if name != SUMS]
    return "".join(f"{_sha256(folder / name)}  {name}\n" for name in names)


def changed(folder: Path, names: Iterable[str]) -> Iterator[Finding]:
    """The files that are not what they were when the contribution was packed."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        stored = dict(_line(line) for line in lines)
    except (OSError, ValueError) as error:
        yield Finding(
            SUMS, "", f"cannot be read ({type(error).__name__}). Pack the results with `mlabench contribute`."
        )
        return
    if len(stored) != len(lines):
        yield Finding(SUMS, "", "names a file twice.")
    own = {name: _sha256(folder / name) for name in names if name != SUMS}
    yield from differences(SUMS, stored, own)


def _line(line: str) -> tuple[str, str]:
    found = re.fullmatch(r"([0-9a-f]{64})  (\S.*)", line)
    if found is None:
        raise ValueError(line)
    return found[2], found[1]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

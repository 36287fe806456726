"""Archives: which of their members are kept, and where they go. Nothing is written outside that place."""

from __future__ import annotations

import gzip
import lzma
import shutil
import tarfile  # members are read as streams; none is extracted
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from mlabench.datasets.sources.table import Unpack
from mlabench.errors import UserError

#: Whether a file of this name is wanted.
Wanted = Callable[[str], bool]

_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError),
    RuntimeError,  # an encrypted member, or one that is packed in a way that Python does not know
)


def unpack(archive: Path, folder: Path, rule: Unpack, wanted: Wanted | None) -> dict[str, int]:
    """Writes the members that a rule keeps. A member is complete once it is there.

    Returns:
        Where they went below ``folder``, with their sizes.

    Raises:
        UserError: If the archive is damaged, holds nothing that the rule keeps, or a path that leads out of it.
        OSError: If a member cannot be written.
    """
    placed: dict[str, int] = {}
    kept = 0
    try:
        for member, content in _members(archive):
            place = rule.place(member)
            if place is None:
                continue
            kept += 1
            if wanted is None or wanted(PurePosixPath(place).name):
                placed[place] = _write(content(), folder / place)
    except _DAMAGED as error:
        raise _refused(archive, f"is damaged ({error})") from error
    if not kept:
        raise _refused(archive, "holds none of the files that are expected")
    return placed


def _members(archive: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    """Name and content of each regular file. Links and devices are passed over."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                _require_inside(archive, info.filename)
                if not info.is_dir():
                    yield info.filename, lambda info=info: packed.open(info)  # type: ignore[misc]
        return
    with tarfile.open(archive, "r:*") as tar:
        for entry in tar:
            _require_inside(archive, entry.name)
            if entry.isreg():
                yield entry.name, lambda entry=entry: tar.extractfile(entry)  # type: ignore[misc]


def _require_inside(archive: Path, member: str) -> None:
    path, windows = PurePosixPath(member), PureWindowsPath(member)
    if path.is_absolute() or windows.anchor or ".." in windows.parts:
        raise _refused(archive, f"holds a path that leads out of it ({member!r})")


def _write(content: IO[bytes], path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.part")
    with content, draft.open("wb") as file:
        shutil.copyfileobj(content, file)
        size = file.tell()
    draft.replace(path)
    return size


def _refused(archive: Path, problem: str) -> UserError:
    return UserError(
        f"the archive {problem}.",
        remedy="It is deleted. Run the same command again; if it happens twice, the source has changed.",
        file=str(archive),
    )

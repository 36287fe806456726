"""What lies at a path that a suite names, as a hash: where it lies decides no result, what it holds does."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from mlabench.errors import UserError


def content_hash(path: Path) -> str:
    """First 12 hex digits of a SHA-256 over a file, or over the files of a folder.

    Raises:
        UserError: If there is no such file or folder, or it cannot be read.
    """
    try:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        states = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return _hash(tuple(states), str(path))
    except OSError as error:
        raise UserError(
            f"cannot be read ({error.strerror or error}).", remedy="Correct the path.", file=str(path)
        ) from error


@lru_cache
def _hash(files: tuple[tuple[str, int, int], ...], root: str) -> str:
    """The size and the time of each file stand for its content within one run of the program."""
    digest = hashlib.sha256()
    for name, *_ in files:
        digest.update(Path(name).relative_to(root).as_posix().encode())
        with open(name, "rb") as file:  # noqa: PTH123
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]

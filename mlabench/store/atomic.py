"""Files that are written in one step: readers see all of the old one or all of the new one, also after a power cut."""

from __future__ import annotations

import glob
import os
import uuid
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, *parts: bytes) -> None:
    """Writes a file, one part after the other; if that fails, the old one stays."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)  # on a full disk, what was written of it is in the way
        raise


def remove_file(path: Path) -> None:
    """Removes a file, and what killed processes wrote of it. No other process may be writing to it."""
    for left in [path, *path.parent.glob(f".{glob.escape(path.name)}.*.tmp")]:
        left.unlink(missing_ok=True)

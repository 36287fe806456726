"""Checks that the machine has what was asked for, before anything runs. Importing it does not import torch."""

from __future__ import annotations

import os
import shutil
import sys

from mlabench.errors import UserError


def require_device(device: str) -> None:
    """Checks that torch can use a device that was asked for by name. Imports torch for those that may be missing."""
    if device not in ("cuda", "mps"):
        return
    import torch

    backend = torch.cuda if device == "cuda" else torch.backends.mps
    if not backend.is_available():
        raise UserError(
            f"torch {torch.__version__} sees no device {device!r} here.",
            remedy="Give `--device auto`, or install a build of torch and a driver that match the device.",
            field="--device",
        )


def require_compiler(*, needed: bool) -> None:
    """Checks that there is the C++ compiler that torch calls to compile, where that is ``needed``."""
    compiler = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    if needed and shutil.which(compiler) is None:
        raise UserError(
            f"there is no C++ compiler {compiler!r} here.",
            remedy="Install one, or let the environment variable CXX name one; or run without this option.",
            field="--compile",
        )

"""What a record says about the machine and the code that made it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlabench import __version__, registry
from mlabench.errors import UserError
from mlabench.trial import Trial

_PACKAGES = ("torch", "lightning-fabric", "numpy", "safetensors", "pydantic")


def describe_environment(trial: Trial, device: str) -> dict[str, Any]:
    """Versions, device, threads, git commit and the hash of the method's source. Imports torch."""
    import torch

    return {
        **_machine(),
        "device": device,
        "threads": torch.get_num_threads(),
        "method_source": registry.get("methods", trial.method.name).source_hash,
    }


def require_device(device: str) -> None:
    """Checks that torch can use a device that was asked for by name. Imports torch for those that may be missing.

    Raises:
        UserError: If it cannot.
    """
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
    """Checks that there is the C++ compiler that torch calls to compile, where that is ``needed``. Free of torch.

    Raises:
        UserError: If there is none.
    """
    compiler = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    if needed and shutil.which(compiler) is None:
        raise UserError(
            f"there is no C++ compiler {compiler!r} here.",
            remedy="Install one, or let the environment variable CXX name one; or run without this option.",
            field="--compile",
        )


@cache
def _machine() -> dict[str, Any]:
    return {
        "mlabench": __version__,
        "python": platform.python_version(),
        "platform": platform.system(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
        "git_commit": _git_commit(),
        "packages": {package: version(package) for package in _PACKAGES},
    }


def _git_commit() -> str:
    """Commit of the checkout that mlabench runs from, with ``+`` if it has changes; empty outside of one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        commit = subprocess.run(  # noqa: S603
            ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit.stdout.strip()

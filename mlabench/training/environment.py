"""What a record says about the machine and the code that made it."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlabench import __version__, registry
from mlabench.trial import Trial

_PACKAGES = ("torch", "lightning-fabric", "numpy", "safetensors", "pydantic")


def method_source(trial: Trial) -> str:
    """Hash of the source of a trial's method, by which a record or a checkpoint of other code is recognised."""
    return registry.get("methods", trial.method.name).about.source_hash


def describe_environment(trial: Trial, device: str) -> dict[str, Any]:
    """Versions, device, threads, git commit and the hash of the method's source. Imports torch."""
    import torch

    return {
        "mlabench": __version__,
        "python": platform.python_version(),
        "platform": platform.system(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
        "git_commit": _git_commit(),
        "packages": {package: version(package) for package in _PACKAGES},
        "device": device,
        "threads": torch.get_num_threads(),
        "method_source": method_source(trial),
    }


@cache
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

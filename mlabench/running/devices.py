"""How many workers this machine can take, and the GPUs that they share. Free of torch."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence

from mlabench.errors import UserError
from mlabench.processes import usable_cores


def visible_gpus(device: str, per_trial: int = 1) -> tuple[str, ...]:
    """The GPUs that trials may run on, ``per_trial`` ids each, as in ``CUDA_VISIBLE_DEVICES``; the rest is not used."""
    program = shutil.which("nvidia-smi")
    if device not in ("auto", "cuda") or program is None:
        return ()
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        found = [gpu.strip() for gpu in chosen.split(",") if gpu.strip()]
    else:
        command = [program, "--query-gpu=index", "--format=csv,noheader"]
        listed = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        found = listed.stdout.split() if listed.returncode == 0 else []
    if 0 < len(found) < per_trial:
        raise UserError(f"there are {len(found)} GPUs here, fewer than {per_trial}.", field="--devices-per-trial")
    return tuple(",".join(found[at : at + per_trial]) for at in range(0, len(found) - per_trial + 1, per_trial))


def default_jobs(device: str, gpus: Sequence[str] = (), per_device: int = 1, per_trial: int = 1) -> int:
    """``per_device`` workers for each of :func:`visible_gpus`; without GPUs, one per core (or ``per_trial`` cores)."""
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    if gpus or device in ("cuda", "mps") or (device == "auto" and apple):
        return max(len(gpus), 1) * per_device
    return max(1, usable_cores() // per_trial)


def spare_threads(workers: int, trials: int, per_trial: int = 1) -> int:
    """Threads that each of so many trials may take, on so many ``workers`` of ``per_trial`` processes each.

    It depends on all trials of a plan, not on those that are left: a trial that is resumed has the threads it had.
    """
    return max(1, usable_cores() // (min(max(workers, 1), max(trials, 1)) * per_trial))

"""What ``mlabench doctor`` finds: versions, machine, disk, packages, data. Imports torch only to try a device."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import NamedTuple

import psutil

from mlabench import __version__, registry
from mlabench.cli.listings import data_state
from mlabench.running import default_jobs
from mlabench.store import cache_folder
from mlabench.training import require_device


class Finding(NamedTuple):
    """One line of the listing."""

    part: str
    what: str
    state: str


def examine(results: Path, device: str | None) -> list[Finding]:
    """What to know before a run or from a bug report: ``results`` is where records go, ``device`` one to try."""
    data = (Finding("data", name, data_state(entry.load())) for name, entry in registry.entries("datasets").items())
    return [*_machine(results), *(_device(device) if device else ()), *_packages(), *data]


def _machine(results: Path) -> Iterator[Finding]:
    yield Finding("program", "mlabench", __version__)
    yield Finding("program", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("machine", "cores", f"{os.cpu_count()}, of which {default_jobs('cpu')} may be used")
    yield Finding("machine", "memory", f"{_gib(psutil.virtual_memory().available)} free")
    gpus = "there seem to be some; --device cuda tries them" if shutil.which("nvidia-smi") else "no nvidia-smi"
    yield Finding("machine", "NVIDIA GPUs", gpus)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        yield Finding("machine", name, f"{os.environ.get(name, 'not set')}; a worker has one thread whatever it says")
    for what, folder in (("results", results), ("cache", cache_folder())):
        there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
        writable = "" if os.access(there, os.W_OK) else "; NOT WRITABLE"
        yield Finding("disk", what, f"{_gib(shutil.disk_usage(there).free)} free at {folder}{writable}")


def _device(device: str) -> Iterator[Finding]:
    import torch

    require_device(device)
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    names = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())] if cuda else []
    yield Finding("device", device, ", ".join(names) or f"usable, {torch.get_num_threads()} threads here")


def _packages() -> Iterator[Finding]:
    """The installed version of all that mlabench needs, and of what its extras add."""
    for requirement in requires("mlabench") or ():
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        extra = re.search(r"""extra == ['"](\w+)""", requirement)
        if name == "mlabench" or (extra and extra[1] == "dev"):
            continue
        try:
            state = version(name)
        except PackageNotFoundError:
            state = f"missing: pip install 'mlabench[{extra[1]}]'" if extra else "MISSING: reinstall mlabench"
        yield Finding(f"packages of the extra {extra[1]}" if extra else "packages", name, state)


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"

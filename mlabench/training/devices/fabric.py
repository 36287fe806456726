"""Device and precision of a trial: Lightning Fabric, with one thread and reproducible arithmetic."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["Fabric", "make_fabric", "training_device"]


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Has a module that is not imported yet seem to be absent, for the length of a block."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


# Fabric imports torchmetrics where it is installed, only to ask for its version. With it would come torchvision, SciPy,
# matplotlib and transformers: two thirds of a worker's start.
with _hidden("torchmetrics"):
    from lightning_fabric import Fabric


def make_fabric(device: str, precision: Any, devices: int = 1) -> Fabric:
    """Fabric for one trial; with several devices, to be called by each process of a ``process_group``.

    torch has one thread from now on, whatever a trial before had.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    fabric = _set_up(device, precision, devices)
    if devices > 1:
        fabric.launch()
    # Fabric has torch look for a GPU driver in a slow way, which each step of an optimiser repeats if there is none.
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    if fabric.device.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
    return fabric


def training_device(device: str) -> torch.device:
    """What ``auto``, ``cpu``, ``cuda`` or ``mps`` stands for here."""
    chosen: torch.device = _set_up(device, "32", 1).device
    return chosen


def _set_up(device: str, precision: Any, devices: int) -> Fabric:
    with warnings.catch_warnings():
        # Fabric advises on hardware that was deliberately not chosen.
        warnings.simplefilter("ignore")
        strategy = "ddp" if devices > 1 else "auto"
        return Fabric(accelerator=device, devices=devices, precision=precision, strategy=strategy)

"""Device and precision of a trial: Lightning Fabric, with one thread and reproducible arithmetic."""

from __future__ import annotations

import os
import warnings
from typing import Any

import torch
from lightning_fabric import Fabric


def make_fabric(device: str, precision: Any, devices: int = 1) -> Fabric:
    """Fabric for one trial; with several devices, to be called by each process of a ``process_group``."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    with warnings.catch_warnings():
        # Fabric advises on hardware that was deliberately not chosen.
        warnings.simplefilter("ignore")
        strategy = "ddp" if devices > 1 else "auto"
        fabric = Fabric(accelerator=device, devices=devices, precision=precision, strategy=strategy)
        if devices > 1:
            fabric.launch()
    # Fabric has torch look for a GPU driver in a slow way, which each step of an optimiser repeats if there is none.
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    if fabric.device.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
    return fabric

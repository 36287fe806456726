"""Stored inputs that live on a GPU, where they fit: a batch of them is an indexing operation, and nothing is sent."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Share of a device's free memory that one array may take: training needs the rest, as do other arrays and workers.
SHARE = 0.25
#: Rows that are sent at a time, so that an array on disk is never in main memory as a whole.
CHUNK = 1024

_resident: dict[tuple[int, torch.device], Tensor] = {}


def free_bytes(device: torch.device) -> int:
    """Free memory of the device; 0 where arrays have no reason to move there, as on the CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def on_device(array: NDArray[Any], device: torch.device) -> Tensor | None:
    """The ``array [R, *shape]`` on the device, as long as it lives; None if it is too large for that.

    It is sent at most once, for all splits, patterns and trials that read it.
    """
    key = id(array), device
    if key not in _resident:
        if array.nbytes > SHARE * free_bytes(device):
            return None
        _resident[key] = _sent(array, device)
        weakref.finalize(array, _resident.pop, key, None)
    return _resident[key]


def _sent(array: NDArray[Any], device: torch.device) -> Tensor:
    whole = torch.empty(array.shape, dtype=torch.from_numpy(np.empty(0, array.dtype)).dtype, device=device)
    for start in range(0, len(array), CHUNK):
        whole[start : start + CHUNK] = torch.from_numpy(np.array(array[start : start + CHUNK]))
    return whole

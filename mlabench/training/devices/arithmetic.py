"""Which arithmetic a trial runs in, and how pictures lie in memory for it.

The arithmetic is 32-bit, or bfloat16 where the processor or the GPU has it and it pays.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from mlabench.trial import Precision


def chosen_precision(asked: Precision, device: Callable[[], torch.device], from_raw: Callable[[], bool]) -> Precision:
    """``asked``, or what ``auto`` stands for; only then device and data are looked at.

    Networks that are trained on pictures, sounds or texts (``from_raw``) spend their time in convolutions and large
    products, which bfloat16 shortens. On features there is nothing to win.
    """
    if asked != "auto":
        return asked
    return "bf16-mixed" if from_raw() and has_bfloat16(device()) else "32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16 by itself. Emulated, it is slower than 32-bit arithmetic."""
    if device.type == "cuda":
        native: bool = torch.cuda.is_bf16_supported(including_emulation=False)
        return native
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))
    return False


def pays_channels_last(device: torch.device, precision: Precision) -> bool:
    """Whether convolutions are faster with channels last: on a CPU always, else in bfloat16."""
    return device.type == "cpu" or precision == "bf16-mixed"


def use_channels_last(module: nn.Module) -> None:
    """Has pictures pass through the module with channels as their last dimension in memory.

    That is how fast convolutions are computed; otherwise each would be rearranged. Values do not change, except by
    rounding.
    """
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)

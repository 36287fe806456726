"""Matrix products on AMD processors with AVX-512, by oneDNN.

Torch asks MKL for them, which does not use AVX-512 on processors that are not Intel's; oneDNN, which torch comes with,
does, and takes half the time. Where it is slower or does not fit, MKL's kernel stays. The results differ by rounding.
"""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import torch
from torch import DispatchKeySet, Tensor

#: Multiplications from which on oneDNN wins against its longer way there.
_WORTH_IT = 2**19


@cache
def use_fast_products() -> str:
    """Replaces torch's products of float32 matrices on the CPU where that helps; once. Says whose they are then."""
    has_both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    is_wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    if not (_is_amd() and is_wide and has_both and hasattr(torch.library, "get_kernel")):
        return "torch"
    linear = torch.ops.mkldnn._linear_pointwise.default
    plain_mm, plain_addmm = (torch.library.get_kernel(f"aten::{name}", "CPU") for name in ("mm", "addmm"))

    def mm(keys: DispatchKeySet, a: Tensor, b: Tensor) -> Tensor:
        product: Tensor = linear(a, b.t(), None, "none", [], "") if _fits(a, b) else plain_mm.call_boxed(keys, a, b)
        return product

    def addmm(keys: DispatchKeySet, bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
        is_linear = beta == alpha == 1 and bias.shape == b.shape[1:] and bias.dtype == a.dtype and bias.is_contiguous()
        result: Tensor = (
            linear(a, b.t(), bias, "none", [], "")
            if is_linear and _fits(a, b)
            else plain_addmm.call_boxed(keys, bias, a, b, beta=beta, alpha=alpha)
        )
        return result

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that kernels are replaced
        for name, kernel in (("mm", mm), ("addmm", addmm)):
            _LIBRARY.impl(name, kernel, "CPU", with_keyset=True)  # type: ignore[no-untyped-call]
    return "oneDNN"


#: As long as it lives, its kernels stay.
_LIBRARY = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]


def _fits(a: Tensor, b: Tensor) -> bool:
    """Whether both are float32 without gaps in memory, by rows or by columns, and there is enough to multiply."""
    (m, k), n = a.shape, b.shape[1]
    if m * k * n < _WORTH_IT or a.dtype != torch.float32 or b.dtype != torch.float32:
        return False
    return a.stride() in ((k, 1), (1, m)) and b.stride() in ((n, 1), (1, k))


def _is_amd() -> bool:
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False

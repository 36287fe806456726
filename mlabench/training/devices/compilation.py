"""``--compile``: torch translates the encoders into code of their own. It pays on GPUs, in long trainings."""

from __future__ import annotations

from types import FunctionType, MethodType
from typing import cast

import torch

from mlabench.encoders import Encoder
from mlabench.method import Method


def compile_encoders(method: Method) -> None:
    """Compiles the encoders of a method, and with them the copies that it makes of them (teachers).

    What is compiled is their ``forward`` alone: hooks stay outside, and the names of the parameters are the same, so
    that weights and snapshots are those of encoders that are not compiled.
    """
    for module in method.modules():
        if isinstance(module, Encoder):
            # The number of rows differs from batch to batch where modalities are missing: one translation for all.
            compiled = torch.compile(_copy(cast(FunctionType, type(module).forward)), dynamic=True)
            # A method of this object, which a deep copy binds to the copy.
            module.__dict__["forward"] = MethodType(compiled, module)


def _copy(function: FunctionType) -> FunctionType:
    """A function of its own: torch gives up on one that needs too many translations, as if it serves all modalities."""
    code = function.__code__.replace()
    copy = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy

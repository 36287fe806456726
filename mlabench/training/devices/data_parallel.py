"""One trial on several devices: they share the encoders' work on each batch; every process computes all the rest.

Every process takes the same training step on the same batch. An encoder, where the time goes, works on this process's
part of the rows; the features of all parts are then brought together, so that heads, losses, projectors and histories
see the whole batch and stay the same everywhere, whatever the method does with them. On the way back each process gets
the gradient of its own part, and the encoders' gradients are added up.

This is the mathematics of a single process, up to rounding, but for what an encoder does across rows or at random:
batch statistics are those of a part (the first process's running averages count, as in torch's own data parallelism)
and dropout draws other masks.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mlabench.encoders import Encoder
from mlabench.method import Method

_HOOKED = "_gradients_are_added_up"


def share_out(method: Method) -> None:
    """Lets the processes of the current group share the work of a method's encoders, and of copies it makes of them."""
    for module in method.modules():
        if isinstance(module, Encoder):
            module.register_forward_pre_hook(_take_part)
            module.register_forward_hook(_bring_together)


def _bounds(rows: int) -> list[int]:
    """Where the parts of so many rows begin and end; every process has all of them if there are too few to share."""
    size = dist.get_world_size()
    return [rows * rank // size for rank in range(size + 1)]


def _take_part(encoder: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Replaces an encoder's input by this process's part of it."""
    (inputs,) = arguments
    rank, size = dist.get_rank(), dist.get_world_size()
    for parameter in encoder.parameters():
        if parameter.requires_grad and not hasattr(parameter, _HOOKED):
            parameter.register_hook(_added_up)  # type: ignore[no-untyped-call]
            setattr(parameter, _HOOKED, True)
    if encoder.training:
        encoder.__dict__["_generators"] = _Generators(inputs.device, rank)
    encoder.__dict__["_rows"] = len(inputs)
    if len(inputs) < size:
        return (inputs,)
    bounds = _bounds(len(inputs))
    return (inputs[bounds[rank] : bounds[rank + 1]],)


def _bring_together(encoder: nn.Module, arguments: tuple[Any, ...], features: Tensor) -> Tensor:  # noqa: ARG001
    """Replaces an encoder's output by the features of all rows."""
    rows = encoder.__dict__.pop("_rows")
    if encoder.training:
        encoder.__dict__.pop("_generators").restore()
        for buffer in encoder.buffers():
            dist.broadcast(buffer, 0)
    whole = _Shared.apply(features) if rows < dist.get_world_size() else _Gathered.apply(features, rows)
    return cast(Tensor, whole)


def _added_up(gradient: Tensor) -> Tensor:
    total = gradient.clone()
    dist.all_reduce(total)
    return total


class _Gathered(torch.autograd.Function):
    """``[n_r, d]`` of each process to ``[n, d]`` in all of them; backwards, each takes the gradient of its part."""

    @staticmethod
    def forward(context: Any, part: Tensor, rows: int) -> Tensor:
        bounds = _bounds(rows)
        context.bounds = bounds[dist.get_rank()], bounds[dist.get_rank() + 1]
        lengths = [end - start for start, end in pairwise(bounds)]
        padded = part.new_zeros(max(lengths), *part.shape[1:])
        padded[: len(part)] = part
        parts = [torch.empty_like(padded) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, padded)
        return torch.cat([values[:length] for values, length in zip(parts, lengths, strict=True)])

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        start, end = context.bounds
        return gradients[0][start:end], None


class _Shared(torch.autograd.Function):
    """The identity on what all processes have computed alike; their gradients will be added up, so each has a share."""

    @staticmethod
    def forward(context: Any, features: Tensor) -> Tensor:  # noqa: ARG004
        return features.view_as(features)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        return gradients[0] / dist.get_world_size()


class _Generators:
    """torch's generators, this process's own while an encoder runs.

    Dropout draws more for one part than for another, but what methods draw must be the same everywhere. An encoder
    that draws nothing leaves no trace, so that a method draws what it would draw in a single process.
    """

    def __init__(self, device: torch.device, rank: int) -> None:
        self._device = device
        self._before = self._states()
        seed = int(torch.randint(2**62, ()))
        self._after_drawing = self._states()
        torch.manual_seed(seed + rank)
        self._own = self._states()

    def restore(self) -> None:
        """Goes back to the generators that all processes share."""
        untouched = all(torch.equal(old, new) for old, new in zip(self._own, self._states(), strict=True))
        states = self._before if untouched else self._after_drawing
        torch.set_rng_state(states[0])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self._device)

    def _states(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        return [*states, torch.cuda.get_rng_state(self._device)] if self._device.type == "cuda" else states

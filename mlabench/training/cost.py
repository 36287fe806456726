"""What a trial costs: time by phase; of the training alone passes through encoders, time and memory.

Counting reads sizes and clocks only: it draws no random numbers and changes no results.
"""

from __future__ import annotations

import gc
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from mlabench.encoders import Encoder
from mlabench.method import Method
from mlabench.processes import give_back_memory

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Clock:
    """Wall-clock and processor seconds by phase: ``wall_seconds_PHASE`` and ``cpu_seconds_PHASE``."""

    def __init__(self) -> None:
        self.seconds = defaultdict[str, float](float)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the time of the enclosed block to ``name``."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.seconds[f"wall_seconds_{name}"] += time.perf_counter() - wall
            self.seconds[f"cpu_seconds_{name}"] += time.process_time() - cpu


class Meter:
    """Measures a training while it is :meth:`running`. Make it when the method is on its device, before training.

    A pass is one sample through one encoder, forward or backward. It counts wherever it happens: in a training step,
    between epochs, in the method's own encoders, or in copies that it makes of them (teachers).
    """

    def __init__(self, method: Method, device: torch.device) -> None:
        self._device = device
        self._forward = dict.fromkeys(method.task.modalities, 0)
        self._backward = dict.fromkeys(method.task.modalities, 0)
        self._runs = False
        self._clock = Clock()
        for name, module in method.named_modules():
            modality = name.rpartition(".")[2]
            if isinstance(module, Encoder) and modality in self._forward:
                module.register_forward_hook(self._hook(modality))
        _warm_up(device)
        self._memory = _Memory(device)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measures the enclosed part of a training."""
        self._memory.reset_peak()
        self._runs = True
        try:
            with self._clock.phase("per_step"):
                yield
                if self._device.type == "cuda":
                    torch.cuda.synchronize(self._device)
        finally:
            self._runs = False
            self._memory.see_peak()

    def costs(self, steps: int, samples: Mapping[str, int]) -> dict[str, float]:
        """What was measured, as :attr:`mlabench.record.Record.cost` describes it.

        ``steps`` is the number of training steps, ``samples`` how many samples with each modality these had in all.
        """
        costs = {name: seconds / steps for name, seconds in self._clock.seconds.items()}
        for modality, count in samples.items():
            if count:
                costs[f"forward_passes_{modality}"] = self._forward[modality] / count
                costs[f"backward_passes_{modality}"] = self._backward[modality] / count
        if self._memory.above is not None:
            costs["training_memory_mib"] = self._memory.above
        return costs

    def _hook(self, modality: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        """Counts an encoder's passes. A function, so that copies of the encoder share the counts."""

        def forward(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
            if not self._runs:
                return
            rows = len(output)
            self._forward[modality] += rows

            def backward(_: object) -> None:
                self._backward[modality] += rows

            if output.grad_fn is not None:
                # Of the graph's node, not of the tensor: a gradient that ends at the features is not a pass.
                output.grad_fn.register_prehook(backward)

        return forward


class _Memory:
    """The highest memory in MiB ``above`` that at the start: of the device on CUDA, else of the process, on Linux."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.above: float | None = None
        if device.type != "cuda" and sys.platform == "linux":
            gc.collect()
            give_back_memory()  # else a trial would seem to take nothing, where earlier ones of this process took more
        self._start = _mebibytes(device)

    def reset_peak(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif self._start is not None:
            give_back_memory()  # else what an evaluation took, or an epoch before this one, might count
            try:
                _CLEAR.write_text("5", encoding="ascii")  # proc(5): sets VmHWM to VmRSS
            except OSError:  # not allowed here
                self._start = None

    def see_peak(self) -> None:
        peak = _mebibytes(self._device, peak=True)
        if peak is not None and self._start is not None:
            self.above = max(self.above or 0.0, peak - self._start)


def _mebibytes(device: torch.device, *, peak: bool = False) -> float | None:
    """What is used now, or was at most since the last reset; None where the system does not say."""
    if device.type == "cuda":
        return (torch.cuda.max_memory_allocated if peak else torch.cuda.memory_allocated)(device) / 2**20
    field = "VmHWM:" if peak else "VmRSS:"
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 2**10 for line in lines if line.startswith(field)), None)


@cache
def _warm_up(device: torch.device) -> None:
    """A training of nothing: the first one in a process imports a compiler and sets up kernels, in seconds and MiB."""
    weight, bias = (nn.Parameter(torch.zeros(shape, device=device)) for shape in ((64, 64), (64,)))
    optimizer = torch.optim.Adam([weight, bias], fused=True)
    for rows in (64, 4096):
        label = torch.zeros(rows, dtype=torch.int64, device=device)
        loss = functional.cross_entropy(functional.linear(torch.zeros(rows, 64, device=device), weight, bias), label)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

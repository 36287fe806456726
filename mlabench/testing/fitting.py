"""A plain training loop for tiny methods, in place of the real one with its devices, schedules and records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlabench import registry
from mlabench.method import Batch, Method, Prediction, Progress, Task
from mlabench.processes import one_thread
from mlabench.testing.toys import TinyEncoder, take
from mlabench.training import Updater


class Samples:
    """Some batches as a :class:`mlabench.method.LabelledSplit`."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.all = Batch(
            {m: torch.cat([batch.inputs[m] for batch in batches]) for m in batches[0].inputs},
            torch.cat([batch.present for batch in batches]),
            torch.cat([batch.label for batch in batches]),
            torch.cat([batch.index for batch in batches]),
        )

    def __len__(self) -> int:
        return len(self.all)

    def labelled_batches(self, rows: Tensor | None = None) -> Iterator[Batch]:
        """All samples, or those at ``rows``, as one batch."""
        yield self.all if rows is None else take(self.all, rows)


def sgd(method: nn.Module, lr: float = 0.1) -> Updater:
    """Steps of plain gradient descent."""
    return Updater(torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr))


def adam(method: nn.Module, lr: float = 0.005) -> Updater:
    """Steps of Adam with a little weight decay, which moves a parameter even where its gradient is zero."""
    return Updater(torch.optim.Adam([p for p in method.parameters() if p.requires_grad], lr, weight_decay=1e-4))


def build_method(
    kind: type[Method] | str,
    task: Task,
    *,
    widths: Sequence[int] | None = None,
    samples: int = 40,
    normalise: bool = False,
    seed: int = 0,
    **options: Any,
) -> Method:
    """An untrained method on tiny encoders.

    Args:
        kind: The class, or its registered name.
        task: What is to be learned.
        widths: Widths of the encoders, 6 each by default.
        samples: Size of the training split.
        normalise: Whether the encoders keep batch statistics.
        seed: Decides the weights.
        options: Hyper-parameters of the method.
    """
    if isinstance(kind, str):
        kind = registry.get("methods", kind).load()
    torch.manual_seed(seed)
    encoders = {
        modality: TinyEncoder(task.shapes[modality], TinyEncoder.Config(width=width, normalise=normalise))
        for modality, width in zip(task.modalities, widths or [6] * len(task.modalities), strict=True)
    }
    return kind(task, encoders, kind.Config(**options), samples)


@one_thread()
def fit(
    method: Method,
    batches: Sequence[Batch],
    epochs: int,
    optimization: Callable[[nn.Module], Updater] = adam,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Trains through all stages, on one thread; returns what each step logged."""
    torch.manual_seed(seed)
    logs: list[dict[str, float]] = []
    for stage in method.stages(epochs):
        method.on_stage_start(stage)
        steps = optimization(method)
        for epoch in range(stage.epochs):
            samples = Samples(batches)
            method.on_epoch_start(Progress(epoch, stage.epochs, 0, len(batches)), samples, samples)
            method.train()
            for step, batch in enumerate(batches):
                steps.progress = Progress(epoch, stage.epochs, step, len(batches))
                logs.append({name: float(value) for name, value in method.training_step(batch, steps).items()})
            rows = logs[-len(batches) :]
            names = {name for row in rows for name in row}
            method.on_epoch_end({name: float(np.mean([row[name] for row in rows if name in row])) for name in names})
    return logs


def predict(method: Method, batch: Batch) -> Prediction:
    """What the method says in evaluation mode, without gradients."""
    method.eval()
    with torch.inference_mode():
        return method.predict(batch)


def parameters(method: nn.Module) -> dict[str, Tensor]:
    """A copy of the whole state."""
    return {name: value.detach().clone() for name, value in method.state_dict().items()}

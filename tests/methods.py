"""Small tasks, batches and a plain training loop for the tests of methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlabench import registry
from mlabench.encoders import Encoder, Hyperparameters
from mlabench.method import Batch, Method, Progress, Task

SHAPE = (7,)


class TinyEncoder(Encoder):
    """One layer; with ``normalise``, batch statistics that an absent input would disturb."""

    class Config(Hyperparameters):
        width: int = 6
        normalise: bool = False

    config: Config

    def __init__(self, shape: tuple[int, ...], config: Config) -> None:
        super().__init__(shape, config)
        self.width = config.width
        middle = nn.BatchNorm1d(config.width) if config.normalise else nn.Identity()
        self.layers = nn.Sequential(nn.Linear(shape[0], config.width), middle, nn.Tanh())

    def forward(self, inputs: Tensor) -> Tensor:
        assert len(inputs) > 0, "an encoder never sees an empty batch"
        features: Tensor = self.layers(inputs)
        return features


@dataclasses.dataclass
class Steps:
    """A minimal :class:`mlabench.method.Optimization`."""

    optimizer: torch.optim.Optimizer
    progress: Progress = dataclasses.field(default=Progress(0, 1, 0, 1))

    def update(self, loss: Tensor, before_step: Callable[[], None] | None = None) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        if before_step is not None:
            before_step()
        self.optimizer.step()

    def restart(self) -> None:
        self.optimizer.state.clear()


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
        yield self.all if rows is None else take(self.all, rows)


def sgd(method: nn.Module, lr: float = 0.1) -> Steps:
    return Steps(torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr))


def adam(method: nn.Module, lr: float = 0.005) -> Steps:
    return Steps(torch.optim.Adam([p for p in method.parameters() if p.requires_grad], lr, weight_decay=1e-4))


def make_task(modalities: int = 3, classes: int = 3) -> Task:
    names = ("audio", "image", "text", "depth")[:modalities]
    return Task(names, tuple(f"class{c}" for c in range(classes)), dict.fromkeys(names, SHAPE))


def build_method(
    name: str,
    task: Task,
    *,
    widths: Sequence[int] | None = None,
    samples: int = 40,
    normalise: bool = False,
    seed: int = 0,
    **config: Any,
) -> Method:
    torch.manual_seed(seed)
    kind = registry.get("methods", name).load()
    encoders = {
        modality: TinyEncoder(task.shapes[modality], TinyEncoder.Config(width=width, normalise=normalise))
        for modality, width in zip(task.modalities, widths or [6] * len(task.modalities), strict=True)
    }
    method: Method = kind(task, encoders, kind.Config(**config), samples)
    return method


def make_batch(task: Task, size: int = 16, *, missing: float = 0.0, seed: int = 0) -> Batch:
    """Random inputs and labels; each modality is absent with probability ``missing``, never all of a sample's."""
    random = np.random.default_rng(seed)
    present = random.random((size, len(task.modalities))) >= missing
    present[np.arange(size), random.integers(len(task.modalities), size=size)] = True
    inputs = {m: torch.tensor(random.normal(size=(size, *SHAPE)), dtype=torch.float32) for m in task.modalities}
    label = torch.tensor(random.integers(len(task.classes), size=size))
    return Batch(inputs, torch.tensor(present), label, torch.arange(size))


def only(batch: Batch, *columns: int) -> Batch:
    """The same samples, having the modalities in ``columns`` only."""
    present = torch.zeros_like(batch.present)
    present[:, list(columns)] = True
    return dataclasses.replace(batch, present=present)


def take(batch: Batch, rows: Sequence[int] | Tensor) -> Batch:
    rows = torch.as_tensor(rows)
    inputs = {modality: values[rows] for modality, values in batch.inputs.items()}
    return Batch(inputs, batch.present[rows], batch.label[rows], batch.index[rows])


def fill_absent(batch: Batch, value: float) -> Batch:
    """The same batch with ``value`` in the inputs of absent modalities."""
    inputs = {
        modality: values.masked_fill(~batch.present[:, [column]], value)
        for column, (modality, values) in enumerate(batch.inputs.items())
    }
    return dataclasses.replace(batch, inputs=inputs)


def fit(
    method: Method,
    batches: Sequence[Batch],
    epochs: int,
    optimization: Callable[[nn.Module], Steps] = adam,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Trains through all stages; returns what each step logged."""
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


def parameters(method: nn.Module) -> dict[str, Tensor]:
    """A copy of the whole state."""
    return {name: value.detach().clone() for name, value in method.state_dict().items()}

"""Small tasks, batches and an encoder to try a method on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mlabench.encoders import Encoder, Hyperparameters
from mlabench.method import Batch, Task

#: Shape of one sample's input, whatever the modality.
SHAPE = (7,)

MODALITIES = ("audio", "image", "text", "depth")


class TinyEncoder(Encoder):
    """One layer; with ``normalise``, batch statistics that an absent input would disturb."""

    class Config(Hyperparameters):
        """The width, and whether features are normalised."""

        width: int = 6
        normalise: bool = False

    config: Config

    def __init__(self, shape: tuple[int, ...], config: Config) -> None:
        super().__init__(shape, config)
        self.width = config.width
        middle = nn.BatchNorm1d(config.width) if config.normalise else nn.Identity()
        self.layers = nn.Sequential(nn.Linear(shape[0], config.width), middle, nn.Tanh())

    def forward(self, inputs: Tensor) -> Tensor:
        """Features ``[n, width]`` of ``inputs [n, 7]``; refuses empty batches, on which real encoders may fail."""
        if len(inputs) == 0:
            raise ValueError("the encoder was given a batch without samples; `Method.encode_present` avoids that")
        features: Tensor = self.layers(inputs)
        return features


def make_task(modalities: int = 3, classes: int = 3) -> Task:
    """A task with the first of :data:`MODALITIES`, each a vector of 7 numbers."""
    names = MODALITIES[:modalities]
    return Task(names, tuple(f"class{c}" for c in range(classes)), dict.fromkeys(names, SHAPE))


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
    """The samples at ``rows``, in this order."""
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

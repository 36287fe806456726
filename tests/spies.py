"""Registered methods that watch, or misbehave, for the tests of what runs them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from baselines.concat import Concat
from mlabench.method import Batch, Optimization, Prediction


class Spy(Concat):
    """Learns as Concat does and writes down what it is shown."""

    trained: ClassVar[list[Batch]] = []
    predicted: ClassVar[list[Batch]] = []

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        self.trained.append(batch)
        return super().training_step(batch, optimization)

    def predict(self, batch: Batch) -> Prediction:
        self.predicted.append(batch)
        return super().predict(batch)


class Failing(Concat):
    """Fails in its first step."""

    def loss(self, batch: Batch) -> Tensor:
        raise ArithmeticError("nothing adds up")


class Diverging(Concat):
    """Its loss is no number."""

    def loss(self, batch: Batch) -> Tensor:
        return super().loss(batch) * torch.nan

"""Methods that go wrong, each in its own way, unless MLABENCH_TEST_BEHAVE is set; for ``--plugin``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from baselines.concat import Concat
from mlabench.datasets import Task
from mlabench.encoders import Encoder
from mlabench.method import Batch, Prediction
from mlabench.running import worker

BEHAVES = bool(os.environ.get("MLABENCH_TEST_BEHAVE"))
worker.LEAK_BYTES = 60 * 2**20


class _Misbehaving(Concat):
    def loss(self, batch: Batch) -> Tensor:
        if not BEHAVES:
            self.misbehave()
        return super().loss(batch)

    def misbehave(self) -> None:
        """Goes wrong."""


class Raising(_Misbehaving):
    """Raises what takes several lines to say."""

    def misbehave(self) -> None:
        raise ArithmeticError("nothing adds up\nnor ever did")


class Unspeakable(_Misbehaving):
    """Raises what cannot be written as UTF-8."""

    def misbehave(self) -> None:
        raise OSError("no such file: caf\udce9.png")


class Exhausting(_Misbehaving):
    """Python has no memory left for it."""

    def misbehave(self) -> None:
        bytearray(2**60)


class Allocating(_Misbehaving):
    """Torch has no memory left for it."""

    def misbehave(self) -> None:
        torch.empty(2**50)


class Diverging(_Misbehaving):
    """Its loss is NaN."""

    def loss(self, batch: Batch) -> Tensor:
        return super().loss(batch) * (1.0 if BEHAVES else torch.nan)


class Babbling(Concat):
    """Its loss is fine, its predictions are NaN."""

    def predict(self, batch: Batch) -> Prediction:
        prediction = super().predict(batch)
        if BEHAVES or self.training:
            return prediction
        return Prediction(prediction.fused * torch.nan, prediction.unimodal, prediction.embedding)


class Quitting(_Misbehaving):
    """Ends the process."""

    def misbehave(self) -> None:
        sys.exit(3)


class Hanging(_Misbehaving):
    """Never comes back."""

    def misbehave(self) -> None:
        time.sleep(3600)


class Leaking(_Misbehaving):
    """Never gives back 100 MiB; its log says in which process it was."""

    kept: ClassVar[list[Tensor]] = []

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Concat.Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        self.kept.append(torch.ones(25 * 2**20))
        print("process", os.getpid())

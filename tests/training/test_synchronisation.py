"""A training step never waits for the device: on a GPU, asking for a value stops all work until it is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mlabench import registry
from mlabench.datasets import Split
from mlabench.method import Method, Progress
from mlabench.testing import build_method, make_task
from mlabench.training.devices.fabric import make_fabric
from mlabench.training.loop import Updater, make_optimizer
from mlabench.training.tensors import SplitTensors
from mlabench.trial import SGD, Training

SAMPLES, EPOCHS = 24, 8
#: Operations whose result, or its size, the host has to know before it can continue.
ASKING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "repeat_interleave"}
#: Methods whose steps ask for something, and for what.
EXCEPTIONS = {
    "aug": "how many heads a modality has, a buffer, as predictions depend on it",
    "g_blending": "which stage it is in, a buffer, as predictions depend on it",
    "mmin": "its stage, and the rows of the patterns that it draws",
    "imder": "its stage, a buffer",
    "mmanet": "its stage, and whether it has found weak combinations, both buffers",
    "momke": "its stage, a buffer",
    "modality_dropout": "whether a sample has lost everything and has to be drawn again",
    "opm": "nothing of a GPU: whether to drop is drawn on the CPU",
    "pmr": "which samples are of a class that has a prototype",
    "reconboost": "its stage, and the rows that are left without the modality whose turn it is",
    "shaspec": "which features are there after some were dropped",
    "umt": "its stage, a buffer",
}


class Questions(TorchDispatchMode):
    """Notes what would have to wait for a GPU; the tensors here are on the CPU, where nothing waits."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in ASKING or by_mask:
            self.asked.append(name)
        return func(*args, **(kwargs or {}))


def _split(method: Method) -> SplitTensors:
    random = np.random.default_rng(0)
    present = np.ones((SAMPLES, len(method.task.modalities)), bool)
    present[::3, 0] = False
    inputs = {
        modality: random.normal(size=(SAMPLES, *method.task.shapes[modality])).astype(np.float32)
        for modality in method.task.modalities
    }
    labels = random.integers(len(method.task.classes), size=SAMPLES)
    names = tuple(map(str, range(SAMPLES)))
    return SplitTensors(Split(names, labels, inputs, names), method.task.modalities, present, torch.device("cpu"))


def _questions(method: Method) -> list[str]:
    """What the steps of each stage ask."""
    fabric, train = make_fabric("cpu", "32"), _split(method)
    asked: list[str] = []
    for stage in method.stages(EPOCHS):
        method.on_stage_start(stage)
        optimizer = make_optimizer(method, Training(epochs=EPOCHS, optimizer=SGD(lr=0.01)))
        updater = Updater(fabric.setup_optimizers(optimizer), backward=fabric.backward)
        for epoch in range(2):
            progress = Progress(epoch, stage.epochs, 0, 3)
            method.on_epoch_start(progress, train, train)
            method.train()
            for batch in train.training_batches(torch.arange(SAMPLES), batch_size=8):
                updater.progress = progress
                with Questions() as questions:
                    method.training_step(batch, updater)
                asked += questions.asked
    return asked


def test_questions_are_noticed() -> None:
    values = torch.arange(3.0)
    with Questions() as questions:
        values[1].item()
        values[values > 1]
        bool((values > 1).any())
        values[torch.tensor([0, 2])] += 1
    assert questions.asked == ["_local_scalar_dense", "index", "_local_scalar_dense"]


@pytest.mark.parametrize("name", [name for name in registry.entries("methods") if name not in EXCEPTIONS])
def test_training_steps_ask_nothing(name: str) -> None:
    assert _questions(build_method(name, make_task(2), samples=SAMPLES)) == []


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_exceptions_are_none_without_need(name: str) -> None:
    assert _questions(build_method(name, make_task(2), samples=SAMPLES)) != []

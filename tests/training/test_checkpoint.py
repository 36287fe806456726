"""Snapshots: a training that resumes from one ends as if nothing had happened."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mlabench import registry
from mlabench.errors import UserError
from mlabench.method import Method
from mlabench.record import Epoch
from mlabench.testing import build_method, make_task
from mlabench.training.checkpoint import Checkpoints, Snapshot
from mlabench.training.devices.fabric import make_fabric
from mlabench.training.loop import Observers, TrainingRun
from mlabench.training.tensors import accuracies
from mlabench.trial import SGD, Adam, Cosine, Training
from tests.splits import random_split

TASK = make_task(3)
IDENTITY = {"trial": "one", "method": "0123"}


class KilledError(Exception):
    """Stands for the end of the process."""


TRAIN, VALIDATION = (random_split(TASK, 40, missing=0.3, seed=seed) for seed in range(2))


def train(
    name: str, training: Training, checkpoints: Checkpoints | None = None, kill_after: float = math.inf, **options: Any
) -> tuple[list[Epoch], int, dict[str, Tensor]]:
    """Trains a new method; dies after ``kill_after`` epochs."""
    method: Method = build_method(
        name, TASK, normalise=name != "mmin", seed=0, **options
    )  # which may leave one sample to a statistic
    fabric = make_fabric("cpu", "32")
    torch.set_flush_denormal(False)
    done = 0

    def report(_: Epoch) -> None:
        nonlocal done
        done += 1
        if done == kill_after:
            raise KilledError

    observers = Observers(
        lambda: accuracies(method, VALIDATION, fabric), lambda: accuracies(method, TRAIN, fabric), report
    )
    curves, selected = TrainingRun(method, TRAIN, VALIDATION, training, 3, fabric, observers, checkpoints).fit()
    return curves, selected, {name: value.clone() for name, value in method.state_dict().items()}


def assert_same(actual: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    assert actual[:2] == expected[:2]
    assert actual[2].keys() == expected[2].keys()
    for key, value in expected[2].items():
        assert torch.equal(actual[2][key], value), key


@pytest.mark.parametrize("name", sorted(registry.entries("methods")))
@pytest.mark.parametrize("epochs", [(3,), pytest.param((1, 2, 4, 5), marks=pytest.mark.slow)])
def test_every_method_resumes_from_any_epoch(name: str, epochs: tuple[int, ...], tmp_path: Path) -> None:
    training = Training(epochs=6, batch_size=16, optimizer=Adam(lr=0.02), schedule=Cosine())
    unbroken = train(name, training)
    assert len(unbroken[0]) == 6
    for kill_after in epochs:
        checkpoints = Checkpoints(tmp_path / str(kill_after), IDENTITY, every=1)
        with pytest.raises(KilledError):
            train(name, training, checkpoints, kill_after)
        again = Checkpoints(tmp_path / str(kill_after), IDENTITY, every=1)
        assert_same(train(name, training, again), unbroken)
        assert again.resumed == kill_after


@pytest.mark.parametrize("kill_after", [1, 2, 3])
def test_the_order_of_modalities_outlives_the_process(kill_after: int, tmp_path: Path) -> None:
    training = Training(epochs=4, batch_size=16, optimizer=SGD(lr=0.1), selection="last")
    unbroken = train("mla", training, order="weak_to_strong")
    assert not torch.equal(unbroken[2]["places"], torch.arange(3)), "the order is not the dataset's"
    with pytest.raises(KilledError):
        train("mla", training, Checkpoints(tmp_path / "one", IDENTITY, every=1), kill_after, order="weak_to_strong")
    assert_same(
        train("mla", training, Checkpoints(tmp_path / "one", IDENTITY, every=1), order="weak_to_strong"), unbroken
    )


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("name", ["mla", "mmin"])
def test_patience_outlives_the_process(name: str, every: int, tmp_path: Path) -> None:
    training = Training(epochs=12, batch_size=16, optimizer=Adam(lr=0.1), patience=1)
    unbroken = train(name, training)
    assert len(unbroken[0]) < 12
    for kill_after in range(1, len(unbroken[0])):
        with pytest.raises(KilledError):
            train(name, training, Checkpoints(tmp_path / str(kill_after), IDENTITY, every), kill_after)
        again = Checkpoints(tmp_path / str(kill_after), IDENTITY, every)
        assert_same(train(name, training, again), unbroken)


@pytest.mark.parametrize("optimizer", [SGD(lr=0.1, momentum=0.9), SGD(lr=0.1, momentum=0.0), Adam()])
def test_momentum_and_moments_are_kept(optimizer: SGD | Adam, tmp_path: Path) -> None:
    training = Training(epochs=5, batch_size=16, optimizer=optimizer, selection="last")
    with pytest.raises(KilledError):
        train("mla", training, Checkpoints(tmp_path / "one", IDENTITY, every=2), kill_after=3)
    again = Checkpoints(tmp_path / "one", IDENTITY, every=2)
    assert_same(train("mla", training, again), train("mla", training))
    assert again.resumed == 2, "the third epoch is done again"


def snapshot() -> Snapshot:
    optimizer = {"state": {0: {"step": torch.ones(()), "momentum_buffer": None}}, "param_groups": [{"params": [0]}]}
    curve = [Epoch(stage="train", epoch=1, logs={}, validation={}, test={})]
    return Snapshot(0, 1, curve, 0.5, 1, {"w": torch.zeros(2)}, {"w": torch.ones(2)}, optimizer)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "one", IDENTITY)
    assert checkpoints.load() is None
    checkpoints.save(snapshot())
    read = checkpoints.load()
    assert read is not None
    assert (read.stage, read.epoch, read.best, read.selected, read.curves) == (0, 1, 0.5, 1, snapshot().curves)
    np.testing.assert_array_equal(read.method["w"], np.ones(2))
    np.testing.assert_array_equal(read.best_state["w"], np.zeros(2))
    assert read.optimizer["state"][0]["momentum_buffer"] is None
    assert float(read.optimizer["state"][0]["step"]) == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    checkpoints.clear()
    assert checkpoints.load() is None


@pytest.mark.parametrize("length", [0, 10, 70, 200, -1])
def test_a_damaged_one_is_ignored(length: int, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "one", IDENTITY)
    checkpoints.save(snapshot())
    content = checkpoints.path.read_bytes()
    checkpoints.path.write_bytes(content[:length] if length >= 0 else content[:-1] + b"x")
    assert checkpoints.load() is None
    assert checkpoints.resumed == 0


def test_other_code_does_not_resume_from_it(tmp_path: Path) -> None:
    Checkpoints(tmp_path / "one", IDENTITY).save(snapshot())
    assert Checkpoints(tmp_path / "one", {**IDENTITY, "method": "4567"}).load() is None


def test_they_are_taken_about_every_minute(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "one", IDENTITY)
    assert not checkpoints.is_due(1)
    checkpoints._last -= 61.0
    assert checkpoints.is_due(2)
    checkpoints.save(snapshot())
    assert not checkpoints.is_due(3)
    assert [epoch for epoch in range(1, 7) if Checkpoints(tmp_path, IDENTITY, every=3).is_due(epoch)] == [3, 6]


def test_an_unwritable_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write a checkpoint"):
        Checkpoints(tmp_path / "file" / "one", IDENTITY).save(snapshot())

"""A trial without test patterns, as in tuning, never sees the test split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlabench.datasets import Data, Split
from mlabench.missing import Missing
from mlabench.record import Record
from mlabench.store.records import Store
from mlabench.training import one_trial as runner
from mlabench.training.inputs import load_data
from mlabench.training.job import Job, RunOptions
from mlabench.training.one_trial import run_trial
from tests.spies import Spy
from tests.training.test_one_trial import small_trial


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Data:
    """The samples of a small trial; every value of the test split is poisoned."""
    found = load_data(small_trial())
    poison = {modality: np.full_like(values, np.nan) for modality, values in found.test.inputs.items()}  # type: ignore[type-var]
    test = Split(found.test.ids, np.full_like(found.test.labels, 10**6), poison, found.test.groups)
    poisoned = Data(**{**vars(found), "test": test})
    monkeypatch.setattr(runner, "load_data", lambda _: poisoned)
    return found


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The length of every split that is made ready for a method."""
    lengths: list[int] = []
    original = runner.SplitTensors

    def note(split: Split, *rest: object) -> object:
        lengths.append(len(split))
        return original(split, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "SplitTensors", note)
    return lengths


def trained(root: Path, *tests: Missing) -> tuple[Record, Store]:
    store = Store(root)
    record = run_trial(Job(small_trial(), tests), store, RunOptions("cpu"))
    assert record.failure is None, record.failure.traceback
    return record, store


def test_it_is_the_same_training_and_nothing_of_the_test_split_is_made_ready(
    tmp_path: Path, data: Data, seen: list[int], monkeypatch: pytest.MonkeyPatch
):
    blind, store = trained(tmp_path / "blind")
    assert sorted(seen) == sorted([len(data.train), len(data.validation)])
    assert [epoch.test for epoch in blind.curves] == [{}, {}]
    assert (blind.evaluations, blind.files) == ({}, {})
    assert store.predictions(blind.trial.id) is None
    monkeypatch.setattr(runner, "load_data", load_data)
    seeing, _ = trained(tmp_path / "seeing", Missing())
    assert all(epoch.test for epoch in seeing.curves)
    assert [epoch.validation for epoch in blind.curves] == [epoch.validation for epoch in seeing.curves]
    assert blind.selected_epoch == seeing.selected_epoch


def test_a_method_is_shown_training_and_validation_samples_only(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runner, "build_method", lambda trial, data, encoders: spy(data, encoders))
    monkeypatch.setattr(Spy, "trained", [])
    monkeypatch.setattr(Spy, "predicted", [])
    trained(tmp_path / "r")
    assert sum(map(len, Spy.trained)) == 2 * len(data.train)
    assert sum(map(len, Spy.predicted)) == 2 * len(data.validation)
    for batch in Spy.trained + Spy.predicted:
        assert all(bool(values.isfinite().all()) for values in batch.inputs.values())


def spy(data: Data, encoders: object) -> Spy:
    return Spy(data.task, encoders, Spy.Config(), len(data.train))  # type: ignore[arg-type]

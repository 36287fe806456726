"""What a training of one fold sees: fitted to its training part, decoded once for all folds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlabench import registry
from mlabench.datasets import Data, Split, StoredRows, open_dataset
from mlabench.datasets.synthetic import Synthetic
from mlabench.missing import Missing
from mlabench.store.records import Store
from mlabench.suite import Overrides, load_inputs
from mlabench.suite.expansion import with_content, with_fingerprint
from mlabench.training import inputs
from mlabench.training.inputs import load_data, prepare
from mlabench.training.job import Job, RunOptions
from mlabench.training.one_trial import run_trial
from mlabench.trial import Adam, Component, Fold, Training, Trial
from tests.datasets.published import mvsa_tree

PARTS = ("train", "validation", "test")
FOLDS = [Fold(count=3, name=name) for name in "123"]


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing is remembered from other tests, nor for them."""
    monkeypatch.setenv("MLABENCH_CACHE", str(tmp_path / "cache"))
    for memory in (inputs._load, inputs._divide, inputs._decode):
        memory.cache_clear()
    yield
    for memory in (inputs._load, inputs._divide, inputs._decode):
        memory.cache_clear()


def make_trial(name: str, *settings: str, **fields: Any) -> Trial:
    dataset, encoders = load_inputs(name, Overrides(settings=settings))
    return Trial(
        dataset=with_fingerprint(dataset, open_dataset(dataset)),
        encoders=with_content(encoders),
        method=Component(name="late_fusion", config=registry.get("methods", "late_fusion").config().model_dump()),
        training=Training(epochs=2, batch_size=8, optimizer=Adam(lr=1e-3)),
        **fields,
    )


def made_up(fold: Fold, seed: int = 0) -> Trial:
    return make_trial("synthetic", "dataset.samples=[40, 20, 60]", fold=fold, seed=seed)


def standardise(self: Synthetic, data: Data) -> Data:
    """Means and deviations of the training samples."""

    def fitted(split: Split) -> Split:
        known = data.train.inputs
        scaled = {name: (split.inputs[name] - known[name].mean(axis=0)) / known[name].std(axis=0) for name in known}
        return replace(split, inputs=scaled)

    return replace(data, **{part: fitted(getattr(data, part)) for part in PARTS})


@pytest.mark.parametrize("fold", FOLDS)
def test_what_is_fitted_is_fitted_to_the_folds_training_part(fold: Fold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Synthetic, "fit", standardise)
    data = load_data(made_up(fold))
    # The same by hand, from the samples as they are.
    raw = open_dataset(made_up(fold).dataset).load()
    whole = {
        name: values
        for part in PARTS
        for name, values in zip(getattr(raw, part).ids, getattr(raw, part).inputs["strong"], strict=True)
    }
    train = np.stack([whole[name] for name in data.train.ids])
    for part in PARTS:
        expected = (np.stack([whole[name] for name in getattr(data, part).ids]) - train.mean(axis=0)) / train.std(
            axis=0
        )
        np.testing.assert_allclose(getattr(data, part).inputs["strong"], expected, rtol=1e-5, atol=1e-6)


def test_nothing_of_the_other_parts_reaches_what_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Synthetic, "fit", standardise)
    trial, load = made_up(FOLDS[1]), Synthetic.load
    clean = load_data(trial)
    seen = set(clean.train.ids)

    def poisoned(self: Synthetic) -> Data:
        def spoil(split: Split) -> Split:
            strange = np.array([name not in seen for name in split.ids])[:, None]
            return replace(split, inputs={name: np.where(strange, 1e6, x) for name, x in split.inputs.items()})

        data = load(self)
        return replace(data, **{part: spoil(getattr(data, part)) for part in PARTS})

    inputs._load.cache_clear()
    inputs._divide.cache_clear()
    monkeypatch.setattr(Synthetic, "load", poisoned)
    spoilt = load_data(trial)
    assert spoilt.train.ids == clean.train.ids
    for name, values in clean.train.inputs.items():
        assert np.array_equal(np.asarray(spoilt.train.inputs[name]), np.asarray(values))
    assert (np.asarray(spoilt.test.inputs["strong"]) > 1e5).all()


def test_each_repeat_and_each_fold_has_other_parts_and_the_same_for_all_methods() -> None:
    tested = {(seed, fold.name): load_data(made_up(fold, seed)).test.ids for seed in (0, 1) for fold in FOLDS}
    assert len(set(tested.values())) == 6
    for seed in (0, 1):
        ids = [name for fold in FOLDS for name in tested[seed, fold.name]]
        assert len(ids) == len(set(ids)) == 120


def test_the_limit_is_one_of_each_part() -> None:
    data = load_data(made_up(FOLDS[0]).model_copy(update={"limit": 5}))
    assert [len(getattr(data, part)) for part in PARTS] == [5, 5, 5]


def test_inputs_are_decoded_once_for_all_folds(tmp_path: Path) -> None:
    tree = mvsa_tree.make_tree(tmp_path)
    settings = (f'dataset.root="{tree}"', "encoders.text={name: text_cnn, width: 16, length: 16}")
    image = "encoders.image={name: 'timm:resnet10t', pretrained: false, size: 32}"
    trials = [make_trial("mvsa", *settings, image, fold=fold) for fold in FOLDS]
    prepare(trials, torch.device("cpu"), 1, lambda *_: None)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("values.npy")}
    assert len(made) == 2
    tested: list[str] = []
    for trial in trials:
        data = load_data(trial)
        assert isinstance(data.test.inputs["image"], StoredRows)
        tested += data.test.ids
    assert len(tested) == len(set(tested)) == 60
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("values.npy")} == made


def test_a_record_says_which_fold_it_is_of_and_lacks_caveats_of_the_own_split(tmp_path: Path) -> None:
    tree, store = mvsa_tree.make_tree(tmp_path), Store(tmp_path / "results")
    settings = (f'dataset.root="{tree}"', "encoders.text={name: text_cnn, width: 16, length: 16}")
    trial = make_trial("mvsa", *settings, "dataset.modalities=[text]", fold=FOLDS[2], seed=4)
    record = run_trial(Job(trial, (Missing(),)), store, RunOptions("cpu"))
    assert record.failure is None, record.failure.traceback
    again = store.read(trial.id)
    assert again is not None
    assert again.trial.fold == FOLDS[2]
    assert "-seed4-fold3-" in trial.id
    assert not any("split" in note for note in again.notes)
    without = run_trial(Job(trial.model_copy(update={"fold": None}), (Missing(),)), store, RunOptions("cpu"))
    assert any("The split is mlabench's own" in note for note in without.notes)

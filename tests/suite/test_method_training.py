"""A method's entry may change the training, on top of the suite's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mlabench.suite import Suite, describe
from mlabench.suite.expansion import expand
from mlabench.trial import SGD, Adam, Cosine, Step, Training
from tests.suite.fakes import Captions

TEXT = """
dataset: speech
methods:
- plain
- {name: plain, label: Other, training: {optimizer: {lr: 0.5}, batch_size: 8}}
- {name: fancy, training: {optimizer: sgd, schedule: cosine}}
training:
  epochs: 7
  optimizer: {lr: 0.1, weight_decay: 0.01}
  schedule: {name: step, epochs: 3}
"""

SHARED = Training(epochs=7, optimizer=Adam(lr=0.1, weight_decay=0.01), schedule=Step(epochs=3))
EXPECTED = (
    SHARED,
    SHARED.model_copy(update={"optimizer": Adam(lr=0.5, weight_decay=0.01), "batch_size": 8}),
    SHARED.model_copy(update={"optimizer": SGD(), "schedule": Cosine()}),
)


def test_its_own_lies_over_the_suites(load: Callable[..., Suite]) -> None:
    assert tuple(entry.training for entry in load(TEXT).methods) == EXPECTED


def test_the_trials_are_trained_that_way(load: Callable[..., Suite], spoken: None) -> None:
    plan = expand(load(TEXT))
    assert tuple(cell.trial.training for cell in plan.cells) == EXPECTED
    assert len({cell.trial.id for cell in plan.cells}) == 3


def test_the_resolved_suite_is_the_same_suite(load: Callable[..., Suite]) -> None:
    suite = load(TEXT)
    again = load(yaml.safe_dump(suite.resolved()))
    assert again.methods == suite.methods
    assert again.resolved() == suite.resolved()
    assert "training" not in suite.resolved()["methods"][0]


def test_it_is_part_of_the_label(load: Callable[..., Suite]) -> None:
    labels = [entry.label for entry in load(TEXT.replace("label: Other, ", "")).methods]
    assert labels[:2] == ["plain", "plain (training.optimizer.lr=0.5, training.batch_size=8)"]


def test_a_method_may_clip_gradients_or_not(load: Callable[..., Suite]) -> None:
    text = TEXT.replace("batch_size: 8", "clip_norm: null").replace("schedule: cosine", "clip_norm: 2.5")
    suite = load(text + "  clip_norm: 1.0\n")
    assert [entry.training.clip_norm for entry in suite.methods] == [1.0, None, 2.5]
    assert load(yaml.safe_dump(suite.resolved())).methods == suite.methods


def test_a_limit_that_is_not_set_leaves_a_training_as_it_was() -> None:
    assert "clip_norm" not in Training().model_dump()
    assert Training(clip_norm=1.0).model_dump()["clip_norm"] == 1.0


def test_the_command_line_can_set_it(load: Callable[..., Suite]) -> None:
    suite = load(TEXT, settings=("methods.0.training.optimizer.lr=0.9", "training.epochs=2"))
    assert suite.methods[0].training.optimizer.lr == 0.9
    assert {entry.training.epochs for entry in suite.methods} == {2}


def test_its_origin_is_told(load: Callable[..., Suite], tmp_path: Path) -> None:
    origins = {field: origin for field, _, origin in describe(load(TEXT))}
    path = tmp_path / "some.yaml"
    assert origins["methods.1.training.optimizer.lr"] == f"{path}:5"
    assert origins["methods.1.training.optimizer.weight_decay"] == f"{path}:9"
    assert origins["methods.1.training.optimizer.betas"] == "default"


# -- the training of a method's authors ---------------------------------------------------------------

AUTHORS = """
dataset: speech
settings: authors
methods:
- plain
- fancy
- {name: fancy, label: Theirs but, training: {optimizer: {lr: 0.5}, batch_size: 8}}
- {name: fancy, label: As all, training: suite}
- {name: fancy, label: As long, training: authors_with_epochs}
training: {epochs: 7, batch_size: 32}
"""

OURS = Training(epochs=7, batch_size=32)
THEIRS = OURS.model_copy(update={"optimizer": SGD(lr=0.3, weight_decay=0.02), "clip_norm": 1.5})


def test_settings_name_whose_training_it_is(load: Callable[..., Suite], spoken: None) -> None:
    suite = load(AUTHORS)
    assert [entry.training for entry in suite.methods] == [
        OURS,
        THEIRS,
        THEIRS.model_copy(update={"optimizer": SGD(lr=0.5, weight_decay=0.02), "batch_size": 8}),
        OURS,
        THEIRS.model_copy(update={"epochs": 90}),
    ]
    assert list(expand(suite).settings.values()) == [
        "suite (authors' not known)",
        "authors",
        "authors + batch_size + optimizer",
        "suite",
        "authors with epochs",
    ]


def test_what_authors_use_is_resolved_with_its_source(load: Callable[..., Suite]) -> None:
    suite = load(AUTHORS)
    again = load(yaml.safe_dump(suite.resolved()))
    assert again.methods == suite.methods
    assert again.resolved() == suite.resolved()
    fields = {field: (value, origin) for field, value, origin in describe(suite)}
    assert fields["methods.1.training.optimizer.lr"] == (0.3, "authors: main.py")
    assert fields["methods.1.training.clip_norm"] == (1.5, "authors: section 4")
    assert fields["methods.2.training.optimizer.lr"][1].endswith("some.yaml:7")
    assert fields["methods.2.training.optimizer.weight_decay"] == (0.02, "authors: main.py")
    assert fields["methods.1.training.batch_size"][1].endswith("some.yaml:10")


def test_an_optimizer_that_undoes_a_method_is_objected_to(load: Callable[..., Suite], spoken: None) -> None:
    harmless = "- {name: fancy, label: Without, modification: false, training: suite}\n"
    text = AUTHORS.replace("training: {epochs", harmless + "training: {epochs")
    assert expand(load(text)).objections() == {"As all": "As all runs under adam: Adam undoes the modification."}


def test_another_dataset_brings_its_own_training(load: Callable[..., Suite], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Captions, "defaults", {"training": {"epochs": 3}}, raising=False)
    text = AUTHORS.replace("training: suite", "training: {optimizer: {lr: 0.6}}").replace("- fancy\n", "")
    suite = load(text, dataset="captions")
    assert {entry.settings for entry in suite.methods} == {"suite"}
    assert {entry.training.epochs for entry in suite.methods} == {3}

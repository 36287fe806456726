"""What is tried for each method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, ValidationError

from mlabench import registry
from mlabench.errors import UserError
from mlabench.hyperparameters import Hyperparameters, Values
from mlabench.trial import SGD, Adam
from mlabench.tuning.space import OPTIMIZER, Tunable, tunables
from mlabench.tuning.study import Study
from tests.tuning.invented import TEXT, suite_of


def ranges(one: Tunable) -> dict[str, tuple[Any, ...]]:
    return {each.path: each.values.ends for each in one.dimensions}


@pytest.mark.parametrize("name", list(registry.entries("methods")))
def test_each_registered_method_allows_what_it_declares(name: str, tmp_path: Path):
    limits = registry.get("methods", name).about.limits
    modalities = "[audio, image]" if "more than two modalities" in limits else "[audio, image, text]"
    text = f"dataset: {{name: stamps, modalities: {modalities}}}\nmethods: [{name}]\n"
    (one,) = tunables(suite_of(tmp_path, text))  # refuses what the method's Config does not allow
    assert {"training.optimizer.lr", "training.optimizer.weight_decay"} <= set(ranges(one))


def test_each_optimizer_is_searched_around_its_own_rates(tmp_path: Path):
    one, _ = tunables(suite_of(tmp_path))
    found = {(each.optimizer, each.path.rpartition(".")[2]): each.values.ends for each in one.dimensions}
    assert found == {
        ("", "name"): ("adam", "sgd"),
        ("adam", "lr"): pytest.approx((1e-4, 1e-2)),
        ("adam", "weight_decay"): pytest.approx((1e-5, 1e-3)),
        ("sgd", "lr"): pytest.approx((2e-3, 0.2)),
        ("sgd", "weight_decay"): pytest.approx((1e-5, 1e-3)),
    }


def test_rates_under_sgd_are_those_under_adam_again(tmp_path: Path):
    one, _ = tunables(suite_of(tmp_path, settings=("training.optimizer={name: sgd, lr: 0.02}",)))
    rates = {each.optimizer: each.values.ends for each in one.dimensions if each.path.endswith(".lr")}
    assert rates == {"sgd": pytest.approx((2e-3, 0.2)), "adam": pytest.approx((1e-4, 1e-2))}


def test_weight_decay_means_something_else_under_adamw(tmp_path: Path):
    settings = ("training.optimizer.weight_decay=0", "tuning.optimizers=[adamw, sgd]")
    one, _ = tunables(suite_of(tmp_path, settings=settings))
    decays = {each.optimizer: each.values.ends for each in one.dimensions if each.path.endswith(".weight_decay")}
    assert list(decays) == ["adam", "adamw", "sgd"]
    assert decays["adam"] == decays["sgd"] == (0.0, 1e-5, 1e-4, 1e-3)
    assert decays["adamw"] == (0.0, 1e-3, 1e-2, 1e-1)


def test_another_optimizer_takes_nothing_from_the_suites_own(tmp_path: Path):
    one, _ = tunables(suite_of(tmp_path, settings=("training.optimizer.betas=[0.5, 0.99]",)))
    values = {OPTIMIZER: "sgd", "training.optimizer.lr": 0.05, "training.optimizer.weight_decay": 2e-4}
    assert one.candidate(values).training.optimizer == SGD(lr=0.05, momentum=0.9, weight_decay=2e-4)
    kept = one.candidate({**values, OPTIMIZER: "adam"}).training.optimizer
    assert kept == Adam(lr=0.05, betas=(0.5, 0.99), weight_decay=2e-4)


def test_the_first_tries_take_the_optimizers_in_turn_each_within_its_range(tmp_path: Path):
    one, _ = tunables(suite_of(tmp_path))
    study = Study(one, seed=1)
    ranges = {"adam": (1e-4, 1e-2), "sgd": (2e-3, 0.2)}
    proposed = []
    for _ in range(6):
        found = study.ask(5)
        study.tell([0.9 if each[OPTIMIZER] == "sgd" else 0.1 for each in found])
        proposed += found
    assert proposed[0] == one.defaults("adam")
    assert [each[OPTIMIZER] for each in proposed[:10]] == ["adam", "sgd"] * 5
    for each in proposed:
        low, high = ranges[each[OPTIMIZER]]
        assert low <= each["training.optimizer.lr"] <= high
    chosen = [each[OPTIMIZER] for each in proposed[10:]]
    assert chosen.count("sgd") > 2 * chosen.count("adam"), "the search prefers what scores better"


def test_a_suite_can_say_what_of_the_training_is_searched(tmp_path: Path):
    text = TEXT.replace(
        "{tries: 12}",
        "{space: {training.batch_size: {choices: [16, 64]}, training.optimizer.lr: {low: 5.0e-4, high: 0.1}}}",
    )
    concat, qmf = tunables(suite_of(tmp_path, text))
    assert ranges(concat) == {"training.batch_size": (16, 64), "training.optimizer.lr": (5e-4, 0.1)}
    assert ranges(qmf).keys() - ranges(concat).keys() == {"rank_weight"}


def test_what_an_entry_sets_is_not_tuned(tmp_path: Path):
    entry = "{name: qmf, rank_weight: 0.5, training: {optimizer: {lr: 0.1}}}"
    (one,) = tunables(suite_of(tmp_path, TEXT.replace("[concat, qmf]", f"[{entry}]")))
    assert ranges(one) == {"training.optimizer.weight_decay": pytest.approx((1e-5, 1e-3))}
    candidate = one.candidate({"training.optimizer.weight_decay": 3e-4})
    assert candidate.method.config["rank_weight"] == 0.5
    assert (candidate.training.optimizer.lr, candidate.training.optimizer.weight_decay) == (0.1, 3e-4)
    assert candidate.training.epochs == 3


@pytest.mark.parametrize(
    ("space", "problem"),
    [
        ("{training.optimizer.lr: {low: 0.01, high: 0.1}}", "does not hold 0.001, the value that Concat has"),
        ("{training.optimizer.momentum: {low: 0, high: 0.5}}", "there is no 'training.optimizer.momentum'"),
        ("{training.optimizer.weight_decay: {low: -1, high: 0.5}}", "Concat does not allow"),
    ],
)
def test_impossible_spaces_are_refused_before_anything_runs(tmp_path: Path, space: str, problem: str):
    with pytest.raises(UserError) as caught:
        tunables(suite_of(tmp_path, TEXT.replace("{tries: 12}", f"{{space: {space}}}")))
    assert problem in caught.value.problem
    assert caught.value.field == "tuning.space"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "needs 'low' and 'high', or 'choices'"),
        ({"low": 1.0}, "needs 'low' and 'high'"),
        ({"low": 1.0, "high": 1.0}, "'low' must be below 'high'"),
        ({"low": 0.0, "high": 1.0, "log": True}, "'low' above 0"),
        ({"low": 0.0, "high": 1.0, "choices": [1]}, "either 'choices' or"),
        ({"lo": 1.0}, "Extra inputs"),
    ],
)
def test_malformed_values_are_refused(values: dict[str, Any], problem: str):
    with pytest.raises(ValidationError, match=problem):
        Values.model_validate(values)


def test_a_malformed_declaration_names_the_method_and_the_option(monkeypatch: pytest.MonkeyPatch):
    class Config(Hyperparameters):
        depth: int = Field(default=2, json_schema_extra={"tune": {"low": 3, "high": 1}})

    entry = registry.get("methods", "concat")
    about = entry.about.model_copy(update={"config_schema": Config.model_json_schema()})
    monkeypatch.setitem(entry.__dict__, "about", about)
    with pytest.raises(UserError) as caught:
        _ = entry.search_space
    assert caught.value.field == "Concat.Config.depth"
    assert "'low' must be below 'high'" in caught.value.problem


def test_proposals_stay_within_the_space(tmp_path: Path):
    space = (
        "{training.optimizer.lr: {low: 9.999e-4, high: 1.0001e-3, log: true}, training.batch_size: {low: 8, high: 64}}"
    )
    one, _ = tunables(suite_of(tmp_path, TEXT.replace("{tries: 12}", f"{{space: {space}}}")))
    study = Study(one, seed=3)
    proposed = []
    for _ in range(6):
        proposed += study.ask(5)
        study.tell([0.5] * 5)
    assert proposed[0] == {"training.optimizer.lr": 1e-3, "training.batch_size": 64}
    assert all(9.999e-4 <= values["training.optimizer.lr"] <= 1.0001e-3 for values in proposed)
    batches = {values["training.batch_size"] for values in proposed}
    assert all(isinstance(size, int) and 8 <= size <= 64 for size in batches)
    assert len(batches) > 10


def test_a_choice_may_be_a_list(tmp_path: Path):
    one, _ = tunables(
        suite_of(
            tmp_path,
            TEXT.replace("{tries: 12}", "{space: {training.optimizer.betas: {choices: [[0.9, 0.999], [0.5, 0.99]]}}}"),
        )
    )
    study = Study(one, seed=0)
    assert {tuple(values["training.optimizer.betas"]) for values in study.ask(20)} == {(0.9, 0.999), (0.5, 0.99)}

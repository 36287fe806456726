"""Plans: which trials fill the cells of a table, and what is asked of them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mlabench.missing import Missing
from mlabench.suite.plan import Plan, PlannedTrial
from tests.records import make_trial

COMPLETE, HALF, AUDIO = Missing(), Missing.at("balanced", 0.5), Missing(protocol="subset", keep=("audio",))


def cell(label: str, method: str, *tests: Missing, seed: int = 0) -> PlannedTrial:
    return PlannedTrial(label=label, trial=make_trial(method, seed), tests=tests)


PLAN = Plan(
    name="some",
    title="Einige Fälle",
    questions=("Q1", "Q3"),
    paper="table1",
    modalities=("audio", "text"),
    cells=(
        cell("MLA", "mla", COMPLETE, AUDIO),
        cell("Concat", "concat", COMPLETE),
        cell("MLA", "mla", HALF, COMPLETE),
        cell("MLA", "mla", HALF, seed=1),
    ),
    source="name: some\n",
)


def test_cells_that_share_a_trial_are_one_training_with_all_their_tests() -> None:
    assert list(PLAN.trials()) == [
        (make_trial("mla"), (COMPLETE, AUDIO, HALF)),
        (make_trial("concat"), (COMPLETE,)),
        (make_trial("mla", seed=1), (HALF,)),
    ]


def test_labels_come_once_and_in_order() -> None:
    assert PLAN.labels == ("MLA", "Concat")


def test_json_and_back() -> None:
    back = Plan.model_validate_json(PLAN.model_dump_json(indent=1))
    assert back == PLAN
    assert list(back.trials()) == list(PLAN.trials())
    assert [one.trial.id for one in back.cells] == [one.trial.id for one in PLAN.cells]


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ValidationError, match="colour"):
        Plan.model_validate({**PLAN.model_dump(), "colour": "red"})
    with pytest.raises(ValidationError, match="Q9"):
        Plan.model_validate({**PLAN.model_dump(), "questions": ["Q9"]})

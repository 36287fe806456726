"""What tuning was worth, against the comparison of the statistics module."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlabench.missing import Missing
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.results import load
from mlabench.reporting.table import Table
from mlabench.reporting.tables.tuning import tuning_tables
from mlabench.statistics import Outcomes, compare
from mlabench.store.records import Store
from mlabench.suite.plan import Plan, Tuned
from mlabench.trial import Component
from tests.reporting.predicted import IDS, Skill, hits, sweep

SEEDS, RATES = (0, 1, 2), (0.0, 0.5)


def skill(complete: float, half: float, drift: float = 0.0) -> Skill:
    return lambda _target, test, seed: (complete if test.rate == 0 else half) + drift * seed


BEFORE = {"Concat": skill(0.60, 0.50), "MLA": skill(0.70, 0.55)}
AFTER = {"Concat": skill(0.70, 0.50, 0.01), "MLA": skill(0.71, 0.53)}


def tuned(store: Store, before: bool = True, changed: str = "") -> Plan:
    """A tuned suite, and if so wanted the untuned one beside it."""
    if before:
        store.write_plan(sweep(store, BEFORE, seeds=SEEDS, rates=RATES, name="plain"))
    methods = {label: Component(name=name, config={"tuned": True}) for label, name in _NAMES.items()}
    plan = sweep(store, AFTER, seeds=SEEDS, rates=RATES, methods=methods, name="plain_tuned")
    hashes = {cell.label: cell.trial.configuration for cell in plan.cells}
    found = Tuned(
        tries=20,
        seed=0,
        objective="accuracy",
        seeds=(0,),
        missing=("complete",),
        version="1",
        suite="plain",
        scores={"Concat": (0.6, 0.72), "MLA": (None, 0.75)},
        methods={**hashes, **({changed: "other"} if changed else {})},
    )
    return plan.model_copy(update={"tuned": found})


_NAMES = {"Concat": "concat", "MLA": "mla"}


def table(plan: Plan, store: Store) -> Table | None:
    return next(tuning_tables(Evidence(load(plan, store), store)), None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def outcomes(of: Skill, rate: float) -> Outcomes:
    rows = [hits(of("fused", Missing.at("balanced", rate), seed), "fused") for seed in SEEDS]
    return Outcomes(np.stack(rows).astype(float)[:, np.argsort(IDS)], np.arange(len(IDS)), SEEDS)


def test_gains_on_the_test_split_are_paired_differences(store: Store) -> None:
    found = table(tuned(store), store)
    assert found is not None
    assert [column.name for column in found.columns] == [
        "Validation, default",
        "Validation, tuned",
        "Test, 0 %",
        "Test, 50 %",
    ]
    for row in found.rows:
        (label,) = row.heads
        for cell, rate in zip(row.cells[2:], RATES, strict=True):
            expected = compare(outcomes(AFTER[label], rate), outcomes(BEFORE[label], rate)).difference
            assert cell.interval is not None
            assert cell.interval.estimate == pytest.approx(expected.estimate)
            assert (cell.interval.low, cell.interval.high) == pytest.approx((expected.low, expected.high))


def test_scores_on_validation_data_are_those_of_the_tuned_suite(store: Store) -> None:
    found = table(tuned(store), store)
    assert found is not None
    shown = {row.heads[0]: [cell.mean for cell in row.cells[:2]] for row in found.rows}
    assert shown == {"Concat": ["60.0", "72.0"], "MLA": ["failed", "75.0"]}


def test_without_the_untuned_suite_it_says_so(store: Store) -> None:
    found = table(tuned(store, before=False), store)
    assert found is not None
    assert len(found.columns) == 2
    assert "plain, which was tuned, has not run into the same results folder" in found.note


def test_methods_that_were_changed_since_are_left_out(store: Store) -> None:
    found = table(tuned(store, changed="MLA"), store)
    assert found is not None
    assert [row.heads for row in found.rows] == [("Concat",)]


def test_suites_that_were_not_tuned_have_none(store: Store) -> None:
    assert table(sweep(store, BEFORE), store) is None

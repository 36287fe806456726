"""The tables that set variants of one method against the first of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mlabench.missing import Missing
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.results import load
from mlabench.reporting.table import Row, Table
from mlabench.reporting.tables.of_suite import build_tables
from mlabench.reporting.tables.variants import reference, variant_tables
from mlabench.statistics import compare, holm
from mlabench.store.records import Store
from mlabench.suite.plan import Plan
from mlabench.trial import Component
from tests.reporting.predicted import sweep

#: Fused accuracy by label; all are variants of a method that the report has never heard of, but for the last.
SKILL = {"plain": 0.6, "better": 0.7, "a little worse": 0.59, "other method": 0.6}
METHODS = {
    "plain": Component(name="mine"),
    "better": Component(name="mine", config={"way": "better"}),
    "a little worse": Component(name="mine", config={"way": "worse"}),
    "other method": Component(name="other"),
}


def skill(label: str, target: str, test: Missing, seed: int) -> float:
    """With modalities missing, all are worse; audio is worse in ``better``."""
    level = 0.3 if (target, label) == ("audio", "better") else 0.4 if target != "fused" else SKILL[label]
    return level - 0.2 * test.rate + 0.01 * seed


def plan_of(store: Store, labels: Sequence[str] = tuple(SKILL), **options: object) -> Plan:
    skills = {label: (lambda target, test, seed, own=label: skill(own, target, test, seed)) for label in labels}
    return sweep(store, skills, methods=METHODS, questions=(), **options)  # type: ignore[arg-type]


def evidence_of(plan: Plan, store: Store) -> Evidence:
    return Evidence(load(plan, store), store)


def row_of(table: Table, *heads: str) -> Row:
    (row,) = [row for row in table.rows if row.heads == heads]
    return row


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def test_each_method_is_compared_with_the_first(store: Store) -> None:
    evidence = evidence_of(plan_of(store, rates=(0.0, 0.5)), store)
    fused, unimodal = variant_tables(evidence)
    assert [row.heads for row in fused.rows] == [
        (setting, label)
        for setting in ("average", "0 %", "50 %")
        for label in ("better", "a little worse", "other method")
    ]
    for setting in ("average", "0 %", "50 %"):
        assert row_of(fused, setting, "better").cells[0].number == pytest.approx(10.0)
        assert row_of(fused, setting, "a little worse").cells[0].number == pytest.approx(-1.0)
        # Right on the same samples, training by training.
        same = row_of(fused, setting, "other method").cells
        assert same[0].number == 0
        assert same[-1].mean == "practically equal"
    assert row_of(unimodal, "0 %", "audio", "better").cells[0].number == pytest.approx(-10.0)
    assert row_of(unimodal, "0 %", "image", "better").cells[-1].mean == "practically equal"
    assert len(unimodal.rows) == 2 * 3 * 3
    assert fused.title == "Fused accuracy, minus that of plain"
    assert [table.name for table in build_tables(evidence)][-2:] == ["variants", "variants_unimodal"]


def test_intervals_and_corrected_p_values_are_those_of_the_paired_comparison(store: Store) -> None:
    evidence = evidence_of(plan_of(store, alike=False), store)
    fused, _ = variant_tables(evidence)
    assert {row.heads[0] for row in fused.rows} == {"0 %"}  # of one rate there is no average
    outcomes = {label: evidence.outcomes(label, "0 %", "multimodal") for label in SKILL}
    tests = []
    for label in list(SKILL)[1:]:
        one, plain = outcomes[label], outcomes["plain"]
        assert one is not None
        assert plain is not None
        tests.append(compare(one, plain))
    corrected = holm([test.p_value for test in tests])
    for label, test, p in zip(list(SKILL)[1:], tests, corrected, strict=True):
        difference, p_value, _, excluded, trainings, _ = row_of(fused, "0 %", label).cells
        assert difference.interval == test.difference
        assert p_value.mean == ("< 0.001" if p < 0.001 else f"{p:.3f}")
        assert excluded.mean == f"± {test.excluded:.1f}"
        assert trainings.mean == "3"


def test_without_predictions_it_is_over_seeds_alone(store: Store) -> None:
    fused, _ = variant_tables(evidence_of(plan_of(store, rates=(0.0, 0.5), keep=False), store))
    assert row_of(fused, "average", "better").cells[0].number == pytest.approx(10.0)
    assert row_of(fused, "average", "other method").cells[0].number == 0.0  # equal accuracies may be of other samples


def test_a_variant_that_failed_has_no_number(store: Store) -> None:
    failing = [("better", seed) for seed in range(3)]
    fused, _ = variant_tables(evidence_of(plan_of(store, rates=(0.0, 0.5), failing=failing), store))
    assert [cell.mean for cell in row_of(fused, "average", "better").cells] == [*["—"] * 5, "not measured"]
    assert row_of(fused, "average", "better").cells[0].status == "failed 3/3"
    assert row_of(fused, "average", "a little worse").cells[0].number == pytest.approx(-1.0)


def test_a_difference_over_fewer_runs_says_so(store: Store) -> None:
    plan = plan_of(store, rates=(0.0, 0.5), failing=[("better", 1)])
    for table in variant_tables(evidence_of(plan, store)):
        for row in table.rows:
            assert row.cells[0].status == ("failed 1/3" if row.heads[-1] == "better" else "")


def test_suites_about_other_things_have_no_such_table(store: Store) -> None:
    plan = plan_of(store, ["plain", "better", "other method"])
    assert reference(plan) is None
    assert list(variant_tables(evidence_of(plan, store))) == []
    assert reference(plan_of(store, ["other method", "plain", "better", "a little worse"])) is None
    assert reference(plan.model_copy(update={"cells": ()})) is None


def test_a_suite_that_has_not_run_says_so(store: Store) -> None:
    plan = plan_of(store)
    fused, _ = variant_tables(evidence_of(plan, Store(store.root.parent / "empty")))
    assert {cell.mean for row in fused.rows for cell in row.cells} == {"—", "not measured"}

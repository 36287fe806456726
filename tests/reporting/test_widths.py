"""The comparisons whose intervals say when it is enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlabench.reporting import contrasts
from mlabench.store import Store
from mlabench.suite import Plan


def stored(results: Path) -> tuple[Plan, Store]:
    store = Store(results)
    (plan,) = store.plans()
    return plan, store


def mean_difference(plan: Plan, store: Store, setting: str) -> float:
    """Of the accuracies in the records: MLA minus Concat, in points."""
    found: dict[str, list[float]] = {"MLA": [], "Concat": []}
    for cell in plan.cells:
        if cell.trial.missing.key == setting:
            record = store.read(cell.trial.id)
            assert record is not None
            found[cell.label].append(record.evaluations[setting].multimodal.accuracy)
    (mla, concat) = (sum(values) / len(values) for values in found.values())
    return 100 * (mla - concat)


def test_a_plan_without_a_question_compares_mla_with_each_other_method(small_results: Path) -> None:
    plan, store = stored(small_results)
    found = contrasts(plan, store)
    assert list(found) == ["MLA − Concat, 0 % missing", "MLA − Concat, 50 % missing"]
    for comparison, setting in zip(found.values(), ("complete", "balanced-0.5"), strict=True):
        assert comparison.difference.estimate == pytest.approx(mean_difference(plan, store, setting))
        assert comparison.trainings == 2


def test_a_plan_s_questions_say_what_is_compared(small_results: Path) -> None:
    plan, store = stored(small_results)
    found = contrasts(plan.model_copy(update={"questions": ("Q2",)}), store)
    assert found
    assert all(name.startswith("Q2, fused accuracy: MLA − Concat, ") for name in found)
    both = [mean_difference(plan, store, setting) for setting in ("complete", "balanced-0.5")]
    assert any(one.difference.estimate == pytest.approx(sum(both) / 2) for one in found.values())


def test_there_are_none_before_anything_ran_and_without_mla(small_results: Path, tmp_path: Path) -> None:
    plan, store = stored(small_results)
    assert contrasts(plan, Store(tmp_path)) == {}
    others = plan.model_copy(update={"cells": tuple(cell for cell in plan.cells if cell.label != "MLA")})
    assert contrasts(others, store) == {}
    assert contrasts(others.model_copy(update={"questions": ("Q1", "Q2")}), store) == {}

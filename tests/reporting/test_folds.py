from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from mlabench.missing import Missing
from mlabench.reporting.evidence import Archive, Evidence
from mlabench.reporting.questions import answers
from mlabench.reporting.results import MULTIMODAL, load
from mlabench.statistics import Outcomes, compare
from mlabench.store import Store
from mlabench.suite import Plan
from tests.reporting.predicted import IDS, SAMPLES, Skill, dealt, hits, sweep
from tests.reporting.synthetic import MODALITIES

FOLDS = 4
LEVELS = {"MLA": 0.85, "Concat": 0.8}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def skill(level: float, step: float = 0.02) -> Skill:
    return lambda target, _test, seed: level + step * seed if target == "fused" else 0.5


def made(store: Store, **options: object) -> Plan:
    skills = {label: skill(level, 0.02 * place) for place, (label, level) in enumerate(LEVELS.items())}
    return sweep(store, skills, seeds=(0, 1, 2), folds=FOLDS, alike=False, **options)  # type: ignore[arg-type]


def order(found: Evidence) -> np.ndarray:
    """Where each of the evidence's samples stands in :data:`IDS`."""
    assert found.samples is not None
    return np.array([IDS.index(name) for name in found.samples.ids])


def test_the_folds_of_a_repeat_are_pooled(store: Store) -> None:
    found = Evidence(load(made(store), store), store)
    outcomes, at = found.outcomes("Concat", "0 %", MULTIMODAL), order(found)
    assert outcomes is not None
    assert sorted(at) == list(range(SAMPLES))
    assert outcomes.folds is not None
    for row, seed in enumerate((0, 1, 2)):
        np.testing.assert_array_equal(outcomes.correct[row], hits(0.8 + 0.02 * seed, "fused", 2)[at])
        np.testing.assert_array_equal(outcomes.folds[row], dealt(seed, FOLDS)[at])
    assert outcomes.trainings == 12
    assert found.per_seed("Concat", "0 %", MULTIMODAL) == pytest.approx({0: 80.0, 1: 82.0, 2: 84.0})
    trainings = found.per_training("Concat", "0 %", MULTIMODAL)
    assert trainings[1, "3"] == pytest.approx(100 * hits(0.82, "fused", 2)[dealt(1, FOLDS) == 2].mean())


def test_answers_compare_what_is_pooled(store: Store) -> None:
    (_, accuracy) = answers([made(store)], Archive(store))
    groups = np.arange(SAMPLES)
    folds = np.stack([dealt(seed, FOLDS) for seed in range(3)])
    mla = np.stack([hits(0.85, "fused", 1)] * 3)
    concat = np.stack([hits(0.8 + 0.02 * seed, "fused", 2) for seed in range(3)])
    expected = compare(Outcomes(mla, groups, (0, 1, 2), folds), Outcomes(concat, groups, (0, 1, 2), folds))
    (contrast,) = accuracy.family.contrasts
    assert contrast.decision is not None
    found = contrast.decision.comparison
    assert found.difference.estimate == pytest.approx(3.0)
    assert found.half_width == pytest.approx(expected.half_width, rel=0.05)  # groups come in another order
    assert (found.seeds, found.trainings, found.groups) == (3, 12, SAMPLES)


def test_a_repeat_that_lacks_a_fold_does_not_count_and_is_named(store: Store) -> None:
    plan = made(store, failing=[("Concat", 1, 3)])
    found = Evidence(load(plan, store), store)
    outcomes = found.outcomes("Concat", "0 %", MULTIMODAL)
    assert outcomes is not None
    assert outcomes.seeds == (0, 2)
    assert found.per_seed("Concat", "0 %", MULTIMODAL).keys() == {0, 2}
    assert len(found.per_training("Concat", "0 %", MULTIMODAL)) == 11
    (_, accuracy) = answers([plan], Archive(store))
    assert "8 trainings per method" in accuracy.family.contrasts[0].statement
    assert "Left out of Concat, since folds are missing: repeat 1." in accuracy.caveats


def test_a_modality_is_judged_over_the_samples_that_have_it(store: Store) -> None:
    found = Evidence(load(made(store, rates=(0.5,)), store), store)
    outcomes, at = found.outcomes("MLA", "50 %", "image"), order(found)
    assert outcomes is not None
    here = Missing.at("balanced", 0.5).pattern("stamps", IDS, MODALITIES)[at, 1]
    np.testing.assert_array_equal(outcomes.correct[1], hits(0.5, "image", 1)[at][here])
    np.testing.assert_array_equal(found.presence("MLA", "50 %")[:, 1], here)
    assert found.per_seed("MLA", "50 %", "image")[1] == pytest.approx(100 * outcomes.correct[1].mean())


def test_without_outcomes_trainings_are_compared(store: Store) -> None:
    (_, accuracy) = answers([made(store, keep=False)], Archive(store))
    assert "over trainings alone, 12 trainings per method" in accuracy.family.contrasts[0].statement


def test_folds_and_none_are_not_taken_together(store: Store) -> None:
    folded = made(store)
    whole = sweep(store, {label: skill(level) for label, level in LEVELS.items()}, name="whole")
    found = answers([whole, folded], Archive(store))
    assert {answer.dataset: answer.suites for answer in found} == {
        "stamps": ("predicted",),
        "stamps (whole)": ("whole",),
    }


def test_the_checks_beside_a_comparison(store: Store) -> None:
    (_, accuracy) = answers([made(store)], Archive(store))
    (row,) = next(table for table in accuracy.tables if table.name == "checks").rows
    concat = [hits(0.8 + 0.02 * seed, "fused", 2) for seed in range(3)]
    differences = np.array([
        100 * (hits(0.85, "fused", 1)[here].mean() - concat[seed][here].mean())
        for seed in range(3) for here in (dealt(seed, FOLDS) == fold for fold in range(FOLDS))
    ])  # fmt: skip
    half = t.ppf(0.975, 11) * differences.std(ddof=1) * np.sqrt(1 / 12 + 1 / (FOLDS - 1))
    interval, likely = row.cells[0].interval, row.cells[2].interval
    assert interval is not None
    assert likely is not None
    assert (interval.estimate, interval.half_width) == pytest.approx((differences.mean(), half))
    assert likely.estimate == pytest.approx(100 * ((differences > 0) + 0.5 * (differences == 0)).mean())

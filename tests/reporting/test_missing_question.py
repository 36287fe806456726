from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlabench.missing import Missing
from mlabench.reporting.answer import Answer
from mlabench.reporting.evidence import Archive
from mlabench.reporting.questions import answers
from mlabench.reporting.table import Table
from mlabench.store import Store
from mlabench.suite import Plan
from tests.reporting.predicted import IDS, SAMPLES, Skill, hits, sweep
from tests.reporting.synthetic import MODALITIES
from tests.reporting.synthetic import sweep as sweep_without_predictions

RATES = (0.0, 0.2, 0.6)

Levels = tuple[float, ...]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def skill(*fused: float, step: float = 1 / SAMPLES) -> Skill:
    """Fused accuracies at the rates, and what each seed adds; each modality is right half of the time."""
    levels = dict(zip(RATES, fused, strict=True))
    return lambda target, test, seed: levels[test.rate] + step * seed if target == "fused" else 0.5


def area(*fused: float) -> float:
    """By hand: two trapezoids over 0.2 and 0.4."""
    return 100 * (0.2 * (fused[0] + fused[1]) / 2 + 0.4 * (fused[1] + fused[2]) / 2) / 0.6


def asked(plan: Plan, store: Store) -> Answer:
    (found,) = answers([plan], Archive(store))
    return found


def made(store: Store, levels: dict[str, Levels], **options: object) -> Plan:
    skills = {label: skill(*fused, step=place / SAMPLES) for place, (label, fused) in enumerate(levels.items())}
    return sweep(store, skills, rates=RATES, questions=("Q2",), **options)  # type: ignore[arg-type]


def table(found: Answer, name: str) -> Table:
    return next(table for table in found.tables if table.name == name)


CONCAT = (0.86, 0.78, 0.55)
QMF = (0.88, 0.80, 0.66)
MLA = (0.90, 0.85, 0.70)


def test_the_best_curve_and_its_numbers(store: Store) -> None:
    found = asked(made(store, {"Concat": CONCAT, "QMF": QMF, "MLA": MLA}), store)
    assert found.verdict == "better"
    assert found.effect is not None
    # Seeds add nothing to Concat, 0, 1/4 and 2/4 points to QMF, and twice that to MLA.
    assert found.effect.estimate == pytest.approx(area(*MLA) - area(*QMF) + 0.25)
    assert found.effect.low > 0
    assert "Better: better than every other method." in found.rule
    assert found.rule.endswith("Margin, fixed in the suite: 2 points.")
    assert found.sentence.startswith(
        "On average over the missing rates, MLA is better than all 2 others (by +4.4 to +9.7)."
    )
    assert found.sentence.endswith("At every single rate it is better than each of them.")
    by_rate = dict(found.more)["Rate by rate, corrected together"]
    gains = [one.effect and one.effect.estimate for one in by_rate.contrasts]
    assert gains == pytest.approx([4.5, 7.5, 15.5, 2.25, 5.25, 4.25])
    (concat, qmf) = next(chart for chart in found.charts if chart.name == "differences").panels
    assert (concat.title, concat.band, concat.reference) == ("Concat", 2.0, 0.0)
    assert list(qmf.series[0].x) == [0.0, 20.0, 60.0]
    assert list(qmf.series[0].y) == pytest.approx([2.25, 5.25, 4.25])


def test_the_interval_of_an_area_is_that_of_a_mean_over_samples(store: Store) -> None:
    found = asked(made(store, {"Concat": CONCAT, "MLA": MLA}, alike=False), store)
    weights = (1 / 6, 1 / 2, 1 / 3)
    own, other = (
        sum(w * 100.0 * hits(level, "fused", salt) for w, level in zip(weights, fused, strict=True))
        for salt, fused in ((2, MLA), (1, CONCAT))
    )
    half = 1.96 * np.std(own - other) / np.sqrt(SAMPLES)
    assert found.effect is not None
    middle = area(*MLA) - area(*CONCAT) + 0.25
    assert (found.effect.low, found.effect.high) == pytest.approx((middle - half, middle + half), abs=0.6)


def test_a_higher_curve_and_a_lower_one_are_mixed(store: Store) -> None:
    found = asked(made(store, {"Concat": CONCAT, "QMF": (0.95, 0.90, 0.80), "MLA": MLA}), store)
    assert [one.verdict for one in found.family.contrasts] == ["better", "worse"]
    assert found.verdict == "mixed"
    assert found.effect is not None
    assert found.effect.estimate < 0


def test_curves_that_cross(store: Store) -> None:
    crossing = (0.96, 0.81, 0.55)  # 6 points above, then 4 and 15 below
    found = asked(made(store, {"Concat": CONCAT, "QMF": crossing, "MLA": MLA}), store)
    assert found.verdict == "better"
    assert "worse than QMF at 0 %" in found.sentence
    assert "Curves cross: QMF at 0 % to 20 %." in found.sentence


def test_equal_curves_are_practically_equal_within_the_margin_of_the_suite(store: Store) -> None:
    levels = {"Concat": (0.90, 0.85, 0.69), "MLA": MLA}
    assert asked(made(store, levels), store).verdict == "practically equal"  # 0.6 points above
    unlike = made(store, levels, alike=False)
    assert asked(unlike, store).verdict == "undecided"
    assert asked(unlike.model_copy(update={"margin": 8.0}), store).verdict == "practically equal"
    assert "8 points" in next(chart for chart in asked(unlike.model_copy(update={"margin": 8.0}), store).charts).caption


def test_accuracies_by_pattern_agree_with_numpy(store: Store) -> None:
    found = asked(made(store, {"Concat": CONCAT, "MLA": MLA}, alike=False, seeds=(0, 0)[:1]), store)
    one = table(found, "patterns")
    present = Missing.at("balanced", 0.6).pattern("stamps", IDS, MODALITIES)
    right = hits(MLA[2], "fused", 2)
    names = [" + ".join(np.array(MODALITIES)[row]) for row in present]
    expected = {
        f"{name} (n = {names.count(name)})": 100 * right[[other == name for other in names]].mean()
        for name in set(names)
    }
    cells = dict(zip((column.name for column in one.columns), one.rows[1].cells, strict=True))
    assert {name: cell.number for name, cell in cells.items()} == pytest.approx(expected)
    sizes = [name.count("+") for name in cells]
    assert sizes == sorted(sizes)


def test_without_predictions_trainings_are_compared(store: Store) -> None:
    found = asked(made(store, {"Concat": CONCAT, "MLA": MLA}, keep=False), store)
    # By hand: areas with the three seeds are 0, 1/4 and 2/4 points above the first; t(0.975, 2) = 4.3027.
    difference, half = area(*MLA) + 0.25 - area(*CONCAT), 4.3027 * 0.25 / np.sqrt(3)
    assert found.effect is not None
    assert (found.effect.low, found.effect.high) == pytest.approx((difference - half, difference + half), abs=1e-3)
    assert not [table for table in found.tables if table.name == "patterns"]
    assert any("over trainings alone" in caveat for caveat in found.caveats)


def test_a_seed_that_lacks_a_rate_does_not_count(store: Store) -> None:
    found = asked(made(store, {"Concat": CONCAT, "MLA": MLA}, failing=[("Concat", 2)]), store)
    assert "n = 400, 2 trainings per method" in found.family.contrasts[0].statement
    concat = table(found, "accuracies").rows[0].cells
    assert concat[-1].mean == "3 of 9 failed"
    assert not concat[0].best


def test_a_method_is_compared_over_the_rates_that_it_has(store: Store) -> None:
    plan = made(store, {"Concat": CONCAT, "QMF": QMF, "MLA": MLA})
    cells = [cell for cell in plan.cells if cell.label != "QMF" or cell.trial.missing.rate < 0.6]
    found = asked(plan.model_copy(update={"cells": tuple(cells)}), store)
    concat, qmf = found.family.contrasts
    assert (concat.where, qmf.where) == ("mean of 0 %, 20 % and 60 %", "mean of 0 % and 20 %")
    assert qmf.effect is not None
    assert qmf.effect.estimate == pytest.approx((2.25 + 5.25) / 2)


def test_a_rate_with_few_repeats_yet_is_left_out(store: Store) -> None:
    plan = made(store, {"Concat": CONCAT, "MLA": MLA}, seeds=range(5))
    cells = [cell for cell in plan.cells if cell.trial.missing.rate < 0.6 or cell.trial.seed < 2]
    found = asked(plan.model_copy(update={"cells": tuple(cells)}), store)
    assert found.family.contrasts[0].where == "mean of 0 % and 20 %"
    assert any("Rates left out, since fewer than half of the repeats are there: 60 %" in one for one in found.caveats)


def test_suites_that_ask_the_same_are_answered_together(store: Store) -> None:
    plan = made(store, {"Concat": CONCAT, "QMF": QMF, "MLA": MLA})

    def part(name: str, kept: object) -> Plan:
        return plan.model_copy(update={"name": name, "cells": tuple(filter(kept, plan.cells))})  # type: ignore[arg-type]

    halves = part("low", lambda cell: cell.trial.missing.rate < 0.6), part("rest", lambda cell: cell.trial.missing.rate)
    together, whole = answers(halves, Archive(store)), asked(plan, store)
    assert [answer.suites for answer in together] == [("low", "rest")]
    assert together[0].family == whole.family
    other = part("other", lambda cell: True).model_copy(update={"margin": 1.0})
    assert [answer.dataset for answer in answers([plan, other], Archive(store))] == ["stamps", "stamps (other)"]


def test_no_answer_without_a_curve_or_a_rival(store: Store) -> None:
    for labels, rates in ((["Concat", "MLA"], (0.0,)), (["MLA"], RATES), (["Concat"], RATES)):
        plan = sweep_without_predictions(store, labels, rates=rates, questions=("Q2",))
        assert answers([plan], Archive(store)) == []


def test_nothing_measured_yet(store: Store) -> None:
    found = asked(sweep_without_predictions(store, ["Concat", "MLA"], questions=("Q2",), write=False), store)
    assert (found.verdict, found.effect) == ("undecided", None)
    assert "undecided against Concat (not measured)" in found.sentence

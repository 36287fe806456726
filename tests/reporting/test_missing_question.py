from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlabench.missing import Missing
from mlabench.reporting.charts import Chart
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.former import Answer
from mlabench.reporting.questions.missing import answer
from mlabench.reporting.results import load
from mlabench.reporting.table import Table
from mlabench.store.records import Store
from mlabench.suite.plan import Plan
from tests.reporting.predicted import IDS, SAMPLES, Skill, hits, sweep
from tests.reporting.synthetic import MODALITIES
from tests.reporting.synthetic import sweep as sweep_without_predictions

RATES = (0.0, 0.2, 0.6)

Levels = tuple[float, ...]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def skill(*fused: float, step: float = 0.0) -> Skill:
    """Fused accuracies at the rates, and what each seed adds; each modality is right half of the time."""
    levels = dict(zip(RATES, fused, strict=True))
    return lambda target, test, seed: levels[test.rate] + step * seed if target == "fused" else 0.5


def area(*fused: float) -> float:
    """By hand: two trapezoids over 0.2 and 0.4."""
    return 100 * (0.2 * (fused[0] + fused[1]) / 2 + 0.4 * (fused[1] + fused[2]) / 2) / 0.6


def asked(plan: Plan, store: Store) -> Answer:
    found = answer(Evidence(load(plan, store), store))
    assert found is not None
    return found


def made(store: Store, levels: dict[str, Levels], alike: bool = True, keep: bool = True) -> Plan:
    return sweep(
        store,
        {label: skill(*fused) for label, fused in levels.items()},
        rates=RATES,
        alike=alike,
        keep=keep,
        questions=("Q2",),
    )


def table(found: Answer, name: str) -> Table:
    return next(table for table in found.tables if table.name == name)


def chart(found: Answer, name: str) -> Chart:
    return next(chart for chart in found.charts if chart.name == name)


MLA = (0.90, 0.85, 0.70)
CONCAT = (0.86, 0.78, 0.55)
QMF = (0.88, 0.80, 0.66)


def test_the_best_curve_is_supported_and_its_numbers_are_right(store: Store) -> None:
    found = asked(made(store, {"Concat": CONCAT, "QMF": QMF, "MLA": MLA}), store)
    assert found.verdict == "supported"
    assert found.effect is not None
    assert found.effect.estimate == pytest.approx(area(*MLA) - area(*QMF))
    assert found.effect.low > 0
    assert "the strongest other method, QMF" in found.headline
    rows = {row.heads[0]: row.cells for row in table(found, "area").rows}
    for label, fused in (("Concat", CONCAT), ("QMF", QMF), ("MLA", MLA)):
        own, difference, _, _, better, middle, drop, lost = rows[label]
        assert own.number == pytest.approx(area(*fused))
        assert own.interval is not None
        assert own.interval.low < area(*fused) < own.interval.high
        assert drop.number == pytest.approx(100 * (fused[0] - fused[2]) / fused[0])
        # Nine runs, three at each rate; a quarter of them, two, is cut off at either end.
        assert middle.number == pytest.approx(100 * (fused[0] + 3 * fused[1] + fused[2]) / 5)
        assert lost.mean == "none"
        if label != "MLA":
            assert difference.number == pytest.approx(area(*MLA) - area(*fused))
            assert better.mean == "100"
    assert [rows[label][0].best for label in ("Concat", "QMF", "MLA")] == [False, False, True]
    for part in ("n = 400 test samples", "3 seeds (0–2)", "best_val", "stand-in"):
        assert part in table(found, "area").caption


def test_the_interval_of_an_area_is_that_of_a_mean_over_samples(store: Store) -> None:
    found = asked(made(store, {"Concat": CONCAT, "MLA": MLA}, alike=False), store)
    weights = (1 / 6, 1 / 2, 1 / 3)
    per_sample = sum(w * 100.0 * hits(level, "fused", 2) for w, level in zip(weights, MLA, strict=True))
    half = 1.96 * np.std(per_sample) / np.sqrt(SAMPLES)  # the same samples are right with every seed
    interval = table(found, "area").rows[1].cells[0].interval
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((area(*MLA) - half, area(*MLA) + half), abs=0.4)


def test_a_higher_curve_contradicts(store: Store) -> None:
    found = asked(made(store, {"Concat": CONCAT, "QMF": (0.95, 0.90, 0.80), "MLA": MLA}), store)
    assert found.verdict == "contradicted"
    assert [finding.verdict for finding in found.findings[:2]] == ["supported", "contradicted"]


def test_curves_that_cross_leave_it_open(store: Store) -> None:
    crossing = (0.96, 0.81, 0.55)  # 6 points above, then 4 and 15 below
    found = asked(made(store, {"Concat": CONCAT, "QMF": crossing, "MLA": MLA}), store)
    assert [finding.verdict for finding in found.findings] == ["supported", "supported", "not decided"]
    assert found.verdict == "not decided"
    assert found.findings[-1].statement.startswith("MLA lies below QMF at 0 % (−6.0 points [")
    concat, qmf = table(found, "differences").rows
    assert [cell.mean for cell in concat.cells] == ["+4.0", "+7.0", "+15.0", "none"]
    assert [cell.mean for cell in qmf.cells] == ["-6.0", "+4.0", "+15.0", "12 %"]  # 20 % * 6 / (6 + 4)


def test_a_crossing_between_indistinguishable_accuracies_is_in_doubt(store: Store) -> None:
    close = (0.905, 0.845, 0.695)
    found = asked(made(store, {"Concat": close, "MLA": MLA}, alike=False), store)
    (row,) = table(found, "differences").rows
    assert row.cells[-1].mean == "10 % (in doubt)"
    assert found.verdict == "not decided"


def test_accuracies_by_pattern_agree_with_numpy(store: Store) -> None:
    found = asked(made(store, {"Concat": CONCAT, "MLA": MLA}, alike=False), store)
    shown = [table for table in found.tables if table.name.startswith("patterns")]
    assert [(one.name, one.detail) for one in shown] == [("patterns_60", False), ("patterns_20", True)]
    for one, rate, level in zip(shown, (0.6, 0.2), (MLA[2], MLA[1]), strict=True):
        present = Missing.at("balanced", rate).pattern("stamps", IDS, MODALITIES)
        right = hits(level, "fused", 2)
        names = [" + ".join(np.array(MODALITIES)[row]) for row in present]
        expected = {
            f"{name} (n = {names.count(name)})": 100 * right[[other == name for other in names]].mean()
            for name in set(names)
        }
        cells = dict(zip((column.name for column in one.columns), one.rows[1].cells, strict=True))
        assert {name: cell.number for name, cell in cells.items()} == pytest.approx(expected)
        sizes = [name.count("+") for name in cells]
        assert sizes == sorted(sizes)


def test_ranks_by_hand(store: Store) -> None:
    crossing = (0.96, 0.81, 0.55)
    found = asked(made(store, {"Concat": CONCAT, "QMF": crossing, "MLA": MLA}), store)
    ranks = {row.heads[0]: row.cells[0].mean for row in table(found, "ranks").rows}
    assert ranks == {"MLA": "1.33", "QMF": "1.83", "Concat": "2.83"}
    assert list(ranks) == ["MLA", "QMF", "Concat"]
    (diagram,) = chart(found, "ranks").panels
    # Nemenyi for three methods over three tasks: 2.343 * sqrt(3 * 4 / (6 * 3)).
    half = 2.343 * (3 * 4 / (6 * 3)) ** 0.5 / 2
    assert [series.label for series in diagram.series] == ["MLA", "QMF", "Concat"]
    for series, mean in zip(diagram.series, (4 / 3, 11 / 6, 17 / 6), strict=True):
        assert series.y == pytest.approx([mean])
        assert series.low == pytest.approx([mean - half], abs=2e-3)
        assert series.high == pytest.approx([mean + half], abs=2e-3)


def test_the_chart_shows_every_target_with_intervals(store: Store) -> None:
    found = asked(made(store, {"Concat": CONCAT, "MLA": MLA}), store)
    lines = chart(found, "accuracy_by_rate")
    assert [panel.title for panel in lines.panels] == ["multimodal", *MODALITIES]
    mla = lines.panels[0].series[1]
    assert (mla.label, list(mla.x), list(mla.y)) == ("MLA", [0.0, 20.0, 60.0], pytest.approx([90.0, 85.0, 70.0]))
    assert all(low < y < high for low, y, high in zip(mla.low, mla.y, mla.high, strict=True))
    assert "Modalities are missing in training, validation and test." in lines.caption


def test_without_predictions_seeds_are_compared(store: Store) -> None:
    skills = {"Concat": skill(*CONCAT), "MLA": skill(*MLA, step=0.01)}
    found = asked(sweep(store, skills, rates=RATES, keep=False, questions=("Q2",)), store)
    # By hand: areas with the three seeds are 0, 1 and 2 points above the first; t(0.975, 2) = 4.3027.
    difference, half = area(*MLA) + 1 - area(*CONCAT), 4.3027 / np.sqrt(3)
    assert found.effect is not None
    assert (found.effect.low, found.effect.high) == pytest.approx((difference - half, difference + half), abs=1e-3)
    assert not [table for table in found.tables if table.name.startswith("patterns")]
    assert table(found, "area").rows[1].cells[0].std == "1.0"
    assert any("over seeds alone" in caveat for caveat in found.caveats)


def test_a_seed_that_lacks_a_rate_has_no_area(store: Store) -> None:
    skills = {"Concat": skill(*CONCAT), "MLA": skill(*MLA)}
    found = asked(sweep(store, skills, rates=RATES, questions=("Q2",), failing=[("Concat", 2)]), store)
    concat = table(found, "area").rows[0].cells
    assert concat[0].status == "failed 1/3"
    assert concat[-1].mean == "3 of 9 failed"
    assert "n = 400, 2 seeds" in found.findings[0].statement
    assert not concat[0].best


def test_a_method_that_lacks_a_rate_by_plan_is_not_compared(store: Store) -> None:
    plan = made(store, {"Concat": CONCAT, "QMF": QMF, "MLA": MLA})
    cells = [cell for cell in plan.cells if cell.label != "QMF" or cell.trial.missing.rate < 0.6]
    found = asked(plan.model_copy(update={"cells": tuple(cells)}), store)
    assert found.verdict == "supported"
    assert len(found.findings) == 2
    assert any(caveat.endswith("does not ask for all rates of it: QMF.") for caveat in found.caveats)
    assert [cell.status for cell in table(found, "area").rows[1].cells[:1]] == ["n/a"]


def test_no_answer_without_a_curve_or_a_rival(store: Store) -> None:
    single = sweep(store, {"MLA": skill(*MLA), "Concat": skill(*CONCAT)}, questions=("Q2",))
    assert answer(Evidence(load(single, store), store)) is None
    alone = made(store, {"MLA": MLA})
    assert answer(Evidence(load(alone, store), store)) is None


def test_nothing_measured_yet(store: Store) -> None:
    found = asked(sweep_without_predictions(store, ["Concat", "MLA"], write=False), store)
    assert found.verdict == "not decided"
    assert found.effect is None
    assert [finding.verdict for finding in found.findings] == ["not decided"] * 2
    assert {table.name for table in found.tables} == {"area", "differences"}

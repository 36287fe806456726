"""Ranks, distances and p-values against sums by hand and the comparisons of the statistics module."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from mlabench.reporting.evidence import Evidence
from mlabench.reporting.results import MULTIMODAL, load
from mlabench.reporting.tables.leaderboard import Leaderboard, leaderboard, standings
from mlabench.statistics import Outcomes, averaged, compare, holm, mean_over_datasets
from mlabench.store.records import Store
from mlabench.suite.plan import Plan
from mlabench.trial import Component
from tests.reporting.predicted import SAMPLES, Skill, hits, sweep

RATES = (0.0, 0.5)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def skill(complete: float, half: float | None = None) -> Skill:
    """Accuracies that are whole numbers of samples, the same with every seed."""
    return lambda _target, test, _seed: complete if half is None or test.rate == 0 else half


def board(plan: Plan, store: Store) -> Leaderboard:
    found = leaderboard(Evidence(load(plan, store), store))
    assert found is not None
    return found


def rows(found: Leaderboard) -> dict[str, list[str]]:
    return {row.heads[1]: [row.heads[0], *(cell.mean for cell in row.cells)] for row in found.table.rows}


SKILLS = {"Concat": skill(0.70, 0.40), "QMF": skill(0.80, 0.50), "MMIN": skill(0.75, 0.75), "MLA": skill(0.78, 0.70)}


def test_methods_are_ranked_by_their_mean_over_the_rates(store: Store) -> None:
    found = board(sweep(store, SKILLS, rates=RATES), store)
    assert [(row.heads, row.cells[0].number) for row in found.table.rows] == [
        (("1", "MMIN"), pytest.approx(75.0)),
        (("2", "MLA"), pytest.approx(74.0)),
        (("3", "QMF"), pytest.approx(65.0)),
        (("4", "Concat"), pytest.approx(55.0)),
    ]
    assert list(found.outcomes) == ["MMIN", "MLA", "QMF", "Concat"]
    assert "averaged over the missing rates 0 % and 50 %" in found.table.note
    assert [series.label for series in found.chart.panels[0].series] == ["MMIN", "MLA", "QMF", "Concat"]
    assert [series.y[0] for series in found.chart.panels[0].series] == pytest.approx([75, 74, 65, 55])


def test_several_rates_are_averaged_as_the_area_under_their_curve(store: Store) -> None:
    rates, steep, flat = (0.0, 0.2, 0.8), (0.9, 0.5, 0.4), (0.7, 0.6, 0.5)
    skills: dict[str, Skill] = {
        label: (lambda _target, test, _seed, levels=levels: levels[rates.index(test.rate)])
        for label, levels in {"Concat": steep, "MLA": flat}.items()
    }
    found = board(sweep(store, skills, rates=rates), store)
    cells = {row.heads[1]: row.cells[0].number for row in found.table.rows}
    for label, levels in {"Concat": steep, "MLA": flat}.items():
        assert cells[label] == pytest.approx(100 * np.trapezoid(levels, rates) / 0.8)
    assert "(trapezoidal rule), as Q2 compares it" in found.table.note


def means(plan: Plan, store: Store) -> dict[str, Outcomes]:
    """Right and wrong, averaged over both rates."""
    evidence = Evidence(load(plan, store), store)
    found = {}
    for label in SKILLS:
        whole = averaged([evidence.outcomes(label, setting, MULTIMODAL) for setting in ("0 %", "50 %")])
        assert whole is not None
        found[label] = whole
    return found


def test_places_follow_from_the_comparisons_in_pairs(store: Store) -> None:
    plan = sweep(store, SKILLS, rates=RATES, alike=False)
    known, found = means(plan, store), board(plan, store)
    shown = rows(found)
    pairs = list(combinations(known, 2))
    tests = [compare(known[a], known[b]) for a, b in pairs]
    told_apart = [p < 0.05 for p in holm([test.p_value for test in tests])]
    signs = [np.sign(test.difference.estimate) * apart for test, apart in zip(tests, told_apart, strict=True)]
    for label in known:
        ahead = [sign * (1 if a == label else -1) for (a, b), sign in zip(pairs, signs, strict=True) if label in (a, b)]
        first, last = 1 + ahead.count(-1), 4 - ahead.count(1)
        assert shown[label][2] == (str(first) if first == last else f"{first}–{last}")
        row = next(row for row in found.table.rows if row.heads[1] == label)
        assert row.cells[0].best is (first == 1), "bold: who may be first"
    assert 0 < sum(told_apart) < 6
    assert f"{100 * np.mean(told_apart):.0f} % of the 6 pairs of methods are distinguishable" in found.table.note
    # Which samples are right at each rate, counted.
    right = np.mean([hits(accuracy, "fused", 4) for accuracy in (0.78, 0.70)], axis=0)
    assert len(right) == SAMPLES
    mla = next(row for row in found.table.rows if row.heads[1] == "MLA")
    assert mla.cells[0].number == pytest.approx(100 * right.mean())


def test_how_often_mla_wins_and_how_sure_predictions_are(store: Store) -> None:
    wins = {0: 0.9, 1: 0.6, 2: 0.8}  # by seed; against 0.8 a win, a loss, and a tie, which is half a win
    plan = sweep(store, {"Concat": skill(0.8), "MLA": lambda _target, _test, seed: wins[seed]}, folds=5)
    table = board(plan, store).table
    assert [column.name for column in table.columns] == ["Accuracy", "Places", "P(MLA > it)", "Brier", "ECE"]
    cells = {row.heads[1]: row.cells for row in table.rows}
    assert cells["Concat"][0].number == pytest.approx(80)
    assert (cells["Concat"][0].planned, cells["Concat"][0].failed) == (3, 0), "repeats, not folds"
    assert cells["Concat"][2].number == pytest.approx(50)
    assert cells["MLA"][2].text == "—"
    assert cells["Concat"][3].text == "40.0"  # 0.25 where it is right, 1 where it is wrong
    # The logit of the prediction is 1, those of the three others 0; each fold is less sure than it is right.
    confidence = np.exp(1) / (np.exp(1) + 3)
    assert float(cells["Concat"][4].text) == pytest.approx(100 * (0.8 - confidence), abs=0.06)


def test_columns_that_nobody_has_numbers_for_are_left_out(store: Store) -> None:
    table = board(sweep(store, {"Concat": skill(0.8), "QMF": skill(0.7)}), store).table
    assert [column.name for column in table.columns] == ["Accuracy", "Places", "ECE"]
    assert "P(" not in table.note


def test_of_one_seed_no_method_has_a_place_of_its_own(store: Store) -> None:
    found = rows(board(sweep(store, {"Concat": skill(0.3), "MLA": skill(0.9)}, seeds=(0,)), store))
    assert [found[label][2] for label in ("Concat", "MLA")] == ["1–2", "1–2"]


def test_without_predictions_there_are_ranks_but_no_places(store: Store) -> None:
    found = board(sweep(store, {"Concat": skill(0.3), "MLA": skill(0.9)}, keep=False), store)
    assert [row[0] for row in rows(found).values()] == ["1", "2"]
    assert {row[2] for row in rows(found).values()} == {"—"}
    assert found.ranking is None


def test_standings_are_means_over_datasets_in_pairs(store: Store, tmp_path: Path) -> None:
    plans = [sweep(store, SKILLS, rates=RATES, alike=False)]
    other = Store(tmp_path / "other")
    shifted = {label: skill(0.9 - 0.1 * place) for place, label in enumerate(SKILLS)}
    boards = {"stamps": board(plans[0], store), "clipart": board(sweep(other, shifted, alike=False), other)}
    found = standings(boards, "", margin=2.0)
    assert found is not None
    table, chart = found
    assert [column.name for column in table.columns] == ["Mean place", "stamps", "clipart", "MLA minus it"]
    cells = {row.heads[0]: row.cells for row in table.rows}
    places = {label: [list(one.outcomes).index(label) + 1 for one in boards.values()] for label in SKILLS}
    assert {label: float(own[0].text) for label, own in cells.items()} == {
        label: np.mean(own) for label, own in places.items()
    }
    assert cells["MLA"][3].text == "—"
    effects = {name: compare(one.outcomes["MLA"], one.outcomes["QMF"]).difference for name, one in boards.items()}
    assert cells["QMF"][3].interval == mean_over_datasets(effects).mean
    assert chart is not None
    assert [series.label for series in chart.panels[0].series] == [label for label in cells if label != "MLA"]
    assert standings({"stamps": boards["stamps"]}, "", margin=2.0) is None


def test_a_method_that_lacks_a_run_has_no_rank(store: Store) -> None:
    plan = sweep(store, SKILLS, rates=RATES, failing=[("MMIN", 1)])
    found = board(plan, store)
    assert rows(found)["MMIN"][:4] == ["—", "75.0", "—", "—"]
    assert [row.heads for row in found.table.rows] == [("1", "MLA"), ("2", "QMF"), ("3", "Concat"), ("—", "MMIN")]
    assert not found.table.rows[-1].cells[0].best
    assert "MMIN" not in {series.label for series in found.chart.panels[0].series}


def test_equals_share_a_rank_and_places(store: Store) -> None:
    found = rows(board(sweep(store, {"Concat": skill(0.7), "QMF": skill(0.8), "MLA": skill(0.8)}), store))
    assert [found[label][0] for label in ("QMF", "MLA", "Concat")] == ["1", "1", "3"]
    assert found["MLA"][2] == found["QMF"][2] == "1–2"


def test_suites_about_one_method_have_none(store: Store) -> None:
    skills = {"MLA": skill(0.8), "without HGM": skill(0.7), "without DF": skill(0.6)}
    methods = {label: Component(name="mla", config={"alpha": place}) for place, label in enumerate(skills)}
    plan = sweep(store, skills, methods=methods)
    assert leaderboard(Evidence(load(plan, store), store)) is None
    two = {label: skills[label] for label in list(skills)[:2]}
    ablation = sweep(store, two, methods=methods, questions=("Q3",))
    assert leaderboard(Evidence(load(ablation, store), store)) is None
    alone = sweep(store, {"MLA": skill(0.8)})
    assert leaderboard(Evidence(load(alone, store), store)) is None


def test_one_rate_is_not_called_a_mean(store: Store) -> None:
    found = board(sweep(store, {"Concat": skill(0.7), "MLA": skill(0.8)}), store)
    assert found.chart.title == "Leaderboard: fused accuracy"
    assert "averaged over" not in found.table.note


def test_time_where_that_was_measured(store: Store) -> None:
    """In units of the suite's first method, on the mean of the seeds, at the first of the rates."""
    plan = sweep(store, SKILLS, rates=RATES)
    milliseconds = {"Concat": 2.0, "QMF": 3.0, "MLA": 5.0}
    for cell in plan.cells:
        record = store.read(cell.trial.id)
        assert record is not None
        if cell.label in milliseconds:
            late = 100.0 if cell.trial.missing.rate else 1.0
            seconds = late * 1e-3 * (milliseconds[cell.label] + 0.1 * (cell.trial.seed - 1))
            cost = {"cpu_seconds_per_step": seconds, "wall_seconds_per_step": 1.0}
            store.write(record.model_copy(update={"cost": cost}), store.predictions(cell.trial.id))
    times = {row.heads[1]: row.cells[-1].text for row in board(plan, store).table.rows}
    assert times == {"Concat": "1.00", "QMF": "1.50", "MLA": "2.50", "MMIN": "—"}

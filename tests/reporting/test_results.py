from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mlabench.missing import Missing
from mlabench.reporting.results import MULTIMODAL, load
from mlabench.statistics.comparisons import summarise
from mlabench.store.records import RECORD, Store
from mlabench.suite.plan import Plan
from tests.reporting.synthetic import MODALITIES, accuracy, failed, record, sweep


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def test_summary_agrees_with_numpy() -> None:
    values = [0.1, 0.4, 0.35]
    summary = summarise(values)
    assert (summary.mean, summary.std, summary.n) == (np.mean(values), np.std(values, ddof=1), 3)


def test_summary_invents_nothing() -> None:
    assert summarise([0.5]).std is None
    assert summarise([]).mean is None
    assert summarise([float("nan"), 0.5]).n == 1


def test_every_planned_number_is_a_row(store: Store) -> None:
    plan = sweep(store, ["Concat", "MLA"], seeds=(0, 1), rates=(0.0, 0.3))
    results = load(plan, store)
    assert len(results.scores) == 2 * 2 * 2 * 4
    assert results.settings == ("0 %", "30 %")
    assert results.targets == (*MODALITIES, MULTIMODAL)
    rows = results.at("MLA", "30 %", "image")
    assert list(rows["seed"]) == [0, 1]
    assert list(rows["accuracy"]) == [accuracy("MLA", "image", seed, 0.3) for seed in (0, 1)]
    assert set(rows["n"]) == {round(1312 * 0.7)}
    assert rows["realised_rate"].tolist() == [0.301, 0.301]
    assert rows["oracle_gap"].isna().all()
    fused = results.at("MLA", "30 %", MULTIMODAL)
    for _, row in fused.iterrows():
        record = results.records[row["trial"]]
        curve = {epoch.epoch: epoch.test["balanced-0.3"] for epoch in record.curves}
        assert row["oracle_gap"] == pytest.approx(max(curve.values()) - curve[row["selected_epoch"]])
        assert row["selected_epoch"] == record.selected_epoch


def test_failed_and_missing_cells_are_rows(store: Store) -> None:
    plan = sweep(store, ["MLA"], seeds=(0, 1, 2), rates=(0.0,), write=False)
    store.write(failed(plan.cells[0].trial))
    store.write(record(plan.cells[1].trial, "MLA", plan.cells[1].tests))
    rows = load(plan, store).at("MLA", "0 %", MULTIMODAL)
    assert list(rows["status"]) == ["failed", "ok", "missing"]
    assert list(rows["reason"]) == ["ValueError: loss is NaN", "", "no record"]


def test_an_evaluation_that_the_record_lacks_is_missing(store: Store) -> None:
    plan = sweep(store, ["MLA"], seeds=(0,), rates=(0.0,), extra_tests=[Missing.at("balanced", 0.5)], write=False)
    store.write(record(plan.cells[0].trial, "MLA", [Missing()]))
    rows = load(plan, store).scores
    assert set(rows.loc[rows["test"] == "balanced-0.5", "status"]) == {"missing"}
    assert set(rows.loc[rows["test"] == "complete", "status"]) == {"ok"}


def test_limited_trials_are_left_out_unless_asked_for(store: Store) -> None:
    plan = sweep(store, ["MLA"], seeds=(0, 1), rates=(0.0,), limit=100)
    without = load(plan, store)
    assert without.scores.empty
    assert len(without.left_out) == 2
    included = load(plan, store, include_limited=True)
    assert set(included.scores["limit"]) == {100}
    assert included.left_out == ()


def test_an_unreadable_record_is_missing_and_reported(store: Store) -> None:
    plan = sweep(store, ["MLA"], seeds=(0, 1), rates=(0.0,))
    victim = plan.cells[0].trial.id
    (store.folder(victim) / RECORD).write_text("{", encoding="utf-8")
    results = load(plan, store)
    assert [trial for trial, _ in results.set_aside] == [victim]
    assert list(results.at("MLA", "0 %", MULTIMODAL)["status"]) == ["missing", "ok"]


def test_two_cells_with_the_same_trial_count_once(store: Store) -> None:
    plan = sweep(store, ["MLA"], seeds=(0, 1), rates=(0.0,))
    twice = plan.model_copy(update={"cells": plan.cells * 2})
    results = load(twice, store)
    assert len(results.scores) == 2 * 4
    assert len(results.curves) == len(load(plan, store).curves)


def axis_of(plan: Plan, store: Store) -> set[tuple[str, str, str]]:
    scores = load(plan, store).scores
    rows = scores[scores["setting"] != ""]
    return set(zip(rows["train"], rows["test"], rows["setting"], strict=True))


def test_the_axis_of_a_matrix_is_its_diagonal(store: Store) -> None:
    rates = [Missing.at("balanced", rate) for rate in (0.0, 0.3)]
    plan = sweep(store, ["MLA"], seeds=(0,), rates=(0.0, 0.3), extra_tests=rates, write=False)
    assert axis_of(plan, store) == {("complete", "complete", "0 %"), ("balanced-0.3", "balanced-0.3", "30 %")}


def test_the_axis_with_missing_modalities_in_training_only(store: Store) -> None:
    plan = sweep(store, ["MLA"], seeds=(0,), rates=(0.0, 0.3), write=False)
    cells = tuple(cell.model_copy(update={"tests": (Missing(),)}) for cell in plan.cells)
    plan = plan.model_copy(update={"cells": cells})
    assert axis_of(plan, store) == {("complete", "complete", "0 %"), ("balanced-0.3", "complete", "30 %")}


def test_the_axis_with_missing_modalities_in_test_only(store: Store) -> None:
    tests = [Missing.at("balanced", 0.3), Missing(protocol="subset", keep=("audio",))]
    plan = sweep(store, ["MLA"], seeds=(0,), rates=(0.0,), extra_tests=tests, write=False)
    assert axis_of(plan, store) == {("complete", "complete", "0 %"), ("complete", "balanced-0.3", "30 %")}


def test_settings_of_two_protocols_are_distinguishable(store: Store) -> None:
    tests = [Missing.at("balanced", 0.3), Missing.at("independent", 0.3)]
    plan = sweep(store, ["MLA"], seeds=(0,), rates=(0.0,), extra_tests=tests, write=False)
    assert load(plan, store).settings == ("0 %", "30 % (balanced)", "30 % (independent)")


def test_pattern_seeds_are_runs_of_one_setting_and_other_protocols_have_names(store: Store) -> None:
    tests = [
        Missing.at("balanced", 0.3, seed=1),
        Missing.at("balanced", 0.3, seed=2),
        Missing(protocol="per_modality", rates={"text": 0.2, "audio": 0.5}),
        Missing(protocol="file", file="masks.csv", sha256="0123456789abcdef"),
    ]
    plan = sweep(store, ["MLA"], seeds=(0,), rates=(0.0,), extra_tests=tests, write=False)
    results = load(plan, store)
    assert results.settings == ("0 %", "30 %", "audio 50 %, text 20 %", "file-0123456789ab")
    assert len(results.at("MLA", "30 %", MULTIMODAL)) == 2


def test_a_curve_shows_the_last_stage_and_the_selected_epoch(store: Store) -> None:
    plan = sweep(store, ["MLA"], seeds=(1,), rates=(0.0,))
    (cell,) = plan.cells
    made = record(cell.trial, "MLA", cell.tests)
    warm_up = [epoch.model_copy(update={"stage": "warm-up"}) for epoch in made.curves]
    store.write(made.model_copy(update={"curves": warm_up + made.curves}))
    curves = load(plan, store).curves
    assert len(curves) == 12 * 4
    assert list(curves.loc[curves["selected"], "epoch"].unique()) == [made.selected_epoch]


def test_loading_scales_with_the_number_of_records(store: Store) -> None:
    plan = sweep(store, [f"Method {place}" for place in range(10)], seeds=range(5), rates=(0.0, 0.3))
    started = time.perf_counter()
    list(store.records())
    reading = time.perf_counter() - started
    started = time.perf_counter()
    load(plan, store)
    # Laying the numbers out costs less than reading them, which nothing can avoid.
    assert time.perf_counter() - started < 3 * reading + 0.5


def test_reports_do_not_import_torch() -> None:
    program = "import sys, mlabench.reporting.build, mlabench.reporting.charts.figure; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_tables_do_not_import_matplotlib() -> None:
    program = "import sys, mlabench.reporting.build; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from mlabench.errors import UserError
from mlabench.record import Record
from mlabench.reporting.compare import changes, compare_folders
from mlabench.store.records import RECORD, Store
from mlabench.suite.plan import Plan
from mlabench.trial import Fold, Training
from tests.reporting.synthetic import accuracy, failed, record, sweep, trial


def write(
    store: Store,
    plan: Plan,
    *,
    device: str = "cpu",
    number: Callable[[str, str, int, float], float] = accuracy,
    skip: Sequence[str] = (),
) -> None:
    """The records of a plan, but for some trials, and the plan."""
    for cell in plan.cells:
        if cell.trial.id not in skip:
            made = record(cell.trial, cell.label, cell.tests, number)
            store.write(made.model_copy(update={"environment": {**made.environment, "device": device}}))
    store.write_plan(plan)


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Store, Store]:
    return Store(tmp_path / "a"), Store(tmp_path / "b")


def plan_of(labels: Sequence[str] = ("Concat", "MLA"), epochs: int = 12, **changes: object) -> Plan:
    plan = sweep(Store(Path("unused")), labels, write=False, **{"rates": (0.0, 0.3), "seeds": (0, 1, 2), **changes})
    if epochs == 12:
        return plan
    cells = tuple(
        cell.model_copy(update={"trial": trial(cell.label, cell.trial.seed, cell.trial.missing.rate,
                                               training=Training(epochs=epochs))})
        for cell in plan.cells
    )  # fmt: skip
    return plan.model_copy(update={"cells": cells})


def compared(stores: tuple[Store, Store], out: Path | None = None) -> tuple[int, str]:
    """The exit code, and what was printed with all blanks as one."""
    printed = io.StringIO()
    code = compare_folders(stores[0].root, stores[1].root, out, Console(file=printed, width=200))
    return code, " ".join(printed.getvalue().split())


def rows_of(out: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "tables" / f"{name}.csv").read_text(encoding="utf-8").splitlines()))


def test_the_same_trials_are_reproduced(stores: tuple[Store, Store], tmp_path: Path) -> None:
    for store in stores:
        write(store, plan_of())
    code, printed = compared(stores, tmp_path / "out")
    assert code == 0
    assert "Reproduced: 12 trials in both folders, all with the same accuracies to the bit." in printed
    means = rows_of(tmp_path / "out", "means_synthetic")
    assert len(means) == 2 * 2 * 4
    assert {row["Difference"] for row in means} == {"0"}
    assert {row["Seeds in both"] for row in means} == {"3"}
    assert not (tmp_path / "out" / "tables" / "repeated.csv").exists()
    assert "Reproduced: 12 trials" in (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    page = (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    assert "Reproduced: 12 trials" in page
    assert "synthetic: accuracy in A and in B" in page
    assert str(stores[0].root) in page
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)  # nothing is loaded from elsewhere


def nudged(label: str, target: str, seed: int, rate: float) -> float:
    """Another accuracy of the unimodal image prediction in one trial."""
    return accuracy(label, target, seed, rate) + 0.0125 * ((label, target, seed, rate) == ("MLA", "image", 1, 0.3))


def test_a_trial_that_came_out_otherwise_on_a_cpu_is_an_error(stores: tuple[Store, Store], tmp_path: Path) -> None:
    plan = plan_of()
    write(stores[0], plan)
    write(stores[1], plan, number=nudged)
    code, printed = compared(stores, tmp_path / "out")
    assert code == 1
    assert "NOT reproduced: of 12 trials in both folders, 1 differ, 1 of them on CPUs, where none should" in printed
    assert "the largest difference is 1.25 points" in printed
    (row,) = rows_of(tmp_path / "out", "repeated")
    assert row["Largest difference"] == "+1.25 (balanced-0.3 image)"
    assert row["Trial"] == next(
        cell.trial.id
        for cell in plan.cells
        if (cell.label, cell.trial.seed, cell.trial.missing.rate) == ("MLA", 1, 0.3)
    )
    (changed,) = (row for row in rows_of(tmp_path / "out", "means_synthetic") if row["Difference"] != "0")
    assert (changed["Method"], changed["Missing"], changed["Target"]) == ("MLA", "30 %", "image")
    assert float(changed["Difference"]) == pytest.approx(0.4)  # 1.25 / 3


def test_on_another_device_a_difference_is_told_but_no_error(stores: tuple[Store, Store]) -> None:
    plan = plan_of()
    write(stores[0], plan)
    write(stores[1], plan, number=nudged, device="cuda")
    code, printed = compared(stores)
    assert code == 0
    assert "Not the same: of 12 trials in both folders, 1 differ, none of them on CPUs alone" in printed
    assert "cpu / cuda" in printed


def test_a_trial_that_failed_in_one_folder_differs(stores: tuple[Store, Store]) -> None:
    plan = plan_of()
    for store in stores:
        write(store, plan)
    stores[1].write(failed(plan.cells[0].trial).model_copy(update={"environment": {"device": "cpu"}}))
    code, printed = compared(stores)
    assert code == 1
    assert "failed in one" in printed


def test_a_changed_setting_is_named_and_its_effect_compared(stores: tuple[Store, Store], tmp_path: Path) -> None:
    def better(label: str, target: str, seed: int, rate: float) -> float:
        return accuracy(label, target, seed, rate) + 0.02 + 0.003 * seed

    write(stores[0], plan_of())
    write(stores[1], plan_of(epochs=20), number=better)
    code, printed = compared(stores, tmp_path / "out")
    assert code == 0
    assert "No trial is in both folders: nothing was repeated." in printed
    assert "Changed: 12 cells of the same suite, label, setting, seed and fold." in printed
    (row,) = rows_of(tmp_path / "out", "changed")
    assert (row["Methods"], row["Cells"], row["Changed"]) == ("Concat, MLA", "12", "training.epochs: 12 → 20")
    # Without stored predictions: a paired t-test over the seeds, here computed by SciPy.
    before = 100 * np.array([accuracy("MLA", "text", seed, 0.3) for seed in range(3)])
    after = 100 * np.array([better("MLA", "text", seed, 0.3) for seed in range(3)])
    test = stats.ttest_rel(after, before)
    low, high = test.confidence_interval()
    (means,) = (
        row
        for row in rows_of(tmp_path / "out", "means_synthetic")
        if (row["Method"], row["Missing"], row["Target"]) == ("MLA", "30 %", "text")
    )
    assert float(means["A"]) == pytest.approx(before.mean(), abs=0.051)
    assert float(means["B"]) == pytest.approx(after.mean(), abs=0.051)
    assert float(means["Difference"]) == pytest.approx(2.3, abs=0.051)
    assert float(means["Difference low"]) == pytest.approx(low, abs=0.051)
    assert float(means["Difference high"]) == pytest.approx(high, abs=0.051)
    # All sixteen comparisons have the same differences, so Holm's correction multiplies the p-value by sixteen.
    assert float(means["p"]) == pytest.approx(min(1.0, 16 * test.pvalue), abs=0.001)


def test_what_only_one_folder_has(stores: tuple[Store, Store], tmp_path: Path) -> None:
    plan = plan_of()
    write(stores[0], plan)
    write(stores[1], plan_of(["Concat", "QMF"]), skip=[plan.cells[0].trial.id])
    code, printed = compared(stores, tmp_path / "out")
    assert code == 0
    assert "Only in A: 7 cells." in printed  # MLA, and one trial of Concat
    assert "Only in B: 6 cells." in printed
    only = rows_of(tmp_path / "out", "only")
    assert {(row["In"], row["Method"]) for row in only} == {("A", "Concat"), ("A", "MLA"), ("B", "QMF")}
    assert {row["Method"] for row in rows_of(tmp_path / "out", "means_synthetic")} == {"Concat"}


def folded(names: str) -> Plan:
    """Two folds of each trial, and their records."""
    plan = plan_of(["Concat"], rates=(0.0,), seeds=(0, 1))
    cells = [
        cell.model_copy(update={"trial": cell.trial.model_copy(update={"fold": Fold(count=3, name=name)})})
        for cell in plan.cells
        for name in names
    ]
    return plan.model_copy(update={"cells": tuple(cells)})


def test_folds_are_told_apart(stores: tuple[Store, Store], tmp_path: Path) -> None:
    write(stores[0], folded("12"))
    write(stores[1], folded("13"))
    code, printed = compared(stores, tmp_path / "out")
    assert code == 0
    assert "Reproduced: 2 trials in both folders" in printed
    assert "Only in A: 2 cells." in printed
    only = {(row["In"], row["Seed"], row["Fold"]) for row in rows_of(tmp_path / "out", "only")}
    assert only == {("A", "0", "2"), ("A", "1", "2"), ("B", "0", "3"), ("B", "1", "3")}


def test_seeds_that_only_one_folder_has_are_not_compared(stores: tuple[Store, Store], tmp_path: Path) -> None:
    write(stores[0], plan_of(seeds=(0, 1)))
    write(stores[1], plan_of(seeds=(2, 3)))
    _, printed = compared(stores, tmp_path / "out")
    assert {row["Difference"] for row in rows_of(tmp_path / "out", "means_synthetic")} == {"—"}
    assert "Seeds: 0, 1 in A, 2, 3 in B." in printed


def test_predictions_of_the_same_samples_are_paired(stores: tuple[Store, Store], tmp_path: Path) -> None:
    """One seed says nothing about seeds, but the samples still say how far the difference may be off."""
    plan = plan_of(["MLA"], rates=(0.0,), seeds=(0,))
    (cell,) = plan.cells
    generator = np.random.default_rng(3)
    labels = generator.integers(2, size=400)
    rights = {"a": np.arange(400) < 300, "b": np.arange(400) < 340}
    for store in stores:
        right = rights[store.root.name]
        logits = np.eye(2, dtype=np.float32)[np.where(right, labels, 1 - labels)]
        made: Record = record(cell.trial, "MLA", cell.tests, lambda *_, right=right: float(right.mean()))
        arrays = {"ids": np.arange(400).astype(str), "labels": labels}
        arrays |= {"complete/present": np.ones((400, 3), dtype=bool), "complete/fused": logits}
        arrays |= {f"complete/{modality}": logits for modality in plan.modalities}
        store.write(made, arrays)
        store.write_plan(plan)
    compared(stores, tmp_path / "out")
    row = next(row for row in rows_of(tmp_path / "out", "means_synthetic") if row["Target"] == "multimodal")
    assert row["Difference"] == "+10.0"
    # B is right on 40 more of 400, so what a bootstrap draws is binomial; 0.35 is one of 400 and the resampling.
    low, high = stats.binom.ppf([0.025, 0.975], 400, 0.1) / 4
    assert float(row["Difference low"]) == pytest.approx(low, abs=0.35)
    assert float(row["Difference high"]) == pytest.approx(high, abs=0.35)


def test_records_that_cannot_be_read_are_named(stores: tuple[Store, Store]) -> None:
    plan = plan_of()
    for store in stores:
        write(store, plan)
    (stores[1].folder(plan.cells[0].trial.id) / RECORD).write_text("{", encoding="utf-8")
    code, printed = compared(stores)
    assert code == 0
    assert f"Not read in B: {plan.cells[0].trial.id}: record.json does not parse" in printed
    assert "Reproduced: 11 trials" in printed


def test_every_field_that_differs_is_named() -> None:
    before = trial("MLA")
    config = before.method.model_copy(update={"version": 2, "config": {"alpha": 0.5}})
    after = before.model_copy(update={"method": config, "limit": 10})
    assert list(changes(before, after)) == [
        "limit: null → 10",
        "method.version: 1 → 2",
        "method.config: {} → none",
        "method.config.alpha: none → 0.5",
    ]


def test_a_folder_without_results(stores: tuple[Store, Store]) -> None:
    write(stores[0], plan_of())
    with pytest.raises(UserError, match="no results here"):
        compared(stores)


def test_a_comparison_that_cannot_be_written(stores: tuple[Store, Store], tmp_path: Path) -> None:
    for store in stores:
        write(store, plan_of(["MLA"], rates=(0.0,)))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the comparison"):
        compared(stores, tmp_path / "file")

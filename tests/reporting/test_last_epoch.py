"""The table that sets the last epoch beside the selected one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from mlabench.reporting.results import MULTIMODAL, Results, load
from mlabench.reporting.tables.last_epoch import last_epoch_table
from mlabench.store.records import Store
from tests.reporting.synthetic import sweep


def results(store: Store, changes: Mapping[str, float | None]) -> Results:
    """The fused accuracy of each label's last epoch is that of the selected one and so many points more."""
    plan = sweep(store, tuple(changes), rates=(0.0, 0.3))
    for cell in plan.cells:
        record, change = store.read(cell.trial.id), changes[cell.label]
        assert record is not None
        own = record.evaluations[cell.trial.missing.key]
        if change is not None:
            accuracy = own.multimodal.accuracy + (change + cell.trial.seed) / 100
            own = own.model_copy(update={"multimodal": own.multimodal.model_copy(update={"accuracy": accuracy})})
            record = record.model_copy(update={"last": own, "selected_epoch": 3 + cell.trial.seed, "curves": []})
            store.write(record.model_copy(update={"files": {}}))
    return load(plan, store)


def test_both_epochs_stand_side_by_side(tmp_path: Path) -> None:
    found = results(Store(tmp_path), {"Concat": -2.0, "MLA": 1.0, "MMIN": None})
    (table,) = last_epoch_table(found)
    assert [row.heads for row in table.rows] == [("Concat",), ("MLA",)]
    for row, change in zip(table.rows, (-2.0, 1.0), strict=True):
        rows = found.at(row.heads[0], "0 %", MULTIMODAL)
        seeds = rows["seed"].to_numpy()
        best, last, difference, epoch = row.cells
        assert best.number == pytest.approx(100 * rows["accuracy"].mean())
        assert last.number == pytest.approx(100 * rows["accuracy"].mean() + change + seeds.mean())
        assert difference.number == pytest.approx(change + seeds.mean())
        assert difference.summary.std == pytest.approx(np.std(seeds, ddof=1))
        assert epoch.number == pytest.approx(3 + seeds.mean())
    assert table.rows[0].cells[2].mean.startswith("-")
    assert table.rows[1].cells[2].mean.startswith("+")


def test_trainings_that_lack_the_last_epoch_are_missing_from_both_means(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plan = results(store, {"Concat": -2.0}).plan
    first = next(cell.trial for cell in plan.cells if not cell.trial.missing.rate)
    record = store.read(first.id)
    assert record is not None
    store.write(record.model_copy(update={"last": None, "files": {}}))
    found = load(plan, store)
    (table,) = last_epoch_table(found)
    rows = found.at("Concat", "0 %", MULTIMODAL)
    assert table.rows[0].cells[0].number == pytest.approx(100 * rows["accuracy"][rows["seed"] != first.seed].mean())
    assert [cell.missing for cell in table.rows[0].cells[:2]] == [1, 1]


def test_older_records_have_no_such_table(tmp_path: Path) -> None:
    found = results(Store(tmp_path), {"Concat": None, "MLA": None})
    assert not list(last_epoch_table(found))
    assert found.scores["last_accuracy"].isna().all()


def test_it_is_a_column_of_the_results_under_the_pattern_of_the_training(tmp_path: Path) -> None:
    found = results(Store(tmp_path), {"Concat": 1.0})
    for _, row in found.scores.iterrows():
        last = found.records[row["trial"]].last
        assert last is not None
        own = last.multimodal if row["target"] == MULTIMODAL else last.unimodal[row["target"]]
        assert own is not None
        expected = own.accuracy if row["train"] == row["test"] else np.nan
        np.testing.assert_equal(row["last_accuracy"], expected)

"""Several results folders read as one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlabench.errors import UserError
from mlabench.store import Store, Together
from tests.command_line import invoke


@pytest.fixture
def halves(small_results: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The results of one method each."""
    folders = tmp_path / "concat", tmp_path / "mla"
    for folder in folders:
        shutil.copytree(small_results, folder)
        store = Store(folder)
        (plan,) = store.plans()
        cells = tuple(cell for cell in plan.cells if cell.trial.method.name == folder.name)
        store.write_plan(plan.model_copy(update={"cells": cells}))
        for cell in plan.cells:
            if cell not in cells:
                shutil.rmtree(store.folder(cell.trial.id))
    return folders


def test_both_are_one(small_results: Path, halves: tuple[Path, Path]) -> None:
    whole, together = Store(small_results), Together(halves)
    assert together.ids() == whole.ids()
    assert [record.trial.id for record in together.records()] == whole.ids()
    (plan,), (own,) = whole.plans(), together.plans()
    assert {cell.trial.id for cell in own.cells} == {cell.trial.id for cell in plan.cells}
    for trial in whole.ids():
        outcomes, same = whole.outcomes(trial), together.outcomes(trial)
        assert outcomes is not None
        assert same is not None
        assert outcomes.samples.key == same.samples.key


def test_samples_are_found_where_they_are(halves: tuple[Path, Path]) -> None:
    shutil.rmtree(halves[0] / "samples")
    together = Together(halves)
    assert all(together.outcomes(trial) is not None for trial in together.ids())


def test_a_corrupt_record_stays_where_it_is(halves: tuple[Path, Path]) -> None:
    together = Together(halves)
    path = together.folder(together.ids()[0]) / "record.json"
    path.write_text("{}")
    assert together.read(together.ids()[0]) is None
    assert [trial for trial, _ in together.set_aside] == [together.ids()[0]]
    assert path.read_text() == "{}"


def test_what_holds_no_results_is_refused(small_results: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no results"):
        Together([small_results, tmp_path])


def test_a_report_of_both(halves: tuple[Path, Path], tmp_path: Path) -> None:
    refused = invoke("report", *halves)
    assert refused.returncode == 2
    assert "--out: say where" in refused.stderr
    done = invoke("report", *halves, "--out", tmp_path / "out", "--include-limited")
    assert done.returncode == 0, done.stderr
    tidy = next((tmp_path / "out").glob("*/tidy.csv")).read_text(encoding="utf-8")
    assert all(f",{method}," in tidy for method in ("concat", "mla"))
    assert not any((folder / "report").exists() for folder in halves)

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from mlabench.errors import UserError
from mlabench.missing import Missing
from mlabench.plan import Plan
from mlabench.report.build import Report, build_report, print_tables
from mlabench.store import RECORD, Store
from mlabench.trial import Record
from tests.report.synthetic import MODALITIES, accuracy, failed, record, sweep


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def build(store: Store, *plans: Plan, out: Path | None = None, include_limited: bool = False) -> tuple[Report, str]:
    """The report and what was printed."""
    printed = io.StringIO()
    console = Console(file=printed, width=120)
    out = out or store.root.parent / "report"
    return build_report(store, plans, out, include_limited=include_limited, console=console), printed.getvalue()


def test_a_report_has_all_its_files(store: Store) -> None:
    plan = sweep(store, ["Concat", "MLA"])
    report, printed = build(store, plan)
    (suite,) = report.suites
    folder = report.out / "synthetic"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {path.relative_to(folder).as_posix() for path in suite.files}
    assert {"report.md", "tidy.csv", "tables/main.csv", "tables/main.md", "tables/rates.tex"} <= files
    assert {"figures/missing_rate.png", "figures/missing_rate.pdf"} <= files
    page = suite.page.read_text(encoding="utf-8")
    assert all(f"({name})" in page for name in files if name.endswith(".png"))
    for part in ("How does the accuracy fall", "best\\_val", "Pictures repeat", "packages.torch: 2.13.0", "```yaml"):
        assert part in page
    assert "Multimodal accuracy against the missing rate" in printed
    assert "report.md" in printed


def test_the_tidy_numbers_are_whole(store: Store) -> None:
    report, _ = build(store, sweep(store, ["MLA"], seeds=(0, 1), rates=(0.0, 0.3)))
    tidy = pd.read_csv(report.out / "synthetic" / "tidy.csv")
    assert len(tidy) == 2 * 2 * 4
    row = tidy[(tidy["setting"] == "30 %") & (tidy["seed"] == 1) & (tidy["target"] == "text")]
    assert row["accuracy"].item() == accuracy("MLA", "text", 1, 0.3)


def test_two_builds_give_the_same_bytes(store: Store, tmp_path: Path) -> None:
    plan = sweep(store, ["Concat", "MLA"], seeds=(0, 1))

    def contents(name: str) -> dict[str, bytes]:
        out = tmp_path / name
        build(store, plan, out=out)
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    assert contents("first") == contents("second")


def test_a_store_without_records(store: Store) -> None:
    report, printed = build(store, sweep(store, ["Concat", "MLA"], write=False))
    page = report.suites[0].page.read_text(encoding="utf-8")
    assert "None of the 18 planned trials has a record yet." in page
    assert "None of the 18 planned trials has a record yet." in printed
    assert "missing" in page
    assert not list(report.out.rglob("*.png"))


def test_a_store_with_failures_only(store: Store) -> None:
    plan = sweep(store, ["MLA"], rates=(0.0,), write=False)
    for cell in plan.cells:
        store.write(failed(cell.trial))
    report, printed = build(store, plan)
    page = report.suites[0].page.read_text(encoding="utf-8")
    assert "3 of 3 trials failed." in printed
    assert "failed 3/3" in page
    assert "failed: MLA, 0 % missing, seed 0" in page
    assert "ValueError: loss is NaN" in page


def test_no_plan_and_an_empty_plan(store: Store) -> None:
    report, printed = build(store)
    assert report.suites == ()
    assert "Nothing to report" in printed
    report, printed = build(store, Plan(name="empty", modalities=MODALITIES, cells=()))
    assert "The suite asks for no trial." in printed
    assert "There is nothing to show yet." in report.suites[0].page.read_text(encoding="utf-8")


def test_one_method_one_seed_one_modality(store: Store) -> None:
    plan = sweep(store, ["MLA"], seeds=(0,), rates=(0.0,), write=False)
    (cell,) = plan.cells
    store.write(record(cell.trial, "MLA", cell.tests, modalities=("image",)))
    report, _ = build(store, plan.model_copy(update={"modalities": ("image",)}))
    page = report.suites[0].page.read_text(encoding="utf-8")
    assert "| MLA |" in page
    assert "± —" in page
    assert len(list(report.out.rglob("*.png"))) == 2


def test_limited_runs_are_left_out_and_said_to_be(store: Store) -> None:
    plan = sweep(store, ["MLA"], seeds=(0, 1), rates=(0.0,), limit=50)
    report, printed = build(store, plan)
    assert "2 trials made with a limit on the samples left out" in printed
    assert "left out" in report.suites[0].page.read_text(encoding="utf-8")
    report, printed = build(store, plan, include_limited=True)
    assert "LIMITED RUN" in printed
    assert "LIMITED RUN" in report.suites[0].page.read_text(encoding="utf-8")


def test_records_set_aside_are_named(store: Store) -> None:
    plan = sweep(store, ["MLA"], seeds=(0, 1), rates=(0.0,))
    (store.folder(plan.cells[0].trial.id) / RECORD).write_text("{", encoding="utf-8")
    report, printed = build(store, plan)
    assert f"Set aside: {plan.cells[0].trial.id}" in " ".join(printed.split())
    assert "Set aside" in report.suites[0].page.read_text(encoding="utf-8")


def test_summary_after_a_run_includes_limited_trials(store: Store) -> None:
    printed = io.StringIO()
    print_tables(sweep(store, ["MLA"], limit=50), store, Console(file=printed, width=120))
    assert "LIMITED RUN: at most 50 samples" in printed.getvalue()


def test_several_environments_are_counted(store: Store) -> None:
    plan = sweep(store, ["MLA"], rates=(0.0,))
    cell = plan.cells[0]
    made: Record = record(cell.trial, "MLA", cell.tests)
    store.write(made.model_copy(update={"environment": {**made.environment, "threads": 4}}))
    page = build(store, plan)[0].suites[0].page.read_text(encoding="utf-8")
    assert "- threads: 1 (2 trials), 4 (1 trial)" in page


def test_names_that_are_no_file_names(store: Store) -> None:
    tests = [Missing(protocol="per_modality", rates={"text": 0.2})]
    report, _ = build(store, sweep(store, ["a/b: c", "$x_"], extra_tests=tests, name="my suite", write=False))
    assert report.suites[0].page == report.out / "my_suite" / "report.md"


def test_a_report_that_cannot_be_written(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the report"):
        build(store, sweep(store, ["MLA"]), out=tmp_path / "file")

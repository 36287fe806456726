from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from mlabench.errors import UserError
from mlabench.missing import Missing
from mlabench.record import SCHEMA_VERSION, Record
from mlabench.reporting.build import Report, build_report, print_summary
from mlabench.reporting.page.render import identifier
from mlabench.reporting.results import SCORE_COLUMNS
from mlabench.store.records import PREDICTIONS, RECORD, Store
from mlabench.suite.plan import Plan
from tests.reporting.synthetic import LEVELS, MODALITIES, accuracy, failed, record, sweep


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def build(
    store: Store,
    *plans: Plan,
    out: Path | None = None,
    include_limited: bool = False,
    published: Path | None = None,
    full: bool = False,
) -> tuple[Report, str]:
    """The report and what was printed."""
    printed = io.StringIO()
    console = Console(file=printed, width=120)
    out = out or store.root.parent / "report"
    report = build_report(
        store, plans, out, include_limited=include_limited, published=published, console=console, full=full
    )
    return report, printed.getvalue()


def test_a_report_has_all_its_files(store: Store) -> None:
    plan = sweep(store, ["Concat", "MLA"])
    report, printed = build(store, plan, full=True)
    (suite,) = report.suites
    folder = report.out / "synthetic"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"report.md", "tidy.csv", "tables/main.csv", "tables/main.md", "tables/rates.tex"} <= files
    assert {"tidy.parquet", "tables/document.tex", "tables/published.csv"} <= files
    assert {"figures/missing_rate.png", "figures/missing_rate.pdf"} <= files
    page = suite.page.read_text(encoding="utf-8")
    assert all(f"({name})" in page for name in files if name.endswith(".png"))
    for part in ("best\\_val", "Pictures repeat", "packages.torch: 2.13.0", "```yaml"):
        assert part in page
    assert "Multimodal accuracy against the missing rate" in printed
    assert "report.html" in printed


def test_a_report_replaces_the_one_before(store: Store) -> None:
    before, _ = build(store, sweep(store, ["Concat", "MLA"]))
    folder = before.out / "synthetic"
    assert (folder / "figures" / "missing_rate.png").is_file()
    left = [folder / "tables/old.md", folder / "figures/old.png", before.out / "answers/tables/old.csv"]
    own = [folder / "tables/notes.txt", before.out / "old.png"]
    for path in (*left, *own):
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine", encoding="utf-8")
    build(store, sweep(store, ["Concat", "MLA"], rates=(0.0,)))
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in own)
    assert not (folder / "figures" / "missing_rate.png").exists()
    assert (folder / "tables" / "main.md").is_file()


def test_the_tidy_numbers_are_whole(store: Store) -> None:
    report, _ = build(store, sweep(store, ["MLA"], seeds=(0, 1), rates=(0.0, 0.3)))
    tidy = pd.read_csv(report.out / "synthetic" / "tidy.csv")
    assert len(tidy) == 2 * 2 * 4
    row = tidy[(tidy["setting"] == "30 %") & (tidy["seed"] == 1) & (tidy["target"] == "text")]
    assert row["accuracy"].item() == accuracy("MLA", "text", 1, 0.3)


def test_parquet_and_csv_say_the_same(store: Store) -> None:
    report, _ = build(store, sweep(store, ["MLA"], seeds=(0, 1), rates=(0.0, 0.3)))
    folder = report.out / "synthetic"
    numbers = pd.read_parquet(folder / "tidy.parquet")
    assert list(numbers.columns) == list(SCORE_COLUMNS)
    assert numbers["accuracy"].dtype == "float64"
    assert numbers["selected_epoch"].dtype == "Int64"
    assert numbers.to_csv(index=False, lineterminator="\n") == (folder / "tidy.csv").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_all_tables_compile_in_one_document(store: Store) -> None:
    plan = sweep(store, ["Concat", "Late fusion", "MMIN", "MLA"], questions=("Q1", "Q2"))
    store.write(failed(plan.cells[0].trial))
    tables = build(store, plan)[0].suites[0].page.parent / "tables"
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document.tex"],
        cwd=tables,
        capture_output=True,
        check=False,
    )
    log = done.stdout.decode("latin-1")
    assert done.returncode == 0, log[-3000:]
    assert "[U+" not in "".join(path.read_text(encoding="utf-8") for path in tables.glob("*.tex"))
    # One float per table, each on its own page or sharing one.
    assert "Overfull" not in log
    assert (tables / "document.pdf").stat().st_size > 10_000


def test_answers_are_on_the_page_in_the_terminal_and_in_html(store: Store) -> None:
    report, printed = build(store, sweep(store, ["Concat", "Late fusion", "MLA"]))
    (suite,) = report.suites
    page = suite.page.read_text(encoding="utf-8")
    assert report.page == report.out / "report.html"
    html = report.page.read_text(encoding="utf-8")
    assert [one.half for one in report.answers] == ["laziness", "accuracy", "missing"]
    shown = " ".join(printed.split())
    for one in report.answers:
        assert f"## {one.topic.question} {one.topic.name}, stamps: {one.verdict}\n" in page
        assert page.index(f"## {one.topic.question} {one.topic.name}") < page.index("## Tables")
        assert f"{one.topic.question} {one.topic.name}, stamps: {' '.join(one.sentence.split())}" in shown
        assert f'id="{identifier(one.name)}"' in html
        for chart in one.charts:
            for ending in ("png", "pdf"):
                assert (report.out / "answers" / "figures" / f"{one.name}_{chart.name}.{ending}").is_file()
        table = report.out / "answers" / "tables" / f"{one.name}_contrasts.csv"
        header, *rows = csv.reader(table.read_text(encoding="utf-8").splitlines())
        assert "Verdict" in header
        assert len(rows) == len(one.family.contrasts)
    assert "Report: " in printed
    told = json.loads((report.out / "verdicts.json").read_text(encoding="utf-8"))
    assert [(one["half"], one["verdict"]) for one in told] == [(one.half, one.verdict) for one in report.answers]
    assert pd.read_csv(report.out / "outcomes.csv")["half"].unique().tolist() == [one.half for one in report.answers]


def test_a_users_published_numbers_reach_the_table(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("table,dataset,method,metric,accuracy\nMLA-Table2,IEMOCAP,MLA,multi,12.34\n")
    report, printed = build(store, sweep(store, ["MLA"], rates=(0.0,)), published=path, full=True)
    assert "12.34 (user)" in report.suites[0].page.read_text(encoding="utf-8")
    assert "12.34 (user)" in printed
    assert "NOT IEMOCAP: no reproduction" in printed


def test_two_builds_give_the_same_bytes_also_where_several_processes_draw(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = sweep(store, ["Concat", "MLA"], seeds=(0, 1))

    def contents(name: str) -> dict[str, bytes]:
        out = tmp_path / name
        build(store, plan, out=out)
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    first = contents("first")
    monkeypatch.setattr("mlabench.reporting.files._MANY", 2)
    monkeypatch.setattr("mlabench.reporting.files.usable_cores", lambda: 2)
    assert contents("second") == first


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


def test_a_folder_in_which_everything_went_wrong_still_reports(store: Store) -> None:
    """One of each: failed, missing, corrupt, of a newer version, unreadable, without and with damaged predictions."""
    plan = sweep(store, ["Late fusion", "MLA"], seeds=(0, 1, 2, 3), rates=(0.0,))
    ids = [cell.trial.id for cell in plan.cells]
    labels = np.arange(40) % 4
    for cell in plan.cells[:7]:  # the eighth has no predictions
        arrays = {"ids": np.arange(40).astype(str), "labels": labels, "complete/present": np.ones((40, 3), dtype=bool)}
        logits = np.eye(4, dtype=np.float32)[labels]
        arrays |= {f"complete/{name}": logits for name in ("fused", *MODALITIES)}
        store.write(record(cell.trial, cell.label, cell.tests), arrays)
    store.write(failed(plan.cells[0].trial))
    shutil.rmtree(store.folder(ids[1]))
    (store.folder(ids[2]) / RECORD).write_text("{", encoding="utf-8")
    text = (store.folder(ids[3]) / RECORD).read_text(encoding="utf-8")
    body = text[: text.rindex(',"sha256"')].replace(f'"schema_version":{SCHEMA_VERSION}', '"schema_version":99') + "}"
    seal = hashlib.sha256(body.encode()).hexdigest()
    newer = f'{body.removesuffix("}")},"sha256":"{seal}"}}\n'
    (store.folder(ids[3]) / RECORD).write_text(newer, encoding="utf-8")
    (store.folder(ids[4]) / RECORD).unlink()
    (store.folder(ids[4]) / RECORD).mkdir()
    (store.folder(ids[5]) / PREDICTIONS).write_bytes(b"PK")
    report, printed = build(store, plan, full=True)
    (suite,) = report.suites
    page = suite.page.read_text(encoding="utf-8")
    shown = " ".join(printed.split())
    assert "1 of 8 trials failed." in shown
    assert "5 of 8 trials have not (fully) been run." in shown
    for trial, reason in [
        (ids[2], "record.json does not parse"),
        (ids[4], "record.json does not parse (IsADirectoryError)"),
        (ids[5], "predictions.npz does not have the checksum"),
    ]:
        assert f"Set aside: {trial}: {reason}" in shown
    assert f"Not read: {ids[3]}: this record has schema version 99, newer than {SCHEMA_VERSION}. Upgrade" in shown
    assert "Not read" in page
    assert "Set aside" in page
    assert report.page is not None
    html = report.page.read_text(encoding="utf-8")
    assert "schema version 99" in html
    assert "ValueError: loss is NaN" in html


def test_records_without_predictions_are_compared_by_seeds(store: Store) -> None:
    report, _ = build(store, sweep(store, ["Concat", "Late fusion", "MLA"]))
    assert [one.half for one in report.answers] == ["laziness", "accuracy", "missing"]
    assert all(one.effect is not None for one in report.answers)


def test_summary_after_a_run_includes_limited_trials(store: Store) -> None:
    printed = io.StringIO()
    print_summary(sweep(store, ["MLA"], limit=50), store, Console(file=printed, width=120))
    assert "LIMITED RUN: at most 50 samples" in printed.getvalue()


def test_what_is_printed_fits_a_screen(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlabench.reporting.files.draw", lambda charts, _: [""] * len(charts))
    plans = [
        sweep(store, [*LEVELS, *(f"Method {place}" for place in range(30))], rates=(0.0,), name="many"),
        sweep(store, ["MLA", "Concat"], seeds=(0, 1, 2, 3), name="lost", write=False),
        sweep(store, ["MLA", "Concat"], name="other", dataset="clipart"),
    ]
    (store.folder(plans[0].cells[0].trial.id) / RECORD).write_text("{", encoding="utf-8")
    for width in (60, 80, 120, 200):
        printed = io.StringIO()
        build_report(store, plans, store.root.parent / "report", console=Console(file=printed, width=width))
        lines = printed.getvalue().splitlines()
        assert len(lines) <= 40
        assert max(map(len, lines)) <= width
        shown = " ".join(" ".join(lines).split())
        for part in (
            "3 suites",
            "Q1 Laziness",
            "Leaderboard",
            "more rows",
            "Report:",
            "--full",
            "have not (fully) been",
        ):
            assert part in shown


def test_several_environments_are_counted(store: Store) -> None:
    plan = sweep(store, ["MLA"], rates=(0.0,))
    cell = plan.cells[0]
    made: Record = record(cell.trial, "MLA", cell.tests)
    store.write(made.model_copy(update={"environment": {**made.environment, "threads": 4}}))
    page = build(store, plan)[0].suites[0].page.read_text(encoding="utf-8")
    assert "- threads: 1 (2 trials), 4 (1 trial)" in page


def test_names_that_are_no_file_names(store: Store) -> None:
    tests = [Missing(protocol="per_modality", rates={"text": 0.2})]
    report, _ = build(store, sweep(store, ["a/b: c", "$x_"], extra_tests=tests, name="my.suite", write=False))
    assert report.suites[0].page == report.out / "my.suite" / "report.md"


def test_a_report_that_cannot_be_written(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the report"):
        build(store, sweep(store, ["MLA"]), out=tmp_path / "file")

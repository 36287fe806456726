from __future__ import annotations

import csv
import io
import math
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from mlabench.missing import Missing
from mlabench.reporting import notes
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.notes import lost_trials
from mlabench.reporting.results import MULTIMODAL, load
from mlabench.reporting.table import Cell, Column, Row, Table, measure
from mlabench.reporting.tables import formats
from mlabench.reporting.tables.of_suite import build_tables
from mlabench.statistics import Interval, Outcomes, Summary, compare, holm
from mlabench.store.records import Store
from mlabench.suite.plan import Plan, PlannedTrial
from tests.reporting import predicted
from tests.reporting.synthetic import LEVELS, MODALITIES, accuracy, failed, record, sweep, trial

HOSTILE = r"MLA_50% & <b>|#{x}~^\$[y]*`"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def tables_of(plan: Plan, store: Store) -> dict[str, Table]:
    return {table.name: table for table in build_tables(Evidence(load(plan, store), store))}


def cell(mean: float | None, planned: int = 2, failed: int = 0, missing: int = 0) -> Cell:
    runs = planned - failed - missing
    return Cell(Summary(mean, 0.5 if runs > 1 else None, runs), planned=planned, failed=failed, missing=missing)


def table(*columns: tuple[Cell, ...], groups: str = "", heads: tuple[str, ...] = ()) -> Table:
    rows = tuple(
        Row((heads[place] if heads else f"row {place}",), cells, groups[place : place + 1])
        for place, cells in enumerate(zip(*columns, strict=True))
    )
    names = tuple(Column(f"column {place}") for place in range(len(columns)))
    return Table("name", "A title", "A note.", "Conditions.", ("Method",), names, rows).with_best()


def best(table: Table) -> list[list[bool]]:
    return [[cell.best for cell in row.cells] for row in table.rows]


def test_main_table_agrees_with_numpy(store: Store) -> None:
    tables = tables_of(sweep(store), store)
    main = tables["main"]
    assert [column.name for column in main.columns] == [*MODALITIES, "Multimodal", "Macro-F1", "ECE", "Oracle gap"]
    for row, label in zip(main.rows, LEVELS, strict=True):
        assert row.heads == (label,)
        for shown, target in zip(row.cells, (*MODALITIES, MULTIMODAL), strict=False):
            values = [100 * accuracy(label, target, seed, 0.0) for seed in (0, 1, 2)]
            assert shown.summary.mean == pytest.approx(np.mean(values))
            assert shown.summary.std == pytest.approx(np.std(values, ddof=1))
            assert (shown.mean, shown.std) == (f"{np.mean(values):.1f}", f"{np.std(values, ddof=1):.1f}")
        assert row.cells[4].summary.mean == pytest.approx(row.cells[3].summary.mean - 1.0)


def test_a_repeat_is_pooled_over_its_folds_by_their_samples() -> None:
    columns = ["seed", "fold", "train", "test", "n", "accuracy", "status"]
    trainings = [
        (0, "1", 100, 0.5, "ok"), (0, "2", 300, 0.7, "ok"),
        (1, "1", 250, 0.6, "ok"), (1, "2", 150, 0.8, "ok"),
        (2, "1", 200, 0.9, "ok"), (2, "2", 200, math.nan, "failed"),
        (3, "1", 200, 0.1, "ok"), (3, "2", 200, math.nan, "missing"),
    ]  # fmt: skip
    rows = [(seed, fold, "complete", "complete", *more) for seed, fold, *more in trainings]
    found = measure(pd.DataFrame(rows, columns=columns))
    pooled = [(50 + 210) / 4, (150 + 120) / 4]  # right answers of 400
    assert (found.summary.mean, found.summary.n) == (pytest.approx(np.mean(pooled)), 2)
    assert found.summary.std == pytest.approx(np.std(pooled, ddof=1))
    assert (found.planned, found.failed, found.missing) == (4, 1, 1)
    assert found.status == "failed 1/4, missing 1/4"


def test_rates_table_has_every_rate_and_their_mean(store: Store) -> None:
    rates = (0.0, 0.3, 0.6)
    tables = tables_of(sweep(store, rates=rates), store)
    assert {"rates", "rates_audio", "rates_image", "rates_text"} <= set(tables)
    shown = tables["rates"]
    assert [column.name for column in shown.columns] == ["0 %", "30 %", "60 %", "Mean"]
    values = 100 * np.array([[accuracy("MLA", MULTIMODAL, seed, rate) for rate in rates] for seed in (0, 1, 2)])
    row = shown.rows[-1]
    means = [cell.summary.mean for cell in row.cells]
    areas = np.trapezoid(values, rates, axis=1) / 0.6
    assert means == pytest.approx([*values.mean(axis=0), areas.mean()])
    assert row.cells[-1].summary.std == pytest.approx(areas.std(ddof=1))
    assert "30.1 % at 30 %" in shown.caption


def test_a_seed_that_lacks_a_rate_is_not_in_the_mean_over_rates(store: Store) -> None:
    plan = sweep(store, ["Concat", "MLA"])
    store.write(failed(plan.cells[4].trial))  # Concat, 30 %, seed 1
    mean = tables_of(plan, store)["rates"].rows[0].cells[-1]
    rates = (0.0, 0.3, 0.6)
    values = [np.trapezoid([accuracy("Concat", MULTIMODAL, seed, rate) for rate in rates], rates) for seed in (0, 2)]
    assert mean.summary.mean == pytest.approx(100 * np.mean(values) / 0.6)
    assert mean.status == "failed 1/3"


def test_a_method_without_some_rate_has_no_mean_over_rates(store: Store) -> None:
    plan = sweep(store, ["Concat", "MLA"])
    tables = tables_of(plan.model_copy(update={"cells": plan.cells[3:]}), store)
    assert tables["rates"].rows[0].cells[-1].status == "n/a"


def test_tests_under_other_settings_have_a_table_when_asked_for(store: Store) -> None:
    rates = [Missing.at("balanced", rate) for rate in (0.0, 0.3)]
    subsets = [Missing(protocol="subset", keep=keep) for keep in (("audio", "image"), ("text",))]
    plan = sweep(store, ["Concat", "MLA"], rates=(0.0, 0.3), extra_tests=[*rates, *subsets])
    crossed = tables_of(plan, store)["crossed"]
    assert [row.heads for row in crossed.rows] == [
        (label, train) for train in ("0 %", "30 %") for label in ("Concat", "MLA")
    ]
    assert [column.name for column in crossed.columns] == ["0 %", "30 %", "text", "audio + image"]
    value = np.mean([accuracy("MLA", MULTIMODAL, seed, 0.3) for seed in (0, 1, 2)])
    assert crossed.rows[1].cells[1].summary.mean == pytest.approx(100 * value)  # trained at 0 %, tested at 30 %
    assert "crossed" not in tables_of(sweep(store, ["MLA"]), store)


def test_one_seed_has_no_spread(store: Store) -> None:
    main = tables_of(sweep(store, ["Concat", "MLA"], seeds=(0,)), store)["main"]
    assert main.rows[0].cells[0].std == ""
    assert "One seed gives no spread" in main.caption
    assert "± —" in formats.markdown(main)
    spreads = [line.split(",")[2::4] for line in formats.csv(main).splitlines()[1:]]
    assert all(spread == "" for line in spreads for spread in line)


def test_failed_and_missing_cells_are_said_to_be(store: Store) -> None:
    plan = sweep(store, ["A", "B", "C", "D"], rates=(0.0,), write=False)
    a, b, c, _ = (plan.cells[start : start + 3] for start in (0, 3, 6, 9))
    for cell in a:
        store.write(failed(cell.trial))
    store.write(failed(b[0].trial))
    for cell in b[1:]:
        store.write(record(cell.trial, "B", cell.tests))
    store.write(record(c[0].trial, "C", c[0].tests))
    rows = tables_of(plan, store)["main"].rows
    assert [row.cells[3].status for row in rows] == ["failed 3/3", "failed 1/3", "missing 2/3", "missing"]
    assert [bool(row.cells[3].mean) for row in rows] == [False, True, True, False]


def test_a_modality_without_a_number_is_not_called_missing(store: Store) -> None:
    plan = sweep(store, ["MLA"], rates=(0.0,))
    for cell in plan.cells:
        made = record(cell.trial, "MLA", cell.tests)
        evaluation = made.evaluations["complete"]
        no_audio = evaluation.model_copy(update={"unimodal": {**evaluation.unimodal, "audio": None}})
        store.write(made.model_copy(update={"evaluations": {"complete": no_audio}}))
    assert tables_of(plan, store)["main"].rows[0].cells[0].status == "n/a"


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ((cell(80.0), cell(82.0), cell(81.0)), [False, True, False]),
        ((cell(80.0), cell(82.04), cell(81.96)), [False, True, True]),  # both displayed as 82.0
        ((cell(80.0), cell(90.0, failed=1), cell(81.0)), [False, False, True]),  # survivors do not compete
        ((cell(80.0), cell(90.0, missing=1), cell(None, missing=2)), [False, False, False]),  # no rival left
    ],
)
def test_best_cells(column: tuple[Cell, ...], expected: list[bool]) -> None:
    assert best(table(column)) == [[value] for value in expected]


def test_best_is_decided_within_a_group() -> None:
    assert best(table(tuple(map(cell, (80.0, 82.0, 70.0, 71.0))), groups="aabb")) == [[False], [True], [False], [True]]


def test_captions_name_what_matters(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = SimpleNamespace(about=SimpleNamespace(twin_of="IEMOCAP"))
    monkeypatch.setattr("mlabench.registry.get", lambda kind, name: twin)
    for shown in tables_of(sweep(store), store).values():
        for part in ("Dataset: stamps, a stand-in (twin) for IEMOCAP", "n = 1,312 test samples", "3 seeds (0–2)"):
            assert part in shown.caption
        assert "selected on the validation split" in shown.caption
        assert "over the samples where that modality is present" in shown.caption
        assert "LIMITED" not in shown.caption


def test_captions_count_folds_and_repeats(store: Store) -> None:
    skills: dict[str, predicted.Skill] = {"MLA": lambda *_: 0.8, "Concat": lambda *_: 0.7}
    plan = predicted.sweep(store, skills, folds=5, seeds=(0, 1), failing=[("MLA", 1, 2)])
    caption = tables_of(plan, store)["main"].caption
    assert "n = 400 test samples; 5 folds × 2 repeats (0, 1)." in caption
    assert "Mean ± standard deviation (ddof = 1) over repeats, each over all folds." in caption
    assert tables_of(plan, store)["main"].rows[0].cells[3].status == "failed 1/2"
    (line,) = lost_trials(load(plan, store))
    assert str(line).startswith("failed: MLA, 0 % missing, seed 1, fold 3 (")


def test_captions_warn(store: Store) -> None:
    plan = sweep(store, selection="best_test", limit=200)
    results = load(plan, store, include_limited=True)
    caption = build_tables(Evidence(results, store))[0].caption
    assert "WARNING: THE EPOCH WAS SELECTED ON THE TEST SPLIT" in caption
    assert "LIMITED RUN: at most 200 samples" in caption


def test_all_formats_show_the_same_numbers(store: Store) -> None:
    plan = sweep(store, rates=(0.0, 0.3))
    store.write(failed(plan.cells[0].trial))
    for shown in tables_of(plan, store).values():
        header, *rows = csv.reader(io.StringIO(formats.csv(shown)))
        assert len(header) == len(shown.heads) + 4 * len(shown.columns)
        names = len(shown.heads)
        from_csv = [
            [(row[at], row[at + 1], row[at + 3]) for at in range(names, len(row), 4)] for row in rows
        ]  # mean, std, status
        lines = [line for line in formats.markdown(shown).splitlines() if line.startswith("|")][2:]
        assert [[parse(cell) for cell in line.split("|")[1 + names : -1]] for line in lines] == from_csv
        lines = [line for line in formats.latex(shown, "x").splitlines() if line.startswith("{")]
        assert [[parse(cell) for cell in line.removesuffix(r"\\").split("&")[names:]] for line in lines] == from_csv


def parse(cell: str) -> tuple[str, str, str]:
    """Mean, standard deviation and status of a rendered cell."""
    plain = (
        re.sub(r"\\textbf\{(.*?)\}|\*\*(.*?)\*\*", lambda match: match[1] or match[2], cell)
        .replace(r"$\pm$", "±")
        .replace("---", "—")
    )
    match = re.fullmatch(r"([\d.]*)(?: ± ([\d.—]+))?(?: ?\(?([a-z].*?)\)?)?", plain.strip())
    assert match, cell
    return match[1], (match[2] or "").strip("—"), match[3] or ""


def test_the_best_is_bold_in_every_format() -> None:
    shown = table((cell(80.0), cell(82.0)))
    assert "**82.0** ± 0.5" in formats.markdown(shown)
    assert r"\textbf{82.0} $\pm$ 0.5" in formats.latex(shown, "x")
    console = Console(record=True, width=100, force_terminal=True, file=io.StringIO())
    console.print(formats.terminal(shown))
    assert "\x1b[1m82.0" in console.export_text(styles=True)


def test_hostile_labels_are_escaped() -> None:
    shown = table((cell(80.0), cell(82.0)), heads=(HOSTILE, "[red]A[/red]"))
    markdown = next(line for line in formats.markdown(shown).splitlines() if "MLA" in line)
    assert markdown.startswith(r"| MLA\_50% &amp; &lt;b&gt;\|#\{x\}\~^\\\$\[y\]\*\` |")
    assert (
        r"MLA\_50\% \& \textless{}b\textgreater{}\textbar{}\#\{x\}\textasciitilde{}"
        r"\textasciicircum{}\textbackslash{}\$[y]*`" in formats.latex(shown, "x")
    )
    console = Console(file=io.StringIO(), width=120)
    console.print(formats.terminal(shown))
    printed = console.file.getvalue()
    assert HOSTILE in printed
    assert "[red]A[/red]" in printed
    assert next(csv.reader(io.StringIO(formats.csv(shown).split("\n", 1)[1])))[0] == HOSTILE


def test_latex_has_no_character_that_fonts_lack() -> None:
    assert formats.escape_latex("λ = 0.1 – 中\nü") == r"$\lambda$ = 0.1 -- [U+4E2D] ü"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(store: Store, tmp_path: Path) -> None:
    rates = [Missing.at("balanced", rate) for rate in (0.0, 0.3, 0.6)]
    plan = sweep(store, [HOSTILE, "[λ] MLA", "* 中 é"], extra_tests=rates)
    store.write(failed(plan.cells[0].trial))
    tables = [formats.latex(table, f"{plan.name}:{table.name}") for table in tables_of(plan, store).values()]
    document = "\n".join(
        [r"\documentclass{article}", r"\usepackage{booktabs,graphicx}", r"\begin{document}", *tables, r"\end{document}"]
    )
    (tmp_path / "tables.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    log = done.stdout.decode("latin-1")
    assert done.returncode == 0, log[-3000:]
    assert "Overfull" not in log


def test_nothing_to_show_makes_no_table(store: Store) -> None:
    plan = Plan(name="empty", modalities=MODALITIES, cells=())
    assert build_tables(Evidence(load(plan, store), store)) == []


@pytest.mark.parametrize(
    ("train", "test", "sentence"),
    [
        (0.5, 0.5, "Modalities are missing in training, validation and test. "),
        (0.5, 0.0, "Modalities are missing in training and validation only. "),
        (0.0, 0.5, "Modalities are missing in test only. "),
    ],
)
def test_a_table_of_rates_says_where_modalities_are_missing(
    store: Store, train: float, test: float, sentence: str
) -> None:
    cells = []
    for place in (0.0, 1.0):
        tests = (Missing.at("balanced", place * test),)
        cells.append(PlannedTrial(label="MLA", trial=trial("MLA", rate=place * train), tests=tests))
    plan = Plan(name="s", modalities=MODALITIES, cells=tuple(cells))
    for one in cells:
        store.write(record(one.trial, one.label, [test for cell in cells for test in cell.tests]))
    assert tables_of(plan, store)["rates"].note.startswith(f"Multimodal accuracy in percent. {sentence}")


def test_rounding_gives_no_negative_zero() -> None:
    assert cell(-2e-9).mean == "0.0"


def test_a_narrow_terminal_breaks_no_number_and_drops_no_column() -> None:
    shown = table(*([(cell(81.2), cell(79.9))] * 9))
    printed = io.StringIO()
    Console(file=printed, width=40).print(formats.terminal(shown), crop=False)
    assert printed.getvalue().count("81.2") == 9
    assert printed.getvalue().count("±0.5") == 18


def test_bold_is_corrected_for_the_number_of_comparisons() -> None:
    random = np.random.default_rng(3)
    rates = [0.82, 0.5, *[0.76] * 6]
    known = [Outcomes(random.random((4, 400)) < rate, np.arange(400), tuple(range(4))) for rate in rates]
    cells = tuple(Cell(Summary(own.accuracy, 0.5, 4), planned=4, outcomes=own) for own in known)
    assert known[0].accuracy == max(own.accuracy for own in known)
    plain = [compare(known[0], own).p_value for own in known[1:]]
    assert [cell[0] for cell in best(table(cells))] == [True, *(p >= 0.05 for p in holm(plain))]
    assert any(p < 0.05 <= corrected for p, corrected in zip(plain, holm(plain), strict=True))


def test_what_cannot_be_told_from_the_best_is_bold_too(store: Store) -> None:
    levels = {"MLA": 0.80, "Concat": 0.79, "Late fusion": 0.60}
    skills = {label: partial(_level, level) for label, level in levels.items()}
    plan = predicted.sweep(store, skills, alike=False, rates=(0.0, 0.3))
    tables = tables_of(plan, store)
    fused = {row.heads[0]: row.cells[3].best for row in tables["main"].rows}
    assert fused == {"MLA": True, "Concat": True, "Late fusion": False}
    assert [row.cells[-1].best for row in tables["rates"].rows] == [True, True, False]  # the mean over rates
    assert "that are not shown to be worse, where predictions are stored: in pairs" in tables["main"].note
    without = tables_of(predicted.sweep(Store(store.root / "none"), skills, keep=False), Store(store.root / "none"))
    assert [row.cells[3].best for row in without["main"].rows] == [True, False, False]
    assert without["main"].note.endswith("among the cells that lack no run.")


def _level(level: float, _target: str, _test: Missing, _seed: int) -> float:
    return level


def test_a_cell_with_an_interval_or_words_in_every_format() -> None:
    cells = (
        Cell(interval=Interval(-1.24, -2.4, 0.1), form="+z.1f"),
        Cell(text="< 0.001"),
        Cell(interval=Interval(0.04, -0.01, 2.0), form="+z.1f", planned=3, failed=1),
    )
    shown = Table(
        "name", "A title", "A note.", "Conditions.", ("Method",),
        tuple(Column(name, ranked=False) for name in ("difference", "p", "gap")), (Row(("MLA",), cells),),
    )  # fmt: skip
    assert r"| MLA | −1.2 \[−2.4, 0.1\] | &lt; 0.001 | +0.0 \[0.0, 2.0\] (failed 1/3) |" in formats.markdown(shown)
    assert r"{MLA} & $-$1.2 [$-$2.4, 0.1] & \textless{} 0.001 & +0.0 [0.0, 2.0] (failed 1/3) \\" in formats.latex(
        shown, "x"
    )
    header, row = csv.reader(io.StringIO(formats.csv(shown)))
    assert header == [
        "Method", "difference", "difference low", "difference high", "difference status", "p",
        "gap", "gap low", "gap high", "gap status",
    ]  # fmt: skip
    assert row == ["MLA", "-1.2", "-2.4", "0.1", "", "< 0.001", "+0.0", "0.0", "2.0", "failed 1/3"]
    printed = io.StringIO()
    Console(file=printed, width=100).print(formats.terminal(shown))
    assert "−1.2 [−2.4, 0.1]" in printed.getvalue()


def test_captions_have_the_oracle_gap(store: Store) -> None:
    # Made-up test curves rise throughout: the last epoch is the best, and seeds 0, 1, 2 stopped 0, 1, 2 epochs before.
    plan = sweep(store, ["MLA"], rates=(0.0,))
    gaps = [100 * store.read(cell.trial.id).oracle_gap("complete") for cell in plan.cells]  # type: ignore[union-attr, operator]
    expected = f"added {np.mean(gaps):.1f} points to the multimodal accuracy on average, {np.max(gaps):.1f} at most."
    assert expected in tables_of(plan, store)["main"].caption


def test_whose_training_it_is_stands_beside_the_methods_where_it_is_not_the_suites_alone(store: Store) -> None:
    plan = sweep(store, ["Concat", "MLA"], seeds=(0,))
    settings = {"Concat": "authors", "MLA": "suite"}
    cells = [cell.model_copy(update={"settings": settings[cell.label]}) for cell in plan.cells]
    main = tables_of(plan.model_copy(update={"cells": tuple(cells)}), store)["main"]
    assert main.columns[-1].name == "Settings"
    assert {row.heads[0]: row.cells[-1].text for row in main.rows} == settings


def test_an_optimizer_that_undoes_a_method_is_among_the_caveats(store: Store) -> None:
    results = load(sweep(store, ["Concat", "MLA"], seeds=(0,)), store)
    assert {cell.trial.training.optimizer.name for cell in results.plan.cells} == {"adam"}
    found = [caveat for caveat in notes.caveats(results) if "runs under adam" in caveat]
    assert len(found) == 1
    assert found[0].startswith("MLA runs under adam: it rescales")

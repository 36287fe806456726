"""Writes the report of a results folder: tables, figures, tidy numbers, and pages that answer the questions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from mlabench.errors import cannot_write
from mlabench.plan import Plan
from mlabench.report import page, render
from mlabench.report.answer import Answer, Chart, Verdict
from mlabench.report.looks import Look, looks
from mlabench.report.published import load_published
from mlabench.report.published.table import published_table
from mlabench.report.results import Results, load
from mlabench.report.table import Table
from mlabench.report.tables import build_tables
from mlabench.store import Store

_VERDICT_STYLES: dict[Verdict, str] = {"supported": "green", "contradicted": "red", "not decided": "yellow"}


@dataclass(frozen=True)
class SuiteReport:
    """What was written about one suite.

    Attributes:
        results: The numbers.
        tables: The tables.
        answers: What the results say about the suite's questions, with tables of their own.
        page: The Markdown page; tables and figures lie in folders beside it.
        files: Everything written, the page included.
    """

    results: Results
    tables: tuple[Table, ...]
    answers: tuple[Answer, ...]
    page: Path
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Report:
    """What was written, suite by suite.

    Attributes:
        out: The folder.
        suites: The suites.
        page: The page about all suites; None if there was nothing to report.
    """

    out: Path
    suites: tuple[SuiteReport, ...]
    page: Path | None


def build_report(
    store: Store,
    plans: Sequence[Plan],
    out: Path,
    *,
    include_limited: bool = False,
    published: Path | None = None,
    console: Console,
) -> Report:
    """Writes ``out/report.html`` and, for each plan, ``out/<suite>/``, and prints the answers and tables.

    Args:
        store: Where the records are.
        plans: What was asked for.
        out: Folder to write to; files of an earlier report are overwritten.
        include_limited: Whether trials made with a limit on the samples count.
        published: A user's own file of published numbers.
        console: Where to print.

    Raises:
        UserError: If ``out`` cannot be written, or ``published`` not be read.
    """
    numbers = load_published(published)
    if not plans:
        console.print(Text(f"Nothing to report: no suite has run into {store.root}."))
        return Report(out, (), None)
    read = [load(plan, store, include_limited=include_limited) for plan in plans]
    answers = [answer(results, store) for results in read]
    tables = [
        [*build_tables(results), *filter(None, [published_table(results, numbers)])] for results in read
    ]
    shown = looks(plans, [chart for given in answers for one in given for chart in one.charts])
    suites = []
    try:
        for results, own, given in zip(read, tables, answers, strict=True):
            suites.append(_write(results, own, given, out / _file_name(results.plan.name), shown))
        html = _write_html(suites, out, shown)
    except OSError as error:
        raise cannot_write("the report", out, error) from error
    for suite in suites:
        _print(suite.results, suite.tables, suite.answers, console)
        console.print(Text(f"Report: {suite.page}"), soft_wrap=True)
    console.print(Text(f"All in one page: {html}"), soft_wrap=True)
    return Report(out, tuple(suites), html)


def print_tables(plan: Plan, store: Store, console: Console) -> None:
    """Prints a suite's answers and tables, trials made with a limit included (and named as such)."""
    results = load(plan, store, include_limited=True)
    _print(results, build_tables(results), answer(results, store), console)


def answer(results: Results, store: Store) -> tuple[Answer, ...]:
    """What the results say about the suite's questions."""
    from mlabench.report.evidence import Evidence  # with SciPy, which takes a moment to import
    from mlabench.report.questions import answers

    return tuple(answers(Evidence(results, store))) if results.settings else ()


def _write(
    results: Results, tables: Sequence[Table], answers: Sequence[Answer], folder: Path, looks: Mapping[str, Look]
) -> SuiteReport:
    """Everything about one suite but the common page."""
    from mlabench.report import chart_matplotlib, plots  # take a second to import matplotlib

    plan = results.plan
    written = _Writer(folder)
    evidence = {f"{one.question}_{table.name}": table for one in answers for table in one.tables}
    named = {**{table.name: table for table in tables}, **evidence}
    for name, table in named.items():
        path = f"tables/{_file_name(name)}"
        written.text(f"{path}.csv", render.csv(table))
        written.text(f"{path}.md", render.markdown(table))
        written.text(f"{path}.tex", render.latex(table, f"{plan.name}:{name}"))
    if named:
        written.text("tables/document.tex", render.latex_document([_file_name(name) for name in named]))
    written.text("tidy.csv", results.scores.to_csv(index=False, lineterminator="\n"))
    results.scores.to_parquet(written.add("tidy.parquet"), index=False)
    figures = {}
    for name, figure in plots.build_figures(results, looks).items():
        written.files += plots.save(figure, written.path(f"figures/{name}"))
        figures[name] = page.FIGURES[name]
    for name, chart in _charts(answers).items():
        written.files += plots.save(chart_matplotlib.draw(chart, looks), written.path(f"figures/{name}"))
        figures[name] = f"{chart.title}. {chart.caption}"
    written.text("report.md", page.markdown(results, list(named.values()), figures, answers))
    return SuiteReport(results, tuple(tables), tuple(answers), written.files[-1], tuple(written.files))


def _charts(answers: Sequence[Answer]) -> dict[str, Chart]:
    return {_file_name(f"{one.question}_{chart.name}"): chart for one in answers for chart in one.charts}


def _print(results: Results, tables: Sequence[Table], answers: Sequence[Answer], console: Console) -> None:
    console.print(Text(page.heading(results.plan), style="bold underline"))
    shown = [table for table in tables if not table.detail]
    for table in shown:
        console.print(render.terminal(table), crop=False)
    for conditions in dict.fromkeys(table.conditions for table in shown):
        console.print(Text(conditions, style="dim"))
    if len(shown) < len(tables):
        more = ", ".join(table.name for table in tables if table.detail)
        console.print(Text(f"The written report has more tables: {more}.", style="dim"))
    for one in answers:
        line = Text(f"{one.question} {one.verdict}: ", style=f"bold {_VERDICT_STYLES[one.verdict]}")
        console.print(line.append(one.headline, style="not bold default"))
    for sentence in page.shortfalls(results):
        console.print(Text(sentence, style="yellow"))


class _Writer:
    """Writes files below one folder and remembers them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[Path] = []

    def path(self, name: str) -> Path:
        """Where ``name`` goes; its folder exists."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def add(self, name: str) -> Path:
        """Where the caller will write ``name``."""
        self.files.append(self.path(name))
        return self.files[-1]

    def text(self, name: str, content: str) -> None:
        """Writes UTF-8 with Unix line ends on every system."""
        self.add(name).write_text(content, encoding="utf-8", newline="\n")


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).strip("_.") or "suite"

"""Writes the report of a results folder: tables, figures, tidy numbers, and pages that answer the questions."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from mlabench import __version__
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

#: A report on fewer trials is made in this process: to start others takes two seconds.
_MANY = 500

_VERDICT_STYLES: dict[Verdict, str] = {"supported": "green", "contradicted": "red", "not decided": "yellow"}


@dataclass(frozen=True)
class Suite:
    """What is reported about one suite.

    Attributes:
        results: The numbers.
        tables: The tables.
        answers: What the results say about the suite's questions, with tables of their own.
        shortfalls: What is not there, in sentences.
    """

    results: Results
    tables: tuple[Table, ...]
    answers: tuple[Answer, ...]
    shortfalls: tuple[str, ...]


@dataclass(frozen=True)
class SuiteReport(Suite):
    """What was written about one suite.

    Attributes:
        page: The Markdown page; tables and figures lie in folders beside it.
        files: Everything written, the page included.
    """

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
    with _side_by_side(plans) as each:
        suites = []
        for suite in each(partial(_read, store=store, include_limited=include_limited), plans):
            beside = published_table(suite.results, numbers)
            suites.append(replace(suite, tables=(*suite.tables, *([beside] if beside else ()))))
        shown = looks(plans, [chart for suite in suites for one in suite.answers for chart in one.charts])
        folders = [out / render.file_name(plan.name) for plan in plans]
        try:
            files = each(partial(_write, looks=shown), suites, folders)
            written = [
                SuiteReport(**vars(suite), page=own[-1], files=own) for suite, own in zip(suites, files, strict=True)
            ]
            html = _write_html(written, store, out, shown)
        except OSError as error:
            raise cannot_write("the report", out, error) from error
    # Another process has a store of its own; two may come upon the same record.
    found = dict(one for suite in suites for one in suite.results.set_aside)
    store.set_aside += [one for one in found.items() if one[0] not in dict(store.set_aside)]
    for suite in written:
        _print(suite, console)
        console.print(Text(f"Report: {suite.page}"), soft_wrap=True)
    console.print(Text(f"All in one page: {html}"), soft_wrap=True)
    return Report(out, tuple(written), html)


@contextmanager
def _side_by_side(plans: Sequence[Plan]) -> Iterator[Callable[..., Iterable[Any]]]:
    """A :func:`map` over suites; in several processes where that is worth their start."""
    trials = {cell.trial.id for plan in plans for cell in plan.cells}
    workers = min(len(plans), os.cpu_count() or 1)
    if workers < 2 or len(trials) < _MANY:
        yield map
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            yield pool.map


def print_tables(plan: Plan, store: Store, console: Console) -> None:
    """Prints a suite's tables and answers, trials made with a limit included (and named as such)."""
    _print(_read(plan, store, include_limited=True), console)


def _read(plan: Plan, store: Store, *, include_limited: bool) -> Suite:
    from mlabench.report.evidence import Evidence  # with SciPy, which takes a moment to import
    from mlabench.report.questions import answers

    results = load(plan, store, include_limited=include_limited)
    evidence = Evidence(results, store)
    given = tuple(map(_without_empty_charts, answers(evidence))) if results.settings else ()
    tables = tuple(build_tables(evidence))
    return Suite(replace(results), tables, given, tuple(page.shortfalls(results, evidence.problems)))  # without caches


def _without_empty_charts(one: Answer) -> Answer:
    """The answer without charts of which nothing was measured."""

    def drawn(chart: Chart) -> bool:
        return any(math.isfinite(value) for panel in chart.panels for series in panel.series for value in series.y)

    return replace(one, charts=tuple(filter(drawn, one.charts)))


def _write(suite: Suite, folder: Path, looks: Mapping[str, Look]) -> tuple[Path, ...]:
    """Everything about one suite but the common page; returns the files, its own page last."""
    from mlabench.report import chart_matplotlib, plots  # take a second to import matplotlib

    plan, written = suite.results.plan, _Writer(folder)
    tables = {table.name: table for table in suite.tables}
    tables |= {f"{one.question}_{table.name}": table for one in suite.answers for table in one.tables}
    for name, table in tables.items():
        path = f"tables/{render.file_name(name)}"
        written.text(f"{path}.csv", render.csv(table))
        written.text(f"{path}.md", render.markdown(table))
        written.text(f"{path}.tex", render.latex(table, f"{plan.name}:{name}"))
    if tables:
        written.text("tables/document.tex", render.latex_document([render.file_name(name) for name in tables]))
    written.text("tidy.csv", suite.results.scores.to_csv(index=False, lineterminator="\n"))
    suite.results.scores.to_parquet(written.add("tidy.parquet"), index=False)
    figures = {}
    for name, figure in plots.build_figures(suite.results, looks).items():
        written.files += plots.save(figure, written.path(f"figures/{name}"))
        figures[name] = page.FIGURES[name]
    for one, chart in _charts(suite):
        name = _chart_name(one, chart)
        written.files += plots.save(chart_matplotlib.draw(chart, looks), written.path(f"figures/{name}"))
        figures[name] = f"{chart.title}. {chart.caption}"
    shown = page.markdown(suite.results, list(tables.values()), figures, suite.answers, suite.shortfalls)
    written.text("report.md", shown)
    return tuple(written.files)


def _write_html(suites: Sequence[SuiteReport], store: Store, out: Path, looks: Mapping[str, Look]) -> Path:
    """The page about all suites."""
    from mlabench.report.html import render_page
    from mlabench.report.html_content import PageContent, Picture, SuiteContent, trial_lines

    records = Path(os.path.relpath(store.trials, out)).as_posix()
    contents, drawings = [], {}
    for suite in suites:
        plan, figures = suite.results.plan, suite.page.parent / "figures"
        for one, chart in _charts(suite):
            drawings[plan.name, chart.name] = (figures / f"{_chart_name(one, chart)}.png").read_bytes()
        pictures = [
            Picture(name, caption, (figures / f"{name}.png").read_bytes())
            for name, caption in page.FIGURES.items()
            if figures / f"{name}.png" in suite.files
        ]
        contents.append(
            SuiteContent(
                name=plan.name,
                heading=page.heading(plan),
                tables=suite.tables,
                pictures=tuple(pictures),
                shortfalls=suite.shortfalls,
                caveats=tuple(page.caveats(suite.results)),
                trials=trial_lines(suite.results, records),
                environment=tuple(page.environments(suite.results)),
                source=plan.source,
            )
        )
    content = PageContent(
        title="mlabench: answers",
        version=__version__,
        looks=looks,
        answers=tuple(sorted((one for suite in suites for one in suite.answers), key=lambda one: one.question)),
        suites=tuple(contents),
        commands=tuple(dict.fromkeys([*(_command(suite.results.plan) for suite in suites), "mlabench report"])),
        drawings=drawings,
    )
    path = out / "report.html"
    path.write_text(render_page(content), encoding="utf-8", newline="\n")
    return path


def _charts(suite: Suite) -> Iterator[tuple[Answer, Chart]]:
    for one in suite.answers:
        for chart in one.charts:
            yield one, chart


def _chart_name(one: Answer, chart: Chart) -> str:
    return render.file_name(f"{one.question}_{chart.name}")


def _print(suite: Suite, console: Console) -> None:
    console.print(Text(page.heading(suite.results.plan), style="bold underline"))
    shown = [table for table in suite.tables if not table.detail]
    for table in shown:
        console.print(render.terminal(table), crop=False)
    for conditions in dict.fromkeys(table.conditions for table in shown):
        console.print(Text(conditions, style="dim"))
    if len(shown) < len(suite.tables):
        more = ", ".join(table.name for table in suite.tables if table.detail)
        console.print(Text(f"The written report has more tables: {more}.", style="dim"))
    for one in suite.answers:
        line = Text(f"{one.question} {one.verdict}: ", style=f"bold {_VERDICT_STYLES[one.verdict]}")
        console.print(line.append(one.headline, style="not bold default"))
    for sentence in suite.shortfalls:
        console.print(Text(sentence, style="yellow"))


def _command(plan: Plan) -> str:
    """The command that ran a suite; for a plan that does not say, the simplest that would."""
    return plan.command or f"mlabench run {plan.name}.yaml"


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

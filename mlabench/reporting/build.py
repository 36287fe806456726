"""Writes the report of a results folder: tables, figures, tidy numbers, and pages that answer the questions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

from mlabench import __version__
from mlabench.errors import cannot_write
from mlabench.reporting import files, notes
from mlabench.reporting.all_suites import AllSuites, rank_all
from mlabench.reporting.charts import styles
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.former import Verdict
from mlabench.reporting.published import load_published
from mlabench.reporting.results import load
from mlabench.reporting.suite_report import SuiteReport, report_suite
from mlabench.reporting.table import Table
from mlabench.reporting.tables import formats
from mlabench.reporting.tables.of_suite import main_tables
from mlabench.reporting.tables.verification import verification_tables
from mlabench.store import Store
from mlabench.suite import Plan

_VERDICT_STYLES: dict[Verdict, str] = {"supported": "green", "contradicted": "red", "not decided": "yellow"}


@dataclass(frozen=True)
class Report:
    """What was written; ``page`` is about all suites, None if there was nothing to report."""

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
    suites = []
    for plan in plans:
        folder = out / formats.file_name(plan.name)
        suite = report_suite(plan, store, folder, include_limited=include_limited, published=numbers)
        suites.append(suite)
        _print(suite, console)
        console.print(Text(f"Report: {suite.page}"), soft_wrap=True)
    together = rank_all([suite.results for suite in suites], out / "all_suites")
    if together:
        _print_tables(together.tables, console)
    with _writing(out):
        html = _write(store, suites, together, out)
    console.print(Text(f"All in one page: {html}"), soft_wrap=True)
    return Report(out, tuple(suites), html)


def print_tables(plan: Plan, store: Store, console: Console) -> None:
    """Prints a suite's main tables from its records alone, trials made with a limit included (and named as such).

    A suite of verification prints its claims and bounds, too, since they are all that it is run for.
    """
    results = load(plan, store, include_limited=True)
    console.print(Text(notes.heading(plan), style="bold underline"))
    _print_tables(main_tables(Evidence(results, None)), console)
    _print_tables(tuple(verification_tables(Evidence(results, store))), console)
    for sentence in notes.shortfalls(results):
        console.print(Text(sentence, style="yellow"))
    console.print(Text("`mlabench report` shows answers, intervals, further tables and figures.", style="dim"))


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Turns what goes wrong on writing into one clear sentence."""
    try:
        yield
    except OSError as error:
        raise cannot_write("the report", out, error) from error


def _write(store: Store, suites: Sequence[SuiteReport], together: AllSuites | None, out: Path) -> Path:
    """All files; the page about all suites is returned."""
    from mlabench.reporting.page import TOGETHER, PageContent, render_page

    figures = [(suite.name, suite.folder, *one) for suite in suites for one in dict(suite.all_charts()).items()]
    if together:
        files.write_tables({table.name: table for table in together.tables}, together.folder.name, together.folder)
        names = ((formats.file_name(chart.name), chart) for chart in together.charts)
        figures = [*((TOGETHER, together.folder, *one) for one in names), *figures]
    for suite in suites:
        files.write_suite(suite)
    shown = styles([suite.results.plan for suite in suites], [chart for *_, chart in figures])
    drawn = files.draw([(chart, folder / "figures" / name) for _, folder, name, chart in figures], shown)
    content = PageContent(
        title="mlabench: answers",
        version=__version__,
        suites=tuple(suites),
        together=together,
        commands=tuple(dict.fromkeys([*(_command(suite.results.plan) for suite in suites), "mlabench report"])),
        records=quote(Path(os.path.relpath(store.trials, out)).as_posix()),
        drawings={(of, chart.name): svg for (of, _, _, chart), svg in zip(figures, drawn, strict=True)},
    )
    path = out / "report.html"
    files.write_text(path, render_page(content))
    return path


def _print(suite: SuiteReport, console: Console) -> None:
    console.print(Text(notes.heading(suite.results.plan), style="bold underline"))
    _print_tables(suite.tables, console)
    if more := ", ".join(table.name for table in suite.tables if table.detail):
        console.print(Text(f"The written report has more tables: {more}.", style="dim"))
    for one in suite.answers:
        line = Text(f"{one.question} {one.verdict}: ", style=f"bold {_VERDICT_STYLES[one.verdict]}")
        console.print(line.append(one.headline, style="not bold default"))
    for sentence in suite.shortfalls:
        console.print(Text(sentence, style="yellow"))


def _print_tables(tables: Sequence[Table], console: Console) -> None:
    shown = [table for table in tables if not table.detail]
    for table in shown:
        console.print(formats.terminal(table), crop=False)
    for caption in dict.fromkeys(table.conditions for table in shown):
        console.print(Text(caption, style="dim"))


def _command(plan: Plan) -> str:
    """The command that ran a suite; for a plan that does not say, the simplest that would."""
    return plan.command or f"mlabench run {plan.name}.yaml"

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
from mlabench.reporting import files, terminal
from mlabench.reporting.all_suites import AllSuites, rank_all
from mlabench.reporting.answer import Answer
from mlabench.reporting.charts import styles
from mlabench.reporting.published import Number, load_published
from mlabench.reporting.suite_report import SuiteReport, report_suite
from mlabench.reporting.tables import formats
from mlabench.store import Store
from mlabench.suite import Plan

#: The figures of a suite that are on the page; others are in files alone.
_ON_PAGE = ("leaderboard",)


@dataclass(frozen=True)
class Report:
    """What was written; ``page`` is about all suites, None if there was nothing to report."""

    out: Path
    suites: tuple[SuiteReport, ...]
    answers: tuple[Answer, ...]
    page: Path | None


def build_report(
    store: Store,
    plans: Sequence[Plan],
    out: Path,
    *,
    include_limited: bool = False,
    published: Path | None = None,
    console: Console,
    full: bool = False,
) -> Report:
    """Writes ``out/report.html`` and, for each plan, ``out/<suite>/``, and prints the verdicts and a leaderboard.

    Args:
        store: Where the records are.
        plans: What was asked for.
        out: Folder to write to; files of an earlier report are replaced.
        include_limited: Whether trials made with a limit on the samples count.
        published: A user's own file of published numbers.
        console: Where to print.
        full: Print all tables, not only 40 lines.

    Raises:
        UserError: If ``out`` cannot be written, or ``published`` not be read.
    """
    numbers = load_published(published)
    if not plans:
        console.print(Text(f"Nothing to report: no suite has run into {store.root}."))
        return Report(out, (), (), None)
    suites, answers = _reports(store, plans, out, include_limited=include_limited, published=numbers)
    together = rank_all(suites)
    with _writing(out):
        page = _write(store, suites, answers, together, out)
    if full:
        terminal.print_full(suites, answers, together, console, [f"Report: {page}"])
    else:
        terminal.print_short(suites, answers, console, [f"Report: {page}", "All tables: `mlabench report --full`."])
    return Report(out, tuple(suites), tuple(answers), page)


def print_summary(plan: Plan, store: Store, console: Console, *, full: bool = False) -> None:
    """Prints a suite's verdicts and its leaderboard, trials made with a limit included (and named as such)."""
    (suite,), answers = _reports(store, [plan], Path(), include_limited=True)
    if full:
        terminal.print_full([suite], answers, None, console, [])
    else:
        terminal.print_short([suite], answers, console, ["More tables, figures, one page: `mlabench report`."])


def _reports(
    store: Store, plans: Sequence[Plan], out: Path, *, include_limited: bool, published: Sequence[Number] = ()
) -> tuple[list[SuiteReport], list[Answer]]:
    """What is reported about each plan, and what they answer together; each record is read once."""
    from mlabench.reporting.evidence import Archive  # with SciPy, which takes a moment to import
    from mlabench.reporting.questions import answers

    archive = Archive(store)
    folders = [out / formats.file_name(plan.name) for plan in plans]
    suites = [
        report_suite(plan, archive, folder, include_limited, published)
        for plan, folder in zip(plans, folders, strict=True)
    ]
    return suites, answers(plans, archive, include_limited=include_limited)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Turns what goes wrong on writing into one clear sentence."""
    try:
        yield
    except OSError as error:
        raise cannot_write("the report", out, error) from error


def _write(
    store: Store, suites: Sequence[SuiteReport], answers: Sequence[Answer], together: AllSuites | None, out: Path
) -> Path:
    """All files; the page about all suites is returned."""
    from mlabench.reporting.over_datasets import laziness_by_encoders, means
    from mlabench.reporting.page import BY_ENCODERS, TOGETHER, PageContent, render_page

    pooled, beside = means(answers), laziness_by_encoders(answers)
    folder = out / "all_suites"
    for place in (out / "answers", folder, *(suite.folder for suite in suites)):
        files.clear(place)
    files.write_answers(answers, out / "answers")
    for suite in suites:
        files.write_suite(suite, [one for one in answers if suite.name in one.suites])
    shared = (*pooled, *([beside.table] if beside else ()), *(together.tables if together else ()))
    files.write_tables({table.name: table for table in shared}, folder)
    owners = [(one.name, out / "answers", f"{one.name}_", one.charts) for one in answers]
    owners += [(BY_ENCODERS, folder, "", (beside.chart,))] if beside else []
    owners += [(TOGETHER, folder, "", together.charts)] if together else []
    owners += [(suite.name, suite.folder, "", suite.charts) for suite in suites]
    figures = [
        (owner, chart, place / "figures" / formats.file_name(f"{prefix}{chart.name}"))
        for owner, place, prefix, charts in owners
        for chart in charts
    ]
    shown = styles([suite.results.plan for suite in suites], [chart for _, chart, _ in figures])
    drawn = files.draw([(chart, path) for _, chart, path in figures], shown)
    elsewhere = {(suite.name, chart.name) for suite in suites for chart in suite.charts if chart.name not in _ON_PAGE}
    drawings = {(owner, chart.name): svg for (owner, chart, _), svg in zip(figures, drawn, strict=True)}
    content = PageContent(
        title="mlabench: answers",
        version=__version__,
        answers=tuple(answers),
        suites=tuple(suites),
        together=together,
        means=tuple(pooled),
        by_encoders=beside,
        commands=tuple(dict.fromkeys([*(_command(suite.results.plan) for suite in suites), "mlabench report"])),
        records=quote(Path(os.path.relpath(store.trials, out)).as_posix()),
        drawings={place: svg for place, svg in drawings.items() if place not in elsewhere},
    )
    path = out / "report.html"
    files.write_text(path, render_page(content))
    return path


def _command(plan: Plan) -> str:
    """The command that ran a suite; for a plan that does not say, the simplest that would."""
    return plan.command or f"mlabench run {plan.name}.yaml"

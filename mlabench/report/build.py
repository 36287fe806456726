"""Writes the report of a results folder: tables, figures, tidy numbers, and pages that answer the questions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

from mlabench import __version__
from mlabench.errors import cannot_write
from mlabench.report import files, page, render
from mlabench.report.across import Across, across, conditions
from mlabench.report.answer import Verdict
from mlabench.report.looks import Look, looks
from mlabench.report.parallel import collecting_seldom, side_by_side
from mlabench.report.published import load_published
from mlabench.report.suite import Suite, read_suite
from mlabench.report.table import Table
from mlabench.store import Store
from mlabench.suite import Plan

#: Name of the section about all suites together.
ACROSS = "All suites together"

#: A report on fewer trials, and on fewer suites, is made in this process: to start others takes two seconds.
_MANY, _SEVERAL = 500, 4

_VERDICT_STYLES: dict[Verdict, str] = {"supported": "green", "contradicted": "red", "not decided": "yellow"}


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


@collecting_seldom()
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
    records = quote(Path(os.path.relpath(store.trials, out)).as_posix())
    folders = [out / render.file_name(plan.name) for plan in plans]
    trials = {cell.trial.id for plan in plans for cell in plan.cells}
    with side_by_side(worth_it=len(trials) >= _MANY or len(plans) >= _SEVERAL) as each:
        read = partial(read_suite, store=store, include_limited=include_limited, published=numbers, records=records)
        suites = list(each(read, plans))
        together = _across(suites, each)
        general = together.charts if together else ()
        shown = looks(plans, [*general, *(chart for suite in suites for _, chart in files.charts(suite))])
        drawings = [files.drawings(suite, folder) for suite, folder in zip(suites, folders, strict=True)]
        with _writing(out):
            drawn = each(partial(files.draw, looks=shown), chain(*drawings, files.drawings_across(general, out)))
            # While other processes, if there are any, draw:
            texts = list(map(files.write, suites, folders))
            for suite, own in zip(suites, texts, strict=True):
                _print(suite, console)
                console.print(Text(f"Report: {own[-1]}"), soft_wrap=True)
            if together:
                files.write_across(together, out)
                _print_tables(together.tables, console)
            list(drawn)
    written = [
        SuiteReport(**vars(suite), page=own[-1], files=(*own, *(path for one in figures for path in one.files)))
        for suite, own, figures in zip(suites, texts, drawings, strict=True)
    ]
    with _writing(out):
        html = _write_html(written, together, out, shown)
    # Another process has a store of its own; two may come upon the same record.
    found = dict(one for suite in suites for one in suite.results.set_aside)
    store.set_aside += [one for one in found.items() if one[0] not in dict(store.set_aside)]
    console.print(Text(f"All in one page: {html}"), soft_wrap=True)
    return Report(out, tuple(written), html)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Turns what goes wrong on writing into one clear sentence.

    Raises:
        UserError: In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise cannot_write("the report", out, error) from error


def _across(suites: Sequence[Suite], each: Callable[..., Iterable[Any]]) -> Across | None:
    """What is said about several suites together."""
    found = [block for suite in suites for block in suite.blocks]
    if len({block.dataset for block in found}) < 2:
        return None
    (together,) = each(across, [found], [conditions([suite.results for suite in suites])])
    return cast("Across | None", together)


def print_tables(plan: Plan, store: Store, console: Console) -> None:
    """Prints a suite's tables and answers, trials made with a limit included (and named as such)."""
    _print(read_suite(plan, store, include_limited=True), console)


def _write_html(suites: Sequence[SuiteReport], together: Across | None, out: Path, looks: Mapping[str, Look]) -> Path:
    """The page about all suites."""
    from mlabench.report.html import render_page
    from mlabench.report.html_content import PageContent, Picture, SuiteContent

    contents, drawings = [], {}
    for suite in suites:
        plan, figures = suite.results.plan, suite.page.parent / "figures"
        for name, chart in files.charts(suite):
            drawings[plan.name, chart.name] = (figures / f"{name}.png").read_bytes()
        pictures = [
            Picture(name, caption, (figures / f"{name}.png").read_bytes()) for name, caption in suite.figures.items()
        ]
        contents.append(
            SuiteContent(
                name=plan.name,
                heading=page.heading(plan),
                tables=suite.tables,
                charts=suite.charts,
                pictures=tuple(pictures),
                shortfalls=suite.shortfalls,
                caveats=suite.caveats,
                trials=suite.trials,
                environment=suite.environment,
                source=plan.source,
            )
        )
    general = None
    if together:
        general = SuiteContent(
            name=ACROSS, heading=ACROSS, tables=together.tables, charts=together.charts, caveats=together.notes
        )
        for drawing, chart in zip(files.drawings_across(together.charts, out), together.charts, strict=True):
            drawings[ACROSS, chart.name] = drawing.files[0].read_bytes()
    content = PageContent(
        title="mlabench: answers",
        version=__version__,
        looks=looks,
        answers=tuple(sorted((one for suite in suites for one in suite.answers), key=lambda one: one.question)),
        suites=tuple(contents),
        across=general,
        commands=tuple(dict.fromkeys([*(_command(suite.results.plan) for suite in suites), "mlabench report"])),
        drawings=drawings,
    )
    path = out / "report.html"
    path.write_text(render_page(content), encoding="utf-8", newline="\n")
    return path


def _print(suite: Suite, console: Console) -> None:
    console.print(Text(page.heading(suite.results.plan), style="bold underline"))
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
        console.print(render.terminal(table), crop=False)
    for caption in dict.fromkeys(table.conditions for table in shown):
        console.print(Text(caption, style="dim"))


def _command(plan: Plan) -> str:
    """The command that ran a suite; for a plan that does not say, the simplest that would."""
    return plan.command or f"mlabench run {plan.name}.yaml"

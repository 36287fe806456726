"""Writes the report of a results folder: tables, figures, tidy numbers and one page per suite."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from mlabench.errors import cannot_write
from mlabench.plan import Plan
from mlabench.report import page, render
from mlabench.report.results import Results, load
from mlabench.report.table import Table
from mlabench.report.tables import build_tables
from mlabench.store import Store


@dataclass(frozen=True)
class SuiteReport:
    """What was written about one suite.

    Attributes:
        results: The numbers.
        tables: The tables.
        page: The Markdown page; tables and figures lie in folders beside it.
        files: Everything written, the page included.
    """

    results: Results
    tables: tuple[Table, ...]
    page: Path
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Report:
    """What was written, suite by suite."""

    out: Path
    suites: tuple[SuiteReport, ...]


def build_report(
    store: Store, plans: Sequence[Plan], out: Path, *, include_limited: bool = False, console: Console
) -> Report:
    """Writes ``out/<suite>/`` for each plan and prints its tables.

    Args:
        store: Where the records are.
        plans: What was asked for.
        out: Folder to write to; files of an earlier report are overwritten.
        include_limited: Whether trials made with a limit on the samples count.
        console: Where to print.

    Raises:
        UserError: If ``out`` cannot be written.
    """
    from mlabench.report import plots  # takes a second to import matplotlib

    if not plans:
        console.print(Text(f"Nothing to report: no suite has run into {store.root}."))
    looks = plots.looks(plans)
    suites = []
    for plan in plans:
        results = load(plan, store, include_limited=include_limited)
        tables = build_tables(results)
        try:
            written = _Writer(out / _file_name(plan.name))
            for table in tables:
                name = f"tables/{_file_name(table.name)}"
                written.text(f"{name}.csv", render.csv(table))
                written.text(f"{name}.md", render.markdown(table))
                written.text(f"{name}.tex", render.latex(table, f"{plan.name}:{table.name}"))
            written.text("tidy.csv", results.scores.to_csv(index=False, lineterminator="\n"))
            figures = plots.build_figures(results, looks)
            for name, figure in figures.items():
                written.files += plots.save(figure, written.path(f"figures/{name}"))
            written.text("report.md", page.markdown(results, tables, list(figures)))
        except OSError as error:
            raise cannot_write("the report", out, error) from error
        _print(results, tables, console)
        console.print(Text(f"Report: {written.files[-1]}"), soft_wrap=True)
        suites.append(SuiteReport(results, tuple(tables), written.files[-1], tuple(written.files)))
    return Report(out, tuple(suites))


def print_tables(plan: Plan, store: Store, console: Console) -> None:
    """Prints a suite's tables, trials made with a limit included (and named as such)."""
    results = load(plan, store, include_limited=True)
    _print(results, build_tables(results), console)


def _print(results: Results, tables: Sequence[Table], console: Console) -> None:
    console.print(Text(page.heading(results.plan), style="bold underline"))
    shown = [table for table in tables if not table.detail]
    for table in shown:
        console.print(render.terminal(table), crop=False)
    for conditions in dict.fromkeys(table.conditions for table in shown):
        console.print(Text(conditions, style="dim"))
    if len(shown) < len(tables):
        more = ", ".join(table.name for table in tables if table.detail)
        console.print(Text(f"The written report has more tables: {more}.", style="dim"))
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

    def text(self, name: str, content: str) -> None:
        """Writes UTF-8 with Unix line ends on every system."""
        path = self.path(name)
        path.write_text(content, encoding="utf-8", newline="\n")
        self.files.append(path)


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).strip("_.") or "suite"

"""The files of a report: tables, tidy numbers, figures, and each suite's page in Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlabench.errors import UserError
from mlabench.processes import in_processes, usable_cores
from mlabench.reporting.answer import Answer
from mlabench.reporting.charts import Chart, Style
from mlabench.reporting.frames import outcome_frame, verdict_content
from mlabench.reporting.suite_report import SuiteReport
from mlabench.reporting.table import Table
from mlabench.reporting.tables import formats
from mlabench.reporting.verdicts import verdict_table

#: All verdicts with their numbers, beside the page.
VERDICTS = "verdicts.json"

#: Of tables and figures.
_ENDINGS = {".csv", ".md", ".tex", ".png", ".pdf"}

#: With fewer charts, starting other processes takes longer than drawing them here.
_MANY = 12


def clear(folder: Path) -> None:
    """Removes the tables and figures of an earlier report, which may have had others."""
    for path in [*folder.glob("tables/*"), *folder.glob("figures/*")]:
        if path.suffix in _ENDINGS:
            path.unlink()


def write_answers(answers: Sequence[Answer], folder: Path) -> None:
    """Writes the verdicts, what a sceptic needs to recompute them, and the tables of all answers."""
    write_text(folder.with_name(VERDICTS), json.dumps(verdict_content(answers), indent=1, ensure_ascii=False) + "\n")
    write_text(folder.with_name("outcomes.csv"), outcome_frame(answers).to_csv(index=False, lineterminator="\n"))
    tables = {"verdicts": verdict_table(answers)} if answers else {}
    for one in answers:
        more = [family.table(name, name, "") for name, family in one.more]
        tables |= {f"{one.name}_{table.name}": table for table in (one.contrasts, *one.tables, *more)}
    write_tables(tables, folder)


def write_suite(suite: SuiteReport, answers: Sequence[Answer]) -> None:
    """Writes everything about one suite but figures and the HTML page; ``answers`` are those that rest on it."""
    from mlabench.reporting.page import render_markdown

    write_tables({table.name: table for table in suite.tables}, suite.folder)
    scores = suite.results.scores
    write_text(suite.folder / "tidy.csv", scores.to_csv(index=False, lineterminator="\n"))
    scores.to_parquet(suite.folder / "tidy.parquet", index=False)
    write_text(suite.page, render_markdown(suite, answers))


def write_tables(tables: Mapping[str, Table], folder: Path) -> None:
    """Writes tables, by name, in all formats, and a LaTeX document of them all."""
    for name, table in tables.items():
        path = folder / "tables" / formats.file_name(name)
        write_text(path.with_name(f"{path.name}.csv"), formats.csv(table))
        write_text(path.with_name(f"{path.name}.md"), formats.markdown(table))
        write_text(path.with_name(f"{path.name}.tex"), formats.latex(table, f"{folder.name}:{name}"))
    if tables:
        names = [formats.file_name(name) for name in tables]
        write_text(folder / "tables" / "document.tex", formats.latex_document(names))


def draw(charts: Sequence[tuple[Chart, Path]], styles: Mapping[str, Style]) -> list[str]:
    """Draws charts, each to a path without ending, as PNG, as PDF and, returned, as SVG for the page."""
    processes = min(usable_cores(), 8) if len(charts) >= _MANY else 1
    broken = UserError(
        "a process that drew charts died; the machine may be out of memory.",
        remedy="Report on fewer suites at a time: `mlabench report SUITE`.",
    )
    drawn = dict(in_processes(_draw, [(chart, path, styles) for chart, path in charts], processes, broken=broken))
    return [drawn[place] for place in range(len(charts))]


def as_svg(charts: Sequence[Chart], styles: Mapping[str, Style]) -> list[str]:
    """Charts with different names as SVG for a page, without files."""
    from mlabench.reporting.charts import figure  # takes a second to import matplotlib

    return [figure.as_svg(figure.draw(chart, styles), chart.name) for chart in charts]


def _draw(chart: Chart, path: Path, styles: Mapping[str, Style]) -> str:
    from mlabench.reporting.charts import figure  # takes a second to import matplotlib

    path.parent.mkdir(parents=True, exist_ok=True)
    files = path.with_name(f"{path.name}.png"), path.with_name(f"{path.name}.pdf")
    return figure.save(figure.draw(chart, styles), *files)


def write_text(path: Path, content: str) -> None:
    """Writes UTF-8 with Unix line ends on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="\n")

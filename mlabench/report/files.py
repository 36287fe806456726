"""The files of one suite, and of all suites together: tables, tidy numbers, figures, and the page in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlabench.report.all_suites import AllSuites
from mlabench.report.answer import Chart
from mlabench.report.styles import Style
from mlabench.report.suite_report import SuiteReport
from mlabench.report.tables import formats
from mlabench.report.tables.table import Table


def write_suite(suite: SuiteReport, styles: Mapping[str, Style]) -> dict[str, str]:
    """Writes everything about one suite but the HTML page. Returns its figures as SVG for that page, by name."""
    from mlabench.report.page import render_markdown

    tables = {table.name: table for table in suite.tables}
    tables |= {f"{one.question}_{table.name}": table for one in suite.answers for table in one.tables}
    _write_tables(tables, suite.name, suite.folder)
    if tables:
        names = [formats.file_name(name) for name in tables]
        write_text(suite.folder / "tables" / "document.tex", formats.latex_document(names))
    scores = suite.results.scores
    write_text(suite.folder / "tidy.csv", scores.to_csv(index=False, lineterminator="\n"))
    scores.to_parquet(suite.folder / "tidy.parquet", index=False)
    charts = dict(suite.all_charts())
    write_text(suite.page, render_markdown(suite, tables.values()))
    return {chart.name: _draw(chart, styles, suite.folder, name) for name, chart in charts.items()}


def write_all_suites(together: AllSuites, styles: Mapping[str, Style]) -> dict[str, str]:
    """Writes tables and figures about all suites together. Returns the figures as SVG for the page, by name."""
    _write_tables({table.name: table for table in together.tables}, together.folder.name, together.folder)
    return {
        chart.name: _draw(chart, styles, together.folder, formats.file_name(chart.name)) for chart in together.charts
    }


def _draw(chart: Chart, styles: Mapping[str, Style], folder: Path, name: str) -> str:
    """Writes a chart as PNG and, for papers, as PDF; returns its SVG."""
    from mlabench.report import chart_figure  # takes a second to import matplotlib

    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    return chart_figure.save(chart_figure.draw(chart, styles), figures / f"{name}.png", figures / f"{name}.pdf")


def write_text(path: Path, content: str) -> None:
    """Writes UTF-8 with Unix line ends on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="\n")


def _write_tables(tables: Mapping[str, Table], of: str, folder: Path) -> None:
    """Writes tables, by name, in all formats; ``of`` begins their labels in LaTeX."""
    for name, table in tables.items():
        path = folder / "tables" / formats.file_name(name)
        write_text(path.with_name(f"{path.name}.csv"), formats.csv(table))
        write_text(path.with_name(f"{path.name}.md"), formats.markdown(table))
        write_text(path.with_name(f"{path.name}.tex"), formats.latex(table, f"{of}:{name}"))

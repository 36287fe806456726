"""The files of one suite: tables, tidy numbers, figures, and the page in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlabench.report import page, render
from mlabench.report.across import Across
from mlabench.report.answer import Chart
from mlabench.report.looks import Look
from mlabench.report.results import Results
from mlabench.report.suite import Suite
from mlabench.report.table import Table

#: Folder of what is about all suites together.
_ACROSS = "all_suites"


@dataclass(frozen=True)
class Drawing:
    """A figure to draw.

    Attributes:
        path: Where its files go, without their endings.
        shown: A chart, or numbers and the name of their figure.
    """

    path: Path
    shown: Chart | tuple[str, Results]

    @property
    def files(self) -> tuple[Path, Path]:
        """The picture, and the figure for papers."""
        return self.path.with_name(f"{self.path.name}.png"), self.path.with_name(f"{self.path.name}.pdf")


def drawings(suite: Suite, folder: Path) -> list[Drawing]:
    """All figures of a suite; ``folder`` is the suite's."""
    numbers = [Drawing(folder / "figures" / name, (name, suite.results)) for name in suite.figures]
    return [*numbers, *(Drawing(folder / "figures" / name, chart) for name, chart in charts(suite))]


def draw(drawing: Drawing, looks: Mapping[str, Look]) -> None:
    """Draws a figure and writes its files."""
    from mlabench.report import chart_matplotlib, plots  # take a second to import matplotlib

    if isinstance(drawing.shown, Chart):
        figure = chart_matplotlib.draw(drawing.shown, looks)
    else:
        figure = plots.draw(*drawing.shown, looks)
    drawing.path.parent.mkdir(parents=True, exist_ok=True)
    plots.save(figure, *drawing.files)


def write(suite: Suite, folder: Path) -> tuple[Path, ...]:
    """Writes everything about one suite but figures and the HTML page; returns the files, the page last."""
    plan, written = suite.results.plan, Writer(folder)
    tables = {table.name: table for table in suite.tables}
    tables |= {f"{one.question}_{table.name}": table for one in suite.answers for table in one.tables}
    _write_tables(tables, plan.name, written)
    if tables:
        written.text("tables/document.tex", render.latex_document([render.file_name(name) for name in tables]))
    written.text("tidy.csv", suite.results.scores.to_csv(index=False, lineterminator="\n"))
    suite.results.scores.to_parquet(written.add("tidy.parquet"), index=False)
    captions = {name: f"{chart.title}. {chart.caption}" for name, chart in charts(suite)}
    written.text("report.md", page.markdown(suite, list(tables.values()), {**suite.figures, **captions}))
    return tuple(written.files)


def drawings_across(shown: Sequence[Chart], out: Path) -> list[Drawing]:
    """The figures about all suites together; ``out`` is the report's folder."""
    return [Drawing(out / _ACROSS / "figures" / render.file_name(chart.name), chart) for chart in shown]


def write_across(together: Across, out: Path) -> None:
    """Writes the tables about all suites together."""
    _write_tables({table.name: table for table in together.tables}, _ACROSS, Writer(out / _ACROSS))


def _write_tables(tables: Mapping[str, Table], of: str, written: Writer) -> None:
    """Writes tables in all formats.

    Args:
        tables: The tables by name.
        of: What they are about: the beginning of their labels in LaTeX.
        written: Where to.
    """
    for name, table in tables.items():
        path = f"tables/{render.file_name(name)}"
        written.text(f"{path}.csv", render.csv(table))
        written.text(f"{path}.md", render.markdown(table))
        written.text(f"{path}.tex", render.latex(table, f"{of}:{name}"))


def charts(suite: Suite) -> Iterator[tuple[str, Chart]]:
    """The charts of a suite and of its answers, each with the name of its files."""
    for chart in suite.charts:
        yield render.file_name(chart.name), chart
    for one in suite.answers:
        for chart in one.charts:
            yield render.file_name(f"{one.question}_{chart.name}"), chart


class Writer:
    """Writes files below one folder and remembers them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[Path] = []

    def add(self, name: str) -> Path:
        """Where the caller will write ``name``; its folder exists."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.files.append(path)
        return path

    def text(self, name: str, content: str) -> None:
        """Writes UTF-8 with Unix line ends on every system."""
        self.add(name).write_text(content, encoding="utf-8", newline="\n")

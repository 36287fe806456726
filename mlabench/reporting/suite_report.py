"""What is reported about one suite: made once, then printed, written to files and shown on the page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlabench.reporting import notes
from mlabench.reporting.charts import Chart, result_charts
from mlabench.reporting.former import Answer, as_before
from mlabench.reporting.published import Number, published_table
from mlabench.reporting.results import Results, load
from mlabench.reporting.table import Table
from mlabench.reporting.tables import formats
from mlabench.reporting.tables.of_suite import build_tables
from mlabench.store import Store
from mlabench.suite import Plan

if TYPE_CHECKING:
    from mlabench.reporting.tables.leaderboard import Leaderboard


@dataclass(frozen=True)
class SuiteReport:
    """What is reported about one suite, into ``folder``; answers have tables and charts of their own."""

    results: Results
    folder: Path
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    answers: tuple[Answer, ...]
    shortfalls: tuple[str, ...]
    caveats: tuple[str, ...]
    environment: tuple[str, ...]
    board: Leaderboard | None = None

    @property
    def name(self) -> str:
        """The suite's name."""
        return self.results.plan.name

    @property
    def heading(self) -> str:
        """The suite's name and title."""
        return notes.heading(self.results.plan)

    @property
    def page(self) -> Path:
        """The page in Markdown."""
        return self.folder / "report.md"

    def all_charts(self) -> Iterator[tuple[str, Chart]]:
        """The charts of the suite and of its answers, each with the name of its files."""
        for chart in self.charts:
            yield formats.file_name(chart.name), chart
        for one in self.answers:
            for chart in one.charts:
                yield formats.file_name(f"{one.question}_{chart.name}"), chart


def report_suite(
    plan: Plan, store: Store, folder: Path, *, include_limited: bool = False, published: Sequence[Number] = ()
) -> SuiteReport:
    """Reads and answers everything about one suite."""
    from mlabench.reporting.evidence import Archive, Evidence  # with SciPy, which takes a moment to import
    from mlabench.reporting.questions import answers
    from mlabench.reporting.tables.leaderboard import leaderboard

    archive = Archive(store)
    results = load(plan, store, include_limited=include_limited, known=archive.records)
    evidence = Evidence(results, store, archive)
    given = map(as_before, answers([plan], archive, include_limited=include_limited))
    board = leaderboard(evidence)
    beside = published_table(results, published)
    return SuiteReport(
        results=results,
        folder=folder,
        tables=(*([board.table] if board else ()), *build_tables(evidence), *([beside] if beside else ())),
        charts=(*(board.charts if board else ()), *result_charts(evidence)),
        answers=tuple(map(_with_charts_that_show, given)),
        shortfalls=tuple(notes.shortfalls(results, evidence.problems)),
        caveats=tuple(notes.caveats(results)),
        environment=tuple(notes.environments(results)),
        board=board,
    )


def _with_charts_that_show(one: Answer) -> Answer:
    """The answer without charts of which nothing was measured."""

    def drawn(chart: Chart) -> bool:
        return any(math.isfinite(value) for panel in chart.panels for series in panel.series for value in series.y)

    return replace(one, charts=tuple(filter(drawn, one.charts)))

"""What is reported about one suite: made once, then printed, written to files and shown on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlabench.reporting import notes
from mlabench.reporting.charts import Chart, result_charts
from mlabench.reporting.published import Number, published_table
from mlabench.reporting.results import Results
from mlabench.reporting.table import Table
from mlabench.reporting.tables.of_suite import build_tables
from mlabench.suite import Plan

if TYPE_CHECKING:
    from mlabench.reporting.evidence import Archive
    from mlabench.reporting.tables.leaderboard import Leaderboard


@dataclass(frozen=True)
class SuiteReport:
    """What is reported about one suite, into ``folder``, beside the answers."""

    results: Results
    folder: Path
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
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


def report_suite(
    plan: Plan, archive: Archive, folder: Path, include_limited: bool, published: Sequence[Number]
) -> SuiteReport:
    """Reads everything about one suite but the answers."""
    from mlabench.reporting.tables.leaderboard import leaderboard  # with SciPy, which takes a moment to import

    evidence = archive.evidence([plan], include_limited=include_limited)
    results = evidence.results
    board = leaderboard(evidence)
    beside = published_table(results, published)
    return SuiteReport(
        results=results,
        folder=folder,
        tables=(*([board.table] if board else ()), *build_tables(evidence), *([beside] if beside else ())),
        charts=(*([board.chart] if board else ()), *result_charts(evidence)),
        shortfalls=tuple(notes.shortfalls(results, evidence.problems)),
        caveats=tuple(notes.caveats(results)),
        environment=tuple(notes.environments(results)),
        board=board,
    )

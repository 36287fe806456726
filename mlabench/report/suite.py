"""What is reported about one suite, apart from how it is written down."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mlabench.report import page
from mlabench.report.across import Block, blocks
from mlabench.report.answer import Answer, Chart
from mlabench.report.chart_axes import with_room
from mlabench.report.html_content import TrialLine, trial_lines
from mlabench.report.published import Number
from mlabench.report.published.table import published_table
from mlabench.report.results import Results, load
from mlabench.report.table import Table
from mlabench.report.tables import build_tables
from mlabench.store import Store
from mlabench.suite import Plan


@dataclass(frozen=True)
class Suite:
    """What is reported about one suite.

    Attributes:
        results: The numbers. Without the records, of which all else here is made: to send them from one process to
            another takes as long as to read them.
        tables: The tables.
        charts: Charts about the suite as a whole.
        answers: What the results say about the suite's questions, with tables of their own.
        blocks: What can be ranked together with other suites.
        figures: Captions of the figures of the results, by name; the answers have more.
        shortfalls: What is not there, in sentences.
        caveats: What to keep in mind, in sentences.
        environment: Versions, device, commit: one line each.
        trials: All its trials.
    """

    results: Results
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    answers: tuple[Answer, ...]
    blocks: tuple[Block, ...]
    figures: Mapping[str, str]
    shortfalls: tuple[str, ...]
    caveats: tuple[str, ...]
    environment: tuple[str, ...]
    trials: tuple[TrialLine, ...]


def read_suite(
    plan: Plan, store: Store, *, include_limited: bool, published: Sequence[Number] = (), records: str = ""
) -> Suite:
    """Reads and answers everything about one suite.

    Args:
        plan: What was asked for.
        store: Where the records are.
        include_limited: Whether trials made with a limit on the samples count.
        published: Numbers to set beside ours.
        records: Address of the folder of trials as seen from the HTML page.
    """
    from mlabench.report.evidence import Evidence  # with SciPy, which takes a moment to import
    from mlabench.report.leaderboard import leaderboard
    from mlabench.report.questions import answers

    results = load(plan, store, include_limited=include_limited)
    evidence = Evidence(results, store)
    given = tuple(map(_with_charts_to_read, answers(evidence))) if results.settings else ()
    board = leaderboard(evidence)
    beside = published_table(results, published)
    return Suite(
        results=replace(results, records={}),
        tables=(*([board.table] if board else ()), *build_tables(evidence), *([beside] if beside else ())),
        charts=board.charts if board else (),
        answers=given,
        blocks=tuple(blocks(results)),
        figures=page.figures(results),
        shortfalls=tuple(page.shortfalls(results, evidence.problems)),
        caveats=tuple(page.caveats(results)),
        environment=tuple(page.environments(results)),
        trials=trial_lines(results, records),
    )


def _with_charts_to_read(one: Answer) -> Answer:
    """The answer without charts of which nothing was measured, and with room in the others."""

    def drawn(chart: Chart) -> bool:
        return any(math.isfinite(value) for panel in chart.panels for series in panel.series for value in series.y)

    return replace(one, charts=tuple(map(with_room, filter(drawn, one.charts))))

"""What a report prints: the verdicts and one leaderboard, 40 lines at most; or all of its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console, Group, RenderableType
from rich.text import Text

from mlabench.reporting import wording
from mlabench.reporting.all_suites import AllSuites
from mlabench.reporting.answer import Answer
from mlabench.reporting.suite_report import SuiteReport
from mlabench.reporting.table import Table
from mlabench.reporting.tables import formats
from mlabench.reporting.verdicts import lead, verdict_table
from mlabench.words import counted

#: What a report prints at most, unless it is asked for all.
LINES = 40

#: What a suite of verification is run for, printed whatever its length.
_VERIFICATION = ("claims", "bounds")

#: Of the leaderboard, if there are as many; of the remarks on what is not there.
_ROWS, _REMARKS = 5, 3


def print_short(
    suites: Sequence[SuiteReport], answers: Sequence[Answer], console: Console, last: Sequence[str]
) -> None:
    """The verdicts, in sentences if there is room, and the largest leaderboard, cut to the width; then ``last``."""
    heading = suites[0].heading if len(suites) == 1 else f"{counted(len(suites), 'suite')}: {lead(answers)}"
    remarks = [f"{suite.name}: {one}" for suite in suites for one in (*_warnings(suite), *suite.shortfalls)]
    if len(remarks) > _REMARKS:
        remarks[_REMARKS - 1 :] = [f"{len(remarks) - _REMARKS + 1} more remarks on what is not there: `--full`."]
    below = [*(_line(one, "yellow") for one in remarks), *map(_line, last)]
    top: list[RenderableType] = [_line(heading, "bold")]
    board = max(map(_board, suites), key=lambda table: len(table.rows) if table else 0)
    least = _height([_cut(board, _ROWS, console)], console) if board else 0
    room = LINES - _height([*top, *below], console) - least
    if answers:
        top.append(_cut(verdict_table(answers), room - 6, console))
    sentences = [_line(f"{one.topic.question} {one.topic.name}, {one.dataset}: {one.sentence}") for one in answers]
    if _height([*top, *sentences, *below], console) + least <= LINES:
        top += sentences
    if board:
        rows = len(board.rows)
        while rows > 1 and _height([*top, _cut(board, rows, console), *below], console) > LINES:
            rows -= 1
        top.append(_cut(board, rows, console))
    console.print(Group(*top, *below))
    for suite in suites:
        _print_tables([table for table in suite.tables if table.name in _VERIFICATION], console)


def print_full(
    suites: Sequence[SuiteReport],
    answers: Sequence[Answer],
    together: AllSuites | None,
    console: Console,
    last: Sequence[str],
) -> None:
    """The answers with all their comparisons, and the tables of each suite that are not too long."""
    if answers:
        console.print(_line(lead(answers), "bold"))
        console.print(formats.terminal(verdict_table(answers)), crop=False)
    for one in answers:
        console.print(_line(f"{one.topic.question} {one.topic.name}, {one.dataset}: {one.sentence}"))
        console.print(formats.terminal(replace(one.contrasts, note=one.rule)), crop=False)
    for suite in suites:
        console.print(_line(suite.heading, "bold underline"))
        _print_tables(suite.tables, console)
        if more := ", ".join(table.name for table in suite.tables if table.detail):
            console.print(_line(f"In files: {more}.", "dim"))
        console.print(*(_line(sentence, "yellow") for sentence in suite.shortfalls))
    if together:
        _print_tables(together.tables, console)
    console.print(*map(_line, last), sep="\n")


def _print_tables(tables: Sequence[Table], console: Console) -> None:
    shown = [table for table in tables if not table.detail]
    for table in shown:
        console.print(formats.terminal(table), crop=False)
    for caption in dict.fromkeys(table.conditions for table in shown):
        console.print(_line(caption, "dim"))


def _board(suite: SuiteReport) -> Table | None:
    """The suite's first table: its leaderboard, if it has one."""
    return next((table for table in suite.tables if not table.detail), None)


def _warnings(suite: SuiteReport) -> list[str]:
    """What makes its numbers no results, and how methods were tuned if they were."""
    plan, scores = suite.results.plan, suite.results.scores
    on_test = (scores["selection"] == "best_test").any()
    told = (
        wording.limit_sentence(scores),
        wording.selection_sentences(scores) if on_test else "",
        wording.tuning_sentence(plan) if plan.tuned else "",
    )
    return [one for one in told if one]


def _cut(table: Table, rows: int, console: Console) -> Group:
    """The first rows, and the first columns that the width has room for."""
    columns, left = len(table.columns), max(len(table.rows) - rows, 0)
    wide = console.options.update(width=1000)
    while True:
        cut = [replace(row, cells=row.cells[:columns]) for row in table.rows[:rows]]
        shown = formats.rich_table(replace(table, columns=table.columns[:columns], rows=tuple(cut)))
        if columns == 1 or console.measure(shown, options=wide).maximum <= console.width:
            break
        columns -= 1
    return Group(
        _line(table.title, "bold"), shown, *([_line(f"{counted(left, 'more row')}: `--full`", "dim")] if left else [])
    )


def _height(parts: Sequence[RenderableType], console: Console) -> int:
    return len(console.render_lines(Group(*parts), pad=False))


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style)

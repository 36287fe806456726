"""What the pages show, and what their templates need to show it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from mlabench.reporting import wording
from mlabench.reporting.all_suites import AllSuites
from mlabench.reporting.answer import Answer, FamilyVerdict
from mlabench.reporting.notes import lost_trials
from mlabench.reporting.over_datasets import SideBySide
from mlabench.reporting.suite_report import SuiteReport
from mlabench.reporting.table import Cell, Row, Table
from mlabench.reporting.tables import formats
from mlabench.reporting.verdicts import column_groups, datasets, grid, lead, verdict_table
from mlabench.statistics import Interval
from mlabench.words import counted

#: Names of the sections about several suites together.
TOGETHER = "All suites together"
BY_ENCODERS = "Laziness from scratch and frozen"

#: What all tables, figures and verdicts share, said once.
DEFINITIONS = (
    "Better or worse: the 95 % interval of the difference excludes zero, and p < 0.05 after Holm's correction. "
    "Practically equal: a difference as large as the margin is ruled out (p < 0.05, likewise). Undecided: neither. "
    "One training never decides.",
    "Differences are in points of accuracy, in pairs: all methods share splits, missing patterns and seeds. The grey "
    "band is the margin, the upright line is zero.",
    "Brackets and whiskers are 95 % intervals, for the draw of the test samples (of whole groups where they are not "
    "independent: a concept, a speaker, a dialogue) and for that of the training. ± is a standard deviation.",
    "Bold: the best of its column, or not shown to be worse than it (in pairs, p > 0.05 after Holm's correction). "
    "Cells that lack a run say so and do not compete.",
    "A verdict holds for the dataset named beside it, nothing else. How it follows stands under Rule.",
    "Frozen encoders are published networks that stay as they are, or the features that these gave; only what is on "
    "top of them is trained. Encoders from scratch start from random weights.",
)

#: In a box from 0 to 16: an arrow up, one down, an equals sign, a question mark, arrows up and down.
_ICONS: dict[FamilyVerdict, str] = {
    "better": "M8 13V3.5M3.8 7.7L8 3.5l4.2 4.2",
    "worse": "M8 3v9.5M3.8 8.3L8 12.5l4.2-4.2",
    "practically equal": "M3 6h10M3 10.5h10",
    "undecided": "M5.2 6a2.8 2.8 0 1 1 4.3 2.4c-1 .7-1.5 1.1-1.5 2.1M8 13v.2",
    "mixed": "M4.8 13V4M2 6.8L4.8 4l2.8 2.8M11.2 3v9M8.4 9.2l2.8 2.8L14 9.2",
}

QUESTIONS = {
    "Q1": "With all modalities there, what does each modality reach, and what their fusion?",
    "Q2": "How does the accuracy fall as modalities go missing?",
    "Q3": "What does each part of MLA contribute?",
    "Q4": "How does MLA change the modality gap, and does the absence of one modality in training hurt the others?",
}


@dataclass(frozen=True)
class PageContent:
    """What the page about all suites shows.

    ``drawings`` are SVG by owner (an answer, a suite or :data:`TOGETHER`) and chart; a suite's chart without one is in
    the files alone. ``means`` are over datasets, ``by_encoders`` sets Q1 from scratch and frozen side by side,
    ``records`` is the address of the trials.
    """

    title: str
    version: str
    answers: tuple[Answer, ...] = ()
    suites: tuple[SuiteReport, ...] = ()
    together: AllSuites | None = None
    means: tuple[Table, ...] = ()
    by_encoders: SideBySide | None = None
    drawings: Mapping[tuple[str, str], str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    records: str = ""
    definitions: Sequence[str] = DEFINITIONS


def render_page(report: PageContent) -> str:
    """The page; the same content gives the same text. A chart of an answer without a drawing raises an error."""
    rows = grid(report.answers)
    contents = [("Verdicts", "main"), ("How to read this page", "reading")]
    contents += [(question, identifier(question)) for question in dict.fromkeys(row.topic.question for row in rows)]
    contents += [(BY_ENCODERS, identifier(BY_ENCODERS))] if report.by_encoders else []
    contents += [(TOGETHER, identifier(TOGETHER))] if report.together else []
    contents += [("Suites", identifier("suite", suite.name)) for suite in report.suites[:1]]
    contents += [("How this page was made", "commands")] if report.commands else []
    made_with: dict[tuple[str, ...], list[str]] = {}
    for suite in report.suites:
        if suite.environment:
            made_with.setdefault(suite.environment, []).append(suite.name)
    return filled(
        "report.html",
        title=report.title,
        version=report.version,
        contents=contents,
        commands=report.commands,
        lead=lead(report.answers),
        rows=rows,
        datasets=datasets(report.answers),
        column_groups=column_groups(report.answers),
        environments=list(made_with.items()),
        lacking=[f"{suite.name}: {sentence}" for suite in report.suites for sentence in suite.shortfalls],
        report=report,
    )


def render_markdown(suite: SuiteReport, answers: Sequence[Answer]) -> str:
    """The page of one suite in Markdown, with the answers that rest on it."""
    plan, fence = suite.results.plan, "```"
    while fence in plan.source:
        fence += "`"
    page = filled(
        "report.md",
        suite=suite,
        plan=plan,
        rows=grid(answers),
        verdicts=verdict_table(answers),
        lead=lead(answers),
        fence=fence,
    )
    return page.rstrip("\n") + "\n"


def render_comparison(
    folders: tuple[str, str], verdict: Sequence[str], shortfalls: Sequence[str], tables: Sequence[Table], version: str
) -> str:
    """The page that sets two results folders side by side."""
    return filled(
        "compare.html",
        title="mlabench: two results folders side by side",
        version=version,
        contents=[("Summary", "summary"), ("Tables", "tables"), ("How this page was made", "commands")],
        commands=[f"mlabench report --compare {' '.join(folders)}"],
        folders=folders,
        verdict=verdict,
        shortfalls=shortfalls,
        shown=tables,
    )


def filled(template: str, **values: object) -> str:
    """A template with these values; those of HTML escape every text."""
    return environment().get_template(template).render(**values)


@cache
def environment() -> Environment:
    """The templates, with the functions that they use."""
    found = Environment(
        loader=PackageLoader("mlabench.reporting.page"),
        autoescape=select_autoescape(disabled_extensions=("md",), default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"prose": prose, "markdown": formats.escape_markdown}
    functions = (asset, bar_places, bar_scale, counted, groups, identifier, link, lost_trials, shared, sort_value)
    found.globals |= {function.__name__: function for function in functions}
    found.globals |= {"file_name": formats.file_name, "markdown_table": formats.markdown}
    found.globals |= {"points": wording.points, "icons": _ICONS, "questions": QUESTIONS}
    found.globals |= {"TOGETHER": TOGETHER, "BY_ENCODERS": BY_ENCODERS}
    return found


def asset(name: str) -> Markup:
    """Our own style or script, word for word: no text of a user is in it."""
    return Markup((files("mlabench.reporting") / "assets" / name).read_text(encoding="utf-8"))  # noqa: S704


def prose(text: str) -> Markup:
    """A sentence in which `words between back-ticks` are code, and no line ends within an interval or a p-value."""

    def special(piece: str) -> Markup:
        if piece[0] == "`":
            return Markup("<code>{}</code>").format(piece.strip("`"))
        return Markup('<span class="whole">{}</span>').format(piece)

    pieces = re.split(r"(`[^`]+`|\[−?[\d.]+, −?[\d.]+\]|p [=<] [\d.]+\d)", text)
    return Markup("").join(special(piece) if place % 2 else escape(piece) for place, piece in enumerate(pieces))


def identifier(*parts: str) -> str:
    """An id that is a valid fragment of an address."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(parts).lower()).strip("-") or "part"


def link(*parts: str) -> str:
    """The address of a file of the report as seen from the page."""
    return quote("/".join((".", *parts)))


def groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Neighbouring rows that compete with each other."""
    return [list(group) for _, group in groupby(rows, key=lambda row: row.group)]


def shared(tables: Iterable[Table]) -> str:
    """The conditions of all tables that have any; empty if they differ."""
    found = {table.conditions for table in tables} - {""}
    return found.pop() if len(found) == 1 else ""


def sort_value(cell: Cell) -> float | None:
    """What a cell is sorted by: its number, or one that its words begin with (``1,312``, ``< 0.001``)."""
    if cell.number is not None:
        return float(cell.number) if math.isfinite(cell.number) else None
    found = re.match(r"<? ?([+−-]?\d[\d,]*(\.\d+)?)", cell.text)
    return float(found[1].replace(",", "").replace("−", "-")) if found else None


def bar_scale(answers: Sequence[Answer]) -> float:
    """The end, in either direction, of the bars of effects that are read together; endless ones run to the edge."""
    shown = [
        abs(end)
        for one in answers
        for end in (one.family.margin, *((one.effect.low, one.effect.high) if one.effect else ()))
    ]
    return max(filter(math.isfinite, shown), default=0.0) or 1.0


def bar_places(interval: Interval, margin: float, scale: float) -> dict[str, Any]:
    """Where all lies on a bar that is 160 wide, with zero in its middle and a space of 4 at its ends."""

    def place(value: float) -> float:
        return 80 + 76 * min(max(value / scale, -1.0), 1.0)

    values = {"zero": 0.0, "low": interval.low, "high": interval.high, "estimate": interval.estimate, "band": -margin}
    places = {name: f"{place(value):.1f}" for name, value in values.items()}
    return {**places, "width": f"{place(margin) - place(-margin):.1f}"}

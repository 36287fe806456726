"""What the pages show, and what their templates need to show it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from mlabench.reporting.all_suites import AllSuites
from mlabench.reporting.former import QUESTIONS, Answer, Finding, Verdict
from mlabench.reporting.notes import failures
from mlabench.reporting.results import Results
from mlabench.reporting.suite_report import SuiteReport
from mlabench.reporting.table import Cell, Row, Table
from mlabench.reporting.tables import formats
from mlabench.reporting.wording import ends, p_value, points
from mlabench.statistics import Interval
from mlabench.words import counted

#: Name of the section about all suites together.
TOGETHER = "All suites together"

#: How the numbers of all answers are made.
DEFINITIONS = (
    "All methods of a suite share seeds, splits and missing patterns, so every comparison is paired: the same seeds, "
    "the same test samples.",
    "An interval covers 95 %: the error from the draw of the test samples by bootstrap, where samples that are not "
    "independent (of one concept, speaker or dialogue) are drawn together, and that from the draw of the seeds by "
    "Student's t. Where predictions are not stored, it is over seeds alone, and it says so.",
    "A p-value belongs to the paired comparison and interval beside it, corrected by Holm's method for the number of "
    "tests of its question.",
    "± is the standard deviation over seeds (ddof = 1).",
    "Bold: the best of its column, or statistically indistinguishable from it. Cells that lack a run do not compete, "
    "and say what they lack.",
    "A verdict follows from the rule written beside it, and holds for the dataset named beside it, nothing else.",
)

#: A tick, a cross and a question mark in a box from 0 to 16.
_ICONS: dict[Verdict, str] = {
    "supported": "M3.5 8.5l3 3l6-7",
    "contradicted": "M4 4l8 8M12 4l-8 8",
    "not decided": "M5.2 6a2.8 2.8 0 1 1 4.3 2.4c-1 .7-1.5 1.1-1.5 2.1M8 13v.2",
}


@dataclass(frozen=True)
class PageContent:
    """What the page about all suites shows; ``drawings`` are SVG by suite (or :data:`TOGETHER`) and chart."""

    title: str
    version: str
    suites: tuple[SuiteReport, ...] = ()
    together: AllSuites | None = None
    drawings: Mapping[tuple[str, str], str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    records: str = ""
    definitions: Sequence[str] = DEFINITIONS

    @property
    def answers(self) -> list[Answer]:
        """The answers of all suites, in the order of the questions."""
        return sorted((one for suite in self.suites for one in suite.answers), key=lambda one: one.question)


def render_page(report: PageContent) -> str:
    """The page; the same content gives the same text. A chart without a drawing raises an error."""
    contents = [("Summary", "summary")]
    if report.together:
        contents.append((TOGETHER, identifier("suite", TOGETHER)))
    contents += [(f"{one.question} ({one.suite})", identifier(one.question, one.suite)) for one in report.answers]
    contents += [(suite.name, identifier("suite", suite.name)) for suite in report.suites]
    contents.append(("How the numbers are made", "definitions"))
    if report.commands:
        contents.append(("How this page was made", "commands"))
    return _filled(
        "report.html",
        title=report.title,
        version=report.version,
        contents=contents,
        commands=report.commands,
        lacking=[f"{suite.name}: {sentence}" for suite in report.suites for sentence in suite.shortfalls],
        report=report,
    )


def render_markdown(suite: SuiteReport, tables: Iterable[Table]) -> str:
    """The page of one suite in Markdown; ``tables`` are its tables, those of the answers included."""
    plan, fence = suite.results.plan, "```"
    while fence in plan.source:
        fence += "`"
    page = _filled(
        "report.md",
        suite=suite,
        plan=plan,
        tables=map(formats.markdown, tables),
        figures={name: f"{chart.title}. {chart.caption}" for name, chart in suite.all_charts()},
        failures=list(failures(suite.results)),
        fence=fence,
    )
    return page.rstrip("\n") + "\n"


def render_comparison(
    folders: tuple[str, str], verdict: Sequence[str], shortfalls: Sequence[str], tables: Sequence[Table], version: str
) -> str:
    """The page that sets two results folders side by side."""
    return _filled(
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


def _filled(template: str, **values: object) -> str:
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
    functions = (asset, bar_places, bar_scale, counted, groups, identifier, points, sort_value, trial_lines)
    found.globals |= {function.__name__: function for function in functions}
    found.globals |= {"unsaid": unsaid, "icons": _ICONS, "questions": QUESTIONS, "TOGETHER": TOGETHER}
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


def groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Neighbouring rows that compete with each other."""
    return [list(group) for _, group in groupby(rows, key=lambda row: row.group)]


def sort_value(cell: Cell) -> float | None:
    """What a cell is sorted by: its number, or one that its words begin with (``1,312``, ``< 0.001``)."""
    if cell.number is not None:
        return float(cell.number) if math.isfinite(cell.number) else None
    found = re.match(r"<? ?([+−-]?\d[\d,]*(\.\d+)?)", cell.text)
    return float(found[1].replace(",", "").replace("−", "-")) if found else None


class TrialLine(NamedTuple):
    """One trial of a suite; ``record`` is the address of its record as seen from the page, empty without one."""

    label: str
    setting: str
    seed: int
    trial: str
    status: str
    reason: str = ""
    record: str = ""


def trial_lines(results: Results, folder: str) -> list[TrialLine]:
    """One line per trial and outcome; ``folder`` is the address of the folder of trials as seen from the page."""
    names = ["label", "train_setting", "seed", "trial", "status", "reason"]
    rows = results.scores[names].drop_duplicates(["label", "trial", "status", "reason"]).to_numpy().tolist()
    return [
        TrialLine(label, setting, seed, trial, status, reason, f"{folder}/{trial}/record.json" if made else "")
        for label, setting, seed, trial, status, reason in rows
        for made in (trial in results.records,)
    ]


def unsaid(finding: Finding) -> str:
    """The numbers of a finding that its sentence does not say."""
    more = []
    if finding.effect and ends(finding.effect) not in finding.statement:
        more.append(points(finding.effect))
    if finding.p_value is not None and p_value(finding.p_value) not in finding.statement:
        more.append(f"{p_value(finding.p_value)} (Holm)")
    return "; ".join(more)


def bar_scale(intervals: Sequence[Interval | None]) -> tuple[float, float]:
    """One scale for effects that are read together; zero is on it, an infinite end runs to its edge."""
    shown = [end for interval in intervals if interval for end in (interval.low, interval.high, interval.estimate)]
    finite = [0.0, *filter(math.isfinite, shown)]
    low, high = min(finite), max(finite)
    return (low, high) if high > low else (-1.0, 1.0)


def bar_places(interval: Interval, scale: tuple[float, float]) -> dict[str, Any]:
    """Where zero, an effect and the ends of its interval lie on a bar that is 160 wide, with margins of 4."""
    low, high = scale
    values = {"zero": 0.0, "low": interval.low, "high": interval.high, "estimate": interval.estimate}
    inside = {name: (min(max(value, low), high) - low) / (high - low) for name, value in values.items()}
    return {name: f"{4 + 152 * share:.1f}" for name, share in inside.items()}

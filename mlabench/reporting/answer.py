"""What the report says about a question, apart from how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from mlabench.reporting.table import Table
from mlabench.statistics import Interval
from mlabench.suite import Question

Verdict = Literal["supported", "contradicted", "not decided"]

QUESTIONS = {
    "Q1": "With all modalities there, what does each modality reach, and what their fusion?",
    "Q2": "How does the accuracy fall as modalities go missing?",
    "Q3": "What does each part of MLA contribute?",
    "Q4": "How does MLA change the modality gap, and does the absence of one modality in training hurt the others?",
}


@dataclass(frozen=True)
class Series:
    """One method's, or one group's, points of a chart; methods have the same colour in all charts.

    ``y`` is NaN where there is nothing; ``low`` and ``high`` are the ends of intervals, ``text`` is shown on hovering,
    ``marks`` are open circles at an x (single seeds, or selected epochs); each of these may be empty.
    """

    label: str
    x: Sequence[float] | Sequence[str]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    text: Sequence[str] = ()
    marks: Sequence[tuple[float | str, float]] = ()


@dataclass(frozen=True)
class Panel:
    """One pair of axes; ``reference`` is a horizontal line, ``diagonal`` the line y = x."""

    title: str
    series: tuple[Series, ...]
    reference: float | None = None
    diagonal: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure, apart from how it is drawn.

    ``kind``: lines over numbers; bars or dots with intervals over categories; points; rows, one for each series, with
    its dot and interval along the horizontal axis; or a grid of numbers (series are its rows, x its columns).
    ``subtitle`` is what a picture that stands alone must say (data, seeds, warnings); the caption says it, too.
    """

    name: str
    title: str
    caption: str
    kind: Literal["line", "bar", "dot", "scatter", "row", "grid"]
    x: str
    y: str
    panels: tuple[Panel, ...]
    subtitle: str = ""


@dataclass(frozen=True)
class Finding:
    """One checkable statement, with its numbers, on the way to a verdict; ``p_value`` is corrected by Holm."""

    statement: str
    verdict: Verdict
    effect: Interval | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Answer:
    """A question answered on one suite: whether the results support what the paper claims.

    ``rule`` says how the findings decide the verdict, so that a reader can check it; ``headline`` says ``effect``, the
    verdict's main number, in a sentence; ``caveats`` are what a sceptic would object.
    """

    question: Question
    suite: str
    dataset: str
    claim: str
    verdict: Verdict
    rule: str
    headline: str
    effect: Interval | None
    findings: tuple[Finding, ...]
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    caveats: tuple[str, ...] = field(default=())

"""What the report says about a question, apart from how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from mlabench.report.table import Table
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
    """One method's, or one group's, points of a chart.

    Attributes:
        label: Its name; methods have the same colour in all charts.
        x: Numbers, or names of categories.
        y: Numbers; NaN where there is none.
        low: Lower ends of the intervals, or nothing.
        high: Upper ends of the intervals, or nothing.
        text: What to show on hovering, point by point, beyond the numbers; or nothing.
        marks: What else is known at an x, each an open circle: single seeds, or selected epochs.
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
    """One pair of axes.

    Attributes:
        title: One line; empty for none.
        series: What is drawn.
        reference: A horizontal line at this value, e.g. zero; None for none.
        diagonal: Whether to draw the line y = x.
    """

    title: str
    series: tuple[Series, ...]
    reference: float | None = None
    diagonal: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure, apart from how it is drawn.

    Attributes:
        name: Name of its files.
        title: One line.
        caption: All that one must know to read it.
        kind: Lines over numbers; bars or dots with intervals over categories; points; rows, one for each series, with
            its dot and interval along the horizontal axis; or a grid of numbers, whose series are its rows and whose
            x are its columns.
        x: Title of the horizontal axes.
        y: Title of the vertical axes.
        panels: Side by side, with the same axes.
        subtitle: What a picture that stands alone must say: data, seeds, warnings. The caption says it, too.
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
    """One checkable statement on the way to a verdict.

    Attributes:
        statement: One sentence with its numbers.
        verdict: What it says about the claim.
        effect: The number it rests on, if it is one.
        p_value: After Holm's correction over the question's tests, if there was a test.
    """

    statement: str
    verdict: Verdict
    effect: Interval | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Answer:
    """A question answered on one suite.

    Attributes:
        question: Which one.
        suite: Name of the suite.
        dataset: Name of its dataset, with what it stands in for.
        claim: What the paper claims, in one sentence.
        verdict: Whether the results support it.
        rule: How the findings decide the verdict, written so that a reader can check it.
        headline: One sentence: the verdict's main number and its interval.
        effect: That number; None if nothing was measured.
        findings: What the verdict rests on, the most important first.
        tables: The evidence.
        charts: The evidence.
        caveats: What a sceptic would object.
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

"""Answers in the form that the page still shows; :mod:`mlabench.reporting.answer` takes their place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from mlabench.reporting import answer as now
from mlabench.reporting.charts import Chart
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


_FORMER: dict[str, Verdict] = {"better": "supported", "worse": "contradicted"}


def as_before(one: now.Answer) -> Answer:
    """A new answer as the page still shows it."""
    findings = [
        Finding(
            own.statement,
            _FORMER.get(own.verdict, "not decided"),
            own.effect,
            own.decision.p_value if own.decision else None,
        )
        for own in one.family.contrasts
    ]
    return Answer(
        question=one.topic.question,
        suite=one.suites[0],
        dataset=one.about,
        claim=one.claim,
        verdict=_FORMER.get(one.verdict, "not decided"),
        rule=one.rule,
        headline=one.sentence,
        effect=one.effect,
        findings=tuple(findings),
        tables=tuple(replace(table, name=f"{one.half}_{table.name}") for table in one.tables),
        charts=tuple(replace(chart, name=f"{one.half}_{chart.name}") for chart in one.charts),
        caveats=one.caveats,
    )

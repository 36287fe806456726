"""Answers to the paper's questions: from evidence to a verdict that a reader can check. Free of torch."""

from __future__ import annotations

from collections.abc import Callable

from mlabench.reporting.evidence import Evidence
from mlabench.reporting.former import Answer
from mlabench.reporting.questions import ablation, gap, laziness, missing
from mlabench.suite import Question

_ANSWERED_BY: dict[Question, Callable[[Evidence], Answer | None]] = {
    "Q1": laziness.answer,
    "Q2": missing.answer,
    "Q3": ablation.answer,
    "Q4": gap.answer,
}


def answers(evidence: Evidence) -> list[Answer]:
    """The answers to the questions that the plan asks, in their order; none where it holds nothing on one."""
    asked = sorted(set(evidence.results.plan.questions))
    return [answer for question in asked if (answer := _ANSWERED_BY[question](evidence)) is not None]

"""Answers to the paper's questions: from evidence to a verdict that a reader can check. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from mlabench.reporting.answer import TOPICS, Answer
from mlabench.reporting.evidence import Archive
from mlabench.reporting.questions import ablation, gap, laziness, missing
from mlabench.reporting.questions.inquiry import Inquiry, inquiries
from mlabench.suite import Plan, Question

_ANSWERED_BY: dict[Question, Callable[[Inquiry], Iterator[Answer]]] = {
    "Q1": laziness.answers,
    "Q2": missing.answers,
    "Q3": ablation.answers,
    "Q4": gap.answers,
}


def answers(plans: Sequence[Plan], archive: Archive, *, include_limited: bool = False) -> list[Answer]:
    """What the trials of these plans say about the questions that they ask, in the order of the grid's rows."""
    found = [
        replace(answer, charts=tuple(chart for chart in answer.charts if not chart.is_empty))
        for inquiry in inquiries(plans, archive, include_limited=include_limited)
        for answer in _ANSWERED_BY[inquiry.question](inquiry)
    ]
    return sorted(found, key=lambda answer: list(TOPICS).index(answer.half))

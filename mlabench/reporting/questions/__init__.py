"""Answers to the paper's questions: from evidence to a verdict that a reader can check. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import inf

from mlabench.reporting.answer import TOPICS, Answer, Contrast, Half
from mlabench.reporting.evidence import Archive
from mlabench.reporting.questions import ablation, gap, laziness, missing
from mlabench.reporting.questions.inquiry import Inquiry, inquiries
from mlabench.reporting.wording import listed, points
from mlabench.statistics import mean_over_datasets
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


def over_datasets(answers: Sequence[Answer]) -> dict[Half, str]:
    """By row of the grid, what the comparisons that several datasets share are worth over datasets, in a sentence."""
    found: dict[Half, str] = {}
    for half in TOPICS:
        # Of a dataset that several groups of suites ask about, the first has most trainings.
        own = {answer.dataset.partition(" (")[0]: answer for answer in reversed(answers) if answer.half == half}
        by_pair: dict[tuple[str, str], dict[str, Contrast]] = {}
        for dataset, answer in own.items():
            for one in answer.family.contrasts:
                if one.effect and 0 < one.effect.half_width < inf:
                    by_pair.setdefault((one.what, one.other), {})[dataset] = one
        parts = []
        for (what, other), contrasts in by_pair.items():
            if len(contrasts) == len(own) > 1:
                mean = mean_over_datasets({name: one.effect for name, one in contrasts.items() if one.effect}).mean
                shown = next(iter(contrasts.values()))
                parts.append(f"{what} of {shown.method} minus {other} {points(mean, shown.digits)}")
        if parts:
            found[half] = f"Over {listed(sorted(own))} (random-effects means): {'; '.join(parts)}."
    return found

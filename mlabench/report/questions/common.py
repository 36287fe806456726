"""What the answers share: who is compared with whom, how numbers read, and what any sceptic would object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from mlabench.display import counted
from mlabench.plan import Plan
from mlabench.report import wording
from mlabench.report.answer import Finding, Verdict
from mlabench.report.evidence import Evidence
from mlabench.report.results import Results
from mlabench.report.statistics import Interval
from mlabench.report.table import Cell

#: Label of the method in question, and its registered name.
LABEL, METHOD = "MLA", "mla"

#: Largest p-value, after Holm's correction, at which a difference counts.
LEVEL = 0.05

#: Fewer seeds than this say little about how much training varies.
FEW_SEEDS = 5


def method_in_question(plan: Plan) -> str | None:
    """The label of the plan's MLA: ``MLA`` itself, else the first variant; None without one."""
    labels = [cell.label for cell in plan.cells if cell.trial.method.name == METHOD]
    return LABEL if LABEL in labels else next(iter(labels), None)


def variants(plan: Plan) -> tuple[str, ...]:
    """The labels of MLA and its variants, in the suite's order."""
    return tuple(dict.fromkeys(cell.label for cell in plan.cells if cell.trial.method.name == METHOD))


def baselines(plan: Plan) -> tuple[str, ...]:
    """The labels of the methods that MLA is compared with: all but itself and its variants."""
    own = variants(plan)
    return tuple(label for label in plan.labels if label not in own)


def labels_of(plan: Plan, method: str) -> tuple[str, ...]:
    """The labels of the cells whose method is registered as ``method``."""
    return tuple(dict.fromkeys(cell.label for cell in plan.cells if cell.trial.method.name == method))


def number(value: float, *, signed: bool = False) -> str:
    """``81.2``, or ``+1.2`` and ``−1.2``, with a real minus sign and no negative zero."""
    return format(value, "+z.1f" if signed else "z.1f").replace("-", "−")


def ends(interval: Interval) -> str:
    """``[−2.4, 0.1]``"""
    return f"[{number(interval.low)}, {number(interval.high)}]"


def points(interval: Interval) -> str:
    """A difference: ``−1.2 points [−2.4, 0.1]``"""
    return f"{number(interval.estimate, signed=True)} points {ends(interval)}"


def percent(interval: Interval) -> str:
    """A share: ``81.2 % [79.9, 82.4]``"""
    return f"{number(interval.estimate)} % {ends(interval)}"


def p_value(value: float) -> str:
    """``p = 0.012``, or ``p < 0.001``"""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def verdict(interval: Interval, p: float | None = None) -> Verdict:
    """What a difference says about the claim that it is above zero.

    Args:
        interval: The difference.
        p: Its p-value, corrected for the number of tests; None if there was no test.
    """
    if p is None or p < LEVEL:
        if interval.low > 0:
            return "supported"
        if interval.high < 0:
            return "contradicted"
    return "not decided"


def listed(names: Iterable[str]) -> str:
    """``A``, ``A and B``, ``A, B and C``"""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def by_verdict(findings: Sequence[Finding], wanted: Verdict) -> list[Finding]:
    """The findings with this verdict."""
    return [finding for finding in findings if finding.verdict == wanted]


def dataset(plan: Plan) -> str:
    """The dataset's name, and what it stands in for."""
    return wording.dataset_sentence(plan).removeprefix("Dataset: ").removesuffix(".")


def shortfall(results: Results, label: str) -> str:
    """``1 of 15 failed, 2 of 15 missing``: a method's trials that are not there; empty if all are."""
    rows = results.scores[results.scores["label"] == label]
    planned = rows["trial"].nunique()
    lost = ((kind, rows.loc[rows["status"] == kind, "trial"].nunique()) for kind in ("failed", "missing"))
    return ", ".join(f"{count} of {planned} {kind}" for kind, count in lost if count)


def shortfall_cell(results: Results, label: str) -> Cell:
    """The share of a method's trials that failed or are missing, as a cell of a table."""
    return Cell(text=shortfall(results, label) or "none")


def caveats(evidence: Evidence) -> tuple[str, ...]:
    """What a sceptic would object to any answer from these results."""
    return tuple(_caveats(evidence.results))


def _caveats(results: Results) -> Iterator[str]:
    plan, scores = results.plan, results.scores
    if limited := wording.limit_sentence(scores):
        yield limited
    yield wording.dataset_sentence(plan)
    if plan.paper:
        yield f"It re-runs {plan.paper}; numbers of another dataset, split, encoder or protocol are not comparable."
    if selection := wording.selection_sentences(scores):
        yield selection
    yield from _seeds(scores)
    for label in results.labels:
        if lost := shortfall(results, label):
            yield f"{label}: {lost} of its trials; a comparison uses only the seeds that both methods have."
    if results.left_out:
        yield f"{counted(len(results.left_out), 'trial')} made with a limit on the samples left out."
    if results.set_aside:
        yield f"{counted(len(results.set_aside), 'record')} could not be read and were set aside."
    yield from dict.fromkeys(note for record in results.records.values() for note in record.notes)


def _seeds(scores: pd.DataFrame) -> Iterator[str]:
    count = scores["seed"].nunique()
    if count == 1:
        yield "One seed: intervals and tests cover the draw of the test samples, not that of the training."
    elif count < FEW_SEEDS:
        yield f"{count} seeds only: how much training varies is known roughly, and intervals may be too narrow."

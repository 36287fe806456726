"""What the answers share: who is compared with whom, how numbers read, and what any sceptic would object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan
from statistics import fmean
from typing import Any

import pandas as pd

from mlabench.reporting import wording
from mlabench.reporting.charts import Series
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.former import Answer, Finding, Verdict
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import Cell, measure
from mlabench.reporting.wording import listed, number, p_value, points
from mlabench.statistics import (
    Comparison,
    Interval,
    Outcomes,
    accuracy_interval,
    averaged,
    compare,
    contrast,
    difference_of_means,
    holm,
    summarise,
)
from mlabench.suite import Plan
from mlabench.words import counted

#: Label of the method in question, and its registered name.
LABEL, METHOD = "MLA", "mla"

#: Registered names under which MLA is trained: variants of one method, not baselines of it.
OWN = (METHOD, "mla_released")

#: Largest p-value, after Holm's correction, at which a difference counts.
LEVEL = 0.05

#: What stands behind the brackets of the tables and the whiskers of the charts.
INTERVALS = (
    "Brackets: 95 % interval, for the draw of trainings and of test samples (of whole groups where samples are not "
    "independent); ± instead of brackets: standard deviation, where predictions are not stored."
)

WHISKERS = (
    "Whiskers: 95 % interval, for the draw of trainings and of test samples (of whole groups where samples are not "
    "independent); standard deviation where predictions are not stored."
)

#: Fewer seeds than this say little about how much training varies.
FEW_SEEDS = 5


def method_in_question(plan: Plan) -> str | None:
    """The label of the plan's MLA: ``MLA`` itself, else the first variant; None without one."""
    labels = [cell.label for cell in plan.cells if cell.trial.method.name == METHOD]
    return LABEL if LABEL in labels else next(iter(labels), None)


def variants(plan: Plan) -> tuple[str, ...]:
    """The labels of MLA and its variants, in the suite's order."""
    return tuple(dict.fromkeys(cell.label for cell in plan.cells if cell.trial.method.name in OWN))


def baselines(plan: Plan) -> tuple[str, ...]:
    """The labels of the methods that MLA is compared with: all but itself and its variants."""
    own = variants(plan)
    return tuple(label for label in plan.labels if label not in own)


def asked_for(results: Results, labels: Iterable[str], settings: Iterable[str]) -> tuple[str, ...]:
    """Those of the methods that the plan asks for in all of these settings."""
    wanted = tuple(settings)
    return tuple(
        label for label in labels if not any(results.at(label, setting, MULTIMODAL).empty for setting in wanted)
    )


def labels_of(plan: Plan, method: str) -> tuple[str, ...]:
    """The labels of the cells whose method is registered as ``method``."""
    return tuple(dict.fromkeys(cell.label for cell in plan.cells if cell.trial.method.name == method))


def verdict(interval: Interval, p: float | None = None) -> Verdict:
    """What a difference says about the claim that it is above zero; ``p`` is corrected, None without a test."""
    if p is None or p < LEVEL:
        if interval.low > 0:
            return "supported"
        if interval.high < 0:
            return "contradicted"
    return "not decided"


def contrasted(
    evidence: Evidence, places: Sequence[tuple[str, str, str]], weights: Sequence[float]
) -> Comparison | None:
    """A weighted sum of the accuracies at places (label, setting and target), whose weights add up to 0.

    In pairs over seeds and test samples where all outcomes are known, else over seeds alone; None if they share no run.
    """
    outcomes = [evidence.outcomes(*place) for place in places]
    known = [one for one in outcomes if one is not None]
    if len(known) == len(places) and set.intersection(*(set(one.seeds) for one in known)):
        return contrast(known, weights)
    per_seed = [evidence.per_seed(*place) for place in places]
    seeds = sorted(set.intersection(*map(set, per_seed)))
    sums = {seed: sum(weight * own[seed] for weight, own in zip(weights, per_seed, strict=True)) for seed in seeds}
    return over_seeds(sums, dict.fromkeys(sums, 0.0))


def compared(evidence: Evidence, first: str, second: str, setting: str, target: str) -> Comparison | None:
    """The difference of two methods' accuracies, first minus second; None if they share no run."""
    return contrasted(evidence, [(first, setting, target), (second, setting, target)], (1.0, -1.0))


def paired(
    first: Outcomes | None, second: Outcomes | None, per_seed: Mapping[int, float], other_per_seed: Mapping[int, float]
) -> Comparison | None:
    """In pairs over seeds and test samples where both outcomes are known, else over the numbers per seed alone."""
    if first is not None and second is not None and set(first.seeds) & set(second.seeds):
        return compare(first, second)
    return over_seeds(per_seed, other_per_seed)


def over_seeds(first: Mapping[Any, float], second: Mapping[Any, float]) -> Comparison | None:
    """The difference of two numbers that exist per seed only; None with fewer than two seeds in common."""
    runs = [run for run in first if run in second]
    if len(runs) < 2:
        return None
    return difference_of_means([first[run] for run in runs], [second[run] for run in runs])


@dataclass(frozen=True)
class Family:
    """Comparisons by name, None where one could not be made, and their p-values after Holm's correction."""

    tests: Mapping[str, Comparison | None]
    p_values: Mapping[str, float | None]

    def finding(self, name: str, what: str) -> Finding:
        """What a comparison says about the claim that ``what``, e.g. *Accuracy of A minus that of B*, is above zero."""
        comparison, p = self.tests[name], self.p_values[name]
        if comparison is None or p is None:
            return Finding(f"{what}: not measured: no seeds in common.", "not decided")
        statement = (
            f"{what}: {points(comparison.difference)}, {p_value(p)} after Holm's correction; smallest detectable "
            f"difference {number(comparison.detectable)} points ({basis(comparison)})."
        )
        return Finding(statement, verdict(comparison.difference, p), comparison.difference, p)

    def headline(self, what: str, method: str, best: str | None) -> str:
        """How far the method in question is from the strongest other one; None if none was measured."""
        if best is None:
            return f"{what}: no other method than {method} has been measured yet."
        return self.finding(best, f"{what}: {method} minus the strongest other method, {best}").statement

    def effect(self, name: str | None) -> Interval | None:
        """The difference, if that was measured."""
        test = None if name is None else self.tests[name]
        return None if test is None else test.difference

    def cells(self, name: str) -> tuple[Cell, Cell, Cell]:
        """Of a row of a table: difference, p-value, smallest detectable difference; dashes where there are none."""
        test = self.tests.get(name)
        detectable = Cell(text=number(test.detectable) if test else "—")
        return difference_cell(test), p_cell(self.p_values.get(name)), detectable


def corrected(*families: Mapping[str, Comparison | None]) -> list[Family]:
    """The families, with one correction over all the tests that could be made."""
    made = [test.p_value for tests in families for test in tests.values() if test is not None]
    adjusted = iter(holm(made))
    return [
        Family(tests, {name: None if test is None else next(adjusted) for name, test in tests.items()})
        for tests in families
    ]


def basis(comparison: Comparison) -> str:
    """What a comparison rests on: ``n = 1,312 in 130 groups, 3 seeds``"""
    samples = f"n = {comparison.samples:,}" if comparison.samples else "over seeds alone"
    groups = f" in {comparison.groups:,} groups" if 0 < comparison.groups < comparison.samples else ""
    return f"{samples}{groups}, {counted(comparison.seeds, 'seed')}"


def strongest(means: Mapping[str, float]) -> str | None:
    """The method with the highest mean; None if none has a number."""
    measured = {label: mean for label, mean in means.items() if not isnan(mean)}
    return max(measured, key=lambda label: measured[label]) if measured else None


def accuracy_cell(evidence: Evidence, label: str, setting: str, target: str) -> Cell:
    """An accuracy with its interval where predictions are stored, else with its spread over seeds."""
    return with_interval(
        measure(evidence.results.at(label, setting, target)), evidence.outcomes(label, setting, target)
    )


def mean_cell(evidence: Evidence, label: str, target: str = MULTIMODAL) -> Cell:
    """The mean over rates of each seed, then over seeds; nothing where a method is not asked for at every rate."""
    results = evidence.results
    if any(results.at(label, setting, target).empty for setting in results.settings):
        return Cell()
    rows = pd.concat([results.at(label, setting, target) for setting in results.settings])
    whole = rows.groupby("seed").filter(lambda own: own["status"].eq("ok").all())
    means = whole.groupby("seed")["accuracy"].agg(fmean)
    # At different rates a modality is there in different samples: its mean is not one over samples.
    outcomes = [evidence.outcomes(label, setting, target) for setting in results.settings]
    return replace(
        runs(rows),
        summary=summarise(100.0 * mean for mean in means),
        outcomes=averaged(outcomes) if target == MULTIMODAL else None,
    )


def runs(rows: pd.DataFrame) -> Cell:
    """How many seeds there are; one that lacks any of its rows counts as failed or missing."""
    by_seed = rows.groupby("seed")["status"].agg(set)
    failed = sum("failed" in status for status in by_seed)
    missing = sum("failed" not in status and "missing" in status for status in by_seed)
    return Cell(planned=len(by_seed), failed=failed, missing=missing)


def with_interval(cell: Cell, outcomes: Outcomes | None) -> Cell:
    """The cell with the interval of its outcomes, if they are known."""
    if outcomes is None:
        return cell
    return replace(cell, interval=accuracy_interval(outcomes), outcomes=outcomes)


def difference_cell(comparison: Comparison | None) -> Cell:
    """A difference in points with its interval."""
    return Cell(text="—") if comparison is None else Cell(interval=comparison.difference, form="+z.1f")


def effect_cell(effect: Interval | None) -> Cell:
    """A difference with its interval."""
    return Cell(text="—") if effect is None else Cell(interval=effect, form="+z.1f")


def p_cell(p: float | None) -> Cell:
    """A p-value."""
    return Cell(text="—" if p is None else p_value(p).removeprefix("p ").removeprefix("= "))


def series(label: str, x: Sequence[float] | Sequence[str], cells: Sequence[Cell]) -> Series:
    """Cells as a method's points of a chart, with their intervals, or standard deviations where there are none."""
    low, high = [], []
    for cell in cells:
        if cell.interval is not None:
            low.append(cell.interval.low)
            high.append(cell.interval.high)
        else:
            mean, std = cell.summary.mean, cell.summary.std
            low.append(nan if mean is None or std is None else mean - std)
            high.append(nan if mean is None or std is None else mean + std)
    y = [nan if cell.number is None else cell.number for cell in cells]
    text = [
        ", ".join(filter(None, [counted(cell.summary.n, "seed") if cell.summary.n else "", cell.status]))
        for cell in cells
    ]
    return Series(label, x, y, low, high, text)


def overall(parts: Iterable[Finding | Answer]) -> Verdict:
    """Contradicted if one part is; supported if all are; not decided otherwise."""
    verdicts = {part.verdict for part in parts}
    if "contradicted" in verdicts:
        return "contradicted"
    return "supported" if verdicts == {"supported"} else "not decided"


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


def caveats(evidence: Evidence) -> Iterator[str]:
    """What a sceptic would object to any answer from these results."""
    results = evidence.results
    plan, scores = results.plan, results.scores
    if limited := wording.limit_sentence(scores):
        yield limited
    yield wording.dataset_sentence(plan)
    if plan.paper:
        yield f"It re-runs {plan.paper}; numbers of another dataset, split, encoder or protocol are not comparable."
    if selection := wording.selection_sentences(scores):
        yield selection
    seeds = scores["seed"].nunique()
    if seeds == 1:
        yield "One seed: intervals and tests cover the draw of the test samples, not that of the training."
    elif seeds < FEW_SEEDS:
        yield f"{seeds} seeds only: how much training varies is known roughly, so intervals are wide."
    lost = [f"{label} ({short})" for label in results.labels if (short := shortfall(results, label))]
    if lost:
        yield f"Trials lost: {', '.join(lost)}. A comparison uses only the seeds that both methods have."
    if results.left_out:
        yield f"{counted(len(results.left_out), 'trial')} made with a limit on the samples left out."
    if results.set_aside:
        yield f"{counted(len(results.set_aside), 'record')} were corrupt and were set aside."
    if results.unread:
        yield f"{counted(len(results.unread), 'record')} could not be read."
    yield from dict.fromkeys(note for record in results.records.values() for note in record.notes)
    for reason, trials in Counter(evidence.problems.values()).items():
        yield f"Predictions of {counted(trials, 'trial')} are not used: {reason}."


def without_predictions(evidence: Evidence, settings: Iterable[str]) -> Iterator[str]:
    """Says whose comparisons are over seeds alone because predictions are not stored."""
    labels = [
        label
        for label in evidence.results.labels
        for setting in settings
        if evidence.per_seed(label, setting, MULTIMODAL) and evidence.outcomes(label, setting, MULTIMODAL) is None
    ]
    if labels:
        yield (
            f"Predictions are not stored for all runs of {listed(dict.fromkeys(labels))}: these are compared over "
            "seeds alone, which finds less and takes the test samples as given."
        )

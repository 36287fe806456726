"""What questions and tables share: who is compared with whom, the sides of a comparison, and cells of accuracies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import nan

import numpy as np
import pandas as pd

from mlabench.reporting.answer import Side
from mlabench.reporting.charts import Series
from mlabench.reporting.evidence import Evidence, Run
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import Cell
from mlabench.reporting.wording import p_value
from mlabench.statistics import (
    Comparison,
    Interval,
    Outcomes,
    accuracy_interval,
    area_under_curve,
    averaged,
    compare,
    corrected_resampled_t,
    difference_of_means,
    summarise,
    weighted_sum,
)
from mlabench.suite import Plan
from mlabench.words import counted

#: Label of the method in question, and its registered name.
LABEL, METHOD = "MLA", "mla"

#: Registered names under which MLA is trained: variants of one method, not baselines of it.
OWN = (METHOD, "mla_released")

#: What stands behind the brackets of the tables and the whiskers of the charts.
INTERVALS = (
    "Brackets: 95 % interval, for the draw of trainings and of test samples (of whole groups where samples are not "
    "independent); ± instead of brackets: standard deviation, where predictions are not stored."
)

WHISKERS = INTERVALS.replace("Brackets", "Whiskers").replace("± instead of brackets: standard", "standard")

#: Label, setting and target: where an accuracy is looked up.
Place = tuple[str, str, str]


# -- who is compared with whom ------------------------------------------------------------------


def method_in_question(plan: Plan) -> str | None:
    """The label of the plan's MLA: ``MLA`` itself, else the first variant; None without one."""
    labels = labels_of(plan, METHOD)
    return LABEL if LABEL in labels else next(iter(labels), None)


def labels_of(plan: Plan, *methods: str) -> tuple[str, ...]:
    """The labels of the cells whose method is registered under one of these names."""
    return tuple(dict.fromkeys(cell.label for cell in plan.cells if cell.trial.method.name in methods))


def baselines(plan: Plan) -> tuple[str, ...]:
    """The labels of the methods that MLA is compared with: all but itself and its variants."""
    own = labels_of(plan, *OWN)
    return tuple(label for label in plan.labels if label not in own)


def asked_for(results: Results, labels: Iterable[str], settings: Iterable[str]) -> tuple[str, ...]:
    """Those of the methods that the plan asks for in all of these settings."""
    wanted = tuple(settings)
    return tuple(
        label for label in labels if not any(results.at(label, setting, MULTIMODAL).empty for setting in wanted)
    )


# -- comparisons --------------------------------------------------------------------------------


def side(evidence: Evidence, places: Sequence[Place], weights: Sequence[float], *, brier: bool = False) -> Side:
    """A weighted sum of the accuracies at places, sample by sample where that is known, and training by training.

    Or of the Brier scores of fused predictions, which are known sample by sample or not at all.
    """
    if brier:
        return Side(_weighted([evidence.brier(label, at) for label, at, _ in places], weights), {})
    known = [evidence.per_training(*place) for place in places]
    runs = set.intersection(*map(set, known)) if known else set()
    sums = {run: sum(w * own[run] for w, own in zip(weights, known, strict=True)) for run in sorted(runs)}
    return Side(_weighted([evidence.outcomes(*place) for place in places], weights), sums)


def _weighted(outcomes: Sequence[Outcomes | None], weights: Sequence[float]) -> Outcomes | None:
    try:
        return weighted_sum(outcomes, weights)
    except ValueError:  # not of the same samples
        return None


def compared(first: Side, second: Side) -> Comparison | None:
    """The first minus the second, in pairs over trainings and test samples, else over trainings alone.

    None if they share no training, or one of which nothing is known sample by sample.
    """
    a, b = first.outcomes, second.outcomes
    if a is not None and b is not None and set(a.seeds) & set(b.seeds) and np.array_equal(a.groups, b.groups):
        return compare(a, b)
    return over_trainings(first.per_training, second.per_training)


def over_trainings(first: Mapping[Run, float], second: Mapping[Run, float]) -> Comparison | None:
    """The difference of numbers that exist once per training; None with fewer than two trainings in common.

    With folds by the corrected resampled t-test, of the repeats that have all: other repeats test the same samples.
    """
    runs = sorted(first.keys() & second.keys())
    folds = sorted({fold for _, fold in runs})
    if len(folds) < 2:
        known = [(first[run], second[run]) for run in runs]
        return difference_of_means(*zip(*known, strict=True)) if len(known) > 1 else None
    whole = [seed for seed in dict.fromkeys(seed for seed, _ in runs) if all((seed, fold) in runs for fold in folds)]
    if not whole:
        return None
    groups = np.arange(len(folds))
    sides = (np.array([[own[seed, fold] / 100 for fold in folds] for seed in whole]) for own in (first, second))
    codes = np.tile(groups, (len(whole), 1))
    found = corrected_resampled_t(*(Outcomes(values, groups, tuple(whole), codes) for values in sides))
    return replace(found, samples=0, groups=0)


def contrasted(evidence: Evidence, places: Sequence[Place], weights: Sequence[float]) -> Comparison | None:
    """A weighted sum of accuracies, whose weights add up to 0, compared with 0."""
    return compared(side(evidence, places, weights), side(evidence, places, [0.0] * len(places)))


# -- cells --------------------------------------------------------------------------------------


def area_weights(rates: Mapping[str, float]) -> dict[str, float]:
    """What each rate counts in the area under the curve, which is linear in the accuracies."""
    at = tuple(rates.values())
    return {setting: area_under_curve(at, unit) for setting, unit in zip(rates, np.eye(len(at)).tolist(), strict=True)}


def mean_weights(results: Results) -> list[float]:
    """What each setting counts in a mean over them: as Q2 has it, or all the same where one has no rate of its own."""
    rates, settings = results.rates, results.settings
    return list(area_weights(rates).values()) if set(rates) == set(settings) else [1 / len(settings)] * len(settings)


def mean_note(results: Results) -> str:
    """What a mean over the settings is, for a caption."""
    if set(results.rates) != set(results.settings):
        return "Mean: over the settings."
    return "Mean: over the range of the missing rates (trapezoidal rule), as Q2 compares it."


def accuracy_cell(evidence: Evidence, label: str, setting: str, target: str) -> Cell:
    """An accuracy with its interval where predictions are stored, else with its spread over repeats."""
    cell = runs(evidence.results.at(label, setting, target))
    cell = replace(cell, summary=summarise(evidence.per_seed(label, setting, target).values()))
    return with_interval(cell, evidence.outcomes(label, setting, target))


def mean_cell(evidence: Evidence, label: str, target: str = MULTIMODAL) -> Cell:
    """The mean over rates of each repeat, then over repeats; nothing where a method is not asked for at every rate."""
    results = evidence.results
    rows = [results.at(label, setting, target) for setting in results.settings]
    if any(own.empty for own in rows):
        return Cell()
    by_rate = [evidence.per_seed(label, setting, target) for setting in results.settings]
    weights = mean_weights(results)
    seeds = sorted(set.intersection(*map(set, by_rate)))
    means = [float(np.average([own[seed] for own in by_rate], weights=weights)) for seed in seeds]
    # At different rates a modality is there in different samples: its mean is not one over samples.
    outcomes = [evidence.outcomes(label, setting, target) for setting in results.settings]
    return replace(
        runs(pd.concat(rows)),
        summary=summarise(means),
        outcomes=averaged(outcomes, weights) if target == MULTIMODAL else None,
    )


def runs(rows: pd.DataFrame) -> Cell:
    """How many repeats there are; one that lacks any of its rows counts as failed or missing."""
    by_seed = rows.groupby("seed")["status"].agg(set)
    failed = sum("failed" in status for status in by_seed)
    missing = sum("failed" not in status and "missing" in status for status in by_seed)
    return Cell(planned=len(by_seed), failed=failed, missing=missing)


def with_interval(cell: Cell, outcomes: Outcomes | None) -> Cell:
    """The cell with the interval of its outcomes, if they are known."""
    if outcomes is None:
        return cell
    return replace(cell, interval=accuracy_interval(outcomes), outcomes=outcomes)


def difference_cell(difference: Comparison | Interval | None) -> Cell:
    """A difference in points with its interval."""
    interval = difference.difference if isinstance(difference, Comparison) else difference
    return Cell(text="—") if interval is None else Cell(interval=interval, form="+z.1f")


def p_cell(p: float | None) -> Cell:
    """A p-value."""
    return Cell(text="—" if p is None else p_value(p).removeprefix("p ").removeprefix("= "))


def series(label: str, x: Sequence[float] | Sequence[str], cells: Sequence[Cell]) -> Series:
    """Cells as a method's points of a chart, with their intervals, or standard deviations where there are none."""
    ends = []
    for cell in cells:
        mean, std = cell.summary.mean, cell.summary.std
        spread = (nan, nan) if mean is None or std is None else (mean - std, mean + std)
        ends.append((cell.interval.low, cell.interval.high) if cell.interval else spread)
    y = [nan if cell.number is None else cell.number for cell in cells]
    text = [
        ", ".join(filter(None, [counted(cell.summary.n, "repeat") if cell.summary.n else "", cell.status]))
        for cell in cells
    ]
    return Series(label, x, y, [low for low, _ in ends], [high for _, high in ends], text)


def shortfall(results: Results, label: str) -> str:
    """``1 of 15 failed, 2 of 15 missing``: a method's trials that are not there; empty if all are."""
    rows = results.scores[results.scores["label"] == label]
    planned = rows["trial"].nunique()
    lost = ((kind, rows.loc[rows["status"] == kind, "trial"].nunique()) for kind in ("failed", "missing"))
    return ", ".join(f"{count} of {planned} {kind}" for kind, count in lost if count)


def shortfall_cell(results: Results, label: str) -> Cell:
    """The share of a method's trials that failed or are missing, as a cell of a table."""
    return Cell(text=shortfall(results, label) or "none")

"""Q2: whether MLA keeps the highest accuracy as modalities go missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlabench.report import wording
from mlabench.report.answer import Answer, Chart, Finding, Panel, Series
from mlabench.report.evidence import Evidence
from mlabench.report.questions import common
from mlabench.report.results import MULTIMODAL, Results
from mlabench.report.statistics import (
    Comparison,
    Outcomes,
    accuracy_interval,
    area_under_curve,
    contrast,
    critical_difference,
    interquartile_mean,
    probability_of_improvement,
    summarise,
    win_rates,
)
from mlabench.report.table import Cell, Column, Row, Table, bold_sentence

CLAIM = "As modalities go missing, MLA keeps the highest fused accuracy."

_AREA = (
    "The area under the curve of fused accuracy against missing rate (trapezoidal rule), divided by the range of the "
    "rates, is a mean accuracy."
)

#: Differences of one method from the others, by setting.
ByRate = Mapping[str, Mapping[str, Comparison | None]]


@dataclass(frozen=True)
class _Curve:
    """A method's fused accuracy against the missing rate.

    Attributes:
        accuracies: In percent, one row per seed that has all rates. ``[S, R]``
        areas: The normalised area per such seed.
        outcomes: The area sample by sample, where predictions are stored for all rates.
    """

    accuracies: NDArray[np.floating[Any]]
    areas: Mapping[int, float]
    outcomes: Outcomes | None


def answer(evidence: Evidence) -> Answer | None:
    """The answer; None if the suite has no MLA, nothing to compare it with, or fewer than two missing rates."""
    results = evidence.results
    plan = results.plan
    method, others = common.method_in_question(plan), common.baselines(plan)
    rates = missing_rates(results)
    if method is None or not others or len(rates) < 2:
        return None
    curves = {label: _curve(evidence, label, rates) for label in plan.labels}
    areas = {other: _difference(curves[method], curves[other]) for other in others}
    by_rate = {
        setting: {other: common.compared(evidence, method, other, setting, MULTIMODAL) for other in others}
        for setting in rates
    }
    (p_values,) = common.corrected(areas)
    findings = [
        *(
            common.finding(f"Area of {method} minus that of {other}", areas[other], p_values[other])
            for other in others
        ),
        _nowhere_above(method, by_rate),
    ]
    best = common.strongest({other: float(np.mean(list(curves[other].areas.values()) or nan)) for other in others})
    return Answer(
        question="Q2",
        suite=plan.name,
        dataset=common.dataset(plan),
        claim=CLAIM,
        verdict=common.overall(findings),
        rule=_rule(len(others), len(rates)),
        headline=common.headline("Mean fused accuracy over the missing rates", method, best, areas, p_values),
        effect=common.effect(best, areas),
        findings=tuple(findings),
        tables=(
            _area_table(evidence, method, curves, areas, p_values),
            _difference_table(results, method, rates, by_rate),
            *_pattern_tables(evidence, rates),
            *_rank_table(results, curves),
        ),
        charts=(_curve_chart(evidence, rates), *_win_chart(results, curves)),
        caveats=(*common.caveats(evidence), *_caveats(results, rates)),
    )


def missing_rates(results: Results) -> dict[str, float]:
    """The points of the curve, by setting: one per rate, those of the suite's first protocol if it has several."""
    points = results.scores.loc[results.scores["setting"].isin(results.settings), ["setting", "rate"]]
    points = points.dropna().drop_duplicates("rate").sort_values("rate")
    return dict(zip(points["setting"], points["rate"], strict=True))


def _rule(others: int, rates: int) -> str:
    return (
        f"{_AREA} Supported if for each of the {others} other methods the interval of the paired difference between "
        f"MLA's area and its lies above 0 with p < {common.LEVEL:g}, and at none of the {rates} rates another method "
        "lies above MLA in that sense. Contradicted if the interval of a difference between areas lies below 0 in that "
        "sense. Not decided otherwise. Intervals cover 95 %; p-values are corrected by Holm, those of areas over the "
        f"{others} other methods, those of single rates over all {others * rates} pairs of method and rate."
    )


def _curve(evidence: Evidence, label: str, rates: Mapping[str, float]) -> _Curve:
    measured = [evidence.per_seed(label, setting, MULTIMODAL) for setting in rates]
    seeds = sorted(set.intersection(*(set(found) for found in measured)))
    rows = [[found[seed] for found in measured] for seed in seeds]
    areas = {seed: area_under_curve(tuple(rates.values()), row) for seed, row in zip(seeds, rows, strict=True)}
    # The area is linear in the accuracies: a rate counts as much as the area of a curve that is 1 there and 0 elsewhere.
    weights = [area_under_curve(tuple(rates.values()), unit) for unit in np.eye(len(rates)).tolist()]
    outcomes = [evidence.outcomes(label, setting, MULTIMODAL) for setting in rates]
    return _Curve(np.array(rows).reshape(-1, len(rates)), areas, common.averaged(outcomes, weights))


def _difference(first: _Curve, second: _Curve) -> Comparison | None:
    return common.paired(first.outcomes, second.outcomes, first.areas, second.areas)


def _nowhere_above(method: str, by_rate: ByRate) -> Finding:
    """Whether some other method is above the one in question at some rate."""
    corrected = common.corrected(*by_rate.values())
    above = [
        f"{other} at {setting} ({common.points(test.difference)}, {common.p_value(p)})"
        for (setting, tests), p_values in zip(by_rate.items(), corrected, strict=True)
        for other, test in tests.items()
        if test is not None and (p := p_values[other]) is not None
        if common.verdict(test.difference, p) == "contradicted"
    ]
    if above:
        return Finding(f"{method} lies below {common.listed(above)}.", "not decided")
    if all(test is None for tests in by_rate.values() for test in tests.values()):
        return Finding("No single rate could be compared, for want of runs that both have.", "not decided")
    return Finding(f"At no single rate another method lies above {method} after correction.", "supported")

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

from mlabench.reporting import wording
from mlabench.reporting.charts import Chart, Panel
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.former import Answer, Finding
from mlabench.reporting.questions import common
from mlabench.reporting.questions.ranking import ranking
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import Cell, Column, Row, Table, measure, unranked
from mlabench.statistics import (
    Comparison,
    Interval,
    Outcomes,
    Summary,
    area_under_curve,
    averaged,
    interquartile_mean,
    probability_of_improvement,
    summarise,
)

CLAIM = "As modalities go missing, MLA keeps the highest fused accuracy."

_AREA = (
    "The area under the curve of fused accuracy against missing rate (trapezoidal rule), divided by the range of the "
    "rates, is a mean accuracy."
)

Floats = NDArray[np.floating[Any]]

#: Differences of one method from the others, by setting.
ByRate = Mapping[str, Mapping[str, Comparison | None]]


@dataclass(frozen=True)
class _Curve:
    """A method's fused accuracy in percent against the missing rate, of the seeds that have all rates ``[S, R]``.

    The area is normalised: per seed, and sample by sample where predictions are stored for all rates.
    """

    accuracies: Floats
    areas: Mapping[int, float]
    outcomes: Outcomes | None


def answer(evidence: Evidence) -> Answer | None:
    """The answer; None if the suite has no MLA, nothing to compare it with, or fewer than two missing rates."""
    results = evidence.results
    plan = results.plan
    rates = missing_rates(results)
    method = common.method_in_question(plan)
    others = common.asked_for(results, common.baselines(plan), rates)
    if method is None or not others or len(rates) < 2 or not common.asked_for(results, [method], rates):
        return None
    curves = {label: _curve(evidence, label, rates) for label in plan.labels}
    own = curves[method]
    areas = {
        other: common.paired(own.outcomes, curves[other].outcomes, own.areas, curves[other].areas) for other in others
    }
    by_rate = {
        setting: {other: common.compared(evidence, method, other, setting, MULTIMODAL) for other in others}
        for setting in rates
    }
    means = {label: curve.accuracies.mean(axis=0) for label, curve in curves.items() if curve.areas}
    ranks, rank_charts = ranking(list(means), np.array(list(means.values())).T, _conditions(results, list(rates)))
    (beaten,) = common.corrected(areas)
    findings = [
        *(beaten.finding(other, f"Area of {method} minus that of {other}") for other in others),
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
        headline=beaten.headline("Mean fused accuracy over the missing rates", method, best),
        effect=beaten.effect(best),
        findings=tuple(findings),
        tables=(
            _area_table(evidence, method, curves, beaten),
            _difference_table(results, method, others, rates, by_rate),
            *_pattern_tables(evidence, rates),
            *ranks,
        ),
        charts=(_curve_chart(evidence, rates), *rank_charts),
        caveats=(*common.caveats(evidence), *_caveats(evidence, rates)),
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
    # The area is linear in the accuracies: each rate counts as much as a curve has that is 1 there and 0 elsewhere.
    weights = [area_under_curve(tuple(rates.values()), unit) for unit in np.eye(len(rates)).tolist()]
    outcomes = [evidence.outcomes(label, setting, MULTIMODAL) for setting in rates]
    return _Curve(np.array(rows).reshape(-1, len(rates)), areas, averaged(outcomes, weights))


def _nowhere_above(method: str, by_rate: ByRate) -> Finding:
    """Whether some other method is above the one in question at some rate."""
    corrected = common.corrected(*by_rate.values())
    above = [
        f"{other} at {setting} ({wording.points(test.difference)}, {wording.p_value(p)})"
        for setting, family in zip(by_rate, corrected, strict=True)
        for other, test in family.tests.items()
        if test is not None and (p := family.p_values[other]) is not None
        if common.verdict(test.difference, p) == "contradicted"
    ]
    if above:
        return Finding(f"{method} lies below {wording.listed(above)}.", "not decided")
    if all(test is None for tests in by_rate.values() for test in tests.values()):
        return Finding("No single rate could be compared: no seeds in common.", "not decided")
    return Finding(f"At no single rate another method lies above {method} after correction.", "supported")


def _conditions(results: Results, settings: Sequence[str]) -> str:
    return wording.conditions(results.plan, results.on_axis(*settings))


def _area_table(evidence: Evidence, method: str, curves: Mapping[str, _Curve], beaten: common.Family) -> Table:
    results = evidence.results
    rows = []
    for label in results.labels:
        curve = curves[label]
        own, drops = curves[method].accuracies, [100 * (1 - row[-1] / row[0]) for row in curve.accuracies if row[0] > 0]
        cells = (
            _area_cell(results, label, curve),
            *beaten.cells(label),
            _probability(own, curve.accuracies) if label in beaten.tests else Cell(text="—"),
            Cell(interval=interquartile_mean(curve.accuracies)) if len(curve.areas) > 1 else Cell(text="—"),
            Cell(summarise(drops)),
            common.shortfall_cell(results, label),
        )
        rows.append(Row((label,), cells))
    rates = list(missing_rates(results))
    return Table(
        name="area",
        title="Fused accuracy over all missing rates",
        note=f"{_AREA} Area in percent; the paired difference ({method} minus the row's method) in points, its p-value "
        "after Holm's correction, and the smallest true difference that the test finds with 80 % power; the "
        f"probability that a run of {method} beats one of the row's method at the same rate, in percent; the mean of "
        "the middle half of all runs at all rates (both over seeds alone, as in rliable); the share of the accuracy at "
        f"{rates[0]} that is lost at {rates[-1]}, in percent; trials that failed or are missing. "
        f"{common.INTERVALS}",
        conditions=_conditions(results, rates),
        heads=("Method",),
        columns=(
            Column("Area"),
            *unranked(f"{method} minus it", "p (Holm)", "Detectable", f"P({method} better)"),
            *unranked("Interquartile mean", "Relative drop", "Not there"),
        ),
        rows=tuple(rows),
    ).with_best()


def _probability(own: Floats, other: Floats) -> Cell:
    """How probably a run of the method in question is better, in percent."""
    if min(len(own), len(other)) < 2:
        return Cell(text="—")
    found = probability_of_improvement(own, other)
    return Cell(interval=Interval(100 * found.estimate, 100 * found.low, 100 * found.high), form="z.0f")


def _difference_table(
    results: Results, method: str, others: Sequence[str], rates: Mapping[str, float], by_rate: ByRate
) -> Table:
    rows = []
    for other in others:
        tests = [by_rate[setting][other] for setting in rates]
        cells = (*map(common.difference_cell, tests), Cell(text=_crossings(tuple(rates.values()), tests)))
        rows.append(Row((other,), cells))
    return Table(
        name="differences",
        title=f"{method} minus the other methods, rate by rate",
        note=f"Paired difference in fused accuracy, {method} minus the row's method, in points; brackets: 95 % "
        "interval, not corrected for the number of comparisons. Crossing: the missing rate at which the order changes, "
        "by linear interpolation of the differences; in doubt unless both neighbouring intervals exclude 0.",
        conditions=_conditions(results, list(rates)),
        heads=(f"{method} minus",),
        columns=unranked(*rates, "Crossing"),
        rows=tuple(rows),
    )


def _crossings(rates: Sequence[float], tests: Sequence[Comparison | None]) -> str:
    """``31 %``, ``31 % (in doubt)``, ``none``: where a difference changes its sign."""
    known = [(rate, test.difference) for rate, test in zip(rates, tests, strict=True) if test is not None]
    if len(known) < 2:
        return "—"
    found = []
    for (rate, before), (next_rate, after) in pairwise(known):
        if before.estimate * after.estimate < 0:
            at = rate + (next_rate - rate) * before.estimate / (before.estimate - after.estimate)
            sure = all(interval.low > 0 or interval.high < 0 for interval in (before, after))
            found.append(f"{100 * at:.0f} %{'' if sure else ' (in doubt)'}")
    return ", ".join(found) or "none"


def _area_cell(results: Results, label: str, curve: _Curve) -> Cell:
    rows = pd.concat([results.at(label, setting, MULTIMODAL) for setting in missing_rates(results)])
    return common.with_interval(replace(common.runs(rows), summary=summarise(curve.areas.values())), curve.outcomes)


def _pattern_tables(evidence: Evidence, rates: Mapping[str, float]) -> Iterator[Table]:
    """Which modalities a test sample has decides what a method can make of it. The highest rate comes first."""
    settings = [setting for setting, rate in rates.items() if rate > 0]
    for setting in reversed(settings):
        table = _pattern_table(evidence, setting)
        if table is not None:
            yield replace(table, detail=setting != settings[-1])


def _pattern_table(evidence: Evidence, setting: str) -> Table | None:
    results = evidence.results
    presence = {label: evidence.presence(label, setting) for label in results.labels}
    reference = next((present for present in presence.values() if present is not None), None)
    if reference is None:
        return None
    patterns = _patterns(reference, results.plan.modalities)
    rows = []
    for label in results.labels:
        whole = measure(results.at(label, setting, MULTIMODAL))
        outcomes = evidence.outcomes(label, setting, MULTIMODAL)
        same = (present := presence[label]) is not None and np.array_equal(present, reference)
        known = outcomes if same else None
        rows.append(Row((label,), tuple(_part(whole, known, here) for here in patterns.values())))
    return Table(
        name=f"patterns_{setting.removesuffix(' %')}",
        title=f"Fused accuracy at {setting}, by the modalities that a test sample has",
        note=f"Fused accuracy in percent over the n test samples that have exactly the named modalities. "
        f"{common.INTERVALS}",
        conditions=_conditions(results, [setting]),
        heads=("Method",),
        columns=tuple(Column(f"{name} (n = {here.sum():,})") for name, here in patterns.items()),
        rows=tuple(rows),
    ).with_best()


def _patterns(present: NDArray[np.bool_], modalities: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """The test samples that have exactly the named modalities, few modalities first. Each ``[N]``"""
    rows = sorted({tuple(row) for row in present.tolist()}, key=lambda row: (sum(row), [not here for here in row]))
    return {
        " + ".join(name for name, here in zip(modalities, row, strict=True) if here): (present == row).all(axis=1)
        for row in rows
    }


def _part(whole: Cell, outcomes: Outcomes | None, here: NDArray[np.bool_]) -> Cell:
    """The accuracy over a part of the test samples."""
    if outcomes is None:
        return replace(whole, summary=Summary())
    part = Outcomes(outcomes.correct[:, here], outcomes.groups[here], outcomes.seeds)
    return common.with_interval(replace(whole, summary=summarise(100 * part.correct.mean(axis=1))), part)


def _curve_chart(evidence: Evidence, rates: Mapping[str, float]) -> Chart:
    results = evidence.results
    x = [100 * rate for rate in rates.values()]
    panels = []
    for target in (MULTIMODAL, *results.plan.modalities):
        series = []
        for label in results.labels:
            cells = [common.accuracy_cell(evidence, label, setting, target) for setting in rates]
            series.append(common.series(label, x, cells))
        panels.append(Panel(target, tuple(series)))
    where = wording.where_missing(results.on_axis(*rates))
    return Chart(
        name="accuracy_by_rate",
        title="Accuracy against the missing rate",
        caption=f"Fused accuracy over all test samples, and each modality's own over the samples that have it. "
        f"Modalities are missing in {where}. {common.WHISKERS} {_conditions(results, list(rates))}",
        kind="line",
        x="Missing rate (%)",
        y="Accuracy (%)",
        panels=tuple(panels),
    )


def _caveats(evidence: Evidence, rates: Mapping[str, float]) -> Iterator[str]:
    results = evidence.results
    if beside := [setting for setting in results.settings if setting not in rates]:
        yield f"Not on the curve because they have no rate of their own: {', '.join(beside)}."
    baselines = common.baselines(results.plan)
    if partial := set(baselines) - set(common.asked_for(results, baselines, rates)):
        yield f"Not compared, since the suite does not ask for all rates of it: {', '.join(sorted(partial))}."
    if len(rates) < 4:
        yield f"The curve has {len(rates)} points ({', '.join(rates)}): what happens between them is not known."
    yield (
        "Patterns are nested (what is missing at one rate is missing at higher ones) and shared by all methods and "
        "seeds: neighbouring rates are not independent, and another draw of patterns may give other numbers."
    )
    yield from common.without_predictions(evidence, list(rates))

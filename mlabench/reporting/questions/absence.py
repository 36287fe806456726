"""Second half of Q4: does the absence of one modality in training hurt the others?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations

import numpy as np

from mlabench.reporting import wording
from mlabench.reporting.charts import Chart, Panel
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.former import Answer, Finding, Verdict
from mlabench.reporting.questions import common
from mlabench.reporting.results import Results
from mlabench.reporting.table import Cell, Column, Row, Table, measure, unranked
from mlabench.statistics import Comparison
from mlabench.words import counted

_UNIT = "points per 10 points of missing rate"
#: A modality is hurt if it loses more than this many points of accuracy per 10 points of the other's missing rate:
#: 2 points at 80 %.
HARM = 0.25

_CLAIM = "In MLA, training samples that lack one modality do not hurt the accuracy of the others, in contrast to QMF."

_ABOUT = "The absence of a modality in training:"
_MEAN = "mean of all pairs"


@dataclass(frozen=True)
class Slopes:
    """How a method's unimodal accuracies change with the other modalities' missing rate in training.

    Per observed and missing modality and seed: the slope of the least-squares line, in points per 10 points of rate.
    """

    pairs: Mapping[tuple[str, str], Mapping[int, float]]

    @cached_property
    def mean(self) -> dict[int, float]:
        """The mean over the pairs, of the seeds that have them all."""
        seeds = set.intersection(*(set(slopes) for slopes in self.pairs.values()))
        return {seed: float(np.mean([slopes[seed] for slopes in self.pairs.values()])) for seed in sorted(seeds)}


def compared(evidence: Evidence) -> Comparison | None:
    """The mean slope of MLA minus that of QMF; None if the suite has not both, or fewer than two seeds do."""
    results = evidence.results
    mla, rival = _rivals(results)
    if mla is None or rival is None or not (rates := training_rates(results)):
        return None
    return common.over_seeds(slopes(evidence, mla, rates).mean, slopes(evidence, rival, rates).mean)


def answer(evidence: Evidence, comparison: Comparison | None, p: float | None) -> Answer | None:
    """The answer; None if the suite has no MLA trained with one modality missing at a time; ``p`` is corrected."""
    results = evidence.results
    plan = results.plan
    mla, rival = _rivals(results)
    rates = training_rates(results)
    if mla is None or not rates:
        return None
    measured = {label: slopes(evidence, label, rates) for label in plan.labels}
    harm, contrast = _harm(mla, measured[mla]), _contrast(mla, rival, comparison, p)
    return Answer(
        question="Q4",
        suite=plan.name,
        dataset=common.dataset(plan),
        claim=_CLAIM,
        verdict=common.overall([harm, contrast]),
        rule=_rule(mla, rival or "QMF"),
        headline=contrast.statement,
        effect=contrast.effect,
        findings=(contrast, harm),
        tables=(_slope_table(results, measured, mla, rival), _accuracy_table(results, rates)),
        charts=(_chart(evidence, rates),),
        caveats=(*common.caveats(evidence), *_caveats(results, rates)),
    )


def training_rates(results: Results) -> dict[str, dict[float, str]]:
    """Per modality that is missing alone in training: its rates, ascending, and the settings they are called by.

    Complete data count as a rate of 0 of each; a modality with fewer than two rates has no slope and is left out.
    """
    names = dict(zip(results.scores["train"], results.scores["train_setting"], strict=True))
    rates: dict[str, dict[float, str]] = {modality: {} for modality in results.plan.modalities}
    for cell in results.plan.cells:
        recipe = cell.trial.missing
        missing = [modality for modality, rate in recipe.rates.items() if rate > 0]
        if recipe.key not in names or recipe.protocol not in ("complete", "per_modality") or len(missing) > 1:
            continue
        for modality in missing or rates:
            rates[modality][recipe.rates.get(modality, 0.0)] = names[recipe.key]
    return {modality: dict(sorted(found.items())) for modality, found in rates.items() if len(found) > 1}


def slopes(evidence: Evidence, label: str, rates: Mapping[str, Mapping[float, str]]) -> Slopes:
    """The slopes of one method, of the seeds that have a number at every rate."""
    pairs = {}
    for observed, missing in _pairs(evidence.results, rates):
        points = [evidence.per_seed(label, setting, observed) for setting in rates[missing].values()]
        seeds = sorted(set.intersection(*(set(point) for point in points)))
        tens = [10.0 * rate for rate in rates[missing]]
        pairs[observed, missing] = {
            seed: float(np.polynomial.Polynomial.fit(tens, [point[seed] for point in points], 1).convert().coef[1])
            for seed in seeds
        }
    return Slopes(pairs)


def _pairs(results: Results, rates: Mapping[str, object]) -> list[tuple[str, str]]:
    """Observed and missing modality, each pair of them."""
    return [pair for pair in permutations(results.plan.modalities, 2) if pair[1] in rates]


def _rivals(results: Results) -> tuple[str | None, str | None]:
    """The labels of MLA and of what it is compared with: QMF, or the first baseline there is."""
    candidates = (*common.labels_of(results.plan, "qmf"), *common.baselines(results.plan))
    return common.method_in_question(results.plan), next(iter(candidates), None)


def _slope(found: Mapping[int, float]) -> Comparison | None:
    """A mean slope and whether it differs from zero."""
    return common.over_seeds(found, dict.fromkeys(found, 0.0))


def _per_ten(comparison: Comparison) -> str:
    difference = comparison.difference
    return f"{difference.estimate:+z.2f} points [{difference.low:z.2f}, {difference.high:z.2f}]".replace("-", "−")


def _harm(label: str, found: Slopes) -> Finding:
    slope = _slope(found.mean)
    if slope is None:
        return Finding(f"{label}: fewer than two seeds have all rates, so nothing can be said.", "not decided")
    difference = replace(slope.difference, unit=_UNIT)
    verdict: Verdict = "not decided"
    if difference.low > -HARM:
        verdict = "supported"
    elif difference.high < -HARM:
        verdict = "contradicted"
    return Finding(
        f"{label}: a modality's accuracy changes by {_per_ten(slope)} per 10 points of another's missing rate in "
        f"training ({counted(slope.seeds, 'seed')}, mean of {counted(len(found.pairs), 'pair')} of modalities).",
        verdict,
        difference,
    )


def _contrast(mla: str, rival: str | None, comparison: Comparison | None, p: float | None) -> Finding:
    if rival is None:
        return Finding(f"{_ABOUT} there is nothing to compare {mla} with.", "not decided")
    if comparison is None or p is None:
        return Finding(f"{_ABOUT} fewer than two seeds have all rates of both {mla} and {rival}.", "not decided")
    return Finding(
        f"{_ABOUT} what the others gain or lose per 10 points of missing rate, {mla} minus {rival}, is "
        f"{_per_ten(comparison)} ({counted(comparison.seeds, 'seed')}, {wording.p_value(p)} after Holm's correction).",
        common.verdict(comparison.difference, p),
        replace(comparison.difference, unit=_UNIT),
        p,
    )


def _rule(mla: str, rival: str) -> str:
    return (
        "A slope is what a modality's accuracy on complete test samples gains or loses per 10 points of another's "
        "missing rate in training, by least squares; slopes are averaged over all pairs of an observed and a missing "
        f"modality, and intervals are over seeds. Supported if both hold: the whole interval of {mla}'s slope lies "
        f"above −{HARM:g} points, so that it is not hurt; and {mla}'s slope minus {rival}'s is above 0 with "
        f"p < {common.LEVEL:g} after Holm's correction. Contradicted if {mla}'s whole interval lies below −{HARM:g} "
        "points, or the difference is below 0 in the same sense. Not decided otherwise."
    )


def _slope_table(results: Results, measured: Mapping[str, Slopes], mla: str, rival: str | None) -> Table:
    first, second = measured[mla], measured.get(rival or "", Slopes({}))

    def cells(by_label: Mapping[str, Mapping[int, float]], other: Mapping[int, float]) -> tuple[Cell, ...]:
        compared = (*map(_slope, by_label.values()), *([common.over_seeds(by_label[mla], other)] if rival else []))
        return tuple(
            Cell(interval=one.difference, form="+z.2f") if one else Cell(text="not measured") for one in compared
        )

    rows = [
        Row(pair, cells({label: found.pairs[pair] for label, found in measured.items()}, second.pairs.get(pair, {})))
        for pair in first.pairs
    ]
    means = {label: found.mean for label, found in measured.items()}
    rows.append(Row((_MEAN, ""), cells(means, means.get(rival or "", {}))))
    return Table(
        name="absence_slopes",
        title="What a modality gains or loses when another is missing in training",
        note="Change of the unimodal test accuracy, in points per 10 points of the other modality's missing rate in "
        "training (slope of the least-squares line of each seed), with its 95 % interval over seeds.",
        conditions=wording.conditions(results.plan, results.scores),
        heads=("Observed", "Missing in training"),
        columns=unranked(*measured, *([f"{mla} minus {rival}"] if rival else [])),
        rows=tuple(rows),
    )


def _accuracy_table(results: Results, rates: Mapping[str, Mapping[float, str]]) -> Table:
    every = sorted({rate for found in rates.values() for rate in found})
    rows = [
        Row(
            (observed, missing, label),
            tuple(
                measure(results.at(label, rates[missing][rate], observed))
                if rate in rates[missing]
                else Cell(text="not asked for")
                for rate in every
            ),
            group=f"{observed}|{missing}",
        )
        for observed, missing in _pairs(results, rates)
        for label in results.plan.labels
    ]
    return Table(
        name="absence_accuracy",
        title="Unimodal accuracy against another modality's missing rate in training",
        note="Unimodal accuracy in percent. Columns: missing rate, in training, of the modality that is missing.",
        conditions=wording.conditions(results.plan, results.scores),
        heads=("Observed", "Missing in training", "Method"),
        columns=tuple(Column(f"{100 * rate:g} %") for rate in every),
        rows=tuple(rows),
        detail=True,
    ).with_best()


def _chart(evidence: Evidence, rates: Mapping[str, Mapping[float, str]]) -> Chart:
    panels = []
    for observed, missing in _pairs(evidence.results, rates):
        series = []
        for label in evidence.results.plan.labels:
            cells = [measure(evidence.results.at(label, setting, observed)) for setting in rates[missing].values()]
            series.append(common.series(label, [100.0 * rate for rate in rates[missing]], cells))
        panels.append(Panel(f"{observed}, when {missing} is missing", tuple(series)))
    return Chart(
        name="absence",
        title="Unimodal accuracy against another modality's missing rate in training",
        caption="Accuracy of a modality's own prediction on complete test samples, after training in which another "
        "modality is missing from so many samples. A level line: its absence does not hurt. Lines: mean over seeds; "
        "bands: standard deviation.",
        kind="line",
        x="Missing rate in training (%)",
        y="Unimodal accuracy (%)",
        panels=tuple(panels),
    )


def _caveats(results: Results, rates: Mapping[str, Mapping[float, str]]) -> Iterator[str]:
    yield (
        f"The margin of {HARM:g} points per 10 points of missing rate is ours, chosen before any result was seen: "
        "the paper shows curves and names no threshold."
    )
    counts = sorted({len(found) for found in rates.values()})
    yield (
        f"A slope sums up {'–'.join(map(str, counts))} rates by a straight line, which hides a fall at high rates "
        "only; the curves show it."
    )
    never = [modality for modality in results.plan.modalities if modality not in rates]
    if never:
        yield f"The suite never removes {wording.listed(never)} from training."

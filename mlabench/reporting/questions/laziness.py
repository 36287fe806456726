"""Q1: whether MLA keeps each modality learning, and what that gives the fused prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from mlabench.reporting import wording
from mlabench.reporting.charts import Chart, Panel
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.former import Answer, Finding
from mlabench.reporting.questions import common
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import Cell, Column, Row, Table, unranked
from mlabench.statistics import Comparison, shapley, summarise
from mlabench.suite import Plan

#: The setting in which all modalities are there.
COMPLETE = "0 %"

#: What trains each encoder alone, with the budget that all methods share: methods, the first choice first, and the
#: options without which they do not.
ALONE = {"late_fusion": {"objective": "separate"}, "unimodal": {}}

#: A modality this many points below the same encoder trained alone is as good as not lazy.
MARGIN = 2.0

CLAIM = (
    "With all modalities present, no modality of MLA is lazy (none learns less than the same encoder trained alone), "
    "and MLA's fused accuracy is above that of every other method."
)


@dataclass(frozen=True)
class _Gap:
    """A method's modality minus the same encoder trained alone: its own predictions, and a linear probe of it."""

    readout: Comparison | None
    probe: Comparison | None

    @property
    def judged(self) -> Comparison | None:
        """What the verdict rests on: the probe, where it was recorded."""
        return self.probe or self.readout


def answer(evidence: Evidence) -> Answer | None:
    """The answer; None if the suite has no MLA, nothing to compare it with, or no complete samples."""
    results = evidence.results
    plan = results.plan
    method = common.method_in_question(plan)
    others = common.asked_for(results, common.baselines(plan), [COMPLETE])
    if method is None or not others or not common.asked_for(results, [method], [COMPLETE]):
        return None
    fused = {other: common.compared(evidence, method, other, COMPLETE, MULTIMODAL) for other in others}
    gaps = {label: _gaps(evidence, label) for label in plan.labels}
    lazy = {modality: gap.judged for modality, gap in gaps[method].items()}
    beaten, learning = common.corrected(fused, lazy)
    beats = [beaten.finding(other, f"Fused accuracy of {method} minus that of {other}") for other in others]
    keeps = [_kept(results, method, modality, gap, learning) for modality, gap in gaps[method].items()]
    best = common.strongest({other: results.at(other, COMPLETE, MULTIMODAL)["accuracy"].mean() for other in others})
    return Answer(
        question="Q1",
        suite=plan.name,
        dataset=common.dataset(plan),
        claim=CLAIM,
        verdict=common.overall([*beats, *keeps]),
        rule=_rule(others, plan.modalities, _alone(plan)),
        headline=beaten.headline("Fused accuracy", method, best),
        effect=beaten.effect(best),
        findings=(*beats, *keeps),
        tables=(
            _fused_table(evidence, method, beaten),
            _laziness_table(results, gaps),
            *_shapley_table(evidence),
        ),
        charts=(_accuracy_chart(evidence), *_probe_chart(evidence), *_laziness_chart(results, gaps)),
        caveats=(*common.caveats(evidence), *_caveats(evidence, gaps, method)),
    )


def _rule(others: Sequence[str], modalities: Sequence[str], alone: str | None) -> str:
    reference = f" ({alone})" if alone else ""
    return (
        f"Supported if both parts of the claim are. First part: for each of the {len(others)} other methods the "
        f"interval of the paired difference in fused accuracy lies above 0 and p < {common.LEVEL:g}. Second part: for "
        f"each of the {len(modalities)} modalities the interval of its gap to the same encoder trained "
        f"alone{reference} lies above −{MARGIN:g} points. The gap is that of a linear probe on the frozen encoders "
        "where it was recorded, so that methods are not compared by how each reads out unimodal predictions; else that "
        "of the methods' own unimodal predictions. Contradicted if an interval of a fused difference lies below 0, or "
        f"that of a gap lies below 0 without lying above −{MARGIN:g} points, with p < {common.LEVEL:g}. Not decided "
        "otherwise. All intervals cover 95 %; p-values are corrected by Holm over all tests of both parts."
    )


def _alone(plan: Plan) -> str | None:
    """The label of the method that trains each modality alone."""
    for method, options in ALONE.items():
        for cell in plan.cells:
            used = cell.trial.method
            if used.name == method and all(used.config.get(name, value) == value for name, value in options.items()):
                return cell.label
    return None


def _gaps(evidence: Evidence, label: str) -> dict[str, _Gap]:
    """The gaps of a method's modalities; nothing is known if the suite trains none alone."""
    plan = evidence.results.plan
    alone = _alone(plan)
    if alone is None:
        return dict.fromkeys(plan.modalities, _Gap(None, None))
    probe, reference = evidence.probe(label, COMPLETE), evidence.probe(alone, COMPLETE)
    return {
        modality: _Gap(
            common.compared(evidence, label, alone, COMPLETE, modality),
            common.over_seeds(probe.get(modality, {}), reference.get(modality, {})),
        )
        for modality in plan.modalities
    }


def _kept(results: Results, method: str, modality: str, gap: _Gap, learning: common.Family) -> Finding:
    """Whether a modality of the method is as good as trained alone."""
    alone, judged = _alone(results.plan), gap.judged
    if alone is None:
        return Finding(
            f"Laziness of {modality}: not measured, since the suite trains no modality alone.", "not decided"
        )
    what = "linear probe" if gap.probe else "unimodal accuracy"
    found = learning.finding(modality, f"Laziness of {modality}: {what} of {method} minus that of {alone}")
    if judged is None:
        return found
    if judged.difference.low > -MARGIN:
        kept = f"{found.statement} Not lazy: at most {MARGIN:g} points below."
        return replace(found, statement=kept, verdict="supported")
    conclusion = "Lazy." if found.verdict == "contradicted" else "Lazy or not: in doubt."
    return replace(found, statement=f"{found.statement} {conclusion}")


def _fused_table(evidence: Evidence, method: str, beaten: common.Family) -> Table:
    results = evidence.results
    rows = []
    for label in results.labels:
        accuracy = common.accuracy_cell(evidence, label, COMPLETE, MULTIMODAL)
        rows.append(Row((label,), (accuracy, *beaten.cells(label), common.shortfall_cell(results, label))))
    return Table(
        name="fused",
        title="Fused accuracy, all modalities present",
        note=f"Fused accuracy in percent; the paired difference ({method} minus the row's method) in points, its "
        "p-value after Holm's correction, and the smallest true difference that the test finds with 80 % power; "
        f"trials that failed or are missing. {common.INTERVALS}",
        conditions=wording.conditions(results.plan, results.on_axis(COMPLETE)),
        heads=("Method",),
        columns=(
            Column("Fused accuracy"),
            *unranked(f"{method} minus it", "p (Holm)", "Detectable", "Not there"),
        ),
        rows=tuple(rows),
    ).with_best()


def _laziness_table(results: Results, gaps: Mapping[str, Mapping[str, _Gap]]) -> Table:
    alone = _alone(results.plan)
    rows = [
        Row(
            (label,),
            tuple(
                common.difference_cell(comparison)
                for gap in gaps[label].values()
                for comparison in (gap.readout, gap.probe)
            ),
        )
        for label in results.labels
        if label != alone
    ]
    return Table(
        name="laziness",
        title="Laziness: each modality against the same encoder trained alone",
        note=f"Unimodal accuracy minus that of {alone or 'a method'}, which trains each encoder alone with the same "
        "budget, in points; below 0 a modality is lazy. Read-out: the unimodal prediction as the method makes it, "
        "paired over seeds and test samples. Probe: a linear classifier fitted to the frozen encoder in the same way "
        "for all methods, paired over seeds. Brackets: 95 % interval. —: not recorded, or fewer than two seeds.",
        conditions=wording.conditions(results.plan, results.on_axis(COMPLETE)),
        heads=("Method",),
        columns=unranked(
            *(f"{modality}, {kind}" for modality in results.plan.modalities for kind in ("read-out", "probe"))
        ),
        rows=tuple(rows),
    )


def _shapley_table(evidence: Evidence) -> Iterator[Table]:
    """What each modality adds to the fused accuracy, on average over the orders in which they may join."""
    results = evidence.results
    chance = _chance(evidence)
    modalities = results.plan.modalities
    rows = []
    if chance is None:
        return
    for label in results.labels:
        values = _shapley_values(results, label, chance)
        cells = (Cell(summary=summarise(value[modality] for value in values), form="+z.1f") for modality in modalities)
        if values:
            rows.append(Row((label,), tuple(cells)))
    if not rows:
        return
    yield Table(
        name="shapley",
        title="What each modality contributes to the fused accuracy (Shapley values)",
        note="Points of fused accuracy: what a modality adds to the modalities already there, averaged over all orders "
        "in which they may join; a row sums to the fused accuracy minus the share of the most frequent class, "
        f"{wording.number(100 * chance)} %. From tests with whole modalities removed.",
        conditions=wording.conditions(results.plan, results.on_axis(COMPLETE)),
        heads=("Method",),
        columns=unranked(*modalities),
        rows=tuple(rows),
    )


def _chance(evidence: Evidence) -> float | None:
    """The share of the most frequent class among the test samples, which needs no modality to be known."""
    for label in evidence.results.labels:
        for predictions in evidence.predictions(label, COMPLETE, MULTIMODAL).values():
            return float(np.bincount(predictions.labels).max() / len(predictions.labels))
    return None


def _shapley_values(results: Results, label: str, chance: float) -> list[dict[str, float]]:
    """Per seed that was tested with every subset of the modalities, in points."""
    modalities = results.plan.modalities
    tests = {
        frozenset(subset): " + ".join(subset) if size < len(modalities) else COMPLETE
        for size in range(1, len(modalities) + 1)
        for subset in combinations(modalities, size)
    }
    accuracies = {}
    for subset, test in tests.items():
        rows = results.under(label, COMPLETE, test, MULTIMODAL).dropna(subset="accuracy")
        accuracies[subset] = dict(zip(rows["seed"], 100 * rows["accuracy"], strict=True))
    seeds = set.intersection(*(set(found) for found in accuracies.values()))
    return [
        shapley({frozenset(): 100 * chance, **{subset: found[seed] for subset, found in accuracies.items()}})
        for seed in sorted(seeds)
    ]


def _accuracy_chart(evidence: Evidence) -> Chart:
    results = evidence.results
    targets = results.targets
    series = []
    for label in results.labels:
        cells = [common.accuracy_cell(evidence, label, COMPLETE, target) for target in targets]
        series.append(common.series(label, targets, cells))
    return Chart(
        name="unimodal_accuracy",
        title="Accuracy of each modality and of their fusion, all modalities present",
        caption="Each modality's own prediction, as the method makes it, and the fused prediction. "
        f"{common.WHISKERS} {wording.conditions(results.plan, results.on_axis(COMPLETE))}",
        kind="row",
        x="Prediction",
        y="Accuracy (%)",
        panels=(Panel("", tuple(series)),),
    )


def _probe_chart(evidence: Evidence) -> Iterator[Chart]:
    results = evidence.results
    modalities = results.plan.modalities
    series = []
    for label in results.labels:
        probe = evidence.probe(label, COMPLETE)
        cells = [Cell(summary=summarise(probe.get(modality, {}).values())) for modality in modalities]
        if probe:
            series.append(common.series(label, modalities, cells))
    if series:
        yield Chart(
            name="probe_accuracy",
            title="How much a linear probe reads out of each frozen encoder",
            caption="Test accuracy of a linear classifier fitted to each frozen encoder in the same way for all "
            "methods, complete samples. Dots: mean over seeds; whiskers: standard deviation over seeds. "
            f"{wording.conditions(results.plan, results.on_axis(COMPLETE))}",
            kind="row",
            x="Modality",
            y="Accuracy of the probe (%)",
            panels=(Panel("", tuple(series)),),
        )


def _laziness_chart(results: Results, gaps: Mapping[str, Mapping[str, _Gap]]) -> Iterator[Chart]:
    alone, modalities = _alone(results.plan), results.plan.modalities
    if alone is None:
        return
    panels = []
    for title, kind in (("own predictions", "readout"), ("linear probe", "probe")):
        tests = {label: [getattr(gap, kind) for gap in gaps[label].values()] for label in results.labels}
        series = [
            common.series(label, modalities, [Cell() if test is None else common.difference_cell(test) for test in row])
            for label, row in tests.items()
            if label != alone and any(row)
        ]
        if series:
            panels.append(Panel(title, tuple(series), reference=0.0))
    if panels:
        yield Chart(
            name="laziness",
            title="Laziness: each modality against the same encoder trained alone",
            caption=f"Unimodal accuracy minus that of {alone}, which trains each encoder alone with the same budget; "
            "below 0 a modality is lazy. Own predictions: as each method makes them, paired over seeds and test "
            "samples. Linear probe: on the frozen encoders, paired over seeds. Whiskers: 95 % interval. "
            f"{wording.conditions(results.plan, results.on_axis(COMPLETE))}",
            kind="row",
            x="Modality",
            y="Gap (points)",
            panels=tuple(panels),
        )


def _caveats(evidence: Evidence, gaps: Mapping[str, Mapping[str, _Gap]], method: str) -> Iterator[str]:
    results = evidence.results
    if _alone(results.plan) is None:
        yield "The suite trains no modality alone: whether a modality learns less than alone cannot be said."
    elif all(gap.probe is None and gap.readout is not None for gap in gaps[method].values()):
        yield (
            "No linear probe was recorded, or for fewer than two seeds: laziness is judged by each method's own "
            "unimodal predictions, which some methods never train for."
        )
    yield from common.without_predictions(evidence, [COMPLETE])

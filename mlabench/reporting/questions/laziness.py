"""Q1: whether MLA keeps each modality learning, and what that gives the fused prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from mlabench.reporting import wording
from mlabench.reporting.answer import Answer, Contrast, Family, Side
from mlabench.reporting.charts import Chart, difference_chart, intervals
from mlabench.reporting.evidence import Evidence, Run
from mlabench.reporting.questions import common
from mlabench.reporting.questions.inquiry import COMPLETE, Inquiry, differences_chart, family
from mlabench.reporting.results import MULTIMODAL
from mlabench.reporting.table import Cell, Row, Table, unranked
from mlabench.statistics import shapley, summarise
from mlabench.suite import Plan

#: What trains each encoder alone, with the budget that all methods share: methods, the first choice first, and the
#: options without which they do not.
ALONE = {"late_fusion": {"objective": "separate"}, "unimodal": {}}

#: Registered name of what trains all encoders through one joint head, and so leaves modalities lazy.
JOINT = "concat"

#: What reads out exactly as MLA does; MLA without HGM and with a head for each modality is this, to the bit.
CONTROL = {"late_fusion": {"objective": "separate", "fusion": "entropy", "readout": "logits"}}


def answers(inquiry: Inquiry) -> Iterator[Answer]:
    """Both halves; none if there is no MLA, nothing to compare it with, or no complete samples."""
    method, results = inquiry.method, inquiry.results
    others = common.asked_for(results, common.baselines(inquiry.plan), [COMPLETE])
    if method is None or not others or not common.asked_for(results, [method], [COMPLETE]):
        return
    joint = next((label for label in common.labels_of(inquiry.plan, JOINT) if label in others), None)
    if joint is not None:
        yield _laziness(inquiry, method, joint)
    yield _accuracy(inquiry, method, others)


def _laziness(inquiry: Inquiry, method: str, joint: str) -> Answer:
    alone = _label(inquiry.plan, ALONE)
    raised = family(_gaps(inquiry, method, joint), inquiry.plan.margin, "any")
    kept = family(_gaps(inquiry, method, alone), inquiry.plan.margin, "any") if alone else None
    more = [(f"{method} against the same encoders trained alone ({alone})", kept)] if kept else []
    if alone:
        more.append((f"{joint} against the same encoders trained alone ({alone})", family(
            _gaps(inquiry, joint, alone), inquiry.plan.margin, "any")))  # fmt: skip
    return inquiry.answer(
        "laziness",
        raised,
        "With MLA no modality is lazy: none learns less than the same encoder trained alone.",
        _laziness_sentence(method, joint, raised, kept),
        f"Compared: what each of the {len(inquiry.plan.modalities)} modalities reaches on its own, {method} minus "
        f"{joint}, which trains all encoders through one head: by a linear probe on the frozen encoders where it was "
        "recorded, so that methods are not compared by how each reads out a modality, else by the methods' own "
        "unimodal predictions.",
        more=tuple(more),
        tables=(*_probe_table(inquiry), *_shapley_table(inquiry)),
        charts=(_laziness_chart(method, raised, kept),),
        caveats=tuple(_caveats(raised, alone)),
    )


def _accuracy(inquiry: Inquiry, method: str, others: Sequence[str]) -> Answer:
    complete = {COMPLETE: 1.0}
    found = family((inquiry.versus(other, complete, COMPLETE) for other in others), inquiry.plan.margin)
    return inquiry.answer(
        "accuracy",
        found,
        "With all modalities present, MLA's fused accuracy is above that of every other method.",
        f"With all modalities present, {method} is {found.tally()}.",
        f"Compared: the fused accuracy on complete test samples, {method} minus each of {len(others)} other "
        f"methods.{_control_sentence(inquiry.plan)}",
        more=inquiry.second_end_point(dict.fromkeys(others, (complete, COMPLETE))),
        tables=(inquiry.accuracies([COMPLETE]),),
        charts=(
            differences_chart(method, found, "Fused accuracy, all modalities present"),
            *inquiry.accuracy_chart("accuracy"),
        ),
    )


def _control_sentence(plan: Plan) -> str:
    control = _label(plan, CONTROL)
    told = f" {control} reads out exactly as MLA does: the difference is what the shared head and HGM add."
    return told if control else ""


def _label(plan: Plan, wanted: Mapping[str, Mapping[str, object]]) -> str | None:
    """The label of the first of these methods that has these options."""
    for method, options in wanted.items():
        for cell in plan.cells:
            used = cell.trial.method
            if used.name == method and all(used.config.get(name, value) == value for name, value in options.items()):
                return cell.label
    return None


def _gaps(inquiry: Inquiry, method: str, other: str) -> Iterator[Contrast]:
    """What each modality reaches on its own, by a linear probe if both have one."""
    probe, other_probe = (inquiry.evidence.probe(label, COMPLETE) for label in (method, other))
    for modality in inquiry.plan.modalities:
        first, second = probe.get(modality, {}), other_probe.get(modality, {})
        if first.keys() & second.keys():
            what, sides = f"probe accuracy on {modality}", (Side(None, first), Side(None, second))
        else:
            what = f"unimodal accuracy of {modality}"
            own = [common.side(inquiry.evidence, [(label, COMPLETE, modality)], [1.0]) for label in (method, other)]
            sides = own[0], own[1]
        yield Contrast(method, other, what, COMPLETE, None, sides=sides)


_RAISED = {"better": "raises", "worse": "lowers", "practically equal": "practically does not change"}


def _laziness_sentence(method: str, joint: str, raised: Family, kept: Family | None) -> str:
    parts = []
    for verdict, word in _RAISED.items():
        if found := [one.told(one.what) for one in raised.contrasts if one.verdict == verdict]:
            parts.append(f"{word} {wording.listed(found)}")
    if found := [one.told(one.what) for one in raised.contrasts if one.verdict == "undecided"]:
        parts.append(f"may raise or lower {wording.listed(found)}")
    told = f"Compared with {joint}, {method} {'; '.join(parts)}."
    if kept is None:
        return told
    lazy = [one for one in kept.contrasts if one.verdict == "worse"]
    fine = [one for one in kept.contrasts if one.verdict in ("better", "practically equal")]
    alone = kept.contrasts[0].other
    if lazy:
        names = wording.listed(one.told(one.what) for one in lazy)
        return f"{told} Still lazy next to the same encoder trained alone ({alone}): {names}."
    if len(fine) == len(kept.contrasts):
        return f"{told} No modality is lazy: each reaches what the same encoder reaches alone ({alone}), or more."
    return f"{told} Whether each reaches what the same encoder reaches alone ({alone}) is undecided."


def _laziness_chart(method: str, raised: Family, kept: Family | None) -> Chart:
    """By modality, against joint training and against the encoders trained alone."""
    series = []
    for place, one in enumerate(raised.contrasts):
        own = [one, *([kept.contrasts[place]] if kept else [])]
        series.append(intervals(one.what, [f"minus {each.other}" for each in own], [each.effect for each in own]))
    return difference_chart(
        "differences",
        "What each modality reaches on its own",
        method,
        series,
        margin=raised.margin,
        caption="Against joint training, and against the same encoders trained alone.",
    )


def _probe_table(inquiry: Inquiry) -> Iterator[Table]:
    """Both yardsticks of what each modality reaches."""
    modalities = inquiry.plan.modalities
    rows = []
    for label in inquiry.results.labels:
        own = [common.accuracy_cell(inquiry.evidence, label, COMPLETE, modality) for modality in modalities]
        probe = inquiry.evidence.probe(label, COMPLETE)
        probes = [Cell(summary=summarise(probe.get(modality, {}).values())) for modality in modalities]
        cells = [cell for pair in zip(own, probes, strict=True) for cell in pair]
        rows.append(Row((label,), tuple(cell if cell.mean else Cell(text="—") for cell in cells)))
    yield Table(
        name="unimodal",
        title="What each modality reaches on its own",
        note="Accuracy in percent. Read-out: of the unimodal prediction as the method makes it. Probe: of a linear "
        "classifier fitted to the frozen encoder in the same way for all methods, mean ± standard deviation over "
        f"trainings. {common.INTERVALS} —: not recorded.",
        conditions=inquiry.conditions(COMPLETE),
        heads=("Method",),
        columns=unranked(*(f"{modality}, {kind}" for modality in modalities for kind in ("read-out", "probe"))),
        rows=tuple(rows),
    )


def _shapley_table(inquiry: Inquiry) -> Iterator[Table]:
    """What each modality adds to the fused accuracy, on average over the orders in which they may join."""
    modalities, chance = inquiry.plan.modalities, _chance(inquiry.evidence)
    if chance is None:
        return
    rows = []
    for label in inquiry.results.labels:
        if values := _shapley_values(inquiry.evidence, label, modalities, chance):
            cells = (
                Cell(summary=summarise(value[modality] for value in values), form="+z.1f") for modality in modalities
            )
            rows.append(Row((label,), tuple(cells)))
    if rows:
        yield Table(
            name="shapley",
            title="What each modality contributes to the fused accuracy (Shapley values)",
            note="Points of fused accuracy: what a modality adds to the modalities already there, averaged over all "
            "orders in which they may join; a row sums to the fused accuracy minus the share of the most frequent "
            f"class, {wording.number(chance)} %. From tests with whole modalities removed.",
            conditions=inquiry.conditions(COMPLETE),
            heads=("Method",),
            columns=unranked(*modalities),
            rows=tuple(rows),
            detail=True,
        )


def _chance(evidence: Evidence) -> float | None:
    """The share of the most frequent class among the test samples in percent, which needs no modality to be known."""
    samples = evidence.samples
    return (
        None
        if samples is None
        else float(100 * np.unique(samples.labels, return_counts=True)[1].max() / len(samples.ids))
    )


def _shapley_values(evidence: Evidence, label: str, modalities: Sequence[str], chance: float) -> list[dict[str, float]]:
    """Per training that was tested with every subset of the modalities, in points."""
    accuracies: dict[frozenset[str], Mapping[Run, float]] = {}
    for size in range(1, len(modalities) + 1):
        for subset in combinations(modalities, size):
            test = " + ".join(subset) if size < len(modalities) else COMPLETE
            accuracies[frozenset(subset)] = evidence.per_training(label, COMPLETE, test, MULTIMODAL)
    runs = set.intersection(*(set(found) for found in accuracies.values()))
    empty: dict[frozenset[str], float] = {frozenset(): chance}
    return [shapley(empty | {subset: own[run] for subset, own in accuracies.items()}) for run in sorted(runs)]


def _caveats(raised: Family, alone: str | None) -> Iterator[str]:
    if alone is None:
        yield "No suite trains a modality alone here: whether a modality learns less than alone cannot be said."
    if not any(one.what.startswith("probe accuracy") for one in raised.contrasts):
        yield (
            "No linear probe was recorded: laziness is judged by each method's own unimodal predictions, which some "
            "methods never train for."
        )
    else:
        yield (
            "A probe is one number per training: with folds it is compared by the corrected resampled t-test, without "
            "them the comparison takes the test samples as given."
        )

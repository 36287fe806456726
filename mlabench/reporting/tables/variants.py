"""What variants of one method are worth: each of a suite's methods against the first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from mlabench.reporting import wording
from mlabench.reporting.answer import COLUMNS, Contrast
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.questions import common
from mlabench.reporting.results import MULTIMODAL
from mlabench.reporting.table import Row, Table, measure, unranked
from mlabench.statistics import Comparison, decide
from mlabench.suite import Plan

#: The mean over all missing rates, in place of one of them.
AVERAGE = "average"

#: With fewer variants of one method, a suite is about other things.
_VARIANTS = 3


def reference(plan: Plan) -> str | None:
    """The label that all others are compared with: the first, if it and two others are one method; else None."""
    methods = {cell.label: cell.trial.method.name for cell in plan.cells}
    first = next(iter(methods), None)
    same = [label for label, name in methods.items() if first is not None and name == methods[first]]
    return first if len(same) >= _VARIANTS else None


def variant_tables(evidence: Evidence) -> Iterator[Table]:
    """Differences on the fused and on the unimodal predictions, if the suite has variants of one method."""
    results = evidence.results
    first = reference(results.plan)
    if first is None or first not in results.labels:
        return
    settings = (*((AVERAGE,) if len(results.settings) > 1 else ()), *results.settings)
    fused, unimodal = product(settings, [MULTIMODAL]), product(results.settings, results.plan.modalities)
    yield _table(evidence, first, list(fused), "variants", f"Fused accuracy, minus that of {first}")
    title = f"Unimodal accuracies, minus those of {first}"
    yield replace(_table(evidence, first, list(unimodal), "variants_unimodal", title), detail=True)


def _table(evidence: Evidence, first: str, places: Sequence[tuple[str, str]], name: str, title: str) -> Table:
    results, rows = evidence.results, []
    unimodal = any(target != MULTIMODAL for _, target in places)
    for setting, target in places:
        settings = results.settings if setting == AVERAGE else (setting,)
        labels = [label for label in common.asked_for(results, results.labels, settings) if label != first]
        tests = {label: difference(evidence, label, first, settings, target) for label in labels}
        heads = (setting, target) if unimodal else (setting,)
        for label, decision in decide(tests, results.plan.margin).items():
            runs = (
                common.mean_cell(evidence, label) if setting == AVERAGE else measure(results.at(label, setting, target))
            )
            effect, *more = Contrast(label, first, target, setting, decision).cells()
            effect = replace(effect, planned=runs.planned, failed=runs.failed, missing=runs.missing)
            rows.append(Row((*heads, label), (effect, *more), " ".join(heads)))
    return Table(
        name=name,
        title=title,
        note="Differences in points with 95 % intervals, paired over trainings and test samples; p-values corrected "
        f"by Holm's method over the variants at one missing rate{' and modality' if unimodal else ''}. Practically "
        f"equal: within ±{results.plan.margin:g} points. A variant that acts at test time only differs in its unimodal "
        "accuracies where another epoch was selected.",
        conditions=wording.conditions(results.plan, results.on_axis()),
        heads=("Missing", "Modality", "Variant") if unimodal else ("Missing", "Variant"),
        columns=unranked(*COLUMNS),
        rows=tuple(rows),
    )


def difference(evidence: Evidence, label: str, first: str, settings: Sequence[str], target: str) -> Comparison | None:
    """A variant minus the reference, averaged over settings."""
    places = [(name, setting, target) for name in (label, first) for setting in settings]
    weights = [sign / len(settings) for sign in (1.0, -1.0) for _ in settings]
    return common.contrasted(evidence, places, weights)

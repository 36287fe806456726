"""What variants of one method are worth: each of a suite's methods against the first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from mlabench.reporting import wording
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.questions import common
from mlabench.reporting.results import MULTIMODAL
from mlabench.reporting.table import Cell, Row, Table, measure, unranked
from mlabench.statistics import Comparison, averaged
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
    yield _table(
        evidence,
        first,
        list(product(settings, [MULTIMODAL])),
        name="variants",
        title=f"Fused accuracy, minus that of {first}",
    )
    yield _table(
        evidence,
        first,
        list(product(results.settings, results.plan.modalities)),
        name="variants_unimodal",
        title=f"Unimodal accuracies, minus those of {first}",
    )


@dataclass(frozen=True)
class Pair:
    """A variant minus the reference, None if they share no run; ``same`` if both are right on the same samples."""

    comparison: Comparison | None
    same: bool = False


def pair(evidence: Evidence, label: str, first: str, setting: str, target: str) -> Pair:
    """A variant against the reference at one setting; for ``multimodal`` also on ``average`` over all of them."""
    points = evidence.results.settings if setting == AVERAGE else [setting]
    own, other = (averaged([evidence.outcomes(one, point, target) for point in points]) for one in (label, first))
    if (
        own is not None
        and other is not None
        and own.seeds == other.seeds
        and np.array_equal(own.correct, other.correct)
    ):
        return Pair(None, same=True)
    runs = ([evidence.per_seed(one, point, target) for point in points] for one in (label, first))
    per_seed, other_per_seed = (
        {seed: sum(run[seed] for run in found) / len(found) for seed in set.intersection(*map(set, found))}
        for found in runs
    )
    return Pair(common.paired(own, other, per_seed, other_per_seed))


def _table(evidence: Evidence, first: str, places: Sequence[tuple[str, str]], *, name: str, title: str) -> Table:
    results = evidence.results
    unimodal = any(target != MULTIMODAL for _, target in places)
    rows = []
    for setting, target in places:
        labels = common.asked_for(results, results.labels, results.settings if setting == AVERAGE else [setting])
        pairs = {label: pair(evidence, label, first, setting, target) for label in labels if label != first}
        (family,) = common.corrected({label: own.comparison for label, own in pairs.items()})
        heads = (setting, target) if unimodal else (setting,)
        for label, own in pairs.items():
            if setting == AVERAGE:
                runs = common.mean_cell(evidence, label)
            else:
                runs = measure(results.at(label, setting, target))
            difference, *test = family.cells(label)
            difference = replace(
                Cell(text="same") if own.same else difference,
                planned=runs.planned,
                failed=runs.failed,
                missing=runs.missing,
            )
            rows.append(Row((*heads, label), (difference, *test), " ".join(heads)))
    return Table(
        name=name,
        title=title,
        note="Differences in points with 95 % intervals, paired over seeds and test samples. p: after Holm's "
        f"correction over the variants at one missing rate{' and modality' if unimodal else ''}. Detectable: the "
        "smallest true difference that the uncorrected test finds with a probability of 80 %. “Same”: right on the "
        "same samples, seed by seed, so there is nothing to test. A variant that acts at test time only differs in its "
        "unimodal accuracies where another epoch was selected.",
        conditions=wording.conditions(results.plan, results.on_axis()),
        heads=("Missing", "Modality", "Variant") if unimodal else ("Missing", "Variant"),
        columns=unranked("Difference", "p", "Detectable"),
        rows=tuple(rows),
        detail=unimodal,
    )

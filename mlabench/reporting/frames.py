"""Results and comparisons as frames, for notebooks: what the Python API returns."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mlabench.errors import UserError
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.questions.common import LEVEL, compared
from mlabench.reporting.results import load
from mlabench.statistics import Comparison, holm
from mlabench.store import Store
from mlabench.suite import Plan


def tidy_frame(store: Store, plans: Sequence[Plan], *, include_limited: bool = False) -> pd.DataFrame:
    """Every number that these plans ask for, one row per suite, trial, evaluation and target."""
    frames = []
    for plan in plans:
        scores = load(plan, store, include_limited=include_limited).scores
        datasets = {entry.trial.id: entry.trial.dataset.name for entry in plan.cells}
        scores.insert(0, "suite", plan.name)
        scores.insert(1, "dataset", scores["trial"].map(datasets))
        frames.append(scores)
    return pd.concat(frames, ignore_index=True)


def compare_labels(store: Store, plans: Sequence[Plan], first: str, second: str, target: str) -> pd.DataFrame:
    """Two methods at every point of the missing-rate axis of every suite that has both.

    Raises:
        UserError: If no suite has both labels and the target, or they have no seeds in common.
    """
    shared = [plan for plan in plans if {first, second} <= set(plan.labels)]
    if not shared:
        known = ", ".join(dict.fromkeys(label for plan in plans for label in plan.labels))
        raise UserError(f"no suite in {store.root} has both {first!r} and {second!r}.", remedy=f"Labels: {known}.")
    rows = []
    for plan in shared:
        evidence = Evidence(load(plan, store, include_limited=True), store)
        if target not in evidence.results.targets:
            targets = ", ".join(evidence.results.targets)
            raise UserError(f"{plan.name} has no target {target!r}.", remedy=f"Targets: {targets}.", field="target")
        dataset = plan.cells[0].trial.dataset.name
        found = {
            setting: comparison
            for setting in evidence.results.settings
            if (comparison := compared(evidence, first, second, setting, target)) is not None
        }
        for (setting, one), p in zip(found.items(), holm([one.p_value for one in found.values()]), strict=True):
            rows.append((plan.name, dataset, setting, *_numbers(one, p)))
    if not rows:
        raise UserError(f"{first!r} and {second!r} have no seeds in common in {store.root}.", remedy="Run both first.")
    columns = ["difference", "low", "high", "p", "p_holm", "verdict", "detectable", "seeds", "samples", "groups"]
    return pd.DataFrame(rows, columns=["suite", "dataset", "missing", *columns])


def _numbers(one: Comparison, corrected: float) -> tuple[object, ...]:
    difference = one.difference
    decided = one.seed_spread_known and corrected < LEVEL
    verdict = ("better" if difference.estimate > 0 else "worse") if decided else "undecided"
    interval = (difference.estimate, difference.low, difference.high)
    return (*interval, one.p_value, corrected, verdict, one.detectable, one.seeds, one.samples, one.groups)

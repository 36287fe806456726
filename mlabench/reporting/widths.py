"""The comparisons that a plan is run for, as far as they are stored: it is enough when their intervals are narrow."""

from __future__ import annotations

from mlabench.reporting.evidence import Evidence
from mlabench.reporting.results import MULTIMODAL, load
from mlabench.statistics import Comparison, compare
from mlabench.store import Store
from mlabench.suite import Plan


def contrasts(plan: Plan, store: Store) -> dict[str, Comparison]:
    """The fused accuracy of the plan's MLA minus that of each other label, by name, in each setting.

    Empty without MLA. What is not stored yet is left out.
    """
    results = load(plan, store, include_limited=True)
    own = [cell.label for cell in plan.cells if cell.trial.method.name == "mla"]
    if not own:
        return {}
    evidence, first = Evidence(results, store), own[0]
    found = {}
    for setting in results.settings:
        for second in results.labels:
            one, other = (evidence.outcomes(label, setting, MULTIMODAL) for label in (first, second))
            if second != first and one is not None and other is not None and set(one.seeds) & set(other.seeds):
                found[f"{first} − {second}, {setting} missing"] = compare(one, other)
    return found

"""What bfloat16 costs in accuracy: the same suite in two results folders, one in each arithmetic, compared in pairs.

    python -m tests.speed.precision SUITE IN_FLOAT32 IN_BFLOAT16

Fixed before any result was seen: what is compared is fused accuracy with all modalities present, of every method of the
suite (one family, corrected by Holm), and the mean over methods; the margin of practical equality is the suite's. No
tests, but the evidence that `precision: auto` may stand in a suite.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mlabench.reporting.evidence import Evidence
from mlabench.reporting.results import MULTIMODAL, load
from mlabench.statistics import Outcomes, averaged, compare, decide
from mlabench.store import Store
from mlabench.suite import Plan

SETTING = "0 %"


def read(folder: Path, suite: str) -> tuple[dict[str, Outcomes], Plan]:
    """Each method's outcomes in a folder, and the suite as it was run there. Prints which arithmetic was used."""
    store = Store(folder)
    (plan,) = (plan for plan in store.plans() if plan.name == suite)
    results = load(plan, store)
    evidence = Evidence(results, store)
    found = {label: evidence.outcomes(label, SETTING, MULTIMODAL) for label in results.labels}
    records = [store.read(cell.trial.id) for cell in plan.cells]
    used = {str(record.environment.get("precision", "32")) for record in records if record is not None}
    print(f"{folder}: {len(records)} trainings, precision {', '.join(sorted(used))}")
    return {label: own for label, own in found.items() if own is not None}, plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("suite", help="Name of a suite that both folders have.")
    parser.add_argument("float32", type=Path)
    parser.add_argument("bfloat16", type=Path)
    options = parser.parse_args()
    before, plan = read(options.float32, options.suite)
    after, _ = read(options.bfloat16, options.suite)
    decisions = decide({label: compare(own, before[label]) for label, own in after.items()}, plan.margin)
    means = [averaged([own[label] for label in after]) for own in (after, before)]
    if means[0] is not None and means[1] is not None:
        decisions["mean over methods"] = decide({"": compare(means[0], means[1])}, plan.margin)[""]
    for label, decision in decisions.items():
        if decision is None:
            continue
        one = decision.comparison.difference
        print(
            f"{label:40} {one.estimate:+.2f} [{one.low:+.2f}, {one.high:+.2f}], "
            f"p {decision.p_value:.3f}, p of {plan.margin} or more {decision.equivalence_p:.3f}: {decision.verdict}"
        )


if __name__ == "__main__":
    main()

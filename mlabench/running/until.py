"""Adds repeats to a plan until its contrasts are known well enough. Enough is enough; never "until significant".

A repeat is added as long as an interval is wider than the suite allows, whatever the interval is around, so the rule
favours no result. It asks the stored records alone: a run that was killed resumes where it was, and several machines
that work on one plan add the same repeats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

from rich.console import Console

from mlabench.running.session import Session, run_plan
from mlabench.running.standing import Overwrite, State, survey
from mlabench.statistics import Comparison, expected_half_width
from mlabench.store import Store
from mlabench.suite import Plan
from mlabench.words import counted

#: The comparisons that a plan is run for, by what they compare, as far as they are stored.
Contrasts: TypeAlias = Callable[[Plan, Store], Mapping[str, Comparison]]


def run_until(plan: Plan, overwrite: Overwrite, session: Session, contrasts: Contrasts) -> tuple[Plan, int]:
    """Runs a plan, and adds repeats if it says so. Returns what has run in the end and how many of its trials failed.

    Raises:
        SuspendedError: If it was asked to stop before all was done.
    """
    if plan.until_width is None:
        return plan, run_plan(plan, overwrite, session)
    failed, seeds = 0, plan.seeds
    while True:
        if overwrite == Overwrite.ALWAYS or not _is_done(plan, session.store):
            failed = run_plan(plan, overwrite, session, seeds)
        if failed:
            session.console.print(f"{plan.name}: no {plan.repeat} is added while trials fail.")
            break
        further = _further(plan, session.store, session.console, contrasts)
        if further is None:
            break
        plan, seeds = further, further.seeds[-1:]
    session.store.write_plan(plan)
    return plan, failed


def grown(plan: Plan, store: Store, console: Console, contrasts: Contrasts) -> Plan:
    """The plan with the repeats that the rule adds, up to the first in which something is left to do. Runs nothing."""
    while plan.until_width is not None and _is_done(plan, store):
        further = _further(plan, store, console, contrasts)
        if further is None:
            break
        plan = further
    return plan


def as_run(plan: Plan, store: Store) -> Plan:
    """The plan with the repeats that runs have added to it so far."""
    if plan.until_width is None:
        return plan
    ran = next((other.seeds for other in store.plans() if other.name == plan.name), ())
    return plan.with_seeds(ran) if ran[: len(plan.seeds)] == plan.seeds else plan


def expected_repeats(plan: Plan, contrasts: Mapping[str, Comparison]) -> int | None:
    """About how many repeats make the intervals of all contrasts narrow enough, those that the plan has included.

    None if it takes more than it allows, or too little is known.
    """
    goal, least = plan.until_width or math.inf, len(plan.seeds)

    def widest(repeats: int) -> float:
        return max(
            expected_half_width(one, repeats * one.trainings // one.seeds) if repeats != one.seeds else _width(one)
            for one in contrasts.values()
        )

    allowed = range(least, max(least, plan.max_repeats) + 1)
    return next((repeats for repeats in allowed if contrasts and widest(repeats) <= goal), None)


def _is_done(plan: Plan, store: Store) -> bool:
    return all(entry.state == State.DONE for entry in survey(plan, store))


def _further(plan: Plan, store: Store, console: Console, contrasts: Contrasts) -> Plan | None:
    """The plan with one repeat more, or None if that is not needed or not allowed. Says why."""
    found, goal = contrasts(plan, store), plan.until_width or math.inf
    if not found:
        verdict, further = f"there is nothing to compare, so no {plan.repeat} is added", None
    else:
        name, widest = max(found.items(), key=lambda item: _width(item[1]))
        width = _width(widest)
        shown = f"±{width:.2f} points" if math.isfinite(width) else "not known yet"
        verdict, further = f"the widest interval ({name}) is {shown}, the goal ±{goal:g}", None
        if width <= goal:
            verdict += "; that is enough"
        elif len(plan.seeds) >= plan.max_repeats:
            verdict += f"; no more than {counted(plan.max_repeats, plan.repeat)} are allowed"
        else:
            verdict += f"; one {plan.repeat} more"
            further = plan.with_seeds([*plan.seeds, max(plan.seeds) + 1])
    done = f"{plan.name}, {counted(len(plan.seeds), plan.repeat)}"
    console.print(f"{done}: {verdict}.", markup=False, soft_wrap=True)
    return further


def _width(one: Comparison) -> float:
    """Half the width of the 95 % interval; infinite while it does not cover the draw of the trainings."""
    return one.half_width if one.seed_spread_known and math.isfinite(one.half_width) else math.inf

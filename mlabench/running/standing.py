"""Where the trials of a plan stand, which of them are to run, and how long that takes.

All from the results folder alone: any terminal, any machine that sees the folder can tell. Free of torch.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from statistics import mean, median
from typing import Any

from mlabench.missing import Missing
from mlabench.record import Failure, Record
from mlabench.running.devices import default_jobs, visible_gpus
from mlabench.store import Holder, Store, holders
from mlabench.suite import Plan
from mlabench.training import Job, method_source
from mlabench.trial import Trial


class State(StrEnum):
    """Where a trial stands."""

    DONE = "done"
    INCOMPLETE = "incomplete"  # trained, but some test patterns are not evaluated yet
    FAILED = "failed"
    RUNNING = "running"
    MISSING = "missing"


class Overwrite(StrEnum):
    """What to do with trials that have a record already."""

    NEVER = "never"
    ONLY_MISSING = "only-missing"
    FAILED = "failed"
    ALWAYS = "always"


#: The trials with a record that run again.
_OVERWRITTEN = {
    Overwrite.NEVER: (),
    Overwrite.ONLY_MISSING: (State.INCOMPLETE,),
    Overwrite.FAILED: (State.INCOMPLETE, State.FAILED),
    Overwrite.ALWAYS: (State.INCOMPLETE, State.FAILED, State.DONE),
}


@dataclass(frozen=True)
class Standing:
    """A trial of a plan, the test patterns that the plan asks for, and where it stands."""

    trial: Trial
    tests: tuple[Missing, ...]
    state: State
    failure: Failure | None
    epoch_seconds: float | None  # None if that was not recorded
    stale: bool  # the method's source has changed since, without a new version
    seal: str  # tells this record from one that comes later


def survey(plan: Plan, store: Store) -> list[Standing]:
    """Where each distinct trial of a plan stands."""
    busy = holders(store.root)
    standings = []
    for trial, tests in plan.trials():
        seal = store.seal(trial.id)
        record = store.read(trial.id, quick=True)
        state = State.RUNNING if trial.id in busy else _state(record, tests)
        failure, stale = None, False
        if record is not None:
            failure = record.failure
            stale = record.status == "ok" and record.environment.get("method_source", "") != method_source(trial)
        standings.append(Standing(trial, tests, state, failure, _epoch_seconds(record), stale, seal))
    return standings


def _state(record: Record | None, tests: Iterable[Missing]) -> State:
    if record is None:
        return State.MISSING
    if record.status == "failed":
        return State.FAILED
    return State.DONE if all(test.key in record.evaluations for test in tests) else State.INCOMPLETE


def jobs_to_run(standings: Iterable[Standing], overwrite: Overwrite, plans: Iterable[Plan] = ()) -> list[Job]:
    """The jobs that an overwriting strategy leaves, with those that another process is on, and the tests of all plans.

    They are waited for, so that the tables at the end are complete, and taken over should that process die. Where there
    are folds, those of one fold of one repeat follow each other: a worker keeps its data, and repeats get complete.
    """
    states = {State.MISSING, State.RUNNING, *_OVERWRITTEN[overwrite]}
    retrain = overwrite == Overwrite.ALWAYS
    left = [entry for entry in standings if entry.state in states]
    tests: dict[str, dict[str, Missing]] = {entry.trial.id: {} for entry in left}
    asked = chain(((entry.trial, entry.tests) for entry in left), *(plan.trials() for plan in plans))
    for trial, patterns in asked:
        if trial.id in tests:
            tests[trial.id].update({pattern.key: pattern for pattern in patterns})
    jobs = [Job(entry.trial, tuple(tests[entry.trial.id].values()), retrain, entry.seal) for entry in left]
    parts = [(job.trial.seed, job.trial.fold) if job.trial.fold else None for job in jobs]
    place = {part: at for at, part in enumerate(dict.fromkeys(parts))}
    return [job for _, job in sorted(zip(parts, jobs, strict=True), key=lambda one: place[one[0]])]


def estimate_seconds(jobs: Sequence[Job], standings: Sequence[Standing], store: Store, workers: int) -> float | None:
    """Expected wall-clock seconds, from recorded times on the same samples, of the same method where there are any.

    None if nothing was recorded on these samples. ``standings`` spare reading the records that they already hold.
    """
    recorded = [(standing.trial, standing.epoch_seconds) for standing in standings]
    others = sorted(set(store.ids()) - {trial.id for trial, _ in recorded}) if jobs else ()
    found = (store.read(trial_id, quick=True) for trial_id in others)
    recorded += [(record.trial, _epoch_seconds(record)) for record in found if record is not None]
    seconds: dict[tuple[object, ...], list[float]] = {}
    for trial, epoch_seconds in recorded:
        if epoch_seconds:
            for similarity in _similarities(trial):
                seconds.setdefault(similarity, []).append(epoch_seconds)
    total = 0.0
    for job in jobs:
        closest = next((seconds[similarity] for similarity in _similarities(job.trial) if similarity in seconds), None)
        if closest is None:
            return None
        total += median(closest) * job.trial.training.epochs
    return total / max(workers, 1)


def _epoch_seconds(record: Record | None) -> float | None:
    if record is None or record.status == "failed" or "wall_seconds_train" not in record.cost:
        return None
    return record.cost["wall_seconds_train"] / record.trial.training.epochs


def _similarities(trial: Trial) -> list[tuple[object, ...]]:
    """What trials share whose epochs take about as long, the closest first."""
    samples = (trial.dataset.name, trial.limit)
    return [(*samples, trial.method.name), samples]


# -- a plan as a whole ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Status:
    """Where a plan stands: its trials, who works on which of them (by trial id), and the seconds left.

    Those are expected with as many workers as there are now, or as this machine would have if there are none; None if
    nothing says how long trials take.
    """

    standings: Sequence[Standing]
    running: dict[str, Holder]
    seconds_left: float | None

    def counts(self) -> dict[str, int]:
        """Number of trials by state, and of those done by a method that has changed since (stale)."""
        states = Counter(entry.state for entry in self.standings)
        counts = {str(state): states[state] for state in State}
        return {**counts, "stale": sum(entry.stale for entry in self.standings)}

    def failures(self) -> dict[str, str]:
        """Why trials failed, by trial id."""
        failed = [entry for entry in self.standings if entry.state == State.FAILED]
        return {entry.trial.id: f"{entry.failure.kind}: {entry.failure.message}" for entry in failed if entry.failure}

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        running = [
            {
                "trial": trial_id,
                "machine": holder.machine,
                "pid": holder.pid,
                "stage": holder.stage,
                "epochs_done": holder.done,
                "epochs": holder.total,
                "seconds": _elapsed(holder),
            }
            for trial_id, holder in self.running.items()
        ]
        failed = [{"trial": trial_id, "problem": text} for trial_id, text in self.failures().items()]
        left = {"seconds_left": self.seconds_left}
        return {**self.counts(), **left, "running_trials": running, "failed_trials": failed}


def find_status(plan: Plan, store: Store) -> Status:
    """Where a plan stands."""
    standings = survey(plan, store)
    held = holders(store.root)
    running = {entry.trial.id: held[entry.trial.id] for entry in standings if entry.trial.id in held}
    return Status(standings, running, _seconds_left(standings, store, running))


def _seconds_left(standings: Sequence[Standing], store: Store, running: dict[str, Holder]) -> float | None:
    """By the pace of what runs, and by recorded times for what has not begun."""
    started = {trial_id: holder for trial_id, holder in running.items() if holder.done}
    paces = {trial_id: _elapsed(holder) / holder.done for trial_id, holder in started.items()}
    jobs = [job for job in jobs_to_run(standings, Overwrite.ONLY_MISSING) if job.trial.id not in started]
    rest = estimate_seconds(jobs, standings, store, 1)
    if rest is None and paces:
        rest = len(jobs) * mean(paces[trial_id] * holder.total for trial_id, holder in started.items())
    if rest is None:
        return None
    rest += sum(paces[trial_id] * (holder.total - holder.done) for trial_id, holder in started.items())
    return rest / (len(running) or default_jobs("auto", visible_gpus("auto")))


def _elapsed(holder: Holder) -> float:
    """Seconds since a lease was taken; clocks of two machines may differ a little."""
    return max(0.0, time.time() - holder.began)

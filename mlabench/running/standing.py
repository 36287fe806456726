"""Where the trials of a plan stand, which of them are to run, and how long that takes. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from mlabench.missing import Missing
from mlabench.record import Failure, Record
from mlabench.store import Store, holders
from mlabench.suite import Plan
from mlabench.training import Job, method_source
from mlabench.trial import Trial


class Overwrite(StrEnum):
    """What to do with trials that have a record already."""

    NEVER = "never"
    ONLY_MISSING = "only-missing"
    FAILED = "failed"
    ALWAYS = "always"


class State(StrEnum):
    """Where a trial stands."""

    DONE = "done"
    INCOMPLETE = "incomplete"  # trained, but some test patterns are not evaluated yet
    FAILED = "failed"
    RUNNING = "running"
    MISSING = "missing"


@dataclass(frozen=True)
class Standing:
    """A trial of a plan and where it stands.

    Attributes:
        trial: The trial.
        tests: The test patterns that the plan asks for.
        state: Where it stands.
        failure: Why it failed, if it did.
        epoch_seconds: What an epoch of its training took; None if that was not recorded.
        stale: The method's source has changed since, without a new version.
        seal: Tells this record from one that comes later.
    """

    trial: Trial
    tests: tuple[Missing, ...]
    state: State
    failure: Failure | None
    epoch_seconds: float | None
    stale: bool
    seal: str


def survey(plan: Plan, store: Store) -> list[Standing]:
    """Where each distinct trial of a plan stands, from the store alone."""
    busy = holders(store.root)
    standings = []
    for trial, tests in plan.trials():
        seal = store.seal(trial.id)
        record = store.read(trial.id, quick=True)
        if trial.id in busy:
            state = State.RUNNING
        elif record is None:
            state = State.MISSING
        elif record.status == "failed":
            state = State.FAILED
        elif all(test.key in record.evaluations for test in tests):
            state = State.DONE
        else:
            state = State.INCOMPLETE
        failure = record.failure if record is not None else None
        stale = False
        if record is not None and record.status == "ok":
            stale = record.environment.get("method_source", "") != method_source(trial)
        standings.append(Standing(trial, tests, state, failure, _epoch_seconds(record), stale, seal))
    return standings


def jobs_to_run(standings: Iterable[Standing], overwrite: Overwrite) -> list[Job]:
    """The jobs that an overwriting strategy leaves, with those that another process is on.

    They are waited for, so that the tables at the end are complete, and taken over should that process die.
    """
    states = {State.MISSING, State.RUNNING}
    if overwrite != Overwrite.NEVER:
        states.add(State.INCOMPLETE)
    if overwrite in (Overwrite.FAILED, Overwrite.ALWAYS):
        states.add(State.FAILED)
    if overwrite == Overwrite.ALWAYS:
        states.add(State.DONE)
    retrain = overwrite == Overwrite.ALWAYS
    return [Job(entry.trial, entry.tests, retrain, entry.seal) for entry in standings if entry.state in states]


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

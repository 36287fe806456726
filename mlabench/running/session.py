"""What ``run`` does with a plan: decide what is left to do, launch it, keep count. Free of torch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median

from rich.console import Console

from mlabench.datasets import Data, has_raw_inputs
from mlabench.missing import Missing
from mlabench.running.devices import default_jobs, visible_gpus
from mlabench.running.event_log import EventLog
from mlabench.running.pool import launch
from mlabench.running.progress import Bars, Watch
from mlabench.store import RecordHeader, Store, TrialHeader, holders, tidy
from mlabench.suite import Plan
from mlabench.training import Job, RunOptions, SuspendedError, method_source
from mlabench.trial import InputSpec, Trial
from mlabench.words import counted, duration


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
        header: What its record says, if there is one.
        stale: The method's source has changed since, without a new version.
        seal: Tells this record from one that comes later.
    """

    trial: Trial
    tests: tuple[Missing, ...]
    state: State
    header: RecordHeader | None
    stale: bool
    seal: str


def survey(plan: Plan, store: Store) -> list[Standing]:
    """Where each distinct trial of a plan stands, from the store alone."""
    busy = holders(store.root)
    standings = []
    for trial, tests in plan.trials():
        seal = store.seal(trial.id)
        header = store.header(trial.id)
        stale = False
        if trial.id in busy:
            state = State.RUNNING
        elif header is None:
            state = State.MISSING
        elif header.status == "failed":
            state = State.FAILED
        elif all(test.key in header.evaluations for test in tests):
            state = State.DONE
        else:
            state = State.INCOMPLETE
        if header is not None and header.status == "ok":
            stale = header.environment.method_source != method_source(trial)
        standings.append(Standing(trial, tests, state, header, stale, seal))
    return standings


def jobs_to_run(standings: Iterable[Standing], overwrite: Overwrite) -> list[Job]:
    """The jobs that are left under an overwriting strategy, those that another process is on among them.

    They are waited for, so that the tables at the end are complete, and taken over should that process die.
    """
    again = {
        Overwrite.NEVER: {State.MISSING},
        Overwrite.ONLY_MISSING: {State.MISSING, State.INCOMPLETE},
        Overwrite.FAILED: {State.MISSING, State.INCOMPLETE, State.FAILED},
        Overwrite.ALWAYS: {State.MISSING, State.INCOMPLETE, State.FAILED, State.DONE},
    }[overwrite]
    again.add(State.RUNNING)
    retrain = overwrite == Overwrite.ALWAYS
    return [
        Job(standing.trial, standing.tests, retrain, standing.seal) for standing in standings if standing.state in again
    ]


def estimate_seconds(jobs: Sequence[Job], standings: Sequence[Standing], store: Store, workers: int) -> float | None:
    """Expected wall-clock seconds, from recorded times on the same samples, of the same method where there are any.

    None if nothing was recorded on these samples.

    Args:
        jobs: What is to be done.
        standings: What is known of a part of the store's trials already.
        store: Where all trials are.
        workers: How many there will be.
    """
    known = {standing.trial.id: standing.header for standing in standings}
    others = sorted(set(store.ids()) - known.keys()) if jobs else ()
    seconds: dict[tuple[object, ...], list[float]] = {}
    for header in (*known.values(), *map(store.header, others)):
        if header and header.status == "ok" and (trained := header.cost.wall_seconds_train):
            for likeness in _likenesses(header.trial):
                seconds.setdefault(likeness, []).append(trained / header.trial.training.epochs)
    total = 0.0
    for job in jobs:
        closest = next((seconds[likeness] for likeness in _likenesses(job.trial) if likeness in seconds), None)
        if closest is None:
            return None
        total += median(closest) * job.trial.training.epochs
    return total / max(workers, 1)


def _likenesses(trial: Trial | TrialHeader) -> list[tuple[object, ...]]:
    """What trials share whose epochs take about as long, the closest first."""
    samples = (trial.dataset.name, trial.limit)
    return [(*samples, trial.method.name), samples]


def prepare_inputs(trials: Sequence[InputSpec], console: Console, workers: int, device: str) -> list[Data]:
    """Decodes raw inputs that are not in the cache yet, with progress, so that no trial has to.

    Returns:
        The data of each distinct combination of dataset and encoders; nothing, quickly, where all are features.

    Raises:
        UserError: If the data cannot be read, or the cache cannot be written.
    """
    trials = [trial for trial in trials if has_raw_inputs(trial.dataset)]
    if not trials:
        return []
    from mlabench.training import make_fabric, prepare

    with Bars(console) as bars:
        return prepare(trials, make_fabric(device, "32").device, workers, bars.report)


@dataclass(frozen=True)
class Session:
    """One call of ``run``: where it writes, what it shows, and by what means.

    Attributes:
        store: Where records go.
        console: Where progress is shown.
        workers: Processes at most.
        options: How trials are run.
        should_stop: Whether it is time to save what is under way, and to leave.
    """

    store: Store
    console: Console
    workers: int
    options: RunOptions
    should_stop: Callable[[], bool] = lambda: False

    @classmethod
    def open(
        cls,
        store: Store,
        console: Console,
        jobs: int | None,
        options: RunOptions,
        *,
        trials_per_device: int = 1,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Session:
        """A session on the devices of this machine; with ``jobs`` None on all of them.

        Raises:
            UserError: If there are fewer GPUs than one trial asks for.
        """
        gpus = visible_gpus(options.device, options.devices_per_trial)
        if jobs is None:
            jobs = default_jobs(options.device, gpus, trials_per_device, options.devices_per_trial)
        return cls(store, console, jobs, replace(options, gpus=gpus), should_stop)


def run_plan(plan: Plan, overwrite: Overwrite, session: Session) -> int:
    """Runs what is left of a plan, showing progress. Returns how many of its trials failed.

    Raises:
        SuspendedError: If it was told to leave before all was done.
    """
    store, console = session.store, session.console
    store.write_plan(plan)
    standings = survey(plan, store)
    jobs = jobs_to_run(standings, overwrite)
    failed = {entry.trial.id for entry in standings if entry.state == State.FAILED}
    failed -= {job.trial.id for job in jobs}
    tidy(store, [entry.trial.id for entry in standings if entry.state == State.DONE])
    problems = 0
    if jobs:
        problems = run_jobs(plan.name, jobs, len(standings) - len(jobs), session)
    elif all(entry.state == State.DONE for entry in standings):
        console.print(f"{plan.name}: all {len(standings)} trials are done, nothing to run.")
    else:
        states = Counter(entry.state for entry in standings)
        console.print(
            f"{plan.name}: nothing to run: {', '.join(f'{count} {state}' for state, count in states.items())}."
        )
    if failed:
        console.print(f"{counted(len(failed), 'trial')} failed earlier; `--overwrite failed` runs them again.")
    return len(failed) + problems


def run_jobs(about: str, jobs: Sequence[Job], reused: int, session: Session) -> int:
    """Runs jobs, showing progress under the name ``about``. Returns how many of them failed.

    Raises:
        SuspendedError: If it was told to leave before all was done.
    """
    store, console, options, should_stop = session.store, session.console, session.options, session.should_stop
    workers, start = min(session.workers, len(jobs)), time.monotonic()
    by = counted(workers, "worker")
    console.print(f"{about}: {counted(len(jobs), 'trial')} to run, {reused} reused, on {by}.")
    prepare_inputs([job.trial for job in jobs], console, workers, options.device)
    log = EventLog(store.root)
    log.write("run", plan=about, trials=len(jobs), workers=workers)
    with Watch(console, len(jobs)) as watch, closing(launch(jobs, store, options, workers, should_stop)) as events:
        for event in events:
            log.see(event)
            watch.see(event)
            if options.fail_fast and watch.problems:
                break
    log.write("ended", finished=watch.finished, failed=len(watch.problems))
    console.print(f"{about}: {counted(watch.finished, 'trial')} in {duration(time.monotonic() - start)}.")
    if should_stop() and watch.finished < len(jobs):
        raise SuspendedError
    return len(watch.problems)

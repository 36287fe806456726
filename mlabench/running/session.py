"""What ``run`` does with a plan: decide what is left to do, have it run, keep count. Free of torch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace

from rich.console import Console

from mlabench.datasets import Data, has_raw_inputs
from mlabench.errors import UserError
from mlabench.running.devices import default_jobs, spare_threads, visible_gpus
from mlabench.running.events import Event, EventLog
from mlabench.running.inline import keeping_torch_settings, run_inline
from mlabench.running.pool import run_in_workers
from mlabench.running.progress import Bars, Watch
from mlabench.running.standing import Overwrite, State, jobs_to_run, survey
from mlabench.store import Store, tidy
from mlabench.suite import Plan
from mlabench.training import Job, RunOptions, SuspendedError
from mlabench.trial import InputSpec
from mlabench.words import counted, duration


@dataclass(frozen=True)
class Session:
    """One call of ``run``: where it writes, what it shows, and by what means.

    Attributes:
        store: Where records go.
        console: Where progress is shown.
        workers: Processes at most; 0 to run jobs in this process, one after the other.
        options: How trials are run.
        should_stop: Whether to save what is under way at the end of its epoch and to begin nothing more.
        plans: All that will run, one after the other. A trial that several share is evaluated under the patterns of
            all when the first trains it, so that none has to train it again where weights are not kept.
    """

    store: Store
    console: Console
    workers: int
    options: RunOptions
    should_stop: Callable[[], bool] = lambda: False
    plans: Sequence[Plan] = ()

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
        plans: Sequence[Plan] = (),
    ) -> Session:
        """A session on the devices of this machine; with ``jobs`` None on all of them."""
        gpus = visible_gpus(options.device, options.devices_per_trial)
        if jobs is None:
            jobs = default_jobs(options.device, gpus, trials_per_device, options.devices_per_trial)
        return cls(store, console, jobs, replace(options, gpus=gpus), should_stop, plans)

    def __post_init__(self) -> None:
        if self.workers == 0 and self.options.trial_timeout is not None:
            raise UserError(
                "a trial that runs in this process, as with --jobs 0, cannot be ended from outside.",
                remedy="Use at least one worker, or no timeout.",
                field="--trial-timeout",
            )


def run_plan(plan: Plan, overwrite: Overwrite, session: Session, seeds: Container[int] | None = None) -> int:
    """Runs what is left of a plan, or of some of its seeds, showing progress. Returns how many of the trials failed.

    Raises:
        SuspendedError: If it was asked to stop before all was done.
    """
    store, console = session.store, session.console
    store.write_plan(plan)
    standings = [entry for entry in survey(plan, store) if seeds is None or entry.trial.seed in seeds]
    jobs = jobs_to_run(standings, overwrite, session.plans)
    states = Counter(entry.state for entry in standings)
    tidy(store, [entry.trial.id for entry in standings if entry.state == State.DONE])
    failed = 0
    if jobs:
        failed = run_jobs(plan.name, jobs, len(standings) - len(jobs), session)
    elif states[State.DONE] == len(standings):
        console.print(f"{plan.name}: all {len(standings)} trials are done, nothing to run.")
    else:
        counts = ", ".join(f"{count} {state}" for state, count in states.items())
        console.print(f"{plan.name}: nothing to run: {counts}.")
    earlier = 0 if overwrite in (Overwrite.FAILED, Overwrite.ALWAYS) else states[State.FAILED]
    if earlier:
        console.print(f"{counted(earlier, 'trial')} failed earlier; `--overwrite failed` runs them again.")
    return earlier + failed


def run_jobs(about: str, jobs: Sequence[Job], reused: int, session: Session) -> int:
    """Runs jobs, showing progress under the name ``about``. Returns and raises as :func:`run_plan`."""
    store, console, options, should_stop = session.store, session.console, session.options, session.should_stop
    workers, start = min(session.workers, len(jobs)), time.monotonic()
    if options.threads is None:
        threads = spare_threads(session.workers, len(jobs) + reused, options.devices_per_trial)
        options = replace(options, threads=threads)
    place = f"on {counted(workers, 'worker')}" if workers else "in this process"
    console.print(f"{about}: {counted(len(jobs), 'trial')} to run, {reused} reused, {place}.")
    prepared = prepare_inputs([job.trial for job in jobs], console, workers, options.device)
    log = EventLog(store.root)
    log.write("run", plan=about, trials=len(jobs), workers=workers)
    with Watch(console, len(jobs), bars=workers > 0) as watch:  # bars would garble the prompt of a debugger

        def tell(event: Event) -> None:
            log.see(event)
            watch.see(event)

        if workers:
            run_in_workers(jobs, store, options, tell, should_stop, workers)
        else:
            run_inline(jobs, store, options, tell, should_stop)
    log.write("ended", finished=watch.finished, failed=watch.failed)
    console.print(f"{about}: {counted(watch.finished, 'trial')} in {duration(time.monotonic() - start)}.")
    for note in dict.fromkeys(note for data in prepared for note in data.damage):
        console.print(f"{about}: {note}", soft_wrap=True, markup=False)
    if should_stop() and watch.finished < len(jobs):
        raise SuspendedError
    return watch.failed


def prepare_inputs(trials: Sequence[InputSpec], console: Console, workers: int, device: str) -> list[Data]:
    """Decodes raw inputs that are not in the cache yet, with progress, so that no trial has to.

    Returns the data of each distinct combination of dataset and encoders; nothing, quickly, where all are features.
    """
    trials = [trial for trial in trials if has_raw_inputs(trial.dataset)]
    if not trials:
        return []
    from mlabench.training import make_fabric, prepare

    with Bars(console) as bars, keeping_torch_settings():
        return prepare(trials, make_fabric(device, "32").device, max(workers, 1), bars.report)

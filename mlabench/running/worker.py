"""One job: take the trial's lease, run it, say what happened. And the life of a worker process, which does many."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from mlabench.errors import UserError, cannot_write
from mlabench.processes import KEEP_FREED_MEMORY, ONE_THREAD, give_back_memory
from mlabench.record import Failure, Record
from mlabench.registry import register
from mlabench.running.events import Event, Finished, Progressed, Started, Suspended, Tell, Waiting
from mlabench.store import Store, held, is_held
from mlabench.training import Job, RunOptions, StopRequest, SuspendedError

#: What must be set before torch starts: one thread, which a trial may raise, memory that is kept for the next step, and
#: matrix products on CUDA that repeat exactly.
ENVIRONMENT = {
    **ONE_THREAD,
    **KEEP_FREED_MEMORY,
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
#: How often to look whether it is time to stop, and whether the trials that other processes work on are done.
LOOK_SECONDS = 1.0
#: A worker whose memory has grown by so much since its first trial is replaced: something in it leaks.
LEAK_BYTES = 2**30


class JobQueue:
    """The jobs that are left, in order; those that other processes are on come last, in case these die."""

    def __init__(self, jobs: Iterable[Job], store: Store, *, wait_for_others: bool) -> None:
        self.ready, self._waiting = deque(jobs), deque[Job]()
        self._store, self._wait_for_others = store, wait_for_others

    def __bool__(self) -> bool:
        return bool(self.ready or self._waiting)

    def refill(self) -> None:
        """If nothing is ready, makes the jobs ready that no other process is on any more."""
        for _ in range(0 if self.ready else len(self._waiting)):
            job = self._waiting.popleft()
            (self._waiting if is_held(self._store.root, job.trial.id) else self.ready).append(job)

    def put_off(self, job: Job) -> None:
        """Another process is on this job."""
        if self._wait_for_others:
            self._waiting.append(job)

    def clear(self) -> None:
        """Drops all jobs."""
        self.ready.clear()
        self._waiting.clear()


def run_job(
    job: Job,
    store: Store,
    options: RunOptions,
    tell: Tell,
    should_stop: Callable[[], bool],
    output_to: Callable[[Path], AbstractContextManager[object]] = nullcontext,
) -> Event:
    """Runs one job, unless another process does, or has done so since the job was made. Returns what became of it.

    Within ``output_to``, given the path of the trial's log, what the trial prints goes there.
    """
    from mlabench.training import run_trial

    start, trial_id = time.monotonic(), job.trial.id
    if should_stop():
        return Suspended(trial_id)
    with held(store.root, trial_id) as lease:
        if lease is None:
            return Waiting(trial_id)
        store.recover(trial_id)
        record = done_by_another(job, store)
        if record is not None:
            return Finished(trial_id, _problem(record), time.monotonic() - start, by_another=True)

        def report(stage: str, done: int, total: int) -> None:
            lease.report(stage, done, total)
            tell(Progressed(trial_id, stage, done, total))

        tell(Started(trial_id))
        with output_to(store.root / "logs" / f"{trial_id}.log"):
            try:
                record = run_trial(job, store, options, report, should_stop)
            except SuspendedError:
                return Suspended(trial_id)
    return Finished(trial_id, _problem(record), time.monotonic() - start)


def done_by_another(job: Job, store: Store) -> Record | None:
    """The record that answers the job, if another process has written one since the job was made."""
    seal = store.seal(job.trial.id)
    record = store.read(job.trial.id) if seal else None
    if record is None:
        return None
    is_new = seal != job.known
    if record.status == "failed":
        return record if is_new else None
    complete = all(test.key in record.evaluations for test in job.tests)
    return record if complete and (is_new or not job.retrain) else None


def record_death(job: Job, store: Store, failure: Failure, seconds: float) -> Event:
    """Records a trial that took its process with it."""
    store.write_failure(Record(trial=job.trial, status="failed", failure=failure))
    return Finished(job.trial.id, failure.message, seconds)


def _problem(record: Record) -> str:
    return record.failure.summary if record.failure else ""


# -- a worker process ----------------------------------------------------------------------------


def work(connection: Connection, root: Path, options: RunOptions) -> None:
    """The life of a worker: takes jobs from ``connection`` and answers with events, until the other end closes.

    A UserError as the answer says that the results folder takes nothing any more, not even the record of a failure.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends its workers
    tell = partial(_send, connection)
    with StopRequest() as should_stop:
        from mlabench.training import run_trial  # noqa: F401  (slow, with torch; a worker is spawned to be warm)

        register(options.plugins)
        gc.collect()
        gc.freeze()  # trials collect garbage, to measure memory; what was imported need not be searched each time
        store = Store(root)
        memory: list[int] = []
        while not memory or memory[-1] - memory[0] <= LEAK_BYTES:
            try:
                job: Job = connection.recv()
            except EOFError:
                return
            answer: Event | UserError
            try:
                answer = run_job(job, store, options, tell, should_stop, _output_to)
            except UserError as error:
                answer = error
            tell(answer)
            if isinstance(answer, UserError | Suspended):
                return
            give_back_memory()
            memory.append(psutil.Process().memory_info().rss)


def _send(connection: Connection, what: Event | UserError) -> None:
    """Tells the parent. If it was killed, so ends this process: the trial has not failed, it will run again."""
    try:
        connection.send(what)
    except OSError:
        raise SystemExit(1) from None


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Sends what the trial prints to a file, so that it cannot garble the progress display."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise cannot_write("a log", path, error) from error
    with file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        yield
        with suppress(OSError):  # what a full disk does not take is lost
            sys.stdout.flush()
            sys.stderr.flush()
    with suppress(OSError):
        if path.stat().st_size == 0:
            path.unlink()

"""The life of a worker process: take a job, take the trial's lease, run it, say so, until the other end hangs up."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from mlabench.errors import UserError, cannot_write
from mlabench.record import Record
from mlabench.registry import register
from mlabench.running.events import Event, Finished, Left, Progressed, Started, Waiting
from mlabench.store import Store, held
from mlabench.training import Job, RunOptions, StopRequest, SuspendedError

#: A worker whose memory has grown by so much since its first trial is replaced: something in it leaks.
LEAK_BYTES = 2**30


@dataclass(frozen=True)
class Unwritable:
    """The results folder takes nothing any more, not even the record of a failure."""

    problem: str


def work(connection: Connection, root: Path, options: RunOptions) -> None:
    """Runs jobs that come through ``connection`` and answers with events."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends its workers
    with StopRequest() as stop:
        _work(connection, root, options, stop)


def _work(connection: Connection, root: Path, options: RunOptions, stop: StopRequest) -> None:
    import torch  # noqa: F401  (slow; a worker is spawned to be warm)

    register(options.plugins)
    store = Store(root)
    memory: list[int] = []
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        try:
            answer = _run(job, store, options, connection, stop)
        except UserError as error:
            _tell(connection, Unwritable(str(error)))
            return
        _tell(connection, answer)
        if isinstance(answer, Left):
            return
        memory.append(psutil.Process().memory_info().rss)
        if memory[-1] - memory[0] > LEAK_BYTES:
            return


def _run(
    job: Job, store: Store, options: RunOptions, connection: Connection, stop: StopRequest
) -> Finished | Waiting | Left:
    """Runs one job, unless somebody else does, or has done so since the job was made."""
    from mlabench.training import run_trial

    start = time.monotonic()
    trial_id = job.trial.id
    if stop():
        return Left(trial_id)
    with held(store.root, trial_id) as lease:
        if lease is None:
            return Waiting(trial_id)
        store.recover(trial_id)
        record = done_by_others(job, store)
        if record is not None:
            return Finished(trial_id, _problem(record), time.monotonic() - start, elsewhere=True)

        def report(stage: str, done: int, total: int) -> None:
            lease.report(stage, done, total)
            _tell(connection, Progressed(trial_id, stage, done, total))

        _tell(connection, Started(trial_id))
        with _log_to(store.root / "logs" / f"{trial_id}.log"):
            try:
                record = run_trial(job, store, options, report, stop)
            except SuspendedError:
                return Left(trial_id)
    return Finished(trial_id, _problem(record), time.monotonic() - start)


def _tell(connection: Connection, what: Event | Unwritable) -> None:
    """Says something to the parent. If nobody listens, it was killed: the trial has not failed, it will run again."""
    try:
        connection.send(what)
    except OSError:
        raise SystemExit(1) from None


def done_by_others(job: Job, store: Store) -> Record | None:
    """The record that answers the job, if somebody else has written one since the job was made."""
    seal = store.seal(job.trial.id)
    record = store.read(job.trial.id) if seal else None
    if record is None:
        return None
    is_new = seal != job.known
    if record.status == "failed":
        return record if is_new else None
    complete = all(test.key in record.evaluations for test in job.tests)
    return record if complete and (is_new or not job.retrain) else None


def _problem(record: Record) -> str:
    return record.failure.summary if record.failure else ""


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
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

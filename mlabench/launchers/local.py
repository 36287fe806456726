"""Runs jobs in worker processes on this machine.

Workers are spawned once and kept over trials: importing torch takes longer than some trials. Each
has one thread, set in its environment before torch starts; two threads each would be slower by an
order of magnitude when several workers share the cores.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

from mlabench.launchers import Event, Finished, Job, Progressed, RunOptions
from mlabench.store import Store
from mlabench.trial import Failure, Record

#: What must be set before torch starts: one thread, and matrix products on CUDA that repeat exactly.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    job: Job | None = None
    started: float = 0.0


def launch(jobs: Sequence[Job], store: Store, options: RunOptions, workers: int) -> Generator[Event]:
    """Runs ``jobs`` in order on ``workers`` processes; yields what happens as it happens.

    A worker that dies (killed, out of memory) costs the trial it was running, which gets a record
    of status ``failed``; another worker takes over.
    """
    queue = deque(jobs)
    pool: list[_Worker] = []
    try:
        while queue or any(worker.job for worker in pool):
            while len(pool) < min(workers, len(queue) + sum(1 for worker in pool if worker.job)):
                pool.append(_spawn(store.root, options))
            for worker in pool:
                if worker.job is None and queue:
                    worker.job, worker.started = queue.popleft(), time.monotonic()
                    with suppress(OSError):  # it has just died, as the next reading of its connection will tell
                        worker.connection.send(worker.job)
            for ready in wait([worker.connection for worker in pool]):
                worker = next(worker for worker in pool if worker.connection is ready)
                event = _receive(worker, pool, store)
                if isinstance(event, Finished):
                    worker.job = None
                if event is not None:
                    yield event
    finally:
        for worker in pool:
            if worker.job is None:
                worker.connection.close()  # an idle worker leaves by itself
            else:
                worker.process.terminate()
        for worker in pool:
            _join(worker, store)


def _receive(worker: _Worker, pool: list[_Worker], store: Store) -> Event | None:
    """What a worker has to say. One that has died leaves the pool; None if that was between two jobs."""
    try:
        event: Event = worker.connection.recv()
    except (EOFError, OSError):
        pool.remove(worker)
        _join(worker, store)
        return _bury(worker, worker.job, store) if worker.job else None
    return event


def _join(worker: _Worker, store: Store) -> None:
    """Waits for a worker's end and takes away the marker that a killed one leaves behind."""
    worker.process.join()
    if worker.job is not None:
        _marker(store.root, worker.job.trial.id).unlink(missing_ok=True)


def _spawn(root: Path, options: RunOptions) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    with _worker_environment():
        process = context.Process(target=_work, args=(theirs, root, options), daemon=True)
        process.start()
    theirs.close()
    return _Worker(process, ours)


@contextmanager
def _worker_environment() -> Iterator[None]:
    """Children inherit the environment at the moment they are spawned."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _bury(worker: _Worker, job: Job, store: Store) -> Finished:
    """Records the trial whose worker died."""
    code = worker.process.exitcode or 0
    how = f"was killed by signal {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
    hint = "; the machine may have run out of memory" if code == -signal.SIGKILL else ""
    failure = Failure(kind="WorkerDied", message=f"the worker process {how}{hint}")
    store.write_failure(Record(trial=job.trial, status="failed", failure=failure))
    return Finished(job.trial.id, failure.message, time.monotonic() - worker.started)


def _work(connection: Connection, root: Path, options: RunOptions) -> None:
    """The life of a worker: take a job, run it, say so, until the other end hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends its workers
    from mlabench.runner import run_trial

    store = Store(root)
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        start = time.monotonic()
        trial_id = job.trial.id

        def report(stage: str, done: int, total: int, trial_id: str = trial_id) -> None:
            try:
                connection.send(Progressed(trial_id, stage, done, total))
            except OSError:
                # Nobody listens: the parent was killed. The trial has not failed, it will run again.
                raise SystemExit(1) from None

        with _log_to(root / "logs" / f"{trial_id}.log"), running_marker(root, trial_id):
            record = run_trial(job, store, options, report)
        problem = " ".join(f"{record.failure.kind}: {record.failure.message}".split()) if record.failure else ""
        connection.send(Finished(trial_id, problem, time.monotonic() - start))


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Sends what the trial prints to a file, so that it cannot garble the progress display."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        yield
        sys.stdout.flush()
        sys.stderr.flush()
    if path.stat().st_size == 0:
        path.unlink()


def _marker(root: Path, trial_id: str) -> Path:
    return root / "running" / f"{trial_id}.json"


@contextmanager
def running_marker(root: Path, trial_id: str) -> Iterator[None]:
    """Leaves a file that says who is running a trial, for ``mlabench status``."""
    path = _marker(root, trial_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}), encoding="utf-8")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running(root: Path) -> set[str]:
    """Ids of the trials that a live process on this machine is working on."""
    alive = set()
    for path in (root / "running").glob("*.json"):
        try:
            marker = json.loads(path.read_text(encoding="utf-8"))
            if marker["host"] == socket.gethostname() and psutil.pid_exists(marker["pid"]):
                alive.add(path.stem)
        except (OSError, ValueError, KeyError):
            continue  # finished meanwhile, or left behind by a process that was killed
    return alive

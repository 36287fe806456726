"""Runs jobs in worker processes on this machine.

Workers are spawned once and kept over trials: importing torch takes longer than some trials. Each
has one thread, set in its environment before torch starts; two threads each would be slower by an
order of magnitude when several workers share the cores. Where there are GPUs to share out, each worker
sees one of them.

Several launchers may work on one results folder at once, on one machine or on many: workers take a
trial's lease before they run it (:mod:`mlabench.store.leases`).

Told to leave, a launcher begins nothing more and tells its workers, which save their trials at the end of the epoch.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from mlabench.errors import UserError
from mlabench.record import Failure, Record
from mlabench.running.events import Event, Finished, Left, Started, Waiting
from mlabench.running.worker import Unwritable, work
from mlabench.store import Store, is_held, release_of
from mlabench.training import SIGNALS, Job, RunOptions
from mlabench.words import duration

#: What must be set before torch starts: one thread, and matrix products on CUDA that repeat exactly.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
#: How often to look whether it is time to leave, and whether the trials that other processes work on are done.
_LOOK_SECONDS = 1.0


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    gpu: str | None
    job: Job | None = None
    started: float | None = None
    timed_out: bool = False
    answers: int = 0

    @property
    def has_left(self) -> bool:
        """Whether a worker that is dead had not begun its job: it leaks, or was told to leave too early to listen."""
        told = self.process.exitcode in [-number for number in SIGNALS]
        return self.started is None and (self.answers > 0 or told)


def launch(
    jobs: Sequence[Job],
    store: Store,
    options: RunOptions,
    workers: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[Event]:
    """Runs ``jobs`` in order on ``workers`` processes; yields what happens as it happens.

    A worker that dies (killed, out of memory) or takes too long costs the trial it was running, which gets a record
    of status ``failed``; another worker takes over. A trial that another launcher's worker is on comes last.

    Args:
        jobs: What to run.
        store: Where records go.
        options: How it is run.
        workers: Processes at most.
        should_stop: Whether to begin nothing more, and to leave the trials under way at the end of their epochs.

    Raises:
        UserError: If nothing can be written to the results folder any more.
    """
    queue, elsewhere = deque(jobs), deque[Job]()
    pool: list[_Worker] = []
    try:
        while queue or elsewhere or any(worker.job for worker in pool):
            if should_stop():
                queue.clear()
                elsewhere.clear()
                _tell_to_leave(pool)
            if not queue:
                _take_back(elsewhere, queue, store, options)
            _hand_out(queue, pool, store, options, workers)
            for ready in wait([worker.connection for worker in pool], _patience(pool, options)):
                worker = next(worker for worker in pool if worker.connection is ready)
                job, event = worker.job, _receive(worker, pool, store, options, should_stop)
                if isinstance(event, Waiting) and job is not None:
                    elsewhere.append(job)
                if isinstance(event, Left | None) and job is not None:
                    queue.appendleft(job)
                if event is not None:
                    yield event
            _stop_hanging(pool, options)
    finally:
        for worker in pool:
            if worker.job is None:
                worker.connection.close()  # an idle worker leaves by itself
            else:
                worker.process.kill()
        for worker in pool:
            _join(worker, store)


def _hand_out(queue: deque[Job], pool: list[_Worker], store: Store, options: RunOptions, workers: int) -> None:
    """Gives every idle worker a job, and hires workers while there are jobs for them."""
    while len(pool) < min(workers, len(queue) + sum(1 for worker in pool if worker.job)):
        pool.append(_spawn(store, options, [worker.gpu for worker in pool]))
    for worker in pool:
        if worker.job is None and queue:
            worker.job, worker.started = queue.popleft(), None
            with suppress(OSError):  # it has just died, as the next reading of its connection will tell
                worker.connection.send(worker.job)


def _take_back(elsewhere: deque[Job], queue: deque[Job], store: Store, options: RunOptions) -> None:
    """Moves the jobs that nobody else works on any more back to the queue."""
    if not options.wait_for_others:
        elsewhere.clear()
    for _ in range(len(elsewhere)):
        job = elsewhere.popleft()
        (elsewhere if is_held(store.root, job.trial.id) else queue).append(job)


def _tell_to_leave(pool: Sequence[_Worker]) -> None:
    """Signals the workers that are on a trial; once more does no harm."""
    for worker in pool:
        if worker.job is not None:
            worker.process.terminate()


def _patience(pool: Sequence[_Worker], options: RunOptions) -> float:
    """Seconds to wait for the workers before something else has to be looked at."""
    waits = [_LOOK_SECONDS]
    if options.trial_timeout is not None:
        waits += [max(0.0, options.trial_timeout - _seconds(worker)) for worker in pool if not worker.timed_out]
    return min(waits)


def _stop_hanging(pool: Sequence[_Worker], options: RunOptions) -> None:
    """Kills the workers whose trial takes too long; their connections then say that they are dead."""
    if options.trial_timeout is None:
        return
    for worker in pool:
        if not worker.timed_out and _seconds(worker) >= options.trial_timeout:
            worker.timed_out = True
            worker.process.kill()


def _seconds(worker: _Worker) -> float:
    """How long a worker has been on its trial; starting the process does not count."""
    return 0.0 if worker.job is None or worker.started is None else time.monotonic() - worker.started


def _receive(
    worker: _Worker, pool: list[_Worker], store: Store, options: RunOptions, should_stop: Callable[[], bool]
) -> Event | None:
    """What a worker has to say, idle after its job. One that has died leaves the pool; None if that was in between.

    A job that it was given but had not begun is then as good as new.
    """
    try:
        answer: Event | Unwritable = worker.connection.recv()
    except (EOFError, OSError):
        pool.remove(worker)
        _join(worker, store)
        if worker.job is None or worker.has_left or should_stop():
            return None
        return _bury(worker, worker.job, store, options)
    if isinstance(answer, Unwritable):
        raise UserError(answer.problem)
    if isinstance(answer, Started):
        worker.started = time.monotonic()
    if isinstance(answer, Waiting | Left | Finished):
        worker.job, worker.started = None, None
        worker.answers += 1
    return answer


def _join(worker: _Worker, store: Store) -> None:
    """Waits for a worker's end and takes away the lease that a killed one leaves behind."""
    worker.process.join()
    if worker.job is not None and worker.process.pid is not None:
        release_of(store.root, worker.job.trial.id, worker.process.pid)


def _spawn(store: Store, options: RunOptions, taken: Sequence[str | None]) -> _Worker:
    """A new worker, on the GPU that the fewest others are on."""
    gpu = min(options.gpus, key=taken.count, default=None)
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    with _environment({**_ENVIRONMENT, **({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})}):
        # A daemon may not have the further processes that a trial on several devices needs.
        daemon = options.devices_per_trial == 1
        process = context.Process(target=work, args=(theirs, store.root, options), daemon=daemon)
        process.start()
    theirs.close()
    return _Worker(process, ours, gpu)


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Children inherit the environment at the moment they are spawned."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _bury(worker: _Worker, job: Job, store: Store, options: RunOptions) -> Finished:
    """Records the trial whose worker died."""
    code = worker.process.exitcode or 0
    if worker.timed_out and options.trial_timeout is not None:
        failure = Failure(kind="TimedOut", message=f"it took longer than {duration(options.trial_timeout)}")
    else:
        how = f"was killed by signal {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        hint = "; the machine may have run out of memory" if code == -signal.SIGKILL else ""
        failure = Failure(kind="WorkerDied", message=f"the worker process {how}{hint}")
    store.write_failure(Record(trial=job.trial, status="failed", failure=failure))
    return Finished(job.trial.id, failure.message, _seconds(worker))

"""Runs jobs in worker processes on this machine.

Workers are spawned once and kept over trials: importing torch takes longer than some trials. Each starts with one
thread, set in its environment before torch starts; two threads each would be slower by an order of magnitude when
several workers share the cores. A trial that trains networks takes more if there are cores to spare. Where there are
GPUs to share out, each worker sees one of them.

Several runs may work on one results folder at once, on one machine or on many: workers take a trial's lease before
they run it (:mod:`mlabench.store.leases`).
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from mlabench.errors import UserError
from mlabench.processes import environment
from mlabench.record import Failure
from mlabench.running.events import Event, Finished, Started, Suspended, Tell, Waiting
from mlabench.running.worker import ENVIRONMENT, LOOK_SECONDS, JobQueue, record_death, work
from mlabench.store import Store, release_of
from mlabench.training import SIGNALS, Job, RunOptions
from mlabench.words import duration


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    gpu: str | None
    job: Job | None = None
    started: float | None = None
    deadline: float = math.inf
    timed_out: bool = False
    answers: int = 0

    @property
    def had_not_begun(self) -> bool:
        """Of a dead worker: whether it ended before its job, since it leaks, or was asked to stop while starting."""
        stopped = self.process.exitcode in [-number for number in SIGNALS]
        return self.started is None and (self.answers > 0 or stopped)

    @property
    def seconds(self) -> float:
        """How long it has been on its trial; starting the process does not count."""
        return 0.0 if self.started is None else time.monotonic() - self.started


def run_in_workers(
    jobs: Sequence[Job], store: Store, options: RunOptions, tell: Tell, should_stop: Callable[[], bool], workers: int
) -> None:
    """Runs ``jobs`` in order on ``workers`` processes; none of them is left when this ends, even by an exception.

    A worker that dies (killed, out of memory) or takes too long costs the trial it was running, which gets a record
    of status ``failed``; another worker takes over. A trial that another process is on comes last.

    ``tell`` is called with what happens, as it happens. Once ``should_stop`` says so, the trials under way are saved at
    the end of their epochs and no other begins.
    """
    pool = _Pool(JobQueue(jobs, store, wait_for_others=options.wait_for_others), store, options, should_stop)
    try:
        while pool.queue or pool.busy:
            if should_stop():
                pool.ask_to_stop()
            pool.assign_jobs(workers)
            for event in pool.receive():
                tell(event)
                if options.fail_fast and isinstance(event, Finished) and event.problem:
                    return
            pool.kill_timed_out()
    finally:
        pool.end()


@dataclass
class _Pool:
    queue: JobQueue
    store: Store
    options: RunOptions
    should_stop: Callable[[], bool]
    workers: list[_Worker] = field(default_factory=list)

    @property
    def busy(self) -> list[_Worker]:
        return [worker for worker in self.workers if worker.job]

    def ask_to_stop(self) -> None:
        """Has the trials under way saved; a second signal to a worker does no harm."""
        self.queue.clear()
        for worker in self.busy:
            worker.process.terminate()

    def assign_jobs(self, most: int) -> None:
        """Gives every free worker a job, and spawns workers while there are jobs for them."""
        self.queue.refill()
        while len(self.workers) < min(most, len(self.queue.ready) + len(self.busy)):
            self.workers.append(self._spawn())
        for worker in self.workers:
            if worker.job is None and self.queue.ready:
                worker.job = self.queue.ready.popleft()
                with suppress(OSError):  # it has just died, as the next reading of its connection will tell
                    worker.connection.send(worker.job)

    def _spawn(self) -> _Worker:
        """A new worker, on the GPU that the fewest others are on."""
        gpu = min(self.options.gpus, key=[worker.gpu for worker in self.workers].count, default=None)
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        with environment({**ENVIRONMENT, **({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})}):
            # A daemon may not have the further processes that a trial on several devices needs.
            daemon = self.options.devices_per_trial == 1
            process = context.Process(target=work, args=(theirs, self.store.root, self.options), daemon=daemon)
            process.start()
        theirs.close()
        return _Worker(process, ours, gpu)

    def receive(self) -> Iterator[Event]:
        """What workers say, within a time after which something else has to be looked at."""
        first = min((worker.deadline for worker in self.workers), default=math.inf)
        seconds = min(LOOK_SECONDS, max(0.0, first - time.monotonic()))
        talking = wait([worker.connection for worker in self.workers], seconds)
        for worker in [worker for worker in self.workers if worker.connection in talking]:
            job, event = worker.job, self._receive(worker)
            if isinstance(event, Waiting) and job is not None:
                self.queue.put_off(job)
            if isinstance(event, Suspended | None) and job is not None:
                self.queue.ready.appendleft(job)
            if event is not None:
                yield event

    def _receive(self, worker: _Worker) -> Event | None:
        """What a worker says. One that has died leaves the pool: None if it had not begun its job."""
        try:
            answer: Event | UserError = worker.connection.recv()
        except (EOFError, OSError):
            self.workers.remove(worker)
            self._join(worker)
            if worker.job is None or worker.had_not_begun or self.should_stop():
                return None
            return record_death(worker.job, self.store, self._why_dead(worker), worker.seconds)
        if isinstance(answer, UserError):
            raise answer
        if isinstance(answer, Started):
            worker.started = time.monotonic()
            worker.deadline = worker.started + (self.options.trial_timeout or math.inf)
        if isinstance(answer, Waiting | Suspended | Finished):
            worker.job, worker.started, worker.deadline = None, None, math.inf
            worker.answers += 1
        return answer

    def _why_dead(self, worker: _Worker) -> Failure:
        if worker.timed_out:
            return Failure(kind="TimedOut", message=f"it took longer than {duration(self.options.trial_timeout or 0)}")
        code = worker.process.exitcode or 0
        how = f"was killed by signal {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        hint = "; the machine may have run out of memory" if code == -signal.SIGKILL else ""
        return Failure(kind="WorkerDied", message=f"the worker process {how}{hint}")

    def kill_timed_out(self) -> None:
        """Kills the workers whose trial takes too long; their connections then say that they are dead."""
        for worker in self.workers:
            if time.monotonic() >= worker.deadline:
                worker.timed_out, worker.deadline = True, math.inf
                worker.process.kill()

    def end(self) -> None:
        """Ends all workers."""
        for worker in self.workers:
            if worker.job is None:
                worker.connection.close()  # which tells it to end
            else:
                worker.process.kill()
        for worker in self.workers:
            self._join(worker)

    def _join(self, worker: _Worker) -> None:
        """Waits for a worker's end and removes the lease that a killed one leaves behind."""
        worker.process.join()
        if worker.job is not None and worker.process.pid is not None:
            release_of(self.store.root, worker.job.trial.id, worker.process.pid)

"""Runs jobs in this process, one after the other: for a debugger, for tests, where workers take longer to start."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from mlabench.processes import environment
from mlabench.record import Failure
from mlabench.running.events import Finished, Suspended, Tell, Waiting
from mlabench.running.worker import ENVIRONMENT, LOOK_SECONDS, JobQueue, record_death, run_job
from mlabench.store import Store
from mlabench.training import Job, RunOptions


def run_inline(
    jobs: Sequence[Job], store: Store, options: RunOptions, tell: Tell, should_stop: Callable[[], bool]
) -> None:
    """Runs ``jobs`` in order, to the same results as :func:`mlabench.running.pool.run_in_workers`."""
    queue = JobQueue(jobs, store, wait_for_others=options.wait_for_others)
    with keeping_torch_settings(), environment(ENVIRONMENT):
        while queue and not should_stop():
            queue.refill()
            if not queue.ready:
                time.sleep(LOOK_SECONDS)
                continue
            job, start = queue.ready.popleft(), time.monotonic()
            try:
                event = run_job(job, store, options, tell, should_stop)
            except SystemExit as error:  # as when a worker dies, it costs the trial only
                failure = Failure(kind="WorkerDied", message=f"the trial exited with code {error.code}")
                event = record_death(job, store, failure, time.monotonic() - start)
            tell(event)
            if isinstance(event, Waiting):
                queue.put_off(job)
            if isinstance(event, Suspended) or (options.fail_fast and isinstance(event, Finished) and event.problem):
                return


@contextmanager
def keeping_torch_settings() -> Iterator[None]:
    """Sets back what trials and preparations set in torch: threads, arithmetic, random numbers. Starts with one thread.

    Entered before the environment of workers is set, so that torch has the caller's threads in the end.
    """
    import torch

    threads, flushes = torch.get_num_threads(), sys.float_info.min / 2 == 0
    deterministic = torch.are_deterministic_algorithms_enabled()
    warns_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushes)
        torch.use_deterministic_algorithms(deterministic, warn_only=warns_only)

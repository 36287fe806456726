"""The jobs that are left, in order; those that other processes are on come last. Free of torch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from mlabench.store import Store, is_held
from mlabench.training import Job


class JobQueue:
    """Jobs to hand out.

    Args:
        jobs: What is to be run, in order.
        store: Where one sees whether another process is on a trial.
        wait_for_others: Come back to such trials, in case that process dies; else drop them.
    """

    def __init__(self, jobs: Iterable[Job], store: Store, *, wait_for_others: bool) -> None:
        self.ready, self._waiting = deque(jobs), deque[Job]()
        self._store, self._wait_for_others = store, wait_for_others

    def __bool__(self) -> bool:
        return bool(self.ready or self._waiting)

    def put_off(self, job: Job) -> None:
        """Another process is on this job."""
        if self._wait_for_others:
            self._waiting.append(job)

    def refill(self) -> None:
        """If nothing is ready, makes the jobs ready that no other process is on any more."""
        for _ in range(0 if self.ready else len(self._waiting)):
            job = self._waiting.popleft()
            (self._waiting if is_held(self._store.root, job.trial.id) else self.ready).append(job)

    def clear(self) -> None:
        """Drops all jobs."""
        self.ready.clear()
        self._waiting.clear()

"""Stopping in good order: no new trial starts, and one that is running is saved at the end of its epoch.

Some time before a cluster ends a job, because its time is up or to make room for another, it sends a signal: SIGTERM,
or the one that was asked for, here SIGUSR2 (submitit's choice).
"""

from __future__ import annotations

import signal
import time
from types import FrameType

#: Exit code of a process that stopped because its time was up; the job is to be started again (EX_TEMPFAIL).
TIME_IS_UP = 75
#: Exit code of one that SIGTERM asked to stop; the sender knows whether to start it again.
TERMINATED = 128 + signal.SIGTERM
#: What asks a process to stop. Windows has no SIGUSR2.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR2") if hasattr(signal, name))


class SuspendedError(Exception):
    """Work was stopped and saved, to be resumed later; nothing has failed."""


class StopRequest:
    """Whether to stop: calling it gives True after a signal or so many seconds. Listens inside a ``with`` block."""

    def __init__(self, seconds: float | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self._signals: set[int] = set()

    def __call__(self) -> bool:
        """Whether to stop."""
        return bool(self._signals) or (self._end is not None and time.monotonic() >= self._end)

    @property
    def exit_code(self) -> int:
        """What to exit with after stopping."""
        return TERMINATED if signal.SIGTERM in self._signals else TIME_IS_UP

    def __enter__(self) -> StopRequest:
        self._before = [(number, signal.signal(number, self._note)) for number in SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self._signals.add(number)

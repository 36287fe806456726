"""Leaving in good order: nothing new is begun, and what is under way is saved at the end of its epoch.

A cluster ends a job whose time is up, or that has to make room for another, with a signal some time before: SIGTERM,
or the one that was asked for, here SIGUSR2 (submitit's choice).
"""

from __future__ import annotations

import signal
import time
from types import FrameType

#: Exit code of a process that has left because its time was up; the job is to be started again (EX_TEMPFAIL).
TIME_IS_UP = 75
#: Exit code of one that was told to leave by SIGTERM; whoever did so knows whether to start it again.
TERMINATED = 128 + signal.SIGTERM
#: What tells a process to leave. Windows has no SIGUSR2.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR2") if hasattr(signal, name))


class SuspendedError(Exception):
    """Work was left to be gone on with later; nothing has failed."""


class StopRequest:
    """Whether to leave; True when called, once a signal came or the time is over. Listens inside a ``with`` block.

    Args:
        seconds: How long to stay; None for as long as there is work.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self._signals: set[int] = set()

    def __call__(self) -> bool:
        """Whether to leave."""
        return bool(self._signals) or (self._end is not None and time.monotonic() >= self._end)

    @property
    def exit_code(self) -> int:
        """What to exit with after leaving."""
        return TERMINATED if signal.SIGTERM in self._signals else TIME_IS_UP

    def __enter__(self) -> StopRequest:
        self._before = [(number, signal.signal(number, self._note)) for number in SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self._signals.add(number)

"""What happens while jobs run, as the pool reports it. Free of torch.

The pool is a generator of events; closing it stops its workers. Results go to the store, not through the events, so
losing contact loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Started:
    """A worker has begun with a trial."""

    trial_id: str


@dataclass(frozen=True)
class Progressed:
    """A trial has finished ``done`` of ``total`` epochs."""

    trial_id: str
    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Waiting:
    """Another process is working on a trial; the launcher comes back to it."""

    trial_id: str


@dataclass(frozen=True)
class Left:
    """A trial was left in good order; whoever takes it up next goes on from its last epoch."""

    trial_id: str


@dataclass(frozen=True)
class Finished:
    """A trial has a record now.

    Attributes:
        trial_id: The trial.
        problem: Why it failed, in one line; empty if it did not.
        seconds: Wall-clock seconds it took.
        elsewhere: Another process has done it.
    """

    trial_id: str
    problem: str
    seconds: float
    elsewhere: bool = False


Event = Started | Progressed | Waiting | Left | Finished

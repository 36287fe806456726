"""Launchers run jobs somewhere and tell what happens. Free of torch.

A launcher is a generator of events; closing it stops its workers. Results go to the store, not
through the events, so a launcher that loses contact loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlabench.missing import Missing
from mlabench.trial import Trial


@dataclass(frozen=True)
class Job:
    """A trial to run.

    Attributes:
        trial: The trial.
        tests: The test patterns under which to evaluate it.
        afresh: Train again even if a record exists.
    """

    trial: Trial
    tests: tuple[Missing, ...]
    afresh: bool = False


@dataclass(frozen=True)
class RunOptions:
    """How trials are run; none of it changes a result on the CPU.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        keep_models: Keep the selected weights whatever their size.
    """

    device: str = "auto"
    keep_models: bool = False


@dataclass(frozen=True)
class Progressed:
    """A trial has finished ``done`` of ``total`` epochs."""

    trial_id: str
    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Finished:
    """A trial has a record now.

    Attributes:
        trial_id: The trial.
        problem: Why it failed, in one line; empty if it did not.
        seconds: Wall-clock seconds it took.
    """

    trial_id: str
    problem: str
    seconds: float


Event = Progressed | Finished

"""Launchers run jobs somewhere and tell what happens. Free of torch.

A launcher is a generator of events; closing it stops its workers. Results go to the store, not
through the events, so a launcher that loses contact loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlabench.missing import Missing
from mlabench.trial import Trial


@dataclass(frozen=True)
class Job:
    """A trial to run.

    Attributes:
        trial: The trial.
        tests: The test patterns under which to evaluate it. If there are none, as in tuning, the trial never sees
            the test split: no test curve, no predictions, no kept weights.
        afresh: Train again even if a record exists.
        known: Seal of the record that the trial had when the job was made (:meth:`mlabench.store.Store.seal`). One
            that has come since is somebody else's work on the same job.
    """

    trial: Trial
    tests: tuple[Missing, ...]
    afresh: bool = False
    known: str = ""


@dataclass(frozen=True)
class RunOptions:
    """How trials are run; none of it changes a result on the CPU.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        keep_models: Keep the selected weights whatever their size.
        trial_timeout: Seconds after which a trial counts as hanging and fails; None for never.
        checkpoint_every: Epochs after which a training's state is saved, again and again; None: about every minute.
        gpus: Ids of the GPUs that workers are spread over, as in ``CUDA_VISIBLE_DEVICES``; empty for no choice.
        plugins: Files whose classes workers register before they start, as :func:`mlabench.plugins.register`.
    """

    device: str = "auto"
    keep_models: bool = False
    trial_timeout: float | None = None
    checkpoint_every: int | None = None
    gpus: tuple[str, ...] = ()
    plugins: tuple[Path, ...] = ()


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


Event = Started | Progressed | Waiting | Finished

"""A job: one trial to run, the patterns to evaluate it under, and how. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from mlabench.errors import UserError
from mlabench.missing import Missing
from mlabench.trial import Trial


@dataclass(frozen=True)
class Job:
    """A trial to run.

    Attributes:
        trial: The trial.
        tests: The test patterns under which to evaluate it. If there are none, as in tuning, the trial never sees
            the test split: no test curve, no predictions, no kept weights.
        retrain: Train again even if a record exists.
        known: Seal of the record that the trial had when the job was made (:meth:`mlabench.store.Store.seal`). A
            record with another seal was written since, by another process that ran the same job.
    """

    trial: Trial
    tests: tuple[Missing, ...]
    retrain: bool = False
    known: str = ""


#: What is kept of a trial beside its record and its outcomes: nothing (``outcomes``), its ``predictions``, these and
#: the weights whatever their size (``models``), or these and the weights if they are small (``auto``).
Keep = Literal["auto", "outcomes", "predictions", "models"]


@dataclass(frozen=True)
class RunOptions:
    """How trials are run; on the CPU none of it changes a result by more than rounding, and little does that.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        keep: What is kept of a trial beside its record, a :data:`Keep`.
        fail_fast: Stop at the first trial that fails.
        wait_for_others: Come back to trials that other processes are on, in case these die; else skip them.
        trial_timeout: Seconds after which a trial counts as hanging and fails; None for never.
        checkpoint_every: Epochs between two checkpoints of a training; None: about one every minute.
        loggers: Where learning curves are sent as well; some of :data:`mlabench.training.LOGGERS`.
        devices_per_trial: Devices that share the encoders' work of one trial (``training/devices/data_parallel.py``).
            Changes results by rounding and, in encoders with batch statistics or dropout, by more.
        compile: Compile the encoders. Changes results by rounding, and encoders with dropout draw other random
            numbers; the record says so.
        threads: Threads of a trial that trains networks on pictures, sounds or texts on the CPU; None: the cores that
            workers leave over. Changes results by rounding; the record says how many there were. All other trials
            have one, with which small networks are fastest.
        gpus: Ids of the GPUs that workers are spread over, as in ``CUDA_VISIBLE_DEVICES``; empty for no choice.
        plugins: Files whose classes workers register before they start, as :func:`mlabench.registry.register`.
    """

    device: str = "auto"
    keep: Keep = "auto"
    fail_fast: bool = False
    wait_for_others: bool = True
    trial_timeout: float | None = None
    checkpoint_every: int | None = None
    loggers: tuple[str, ...] = ()
    devices_per_trial: int = 1
    compile: bool = False
    threads: int | None = None
    gpus: tuple[str, ...] = ()
    plugins: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.keep not in get_args(Keep):
            problem = f"{self.keep!r} is not one of {', '.join(get_args(Keep))}."
            raise UserError(problem, field="--keep")

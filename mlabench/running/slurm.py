"""Runs jobs on a cluster with Slurm, as an array of jobs that work off one order together. Free of torch.

    RESULTS/slurm/<time of submission>/order.json    what is to be run (:mod:`mlabench.running.job_file`)
                                       job           the array's id
                                       *_log.out     what each job printed; all else is submitit's

Each job takes trials from the order until none is left or its time is up; leases share them out. Some time before a
job's end, Slurm signals: it then saves its trials at the end of their epoch, leaves with the exit code
:data:`~mlabench.training.stopping.TIME_IS_UP`, and is requeued. Jobs that Slurm itself preempts or requeues save and
leave as well, if Slurm gives them the time.

submitit writes the batch script and submits it. What it pickles, the call that becomes ``mlabench worker``, the job
alone unpickles, from its own folder. mlabench unpickles nothing, and reads no result that submitit would pickle.
"""

from __future__ import annotations

import functools
import math
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlabench.errors import UserError, missing_extra
from mlabench.running.job_file import Order, read_order
from mlabench.training import TIME_IS_UP

ORDER = "order.json"
JOB = "job"
#: Jobs of an array at most, unless asked for more.
MAX_WORKERS = 8

#: After the worker. Its exit code is kept, so that Slurm shows which jobs had trials that failed.
_REQUEUE = f"""status=$?
if [ $status -eq {TIME_IS_UP} ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit $status"""


class Wishes(BaseModel):
    """What is asked of Slurm; the keys of ``--slurm``.

    Attributes:
        time: Minutes that a job may take; also as Slurm writes it, as in ``4:00:00`` or ``1-12``.
        partition: Where it runs; None for the cluster's default.
        workers: Jobs in the array; None for one per group of trials that run at once, but not many.
        gpus: GPUs per job.
        cpus: Cores per job; None for one per trial that runs at once.
        mem: Memory per job in GB; None for the cluster's default.
        account: Who pays.
        qos: Quality of service.
        constraint: Features that a node must have.
        notice: Seconds before a job's end at which it is told to save and leave; epochs should be shorter.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    time: int = Field(ge=1)
    partition: str | None = None
    workers: int | None = Field(default=None, ge=1)
    gpus: int = Field(default=0, ge=0)
    cpus: int | None = Field(default=None, ge=1)
    mem: int | None = Field(default=None, ge=1)
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    notice: int = Field(default=120, ge=1)

    def processes(self, per_device: int, per_trial: int) -> int:
        """Trials that a job runs at once: ``per_device`` on each ``per_trial`` GPUs, or one on so many cores."""
        if self.gpus:
            return max(1, self.gpus // per_trial * per_device)
        return max(1, (self.cpus or 1) // per_trial)


@dataclass(frozen=True)
class Submission:
    """An array of jobs that was submitted for a results folder.

    Attributes:
        job: The array's id.
        suites: Names of the suites that it is for.
        states: How many of its jobs are in which state, as ``running``; empty once all have ended.
    """

    job: str
    suites: tuple[str, ...]
    states: Mapping[str, int]


def read_wishes(text: str) -> Wishes:
    """What ``--slurm`` says, as in ``partition=long,gpus=1,time=4:00:00``.

    Raises:
        UserError: If a key is unknown or repeated, a value is not what it should be, or there is no time.
    """
    from mlabench.registry import suggest

    known, given = list(Wishes.model_fields), dict[str, Any]()
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (side.strip() for side in part.partition("="))
        if not (equals and value):
            raise UserError(f"{part!r} is not of the form KEY=VALUE.", field="--slurm")
        if key not in known:
            raise UserError(f"{key!r} is unknown.", remedy=suggest(key, known), field="--slurm")
        if key in given:
            raise UserError(f"{key!r} is there twice.", field="--slurm")
        given[key] = _minutes(value) if key == "time" else value
    if "time" not in given:
        raise UserError("there is no time.", remedy="Say how long a job may take, as in time=4:00:00.", field="--slurm")
    try:
        wishes = Wishes.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{first['input']!r}: {first['msg']}.", field=f"--slurm {first['loc'][0]}") from error
    if 60 * wishes.time <= wishes.notice + 60:  # Slurm may signal a minute early
        raise UserError(
            f"a job of {wishes.time} min that is told to leave {wishes.notice} s before its end has no time to work.",
            remedy="Ask for more time, or for less notice.",
            field="--slurm time",
        )
    return wishes


def _minutes(text: str) -> int:
    """Slurm's ways to write a time, in minutes, rounded up.

    Raises:
        UserError: If it is none.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        raise UserError(f"{text!r} is no time.", remedy="Write 90 (minutes), 4:00:00 or 1-12.", field="--slurm time")
    days, *rest = match.groups()
    first, second, third = (int(part or 0) for part in rest)
    if days is not None:
        return 24 * 60 * int(days) + 60 * first + second + math.ceil(third / 60)
    if rest[2] is not None:
        return 60 * first + second + math.ceil(third / 60)
    return first + math.ceil(second / 60)


def require_slurm() -> None:
    """Sees to it that jobs can be submitted from here.

    Raises:
        UserError: If submitit or Slurm is not installed.
    """
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise missing_extra("submitit", "slurm") from error
    for program in ("sbatch", "srun"):
        if shutil.which(program) is None:
            raise UserError(
                f"the program {program!r} of Slurm is not there.",
                remedy="Run on a machine from which jobs can be submitted; without --launcher, trials run here.",
                field="--launcher slurm",
            )


def submit(order: Order, wishes: Wishes, results: Path) -> Submission:
    """Submits an array of jobs that work off an order; returns at once.

    Args:
        order: What is to be run.
        wishes: What is asked of Slurm.
        results: The results folder; all nodes must see it, and this installation, under the same path.

    Raises:
        UserError: If Slurm refuses, or the folder cannot be written.
    """
    import submitit

    results = results.resolve()
    workers = wishes.workers or min(MAX_WORKERS, math.ceil(len(order.jobs) / order.processes))
    folder = results / "slurm" / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    order.write(folder / ORDER)
    executor = submitit.SlurmExecutor(folder)
    asked = {"requeue": True, "mem": f"{wishes.mem}G" if wishes.mem else None}
    parameters = {
        "job_name": "mlabench",
        "time": wishes.time,
        "partition": wishes.partition,
        "cpus_per_task": wishes.cpus or order.processes * order.options.devices_per_trial,
        "gpus_per_node": wishes.gpus or None,
        "account": wishes.account,
        "qos": wishes.qos,
        "constraint": wishes.constraint,
        "signal_delay_s": wishes.notice,
        "stderr_to_stdout": True,
        "teardown": [_REQUEUE],
        "additional_parameters": {key: value for key, value in asked.items() if value is not None},
    }
    executor.update_parameters(**{key: value for key, value in parameters.items() if value is not None})
    worker = [sys.executable, "-m", "mlabench", "worker", str(folder / ORDER), "--results", str(results)]
    try:
        # The job's process becomes the worker: signals reach it, and its exit code is the job's.
        first, *_ = executor.submit_array([functools.partial(os.execv, sys.executable, worker)] * workers)
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        reason = " ".join(str(error).split())
        raise UserError(f"Slurm does not take the jobs: {reason}", field="--slurm") from error
    job = first.job_id.partition("_")[0]
    (folder / JOB).write_text(job, encoding="utf-8")
    return Submission(job, order.suites, {"submitted": workers})


def submissions(results: Path) -> list[Submission]:
    """What was submitted for a results folder, the oldest first.

    Raises:
        UserError: If Slurm does not answer.
    """
    found = {}
    for path in sorted((results / "slurm").glob(f"*/{JOB}")):
        found[path.read_text(encoding="utf-8")] = read_order(path.with_name(ORDER)).suites
    states = _states(list(found)) if found else {}
    return [Submission(job, suites, states.get(job, {})) for job, suites in found.items()]


def cancel(jobs: list[str]) -> None:
    """Cancels jobs.

    Raises:
        UserError: If Slurm refuses.
    """
    _ask("scancel", *jobs)


def _states(jobs: list[str]) -> dict[str, Counter[str]]:
    """How many jobs of each array are in which state."""
    states: dict[str, Counter[str]] = {}
    # By user, since Slurm takes it for a mistake to ask for jobs that have long ended.
    for line in _ask("squeue", "--me", "--noheader", "--array", "--format=%F %T").splitlines():
        job, state = line.split()
        if job in jobs:
            states.setdefault(job, Counter())[state.lower()] += 1
    return states


def _ask(*command: str) -> str:
    """What a program of Slurm answers.

    Raises:
        UserError: If it is not there, or has a complaint.
    """
    program = shutil.which(command[0])
    if program is None:
        raise UserError(f"the program {command[0]!r} of Slurm is not there.", remedy="Ask where jobs were submitted.")
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise UserError(f"{command[0]} says: {' '.join(done.stderr.split())}")
    return done.stdout

"""Runs jobs on a cluster with Slurm, as an array of Slurm jobs that share one job file. Free of torch.

    RESULTS/slurm/<time of submission>/jobs.json     what is to be run (:class:`JobFile`)
                                       array         the array's id
                                       *_log.out     what each job printed; all else is submitit's

Each Slurm job takes trials from the file until none is left or its time is up; leases share them out. Some time before
its end, Slurm signals: it then saves its trials at the end of their epoch, exits with
:data:`~mlabench.training.stopping.TIME_IS_UP`, and is requeued. Jobs that Slurm itself preempts or requeues save and
stop as well, if Slurm gives them the time.

submitit writes the batch script and submits it. What it pickles, the call that becomes ``mlabench worker``, is
unpickled by the job alone, from its own folder. mlabench unpickles nothing, and reads no result that submitit would
pickle.
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
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlabench.errors import UserError, cannot_write, missing_extra
from mlabench.registry import suggest
from mlabench.running.worker import done_by_another
from mlabench.store import Store, write_atomically
from mlabench.training import TIME_IS_UP, Job, RunOptions

JOBS, ARRAY = "jobs.json", "array"
#: Jobs of an array at most, unless asked for more.
MAX_WORKERS = 8
#: After the worker. Its exit code is kept, so that Slurm shows which jobs had trials that failed.
_REQUEUE = f"""status=$?
if [ $status -eq {TIME_IS_UP} ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit $status"""


class SlurmResources(BaseModel):
    """What is asked of Slurm; the keys of ``--slurm``, which README.md explains."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time: int = Field(ge=1)  # minutes
    partition: str | None = None
    workers: int | None = Field(default=None, ge=1)
    gpus: int = Field(default=0, ge=0)
    cpus: int | None = Field(default=None, ge=1)
    mem: int | None = Field(default=None, ge=1)  # GB
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    notice: int = Field(default=120, ge=1)  # seconds

    def processes(self, per_device: int, per_trial: int) -> int:
        """Trials that a job runs at once: ``per_device`` on each ``per_trial`` GPUs, or one on so many cores."""
        return max(1, self.gpus // per_trial * per_device if self.gpus else (self.cpus or 1) // per_trial)


@dataclass(frozen=True)
class Submission:
    """An array of Slurm jobs: its id, the suites that it is for, and how many of its jobs are in which state."""

    array: str
    suites: tuple[str, ...]
    states: Mapping[str, int]


class JobFile(BaseModel):
    """What Slurm jobs do: ``jobs`` of ``suites``, in order, ``processes`` at once in each Slurm job.

    It says all that they have to know, so that suites may be edited meanwhile. Leases share the jobs out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    suites: tuple[str, ...]
    jobs: tuple[Job, ...]
    options: RunOptions
    processes: int

    def write(self, path: Path) -> None:
        """Writes it as JSON; where data lie is made absolute, since jobs may start in other folders."""
        located = tuple(replace(job, trial=job.trial.with_absolute_locations()) for job in self.jobs)
        try:
            write_atomically(path, self.model_copy(update={"jobs": located}).model_dump_json().encode())
        except OSError as error:
            raise cannot_write("a job file", path, error) from error

    @classmethod
    def read(cls, path: Path) -> JobFile:
        """Reads one; a UserError if it is missing, damaged or of another version."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"this job file cannot be read ({error.strerror}).", file=str(path)) from error
        except (ValidationError, UnicodeDecodeError) as error:
            raise UserError(
                "this job file is damaged, or of another version of mlabench.", remedy="Submit again.", file=str(path)
            ) from error

    def remaining(self, store: Store) -> list[Job]:
        """The jobs that no process has done since the file was written."""
        return [job for job in self.jobs if done_by_another(job, store) is None]


def parse_resources(text: str) -> SlurmResources:
    """What ``--slurm`` says, as in ``partition=long,gpus=1,time=4:00:00``."""
    known, given = list(SlurmResources.model_fields), dict[str, Any]()
    for part in filter(None, map(str.strip, text.split(","))):
        key, _, value = map(str.strip, part.partition("="))
        if not value:
            raise UserError(f"{part!r} is not of the form KEY=VALUE.", field="--slurm")
        if key not in known:
            raise UserError(f"{key!r} is unknown.", remedy=suggest(key, known), field="--slurm")
        if key in given:
            raise UserError(f"{key!r} is given twice.", field="--slurm")
        given[key] = _minutes(value) if key == "time" else value
    if "time" not in given:
        remedy = "Say how long a job may take, as in time=4:00:00."
        raise UserError("`time` is missing.", remedy=remedy, field="--slurm")
    try:
        resources = SlurmResources.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{first['input']!r}: {first['msg']}.", field=f"--slurm {first['loc'][0]}") from error
    if 60 * resources.time <= resources.notice + 60:  # Slurm may signal a minute early
        raise UserError(
            f"a job of {resources.time} min that is asked to stop {resources.notice} s before its end "
            "has no time to work.",
            remedy="Ask for more time, or for less notice.",
            field="--slurm time",
        )
    return resources


def _minutes(text: str) -> int:
    """Slurm's ways to write a time, in minutes, rounded up."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        remedy = "Write 90 (minutes), 4:00:00 or 1-12."
        raise UserError(f"{text!r} is not a valid time.", remedy=remedy, field="--slurm time")
    days, *rest = match.groups()
    first, second, third = (int(part or 0) for part in rest)
    if days is None and rest[2] is None:
        return first + math.ceil(second / 60)  # minutes:seconds; else days-hours:minutes:seconds
    return 24 * 60 * int(days or 0) + 60 * first + second + math.ceil(third / 60)


def require_slurm() -> None:
    """Checks that submitit and Slurm are installed."""
    if find_spec("submitit") is None:
        raise missing_extra("submitit", "slurm")
    remedy = "Run on a machine from which jobs can be submitted; without --launcher, trials run here."
    for name in ("sbatch", "srun"):
        _program(name, remedy, field="--launcher slurm")


def _program(name: str, remedy: str, field: str | None = None) -> str:
    """The path of a program of Slurm."""
    path = shutil.which(name)
    if path is None:
        raise UserError(f"the program {name!r} of Slurm is not installed here.", remedy=remedy, field=field)
    return path


def submit(job_file: JobFile, resources: SlurmResources, results: Path) -> Submission:
    """Submits an array of Slurm jobs that share a job file; returns at once.

    All nodes must see the results folder, and this installation, under the same path.
    """
    import submitit

    results = results.resolve()
    workers = resources.workers or min(MAX_WORKERS, math.ceil(len(job_file.jobs) / job_file.processes))
    folder = results / "slurm" / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    job_file.write(folder / JOBS)
    parameters = {
        "job_name": "mlabench",
        **resources.model_dump(include={"time", "partition", "account", "qos", "constraint"}, exclude_none=True),
        "cpus_per_task": resources.cpus or job_file.processes * job_file.options.devices_per_trial,
        **({"gpus_per_node": resources.gpus} if resources.gpus else {}),
        "signal_delay_s": resources.notice,
        "stderr_to_stdout": True,
        "teardown": [_REQUEUE],
        "additional_parameters": {"requeue": True, **({"mem": f"{resources.mem}G"} if resources.mem else {})},
    }
    worker = [sys.executable, "-m", "mlabench", "worker", str(folder / JOBS), "--results", str(results)]
    executor = submitit.SlurmExecutor(folder)
    executor.update_parameters(**parameters)
    try:
        # The job's process becomes the worker: signals reach it, and its exit code is the job's.
        first, *_ = executor.submit_array([functools.partial(os.execv, sys.executable, worker)] * workers)
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UserError(f"Slurm refuses the jobs: {' '.join(str(error).split())}", field="--slurm") from error
    array = first.job_id.partition("_")[0]
    (folder / ARRAY).write_text(array, encoding="utf-8")
    return Submission(array, job_file.suites, {"submitted": workers})


def submissions(results: Path) -> list[Submission]:
    """The arrays that work for a results folder, or will, the oldest first."""
    paths = sorted((results / "slurm").glob(f"*/{ARRAY}"))
    suites = {path.read_text(encoding="utf-8"): JobFile.read(path.with_name(JOBS)).suites for path in paths}
    states: dict[str, Counter[str]] = {array: Counter() for array in suites}
    # By user, since Slurm takes it for a mistake to ask for jobs that have long ended.
    for line in _ask("squeue", "--me", "--noheader", "--array", "--format=%F %T").splitlines() if suites else ():
        array, state = line.split()
        if array in states:
            states[array][state.lower()] += 1
    return [Submission(array, names, states[array]) for array, names in suites.items() if states[array]]


def cancel(arrays: list[str]) -> None:
    """Cancels all jobs of arrays."""
    _ask("scancel", *arrays)


def _ask(name: str, *arguments: str) -> str:
    """What a program of Slurm answers."""
    program = _program(name, "Ask where jobs were submitted.")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise UserError(f"{name} says: {' '.join(done.stderr.split())}")
    return done.stdout

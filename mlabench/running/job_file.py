"""Job files: jobs for processes that start later, perhaps on other machines. Free of torch.

A job file says all that such a process has to know, so that suites may be edited meanwhile. Any number of processes may
take jobs from one file: leases share them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mlabench.errors import UserError, cannot_write
from mlabench.running.worker import done_by_another
from mlabench.store import Store, write_atomically
from mlabench.training import Job, RunOptions


class JobFile(BaseModel):
    """What is to be run, and how.

    Attributes:
        suites: Names of the suites that it is for.
        jobs: The trials, in order.
        options: How they are run.
        processes: Trials that each process which reads the file runs at once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    suites: tuple[str, ...]
    jobs: tuple[Job, ...]
    options: RunOptions
    processes: int

    @classmethod
    def of(cls, suites: Sequence[str], jobs: Sequence[Job], options: RunOptions, processes: int) -> JobFile:
        """A job file; where data lie is made absolute, since processes may start in other folders."""
        located = tuple(replace(job, trial=job.trial.with_absolute_locations()) for job in jobs)
        return cls(suites=tuple(suites), jobs=located, options=options, processes=processes)

    def write(self, path: Path) -> None:
        """Writes it as JSON."""
        try:
            write_atomically(path, self.model_dump_json().encode())
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

"""Orders: jobs for processes that start later, perhaps elsewhere, as a file. Free of torch.

An order says all that such a process has to know, so that suites may be edited meanwhile; also where data lie, which
plans do not. Any number of processes may work off one order: leases share out the trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mlabench.errors import UserError, cannot_write
from mlabench.running.worker import done_by_others
from mlabench.store import Store, write_atomically
from mlabench.training import Job, RunOptions


class Order(BaseModel):
    """What is to be run, and how.

    Attributes:
        suites: Names of the suites that it is for.
        jobs: The trials, in order.
        options: How they are run.
        processes: Trials that each process which works off the order runs at once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    suites: tuple[str, ...]
    jobs: tuple[Job, ...]
    options: RunOptions
    processes: int

    @classmethod
    def of(cls, suites: Sequence[str], jobs: Sequence[Job], options: RunOptions, processes: int) -> Order:
        """An order for these jobs."""
        return cls(
            suites=tuple(suites),
            jobs=tuple(replace(job, trial=job.trial.with_absolute_locations()) for job in jobs),
            options=options,
            processes=processes,
        )

    def write(self, path: Path) -> None:
        """Writes it as JSON.

        Raises:
            UserError: If that is not possible.
        """
        try:
            write_atomically(path, self.model_dump_json().encode())
        except OSError as error:
            raise cannot_write("an order", path, error) from error

    def left(self, store: Store) -> list[Job]:
        """The jobs that nobody has done since the order was made."""
        return [job for job in self.jobs if done_by_others(job, store) is None]


def read_order(path: Path) -> Order:
    """Reads an order.

    Raises:
        UserError: If there is none, or it is damaged or of another version.
    """
    try:
        return Order.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"this order cannot be read ({error.strerror}).", file=str(path)) from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise UserError(
            "this order is damaged, or of another version of mlabench.", remedy="Submit again.", file=str(path)
        ) from error

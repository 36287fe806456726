"""Orders: jobs for processes that start later, perhaps elsewhere, as a file. Free of torch.

An order says all that such a process has to know, so that suites may be edited meanwhile; also where data lie, which
plans do not. Any number of processes may work off one order: leases share out the trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mlabench.errors import UserError, cannot_write
from mlabench.running.worker import done_by_others
from mlabench.store import Store, write_atomically
from mlabench.training import Job, RunOptions
from mlabench.trial import Component, Trial

Locations = dict[str, dict[str, str]]


class Order(BaseModel):
    """What is to be run, and how.

    Attributes:
        suites: Names of the suites that it is for.
        jobs: The trials, in order.
        locations: Where the files lie that a trial's components read, by trial and component.
        options: How they are run.
        processes: Trials that each process which works off the order runs at once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    suites: tuple[str, ...]
    jobs: tuple[Job, ...]
    locations: dict[str, Locations]
    options: RunOptions
    processes: int

    @classmethod
    def of(cls, suites: Sequence[str], jobs: Sequence[Job], options: RunOptions, processes: int) -> Order:
        """An order for these jobs."""
        locations = {job.trial.id: _locations(job.trial) for job in jobs}
        return cls(
            suites=tuple(suites),
            jobs=tuple(jobs),
            locations={trial_id: found for trial_id, found in locations.items() if found},
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
        return [
            Job(_located(job.trial, self.locations.get(job.trial.id, {})), job.tests, job.retrain, job.known)
            for job in self.jobs
            if done_by_others(job, store) is None
        ]


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


def _components(trial: Trial) -> dict[str, Component]:
    encoders = {f"encoder {modality}": encoder for modality, encoder in trial.encoders.items()}
    return {"dataset": trial.dataset, "method": trial.method, **encoders}


def _locations(trial: Trial) -> Locations:
    """Where the files of each component lie; absolute, since the process may start in another folder."""
    return {
        name: {option: str(Path(path).resolve()) for option, path in component.location.items()}
        for name, component in _components(trial).items()
        if component.location
    }


def _located(trial: Trial, locations: Locations) -> Trial:
    """The trial with its files where they lie."""
    there = {
        name: component.model_copy(update={"location": locations.get(name, {})})
        for name, component in _components(trial).items()
    }
    encoders = {modality: there[f"encoder {modality}"] for modality in trial.encoders}
    return trial.model_copy(update={"dataset": there["dataset"], "method": there["method"], "encoders": encoders})

"""What happens while jobs run: told to the terminal and to a log for programs. Free of torch.

    RESULTS/events/<UTC time>-<process id>.jsonl    one JSON object per line

Every line has ``time`` (UTC, ISO 8601) and ``event``: first ``run`` (with ``plan``, ``trials``, ``workers``), then for
each trial ``started``, ``progressed`` (``stage``, ``done``, ``total`` epochs), ``waiting``, ``suspended`` or
``finished`` (``seconds``, ``problem``, ``by_another``), and last ``ended`` (``finished``, ``failed``). A run that was
killed has no ``ended``. Results go to the store, not through the events.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something that happened to a trial."""

    trial_id: str


class Started(Event):
    """It has begun."""


@dataclass(frozen=True)
class Progressed(Event):
    """It has finished ``done`` of ``total`` epochs."""

    stage: str
    done: int
    total: int


class Waiting(Event):
    """Another process is working on it; it comes up again later."""


class Suspended(Event):
    """It was stopped and saved; it resumes from its last epoch."""


@dataclass(frozen=True)
class Finished(Event):
    """It has a record now, made here or ``by_another`` process; ``problem`` is why it failed, empty if it did not."""

    problem: str
    seconds: float
    by_another: bool = False


Tell = Callable[[Event], None]


class EventLog:
    """Appends to the log of one run. A log that cannot be written, on a full disk say, stops no trial."""

    def __init__(self, root: Path) -> None:
        self._path = root / "events" / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{os.getpid()}.jsonl"

    def see(self, event: Event) -> None:
        """Logs what happened to a trial."""
        self.write(type(event).__name__.lower(), **asdict(event))

    def write(self, event: str, **details: Any) -> None:
        """Logs something else."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(), "event": event, **details}, ensure_ascii=False)
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

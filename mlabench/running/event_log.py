"""What happened in a run, for programs to read: one JSON object per line. Free of torch.

    RESULTS/events/<UTC time>-<process id>.jsonl

Every line has ``time`` (UTC, ISO 8601) and ``event``: ``run`` (with ``plan``, ``trials``, ``workers``), ``started``,
``progressed`` (``stage``, ``done``, ``total`` epochs), ``waiting`` (another process is on the trial), ``finished``
(``seconds``, ``problem``, ``elsewhere``) or ``ended``. A run that was killed has no ``ended``.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlabench.running.events import Event


@dataclass
class EventLog:
    """Appends to the log of one run. A log that cannot be written, on a full disk say, stops no trial.

    Args:
        root: The results folder.
    """

    root: Path

    def __post_init__(self) -> None:
        self._path = self.root / "events" / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{os.getpid()}.jsonl"

    def see(self, event: Event) -> None:
        """Logs what a launcher says."""
        self.write(type(event).__name__.lower(), **asdict(event))

    def write(self, event: str, **details: Any) -> None:
        """Logs something else."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(), "event": event, **details}, ensure_ascii=False)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError:
            return

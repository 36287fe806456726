"""What the command line shows while trials run, and its listings. Free of torch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from mlabench.launchers import Event, Finished

#: Wide enough for a table when the output goes to a file or a pipe, where there is no terminal to ask.
WIDTH_WITHOUT_TERMINAL = 140


def make_console(*, stderr: bool = False) -> Console:
    """A console that does not cut tables when its output is piped."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_WITHOUT_TERMINAL
    return console


def duration(seconds: float) -> str:
    """Seconds for people: ``42 s``, ``3 min 05 s``, ``2 h 10 min``."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


class Watch:
    """Follows the events of a launcher: bars on a terminal, one line per finished trial elsewhere."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._overall: TaskID = self._bars.add_task("all trials", total=total)
        self._tasks: dict[str, TaskID] = {}
        self._start = time.monotonic()
        self.problems: list[Finished] = []
        self.finished = 0

    def __enter__(self) -> Watch:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def see(self, event: Event) -> None:
        """Shows one event."""
        if isinstance(event, Finished):
            self._finish(event)
            return
        if event.trial_id not in self._tasks:
            self._tasks[event.trial_id] = self._bars.add_task(event.trial_id, total=event.total)
        self._bars.update(
            self._tasks[event.trial_id], completed=event.done, description=f"{event.trial_id} [dim]{event.stage}[/]"
        )

    def _finish(self, event: Finished) -> None:
        self.finished += 1
        if event.trial_id in self._tasks:
            self._bars.remove_task(self._tasks.pop(event.trial_id))
        self._bars.update(self._overall, completed=self.finished)
        if event.problem:
            self.problems.append(event)
            self._console.print(f"[red]failed[/] {event.trial_id}: ", end="")
            self._console.print(event.problem, markup=False)
        elif not self._console.is_terminal:
            left = (time.monotonic() - self._start) / self.finished * (self._total - self.finished)
            self._console.print(
                f"{self.finished}/{self._total} {event.trial_id} in {duration(event.seconds)}, {duration(left)} left"
            )


def print_listing(
    console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, as_json: bool
) -> None:
    """A listing as a table, or with ``--json`` as a list of objects on standard output."""
    if as_json:
        keys = [column.lower().replace(" ", "_") for column in columns]
        objects = [dict(zip(keys, row, strict=True)) for row in rows]
        print(json.dumps(objects, indent=1, ensure_ascii=False, default=str))  # noqa: T201
        return
    table = Table(*columns, title=title, title_justify="left", title_style="bold")
    for row in rows:
        table.add_row(*["" if cell is None else str(cell) for cell in row])
    console.print(table)

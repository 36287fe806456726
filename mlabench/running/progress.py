"""Progress on the terminal while trials run and inputs are prepared. Free of torch."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mlabench.running.events import Event, Finished, Progressed, Suspended, Waiting
from mlabench.words import duration


class _Display:
    """Bars that are drawn for the length of a ``with`` block."""

    def __init__(self, console: Console, *columns: ProgressColumn, bars: bool) -> None:
        disable = not (bars and console.is_terminal) or console.quiet
        self._console = console
        self._bars = Progress(TextColumn("{task.description}"), BarColumn(), *columns, console=console, disable=disable)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


class Watch(_Display):
    """Shows the events of a run: bars on a terminal, if wanted, else one line per finished trial."""

    def __init__(self, console: Console, total: int, *, bars: bool = True) -> None:
        count, left = TextColumn("{task.fields[count]}/{task.total:.0f}"), TextColumn("left")
        remaining = TimeRemainingColumn(elapsed_when_finished=False)
        super().__init__(console, count, TimeElapsedColumn(), left, remaining, bars=bars)
        self._total = total
        self._overall = self._bars.add_task("all trials", total=total, count=0)
        self._start = time.monotonic()
        self.finished = self.failed = 0

    def see(self, event: Event) -> None:
        """Shows one event."""
        if isinstance(event, Finished):
            self._finish(event)
        elif isinstance(event, Waiting):
            self._console.print(f"another process is working on {event.trial_id}", soft_wrap=True)
        elif isinstance(event, Suspended):
            self._console.print(f"stopped {event.trial_id}, to resume from its last epoch", soft_wrap=True)
        elif isinstance(event, Progressed):
            self._progress(event)

    def _progress(self, event: Progressed) -> None:
        if event.trial_id not in self._tasks:
            self._tasks[event.trial_id] = self._bars.add_task(event.trial_id, total=event.total, count=0)
        description = f"{event.trial_id} [dim]{escape(event.stage)}[/]"
        task = self._tasks[event.trial_id]
        self._bars.update(task, completed=event.done, count=event.done, description=description)
        self._advance()

    def _finish(self, event: Finished) -> None:
        self.finished += 1
        if event.trial_id in self._tasks:
            self._bars.remove_task(self._tasks.pop(event.trial_id))
        self._advance()
        if event.problem:
            self.failed += 1
            # In one print: bars may be redrawn between two.
            line = Text.assemble(("failed", "red"), f" {event.trial_id}: {event.problem}")
            console = Console(stderr=True, highlight=False) if self._console.quiet else self._console
            console.print(line, soft_wrap=True)
        elif event.by_another:
            self._console.print(f"{self.finished}/{self._total} {event.trial_id} by another process", soft_wrap=True)
        elif self._bars.disable:
            left = (time.monotonic() - self._start) / self.finished * (self._total - self.finished)
            self._console.print(
                f"{self.finished}/{self._total} {event.trial_id} in {duration(event.seconds)}, {duration(left)} left"
            )

    def _advance(self) -> None:
        """Moves the bar of all trials; those that are running count in part, so that time left is known early."""
        running = set(self._tasks.values())
        parts = sum(task.completed / (task.total or 1) for task in self._bars.tasks if task.id in running)
        self._bars.update(self._overall, completed=self.finished + parts, count=self.finished)


class Bars(_Display):
    """One progress bar per stage of a preparation; where there is no terminal, one line when a stage is done."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, MofNCompleteColumn(), TimeRemainingColumn(), bars=True)

    def report(self, stage: str, done: int, total: int) -> None:
        """``done`` of ``total`` items of a stage are finished."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(escape(stage), total=total)
        self._bars.update(self._tasks[stage], completed=done)
        if done == total and not self._console.is_terminal:
            self._console.print(f"{stage}: {total:,} prepared", markup=False)

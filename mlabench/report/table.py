"""A table: what is shown, apart from how. Built once, rendered in several formats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd

from mlabench.report.statistics import Summary, summarise

_NOTHING = Summary()


@dataclass(frozen=True)
class Cell:
    """One number of a table, in percent.

    Attributes:
        summary: Mean and spread over the runs that have it.
        planned: Runs asked for.
        failed: Runs that failed.
        missing: Runs that are not there.
        best: Whether it is the best of its column and group.
    """

    summary: Summary = _NOTHING
    planned: int = 0
    failed: int = 0
    missing: int = 0
    best: bool = False

    @property
    def mean(self) -> str:
        """The mean as it is displayed; empty if there is none."""
        return "" if self.summary.mean is None else f"{self.summary.mean:z.1f}"  # z: rounding gives no "-0.0"

    @property
    def std(self) -> str:
        """The spread as it is displayed; empty if there is none."""
        return "" if self.summary.std is None else f"{self.summary.std:.1f}"

    @property
    def spread(self) -> str:
        """What follows the ± sign; empty where nothing does."""
        return (self.std or "—") if self.mean else ""

    @property
    def status(self) -> str:
        """What is not there, and why: ``failed 1/3``, ``missing``, ``n/a``; empty if all is well."""
        parts = []
        if self.failed:
            parts.append(f"failed {self.failed}/{self.planned}")
        if self.missing:
            parts.append("missing" if self.missing == self.planned else f"missing {self.missing}/{self.planned}")
        return ", ".join(parts) or ("" if self.mean else "n/a")

    @property
    def complete(self) -> bool:
        """Whether all planned runs are in the mean."""
        return bool(self.mean) and not self.failed and not self.missing


@dataclass(frozen=True)
class Column:
    """A column of numbers; ``ranked`` if its largest number is worth pointing out."""

    name: str
    ranked: bool = True


@dataclass(frozen=True)
class Row:
    """A row: its headings and one cell per column. Rows compete within their ``group``."""

    heads: tuple[str, ...]
    cells: tuple[Cell, ...]
    group: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: Name of its files.
        title: One line.
        note: What is peculiar to it.
        conditions: What it shares with the other tables of the suite: dataset, seeds, selection, definitions.
        heads: Headings of the columns that name a row.
        columns: The columns of numbers.
        rows: The rows, groups together.
        detail: Whether it is left to the files and the page, being too much for a terminal.

    A file or a page shows the whole :attr:`caption`.
    """

    name: str
    title: str
    note: str
    conditions: str
    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    detail: bool = False

    @property
    def caption(self) -> str:
        """All that one must know to read it."""
        return f"{self.note} {self.conditions}"

    def with_best(self) -> Table:
        """The same table with the best cells marked.

        Only means over all planned runs compete: the seeds that survived may flatter a method. What looks
        equal is equal, and a cell without a rival is no winner.
        """
        rows = []
        for row in self.rows:
            rivals = [other for other in self.rows if other.group == row.group]
            cells = tuple(
                replace(cell, best=column.ranked and _wins(cell, [rival.cells[place] for rival in rivals]))
                for place, (column, cell) in enumerate(zip(self.columns, row.cells, strict=True))
            )
            rows.append(replace(row, cells=cells))
        return replace(self, rows=tuple(rows))


def _wins(cell: Cell, rivals: Iterable[Cell]) -> bool:
    means = [float(rival.mean) for rival in rivals if rival.complete]
    return cell.complete and len(means) > 1 and float(cell.mean) == max(means)


def measure(rows: pd.DataFrame, score: str = "accuracy") -> Cell:
    """One cell from the rows (one per run) of a score in [0, 1]."""
    return Cell(
        summary=summarise(100.0 * rows[score]),
        planned=len(rows),
        failed=int((rows["status"] == "failed").sum()),
        missing=int((rows["status"] == "missing").sum()),
    )

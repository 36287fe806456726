"""A table: what is shown, apart from how. Built once, rendered in several formats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from mlabench.statistics import Interval, Outcomes, Summary, holm, p_of_difference, summarise

#: Largest p-value, after Holm's correction, at which a difference counts.
LEVEL = 0.05

#: Longer tables are left to the files and the page.
TERMINAL_ROWS = 24

_NOTHING = Summary()


@dataclass(frozen=True)
class Cell:
    """One number of a table, in percent or points unless its column says otherwise.

    An interval or words stand in place of mean and spread. Of the ``planned`` runs, ``failed`` and ``missing`` ones are
    not there. ``form`` is how the number is written; ``outcomes`` stand behind it sample by sample, if they are known;
    ``best`` is the best of its column and group, or not shown to be worse.
    """

    summary: Summary = _NOTHING
    planned: int = 0
    failed: int = 0
    missing: int = 0
    best: bool = False
    interval: Interval | None = None
    text: str = ""
    form: str = "z.1f"  # z: rounding gives no "-0.0"
    outcomes: Outcomes | None = field(default=None, repr=False, compare=False)

    @property
    def number(self) -> float | None:
        """The mean or the estimate, unrounded; None without one."""
        return self.summary.mean if self.interval is None else self.interval.estimate

    @property
    def mean(self) -> str:
        """The number, or the words, as displayed; empty if there are none."""
        return self.text or self._written(self.number, self.form)

    @property
    def std(self) -> str:
        """The spread as it is displayed; empty if there is none."""
        return self._written(self.summary.std)

    @property
    def low(self) -> str:
        """The interval's lower end as it is displayed; empty without an interval."""
        return self._written(self.interval.low if self.interval else None)

    @property
    def high(self) -> str:
        """The interval's upper end as it is displayed; empty without an interval."""
        return self._written(self.interval.high if self.interval else None)

    def _written(self, value: float | None, form: str = "") -> str:
        return "" if value is None else format(value, form or self.form.lstrip("+"))

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
    def parts(self) -> Iterator[tuple[str, str]]:
        """What every format shows of it, piece by piece, each with its kind."""
        if self.mean:
            yield "best" if self.best else "number", self.text or self.mean.replace("-", "−")
            if self.interval and not self.text:
                yield "spread", f"[{self.low}, {self.high}]".replace("-", "−")
            elif not self.text:
                yield "spread", f"± {self.std or '—'}"
        if self.status:
            yield "failed" if self.failed else "status", f"({self.status})" if self.mean else self.status

    @property
    def complete(self) -> bool:
        """Whether all planned runs are in the mean."""
        return bool(self.mean) and not self.failed and not self.missing


@dataclass(frozen=True)
class Column:
    """A column of numbers; ``ranked`` if its largest number is worth pointing out."""

    name: str
    ranked: bool = True


def unranked(*names: str) -> tuple[Column, ...]:
    """Columns of numbers of which none is the best."""
    return tuple(Column(name, ranked=False) for name in names)


@dataclass(frozen=True)
class Row:
    """A row: its headings and one cell per column. Rows compete within their ``group``."""

    heads: tuple[str, ...]
    cells: tuple[Cell, ...]
    group: str = ""


@dataclass(frozen=True)
class Table:
    """A table; a file or a page shows the whole :attr:`caption`.

    ``note`` says what is peculiar to it, ``conditions`` what it shares with the other tables of the suite (dataset,
    seeds, selection, definitions). Groups of rows stand together. ``detail``: too much for a terminal.
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
        """The same table with the best cells marked, and those not shown to be worse; the note says so.

        Only means over all planned runs compete: the seeds that survived may flatter a method. What looks
        equal is equal, and a cell without a rival does not win. Where the outcomes are known, a cell is worse that
        is so in pairs, after Holm's correction over the comparisons with the best: as verdicts have it.
        """
        if not any(column.ranked for column in self.columns):
            return self
        rows = list(self.rows)
        for group in dict.fromkeys(row.group for row in rows):
            places = [place for place, row in enumerate(rows) if row.group == group]
            columns = zip(*(rows[place].cells for place in places), strict=True)
            marked = [
                _marked(cells) if column.ranked else cells for column, cells in zip(self.columns, columns, strict=True)
            ]
            for place, cells in zip(places, zip(*marked, strict=True), strict=True):
                rows[place] = replace(rows[place], cells=cells)
        return replace(self, rows=tuple(rows), note=f"{self.note.rstrip()} {self._bold}")

    @property
    def _bold(self) -> str:
        """What bold means here."""
        where = "of a column within its group" if any(row.group for row in self.rows) else "of a column"
        best = f"Bold: the best {where} (after rounding) among the cells that lack no run"
        if all(cell.outcomes is None for row in self.rows for cell in row.cells):
            return f"{best}."
        return (
            f"{best}, and the accuracies that are not shown to be worse, where predictions are stored: in pairs, "
            "p > 0.05 after Holm's correction over the comparisons with the best."
        )


def _marked(cells: Sequence[Cell]) -> list[Cell]:
    """Cells that compete, the best marked and those not shown to be worse."""
    rivals = [cell for cell in cells if cell.complete]
    if len(rivals) < 2:
        return list(cells)
    first = max(rivals, key=lambda cell: cell.number or 0.0)
    others = [cell for cell in rivals if cell is not first]
    p_values = holm([_p_value(first, cell) for cell in others])
    equal = [cell for cell, p in zip(others, p_values, strict=True) if p >= LEVEL or cell.mean == first.mean]
    best = {id(cell) for cell in (first, *equal)}
    return [replace(cell, best=id(cell) in best) for cell in cells]


def _p_value(first: Cell, second: Cell) -> float:
    """Of no difference in what is known; what is not known is taken at its face value."""
    if first.outcomes is None or second.outcomes is None:
        return 0.0
    try:
        return p_of_difference(first.outcomes, second.outcomes)
    except ValueError:  # not of the same samples
        return 0.0


def measure(rows: pd.DataFrame, score: str = "accuracy", outcomes: Outcomes | None = None) -> Cell:
    """One cell from the rows (one per training) of a score in [0, 1], and its outcomes if they are known.

    The trainings on the folds of a dataset are one run: their mean, where each sample counts once. A run that lacks a
    fold is not there.
    """
    if rows["fold"].any():
        rows = _pooled(rows, score)
    status = rows["status"].tolist()
    return Cell(
        summary=summarise(100.0 * rows[score]),
        planned=len(status),
        failed=status.count("failed"),
        missing=status.count("missing"),
        outcomes=outcomes,
    )


def _pooled(rows: pd.DataFrame, score: str) -> pd.DataFrame:
    """One row per repeat in place of one per fold."""
    repeats = []
    for _, own in rows.groupby(["seed", "train", "test"], sort=False):
        lost = next((status for status in ("failed", "missing") if (own["status"] == status).any()), None)
        mean = np.average(own[score], weights=own["n"]) if lost is None and own["n"].any() else np.nan
        repeats.append((lost or "ok", mean))
    return pd.DataFrame(repeats, columns=["status", score])

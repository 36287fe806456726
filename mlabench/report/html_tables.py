"""Tables in HTML: every number of :class:`~mlabench.report.table.Table`, sortable by the page's script."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from mlabench.report.html_elements import Markup, element, identifier, joined, prose
from mlabench.report.results import Results
from mlabench.report.table import Cell, Row, Table
from mlabench.words import counted

#: Longer tables are folded away; every method has room for a row.
_LONG = 32

#: Longer words take more than one line.
_SHORT = 16


def tables(shown: Sequence[Table], place: str) -> list[Markup]:
    """Tables one after the other; conditions that several of them share are said once.

    Args:
        shown: The tables.
        place: What their ids begin with.
    """
    if len(shown) == 1 or len({one.conditions for one in shown}) > 1:
        return [table(one, place) for one in shown]
    shared = element("p", "Of all tables here: ", prose(shown[0].conditions), class_="note")
    return [shared, *(table(one, place, conditions=False) for one in shown)]


def table(shown: Table, place: str, *, conditions: bool = True) -> Markup:
    """A table with its caption; a long one, or one of details, can be unfolded.

    Args:
        shown: The table.
        place: What its id begins with.
        conditions: Whether to say its conditions.
    """
    heads = [*(element("th", head, scope="col") for head in shown.heads)]
    heads += [element("th", column.name, scope="col", class_="number") for column in shown.columns]
    # Rows compete within their group: sorting keeps groups together.
    bodies = [
        element("tbody", *(_row(row) for row in rows)) for _, rows in groupby(shown.rows, key=lambda row: row.group)
    ]
    whole = joined(
        _scrolling(shown.title, identifier(place, shown.name), element("thead", element("tr", *heads)), *bodies),
        element("p", prose(shown.caption if conditions else shown.note), class_="note"),
    )
    if shown.detail or len(shown.rows) > _LONG:
        return folded(shown.title, counted(len(shown.rows), "row"), whole)
    return element("div", whole, class_="table")


class TrialLine(NamedTuple):
    """One trial of a suite; ``record`` is the address of its record as seen from the page, empty without one."""

    label: str
    setting: str
    seed: int
    trial: str
    status: str
    reason: str = ""
    record: str = ""


def trial_lines(results: Results, folder: str) -> list[TrialLine]:
    """One line per trial and outcome; ``folder`` is the address of the folder of trials as seen from the page."""
    names = ["label", "train_setting", "seed", "trial", "status", "reason"]
    rows = results.scores[names].drop_duplicates(["label", "trial", "status", "reason"]).to_numpy().tolist()
    return [
        TrialLine(label, setting, seed, trial, status, reason, f"{folder}/{trial}/record.json" if made else "")
        for label, setting, seed, trial, status, reason in rows
        for made in (trial in results.records,)
    ]


def trials(lines: Sequence[TrialLine], title: str, place: str, *, reasons: bool) -> Markup:
    """Trials as a table with links to their records.

    Args:
        lines: The trials.
        title: Title of the table.
        place: Its id.
        reasons: Whether to say why they are not ok.
    """
    names = ["Method", "Missing in training", "Seed", "Status", *(["Reason"] if reasons else []), "Trial"]
    head = element("thead", element("tr", *(element("th", name, scope="col") for name in names)))
    body = element("tbody", *(_trial(line, reasons=reasons) for line in lines))
    return _scrolling(title, place, head, body)


def folded(title: str, remark: str, content: Markup) -> Markup:
    """Content that is there when asked for."""
    summary = element("summary", title, " ", element("span", remark, class_="remark"))
    return element("details", summary, content)


def _scrolling(title: str, place: str, *content: Markup) -> Markup:
    """A table in a box of its own that scrolls, also by keyboard, so that the page need not."""
    caption = element("caption", title, id=f"{place}-caption")
    whole = element("table", caption, *content, id=place, class_="sortable")
    return element("div", whole, class_="scroll", role="region", tabindex="0", aria_labelledby=f"{place}-caption")


def _row(row: Row) -> Markup:
    heads = [element("th", head, scope="row") for head in row.heads]
    return element("tr", *heads, *map(_cell, row.cells))


def _cell(cell: Cell) -> Markup:
    shown = cell.mean if cell.text else cell.mean.replace("-", "−")
    parts = [element("strong", shown) if cell.best else joined(shown)] if shown else []
    if cell.spread:
        parts.append(element("span", f"± {cell.spread}", class_="spread"))
    if cell.ends:
        parts.append(element("span", cell.ends.replace("-", "−"), class_="spread"))
    if cell.status:
        parts.append(element("span", cell.status, class_="status failed" if cell.failed else "status"))
    value = _value(cell)
    kind = "words" if len(cell.text) > _SHORT else "number"
    return element("td", *_spaced(parts), class_=kind, data_value=False if value is None else f"{value!r}")


def _value(cell: Cell) -> float | None:
    """What a cell is sorted by: its number, or one that its words begin with (``1,312``, ``< 0.001``)."""
    if cell.number is not None:
        return cell.number if math.isfinite(cell.number) else None
    found = re.match(r"<? ?([+−-]?\d[\d,]*(\.\d+)?)", cell.text)
    return float(found[1].replace(",", "").replace("−", "-")) if found else None


def _trial(line: TrialLine, *, reasons: bool) -> Markup:
    status = element("span", line.status, class_="status failed" if line.status == "failed" else "status")
    name = element("a", line.trial, href=line.record) if line.record else joined(line.trial)
    return element(
        "tr",
        element("th", line.label, scope="row"),
        element("td", line.setting),
        element("td", str(line.seed), class_="number", data_value=str(line.seed)),
        element("td", status),
        *([element("td", line.reason, class_="words")] if reasons else []),
        element("td", name, class_="trial"),
    )


def _spaced(parts: Iterable[Markup]) -> list[str]:
    return [text for part in parts for text in (" ", part)][1:]

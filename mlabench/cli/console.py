"""Consoles and listings of the command line. Free of torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlabench.words import as_written

#: Wide enough for a table when the output goes to a file or a pipe, where there is no terminal to ask.
WIDTH_WITHOUT_TERMINAL = 140


def make_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """A console that does not cut tables when its output is piped; a quiet one shows nothing."""
    console = Console(stderr=stderr, highlight=False, quiet=quiet)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH_WITHOUT_TERMINAL
    return console


def print_listing(
    console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, as_json: bool
) -> None:
    """A listing as a table, or with ``--json`` as a list of objects on standard output."""
    if as_json:
        keys = [column.lower().replace(" ", "_") for column in columns]
        objects = [dict(zip(keys, row, strict=True)) for row in rows]
        print(json.dumps(objects, indent=1, ensure_ascii=False, default=str))  # noqa: T201
        return
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")  # an id cut short is of no use
    for row in rows:
        table.add_row(*[Text(as_written(cell)) for cell in row])
    console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(table)

"""Tables: CSV or TSV as spreadsheets and scripts write them, and Parquet. Every cell is text."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from mlabench.errors import UserError
from mlabench.media import decode_text, needed_packages
from mlabench.registry import suggest

_DELIMITERS = ",;\t"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Table:
    """A table: the names of all its columns, and rows of those that were wanted."""

    path: Path
    columns: tuple[str, ...]
    #: Cells by column, without blanks around them; an empty cell is an empty text.
    rows: Sequence[dict[str, str]]
    #: The line of the file where each row begins; empty for Parquet, which has no lines.
    lines: Sequence[int]

    def require(self, column: str, remedy: str, field: str | None = None) -> None:
        """Makes sure that there is a column."""
        if column not in self.columns:
            raise UserError(
                f"has no column {column!r} (it has {', '.join(filter(None, self.columns))}).",
                remedy=suggest(column, list(self.columns)) or remedy,
                file=str(self.path),
                field=field,
            )

    def error(self, row: int, column: str, problem: str, remedy: str = "") -> UserError:
        """A complaint about one cell."""
        if self.lines:
            return UserError(problem, remedy=remedy, file=str(self.path), line=self.lines[row], field=column)
        return UserError(f"row {row + 1}: {problem}", remedy=remedy, file=str(self.path), field=column)


def read_table(path: Path, wanted: Collection[str]) -> Table:
    """Reads a Parquet file, or a text whose first line names the columns; keeps the columns that are ``wanted``.

    The cells of a text are separated by commas, semicolons or tabs, whichever its first line has most of; those that
    hold separators, quotes or line ends are quoted as spreadsheets do. Lines without any cell are passed over.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # a path with a NUL character is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot be read ({reason}).", remedy="Name a CSV, TSV or Parquet file.", file=str(path)
        ) from error
    if path.suffix.lower() == ".parquet" or data.startswith(b"PAR1"):
        table = _from_parquet(path, data, wanted)
    else:
        table = _from_text(path, data, wanted)
    if not table.rows:
        raise UserError("holds no row below the names of its columns.", file=str(path))
    return table


def _from_text(path: Path, data: bytes, wanted: Collection[str]) -> Table:
    if b"\0" in data and not data.startswith(_UTF16):
        raise UserError(
            "is not a text table.",
            remedy="Export it as CSV in UTF-8, or as Parquet (ending in .parquet).",
            file=str(path),
        )
    records = _records(path, decode_text(data))
    line, header = next(records, (1, []))
    columns = _named_once(path, [name.strip() for name in header], line)
    rows: list[dict[str, str]] = []
    lines: list[int] = []
    for line, cells in records:
        if len(cells) != len(columns):
            raise UserError(
                f"has {len(cells)} cells, where the first line names {len(columns)} columns.",
                remedy="Put cells that hold separators or line ends between double quotes.",
                file=str(path),
                line=line,
            )
        named = zip(columns, cells, strict=True)
        rows.append({column: cell.strip() for column, cell in named if column in wanted})
        lines.append(line)
    return Table(path, columns, rows, lines)


def _records(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The line where it begins, and the cells, of every record that has any."""
    first = text.lstrip("\n").partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(_DELIMITERS, key=first.count), strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"is not well-formed CSV ({error}).",
            remedy="Double the quotes inside of quoted cells, and close each cell's quotes.",
            file=str(path),
            line=line,
        ) from error


def _from_parquet(path: Path, data: bytes, wanted: Collection[str]) -> Table:
    with needed_packages():
        import pyarrow as pa
        from pyarrow import parquet
    try:
        with parquet.ParquetFile(pa.BufferReader(data)) as file:
            names = file.schema_arrow.names
            columns = _named_once(path, names)
            kept = [name for name in columns if name in wanted]
            content: dict[str, list[Any]] = file.read(columns=kept).to_pydict()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"is not readable as Parquet ({reason}).", file=str(path)) from error
    values = [dict(zip(content, row, strict=True)) for row in zip(*content.values(), strict=True)]
    table = Table(path, columns, [], [])
    rows = [{name: _cell(table, number, name, row[name]) for name in row} for number, row in enumerate(values)]
    return Table(path, columns, rows, [])


def _cell(table: Table, row: int, column: str, value: object) -> str:
    if value is None or (isinstance(value, float) and isnan(value)):  # NaN is pandas's empty cell
        return ""
    if isinstance(value, str | int | float):
        return str(value).strip()
    raise table.error(row, column, f"holds {type(value).__name__}, not text or a number.")


def _named_once(path: Path, columns: Sequence[str], line: int | None = None) -> tuple[str, ...]:
    """The names of the columns; a nameless one (as of an index) may occur more than once."""
    twice = {name for name in columns if name and columns.count(name) > 1}
    if twice:
        raise UserError(f"has more than one column {min(twice)!r}.", file=str(path), line=line)
    return tuple(columns)

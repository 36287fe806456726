"""Numbers that others published, each with its source: ``numbers.csv``, described in the README beside it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NoReturn

from mlabench import registry
from mlabench.errors import UserError
from mlabench.report.results import MULTIMODAL

#: Names of the datasets in the literature, and here.
DATASETS = {
    "CREMA-D": "crema_d",
    "Kinetics-Sounds": "kinetics_sounds",
    "Food-101": "food101",
    "MVSA": "mvsa",
    "IEMOCAP": "iemocap",
}

#: Names of the methods in the literature, and here. ``HGM=h,DF=d`` are rows of MLA's ablation.
METHODS = {
    "AGM": "agm",
    "BiGated": "bigated",
    "Concat": "concat",
    "D&R": "relearning",
    "FiLM": "film",
    "G-Blending": "g_blending",
    "GBlending": "g_blending",
    "Late Fusion": "late_fusion",
    "LF": "late_fusion",
    "MMCosine": "mmcosine",
    "MMIN": "mmin",
    "MMPareto": "mmpareto",
    "OGM": "ogm_ge without noise",
    "OGM-GE": "ogm_ge",
    "OPM": "opm",
    "PMR": "pmr",
    "QMF": "qmf",
    "ReconBoost": "reconboost",
    "Relearning": "relearning",
    "Sum": "sum",
    "UMT": "umt",
    "MLA": "mla",
    "HGM=1,DF=1": "mla",
    "HGM=0,DF=1": "mla without gradient_modification",
    "HGM=1,DF=0": "mla without dynamic_fusion",
    "HGM=0,DF=0": "mla without gradient_modification, dynamic_fusion",
}

#: Who says what a method reaches.
ORIGINS = ("paper", "re-run", "proposed", "quoted")

#: How sure the source makes a number. The last is what a user filled in, who answers for it.
CONFIDENCES = ("high", "medium-high", "medium", "medium-low", "low", "none", "user")

#: Stands for every missing rate of a table whose rates are not known.
ALL_RATES = "all rates"

_REQUIRED = ("table", "dataset", "method", "metric", "accuracy")
_OPTIONAL = {
    "missing_rate": "0",
    "origin": "paper",
    "venue": "",
    "year": "",
    "protocol": "",
    "source": "",
    "confidence": "user",
}


@dataclass(frozen=True)
class Number:
    """One cell of a published table.

    Attributes:
        table: The study, a hyphen, its table, e.g. ``MLA-Table1``.
        dataset: Its name here if it has one (:data:`DATASETS`), else as published.
        method: Its name here if it has one (:data:`METHODS`), else as published.
        target: A modality or ``multimodal``; another metric as published.
        rate: Missing rate in percent; None for :data:`ALL_RATES`.
        accuracy: In percent; None if nobody has found it.
        shown: The same, with the digits that were published.
        origin: ``paper`` (MLA's own table), ``re-run`` (of a method that is not the study's own), ``proposed``
            (the study's own method) or ``quoted`` (a re-run that is probably a copy of another's number).
        venue: Where the study appeared.
        protocol: What is known of how it was measured.
        source: Where the number was read.
        confidence: One of :data:`CONFIDENCES`.
    """

    table: str
    dataset: str
    method: str
    target: str
    rate: float | None
    accuracy: float | None
    shown: str
    origin: str
    venue: str
    protocol: str
    source: str
    confidence: str

    @property
    def study(self) -> str:
        """The study's short name."""
        return self.table.partition("-")[0]

    @property
    def key(self) -> tuple[str, str, str, str, float | None]:
        """What tells it from all other cells."""
        return (self.table.casefold(), self.dataset, self.method, self.target, self.rate)


def load_published(extra: Path | None = None) -> tuple[Number, ...]:
    """The published numbers.

    Args:
        extra: A CSV file of the same columns. A cell that is there already is replaced, another is added, and an
            empty one changes nothing.

    Raises:
        UserError: If the file cannot be read, or with all mistakes in it, each with line and column.
    """
    text = resources.files(__name__).joinpath("numbers.csv").read_text(encoding="utf-8")
    numbers = {number.key: number for number in _Reader("numbers.csv", text).numbers}
    if extra is not None:
        try:
            text = extra.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UserError(
                f"the published numbers cannot be read ({reason}).",
                remedy="Give a CSV file with the columns of mlabench/report/published/numbers.csv.",
                file=str(extra),
            ) from error
        known = {number.dataset for number in numbers.values()} | {number.target for number in numbers.values()}
        given = _Reader(str(extra), text, known=known).numbers
        numbers.update({number.key: number for number in given if number.accuracy is not None})
    return tuple(numbers.values())


class _Reader:
    """Reads one CSV file.

    Args:
        file: Its name, for messages.
        text: Its content.
        known: Datasets and targets that may be named; empty if any may.

    Raises:
        UserError: With all mistakes.
    """

    def __init__(self, file: str, text: str, known: Iterable[str] = ()) -> None:
        self._file, self._known = file, {*known, *registry.entries("datasets")} if known else set()
        rows = csv.reader(io.StringIO(text), strict=True)
        try:
            header = [name.strip() for name in next(rows, [])]
            self._check(header)
            table = [(rows.line_num, [value.strip() for value in row]) for row in rows if any(row)]
        except csv.Error as error:
            self._fail(f"this is not CSV ({error}).", "Quote values that hold commas or quotes.", rows.line_num)
        self.numbers: list[Number] = []
        errors, lines = [], dict[object, int]()
        for line, values in table:
            try:
                number = self._number(header, values, line)
                if (first := lines.setdefault(number.key, line)) != line:
                    self._fail(f"the same cell as in line {first}.", "Keep one of them.", line)
                self.numbers.append(number)
            except UserError as error:
                errors.append(error)
        if errors:
            raise UserError.of(errors)

    def _fail(self, problem: str, remedy: str, line: int, column: str | None = None) -> NoReturn:
        raise UserError(problem, remedy=remedy, file=self._file, line=line, field=column)

    def _check(self, header: Sequence[str]) -> None:
        columns = (*_REQUIRED, *_OPTIONAL)
        for name in header:
            if name not in columns or header.count(name) > 1:
                problem = f"the column {name!r} is {'there twice' if name in columns else 'unknown'}."
                self._fail(problem, registry.suggest(name, list(columns)) or f"Known: {', '.join(columns)}.", 1)
        if lacking := [name for name in _REQUIRED if name not in header]:
            self._fail(f"no column {', '.join(lacking)}.", f"The first line must name {', '.join(_REQUIRED)}.", 1)

    def _number(self, header: Sequence[str], values: Sequence[str], line: int) -> Number:
        if len(values) != len(header):
            problem = f"{len(values)} values under {len(header)} columns."
            self._fail(problem, "Give one value per column; quote values that hold commas.", line)
        row = {**_OPTIONAL, **{name: value for name, value in zip(header, values, strict=True) if value}}
        for column in ("table", "dataset", "method", "metric"):
            if not row.get(column):
                self._fail("empty.", "Every number needs it.", line, column)
        for column, allowed in (("origin", ORIGINS), ("confidence", CONFIDENCES)):
            if row[column] not in allowed:
                self._fail(f"{row[column]!r} is unknown.", f"One of {', '.join(allowed)}.", line, column)
        if row["year"] and not (row["year"].isdecimal() and len(row["year"]) == 4):
            self._fail(f"{row['year']!r} is no year.", "Give four digits, or nothing.", line, "year")
        if row["missing_rate"] == ALL_RATES and row.get("accuracy"):
            self._fail(f"{ALL_RATES!r} has no accuracy.", "Write one line per missing rate.", line, "missing_rate")
        metric = row["metric"].casefold()
        return Number(
            table=row["table"],
            dataset=self._known_name(_ours(row["dataset"], DATASETS), line, "dataset"),
            method=_ours(row["method"], METHODS),
            target=self._known_name(MULTIMODAL if metric == "multi" else metric, line, "metric"),
            rate=None if row["missing_rate"] == ALL_RATES else self._percent(row, "missing_rate", line),
            accuracy=self._percent(row, "accuracy", line) if row.get("accuracy") else None,
            shown=row.get("accuracy", ""),
            origin=row["origin"],
            venue=row["venue"],
            protocol=row["protocol"],
            source=row["source"] or self._file,
            confidence=row["confidence"],
        )

    def _known_name(self, name: str, line: int, column: str) -> str:
        if self._known and name not in self._known:
            near = registry.suggest(name, [*self._known, *DATASETS])
            self._fail(f"{name!r} is unknown.", near or "Write it as numbers.csv does.", line, column)
        return name

    def _percent(self, row: dict[str, str], column: str, line: int) -> float:
        try:
            value = float(row[column])
        except ValueError:
            value = math.nan
        if not 0.0 <= value <= 100.0:
            remedy = "Give percent, from 0 to 100, with a decimal point."
            self._fail(f"{row[column]!r} is no percentage.", remedy, line, column)
        return value


def _ours(name: str, names: dict[str, str]) -> str:
    """Our name for ``name``, however it is capitalised; itself if we have none."""
    known = {theirs.casefold(): ours for theirs, ours in names.items()}
    return known.get(name.casefold(), name)


def datasets_in(description: str) -> Iterator[str]:
    """Our names of the published datasets that a description such as ``Food-101 and MVSA`` names."""
    for theirs, ours in DATASETS.items():
        if theirs in description:
            yield ours

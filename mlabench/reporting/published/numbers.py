"""Numbers that others published, each with its source: ``numbers.csv``, described in the README beside it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mlabench import registry
from mlabench.errors import UserError
from mlabench.reporting.results import MULTIMODAL

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
    """One cell of a published table, in percent; the README says what the columns mean.

    ``dataset`` and ``method`` are our names if there are any (:data:`DATASETS`, :data:`METHODS`), else those published;
    ``rate`` is None for :data:`ALL_RATES`, ``accuracy`` None if not found; ``shown`` has the digits as published.
    ``origin`` is ``paper`` (MLA's own table), ``re-run`` (of a method that is not the study's own), ``proposed`` (the
    study's own method) or ``quoted`` (a re-run that is probably a copy of another's number).
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
    """The published numbers, with those of a CSV file of the same columns.

    Its cells replace those that are there already, or are added; an empty one changes nothing. A :class:`UserError` has
    all mistakes in it, each with line and column.
    """
    text = resources.files("mlabench.reporting.published").joinpath("numbers.csv").read_text(encoding="utf-8")
    numbers = {number.key: number for number in _read("numbers.csv", text)}
    if extra is not None:
        try:
            text = extra.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UserError(
                f"the published numbers cannot be read ({reason}).",
                remedy="Give a CSV file with the columns of mlabench/reporting/published/numbers.csv.",
                file=str(extra),
            ) from error
        known = {name for number in numbers.values() for name in (number.dataset, number.target)}
        given = _read(str(extra), text, {*known, *registry.entries("datasets")})
        numbers.update({number.key: number for number in given if number.accuracy is not None})
    return tuple(numbers.values())


def _read(file: str, text: str, known: Collection[str] = ()) -> list[Number]:
    """Reads CSV; ``known`` are datasets and targets that may be named, any if there are none."""
    rows = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        _check(header, file)
        table = [(rows.line_num, [value.strip() for value in row]) for row in rows if any(row)]
    except csv.Error as error:
        remedy = "Quote values that hold commas or quotes."
        raise UserError(f"this is not CSV ({error}).", remedy=remedy, file=file, line=rows.line_num) from error
    numbers, errors, lines = [], [], dict[object, int]()
    for line, values in table:
        try:
            numbers.append(_number(header, values, file, known))
        except UserError as error:
            errors.append(UserError(error.problem, remedy=error.remedy, file=file, line=line, field=error.field))
            continue
        if (first := lines.setdefault(numbers[-1].key, line)) != line:
            problem = f"the same cell as in line {first}."
            errors.append(UserError(problem, remedy="Keep one of them.", file=file, line=line))
    if errors:
        raise UserError.of(errors)
    return numbers


def _check(header: Sequence[str], file: str) -> None:
    columns = (*_REQUIRED, *_OPTIONAL)
    for name in header:
        if name not in columns or header.count(name) > 1:
            problem = f"the column {name!r} is {'there twice' if name in columns else 'unknown'}."
            remedy = registry.suggest(name, list(columns)) or f"Known: {', '.join(columns)}."
            raise UserError(problem, remedy=remedy, file=file, line=1)
    if lacking := [name for name in _REQUIRED if name not in header]:
        remedy = f"The first line must name {', '.join(_REQUIRED)}."
        raise UserError(f"no column {', '.join(lacking)}.", remedy=remedy, file=file, line=1)


def _number(header: Sequence[str], values: Sequence[str], file: str, known: Collection[str]) -> Number:
    if len(values) != len(header):
        problem = f"{len(values)} values under {len(header)} columns."
        raise UserError(problem, remedy="Give one value per column; quote values that hold commas.")
    row = {**_OPTIONAL, **{name: value for name, value in zip(header, values, strict=True) if value}}
    for column in ("table", "dataset", "method", "metric"):
        if not row.get(column):
            raise UserError("empty.", remedy="Every number needs it.", field=column)
    for column, allowed in (("origin", ORIGINS), ("confidence", CONFIDENCES)):
        if row[column] not in allowed:
            raise UserError(f"{row[column]!r} is unknown.", remedy=f"One of {', '.join(allowed)}.", field=column)
    if row["year"] and not (row["year"].isdecimal() and len(row["year"]) == 4):
        raise UserError(f"{row['year']!r} is not a year.", remedy="Give four digits, or nothing.", field="year")
    if row["missing_rate"] == ALL_RATES and row.get("accuracy"):
        remedy = "Write one line per missing rate."
        raise UserError(f"{ALL_RATES!r} has no accuracy.", remedy=remedy, field="missing_rate")
    dataset, metric = _ours(row["dataset"], DATASETS), row["metric"].casefold()
    target = MULTIMODAL if metric == "multi" else metric
    for column, name in (("dataset", dataset), ("metric", target)):
        if known and name not in known:
            near = registry.suggest(name, [*known, *DATASETS]) or "Write it as numbers.csv does."
            raise UserError(f"{name!r} is unknown.", remedy=near, field=column)
    return Number(
        table=row["table"],
        dataset=dataset,
        method=_ours(row["method"], METHODS),
        target=target,
        rate=None if row["missing_rate"] == ALL_RATES else _percent(row, "missing_rate"),
        accuracy=_percent(row, "accuracy") if row.get("accuracy") else None,
        shown=row.get("accuracy", ""),
        origin=row["origin"],
        venue=row["venue"],
        protocol=row["protocol"],
        source=row["source"] or file,
        confidence=row["confidence"],
    )


def _percent(row: Mapping[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 100.0:
        remedy = "Give percent, from 0 to 100, with a decimal point."
        raise UserError(f"{row[column]!r} is not a percentage.", remedy=remedy, field=column)
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

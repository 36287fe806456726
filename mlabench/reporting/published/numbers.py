"""Numbers that others published, each with its source: ``numbers.csv``, described in the README beside it."""

from __future__ import annotations

import csv
import io
import re
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

#: Names of methods in the literature that are not spelled as ours. ``HGM=h,DF=d`` are rows of MLA's ablation.
METHODS = {
    "D&R": "relearning",
    "GBlending": "g_blending",
    "LF": "late_fusion",
    "OGM": "ogm_ge without noise",
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
_OPTIONAL = {"missing_rate": "0", "origin": "paper", "confidence": "user"} | dict.fromkeys(
    ("venue", "year", "protocol", "source"), ""
)


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
    row = {**_OPTIONAL, **dict.fromkeys(_REQUIRED, ""), **{n: v for n, v in zip(header, values, strict=True) if v}}
    dataset = _ours(row["dataset"], DATASETS)
    target = MULTIMODAL if (metric := row["metric"].casefold()) == "multi" else metric
    for column, problem, remedy in _mistakes(row, {"dataset": dataset, "metric": target}, known):
        raise UserError(problem, remedy=remedy, field=column)
    return Number(
        **{name: row[name] for name in ("table", "origin", "venue", "protocol", "confidence")},
        dataset=dataset,
        method=_our_method(row["method"]),
        target=target,
        rate=None if row["missing_rate"] == ALL_RATES else float(row["missing_rate"]),
        accuracy=float(row["accuracy"]) if row["accuracy"] else None,
        shown=row["accuracy"],
        source=row["source"] or file,
    )


def _mistakes(row: Mapping[str, str], names: Mapping[str, str], known: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Column, problem and remedy of each mistake in a row."""
    for column in ("table", "dataset", "method", "metric"):
        if not row[column]:
            yield column, "empty.", "Every number needs it."
    for column, allowed in (("origin", ORIGINS), ("confidence", CONFIDENCES)):
        if row[column] not in allowed:
            yield column, f"{row[column]!r} is unknown.", f"One of {', '.join(allowed)}."
    if row["year"] and not (row["year"].isdecimal() and len(row["year"]) == 4):
        yield "year", f"{row['year']!r} is not a year.", "Give four digits, or nothing."
    if row["missing_rate"] == ALL_RATES and row["accuracy"]:
        yield "missing_rate", f"{ALL_RATES!r} has no accuracy.", "Write one line per missing rate."
    for column, name in names.items():
        if known and name not in known:
            near = registry.suggest(name, [*known, *DATASETS]) or "Write it as numbers.csv does."
            yield column, f"{name!r} is unknown.", near
    for column, other in (("missing_rate", ALL_RATES), ("accuracy", "")):
        if row[column] != other and not _is_percentage(row[column]):
            yield column, f"{row[column]!r} is not a percentage.", "Give percent, from 0 to 100, with a decimal point."


def _is_percentage(text: str) -> bool:
    try:
        return 0.0 <= float(text) <= 100.0
    except ValueError:
        return False


def _ours(name: str, names: Mapping[str, str]) -> str:
    """Our name for ``name``, however it is capitalised; itself if we have none."""
    return {theirs.casefold(): ours for theirs, ours in names.items()}.get(name.casefold(), name)


def _our_method(name: str) -> str:
    """Our name for a method, which may be spelled with blanks, hyphens and capitals in the literature."""
    spelled = re.sub(r"\W+", "_", name.casefold())
    return spelled if spelled in registry.entries("methods") else _ours(name, METHODS)


def datasets_in(description: str) -> Iterator[str]:
    """Our names of the published datasets that a description such as ``Food-101 and MVSA`` names."""
    return (ours for theirs, ours in DATASETS.items() if theirs in description)

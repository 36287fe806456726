"""Seeded missing-modality patterns: which sample lacks which modality.

A pattern is a boolean table ``[N, M]`` (True: present). Each cell is decided by a uniform number
hashed from (dataset, pattern seed, sample id, modality), never from a random generator's state, so

* every method, seed, batch size and machine sees the same pattern;
* patterns are nested: what is missing at 20 % is missing at 40 %;
* adding, dropping or reordering samples does not change the rows of others.

Every sample keeps at least one modality.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mlabench.errors import UserError

Protocol = Literal["complete", "balanced", "independent", "per_modality", "subset", "file"]
#: The field of :class:`Missing` that each protocol takes, if any.
_FIELD_OF = {"balanced": "rate", "independent": "rate", "per_modality": "rates", "subset": "keep", "file": "file"}


class Missing(BaseModel):
    """A recipe for missing patterns.

    ``complete``: nothing is missing.

    ``balanced`` (MLA's own protocol): every sample keeps one modality drawn at random; each other
    one is kept with probability max(0, (M(1 - r) - 1) / (M - 1)). The overall missing ratio is r up
    to r = 1 - 1/M; beyond, exactly one modality is left.

    ``independent``: each modality goes with probability r. A sample that would lose everything keeps
    the one with the largest uniform, so the realised rate stays below r.

    ``per_modality``: each modality has its own rate. A sample that would lose everything keeps the
    one with the largest uniform / rate; patterns are nested when all rates grow in proportion.

    ``subset``: exactly the modalities in ``keep`` are present in every sample.

    ``file``: read from a file written by :func:`write_pattern` (or by another benchmark).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: Protocol = "complete"
    rate: float = Field(default=0.0, ge=0.0, lt=1.0)
    rates: dict[str, float] = Field(default_factory=dict)
    keep: tuple[str, ...] = ()
    file: str = ""
    sha256: str = ""
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> Missing:
        given = ", ".join(name for name in ("file", "keep", "rate", "rates") if getattr(self, name))
        wanted = _FIELD_OF.get(self.protocol, "")
        if given != wanted:
            raise ValueError(f"protocol {self.protocol!r} takes {wanted or 'no rate'}, got {given or 'nothing'}")
        if not all(0.0 <= rate < 1.0 for rate in self.rates.values()):
            raise ValueError("every rate must be in [0, 1)")
        return self

    @classmethod
    def at(cls, protocol: Literal["balanced", "independent"], rate: float, seed: int = 0) -> Missing:
        """One rate for all modalities; rate 0 is ``complete`` whatever the protocol, so trials are shared."""
        return cls(protocol=protocol, rate=rate, seed=seed) if rate > 0 else cls()

    @property
    def key(self) -> str:
        """A short name, unique per recipe, e.g. ``balanced-0.3`` or ``subset-audio+image``."""
        if self.protocol == "complete":
            return "complete"
        if self.protocol == "subset":
            return f"subset-{'+'.join(self.keep)}"
        if self.protocol == "file":
            return f"file-{self.sha256[:12]}"
        rates = f"{self.rate:g}"
        if self.protocol == "per_modality":
            rates = "+".join(f"{modality}{rate:g}" for modality, rate in sorted(self.rates.items()))
        return f"{self.protocol}-{rates}" + (f"-seed{self.seed}" if self.seed else "")

    def identity(self) -> dict[str, object]:
        """What makes two recipes the same, as JSON: a file counts by its content, not by its path."""
        return self.model_dump(mode="json", exclude={"file"}, exclude_defaults=True)

    def pattern(self, dataset: str, ids: Sequence[str], modalities: Sequence[str]) -> NDArray[np.bool_]:
        """The table for these samples of a dataset, with a column for each modality. True where present. ``[N, M]``"""
        for name in (*self.rates, *self.keep):
            if name not in modalities:
                problem = f"the missing pattern names the modality {name!r}, which {dataset} does not have."
                raise UserError(problem, remedy=f"Its modalities are {', '.join(modalities)}.", field="missing")
        if self.protocol == "complete":
            return np.ones((len(ids), len(modalities)), dtype=bool)
        if self.protocol == "subset":
            return np.tile([modality in self.keep for modality in modalities], (len(ids), 1))
        if self.protocol == "file":
            return read_pattern(Path(self.file), ids, modalities, self.sha256)
        uniform = np.stack([self._uniforms(dataset, ids, f"modality {modality}") for modality in modalities], axis=1)
        if self.protocol == "balanced":
            count = len(modalities)
            if count == 1:
                return np.ones((len(ids), 1), dtype=bool)
            kept = (self._uniforms(dataset, ids, "kept") * count).astype(int)
            present = uniform < max(0.0, (count * (1.0 - self.rate) - 1.0) / (count - 1.0))
            present[np.arange(len(ids)), kept] = True
            return present
        rates = np.array([self.rates.get(modality, 0.0) if self.rates else self.rate for modality in modalities])
        present = uniform >= rates
        empty = ~present.any(axis=1)
        last_to_go = np.where(rates > 0, uniform / np.where(rates > 0, rates, 1.0), np.inf).argmax(axis=1)
        present[empty, last_to_go[empty]] = True
        return present

    def _uniforms(self, dataset: str, ids: Sequence[str], what: str) -> NDArray[np.float64]:
        """One number in [0, 1) per sample, a pure function of (dataset, seed, id, what). ``[N]``"""
        prefix = f"{dataset}\0{self.seed}\0{what}\0".encode()
        digests = b"".join(hashlib.blake2b(prefix + sample.encode(), digest_size=8).digest() for sample in ids)
        # 53 bits fill a double's mantissa exactly; 64 would round up to 1.0 now and then.
        return (np.frombuffer(digests, dtype=">u8") >> np.uint64(11)).astype(np.float64) / 2.0**53


def missing_rate(present: NDArray[np.bool_]) -> float:
    """The realised share of absent (sample, modality) cells."""
    return float(1.0 - present.mean()) if present.size else 0.0


def pattern_sha256(present: NDArray[np.bool_]) -> str:
    """The SHA-256 of a pattern, bool ``[N, M]``, by which records say which one it was."""
    return hashlib.sha256(np.packbits(present, axis=None).tobytes()).hexdigest()


def write_pattern(
    path: Path, ids: Sequence[str], modalities: Sequence[str], present: NDArray[np.bool_], about: Mapping[str, object]
) -> str:
    """Writes a pattern as CSV (``id`` and one 0/1 column per modality) for use by other benchmarks.

    The first line is a comment with ``about`` and the SHA-256 of the rows as JSON, for people.

    Returns:
        The SHA-256 of the rows, by which a trial pins the pattern it was planned with (:attr:`Missing.sha256`).
    """
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(["id", *modalities])
    for sample, row in zip(ids, present, strict=True):
        writer.writerow([sample, *row.astype(int)])
    digest = hashlib.sha256(rows.getvalue().encode()).hexdigest()
    header = json.dumps({**about, "sha256": digest}, sort_keys=True)
    path.write_text(f"# mlabench missing pattern {header}\n{rows.getvalue()}", encoding="utf-8")
    return digest


def pattern_hash(path: Path) -> str:
    """SHA-256 of a pattern file's rows, the comment on the first line left out."""
    return hashlib.sha256(_rows(path).encode()).hexdigest()


def read_pattern(path: Path, ids: Sequence[str], modalities: Sequence[str], sha256: str = "") -> NDArray[np.bool_]:
    """Reads a pattern for ``ids`` from CSV, unless it has changed since ``sha256``. bool ``[N, M]``"""
    text = _rows(path)
    if sha256 and hashlib.sha256(text.encode()).hexdigest() != sha256:
        raise UserError("the pattern has changed since the trial was planned.", remedy="Plan it again.", file=str(path))
    try:
        reader = csv.DictReader(io.StringIO(text))
        columns, rows = reader.fieldnames or [], list(reader)
    except csv.Error as error:
        raise UserError(f"the missing pattern is not well-formed CSV ({error}).", file=str(path)) from error
    for column in ("id", *modalities):
        if column not in columns:
            remedy = "A pattern has an 'id' and one 0/1 column per modality."
            raise UserError(f"no column {column!r}.", remedy=remedy, file=str(path))
    table: dict[str, list[bool]] = {}
    for number, row in enumerate(rows, start=2):
        cells = [row[modality] for modality in modalities]
        if any(cell not in ("0", "1") for cell in cells) or "1" not in cells:
            problem = f"row {number} of the table ({row['id']!r}) must hold 0s and at least one 1."
            raise UserError(problem, file=str(path))
        if row["id"] in table:
            raise UserError(f"row {number} of the table has the same id as one before: {row['id']!r}.", file=str(path))
        table[row["id"]] = [cell == "1" for cell in cells]
    absent = [sample for sample in ids if sample not in table]
    if absent:
        problem = f"no row for {len(absent)} of {len(ids)} samples, the first is {absent[0]!r}."
        raise UserError(problem, remedy="Export the pattern from the same dataset.", file=str(path))
    return np.array([table[sample] for sample in ids], dtype=bool).reshape(len(ids), len(modalities))


def _rows(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # not text, or a path with a NUL character
        raise UserError(f"cannot read the missing pattern: {error}.", file=str(path)) from error
    # Only the first line can be a comment: an id may well start with the same sign.
    return text.partition("\n")[2] if text.startswith("# ") else text

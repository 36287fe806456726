"""Results on disk: one folder per trial, written atomically, verified when read. Free of torch.

    RESULTS/trials/<trial id>/record.json       the record, sealed with a checksum
                              outcomes.npz      which test predictions are right: what a report needs, a few kilobytes
                              predictions.npz   ids, labels, patterns and logits of the test split, if kept
                              model.safetensors the selected weights, if kept
    RESULTS/samples/<hash>.npz                  ids, groups and labels of test samples, shared by trials
    RESULTS/plans/<suite>.json                  what a suite asked for, so that a report needs no suite file
    RESULTS/set_aside/                          records that could not be read; never deleted

The folders are the truth; there is no index to fall out of step with them.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from mlabench.errors import UserError, cannot_write
from mlabench.record import SCHEMA_VERSION, Record
from mlabench.store.atomic import write_atomically
from mlabench.store.outcomes import (
    OUTCOMES,
    DamagedOutcomesError,
    SampleSet,
    TrialOutcomes,
    packed,
    read_outcomes,
    read_samples,
    write_outcomes,
)
from mlabench.suite import Plan

RECORD = "record.json"
PREDICTIONS = "predictions.npz"
MODEL = "model.safetensors"
#: The files that may lie beside a record.
BESIDE = (OUTCOMES, PREDICTIONS, MODEL)

Arrays = dict[str, NDArray[Any]]


class CorruptRecordError(Exception):
    """A record that does not parse, or whose checksum or files do not agree with it."""


@dataclass
class Store:
    """The results folder.

    Attributes:
        root: The folder; created when something is written.
        set_aside: What was moved out of the way since this object was made, as (trial id, reason).
        unread: Why plans could not be read, the last time :meth:`plans` was called.
    """

    root: Path
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    unread: list[UserError] = field(default_factory=list)
    _samples: dict[str, SampleSet] = field(default_factory=dict, init=False, repr=False)

    # -- trials ---------------------------------------------------------------------------------

    @property
    def trials(self) -> Path:
        """The folder that holds one folder per trial."""
        return self.root / "trials"

    def folder(self, trial_id: str) -> Path:
        """The folder of one trial."""
        return self.trials / trial_id

    def checkpoint(self, trial_id: str) -> Path:
        """Where the state of a trial's training is saved."""
        return self.root / "checkpoints" / trial_id

    def ids(self) -> list[str]:
        """Ids of all trials that have a record, sorted."""
        return sorted(path.parent.name for path in self.trials.glob(f"*/{RECORD}") if path.parent.name[0] != ".")

    def read(self, trial_id: str, *, quick: bool = False) -> Record | None:
        """The record of a trial, verified, or None. A corrupt one is set aside, reported in :attr:`set_aside`.

        A survey of thousands of trials need not read gigabytes: ``quick`` computes the checksums of predictions and
        weights only where these changed after the record was written.
        """
        try:
            try:
                return read_record(self.folder(trial_id), quick=quick)
            except CorruptRecordError:
                # It may have been replaced halfway through: only what stays corrupt is.
                return read_record(self.folder(trial_id), quick=quick)
        except FileNotFoundError:
            return None
        except CorruptRecordError as error:
            self._set_aside(trial_id, str(error))
            return None

    def seal(self, trial_id: str) -> str:
        """The end of a trial's record, which is its checksum unless it is damaged; empty if there is none. Cheap."""
        try:
            with (self.folder(trial_id) / RECORD).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 128))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def records(self) -> Iterator[Record]:
        """All records that can be read."""
        return filter(None, map(self.read, self.ids()))

    def predictions(self, trial_id: str) -> Arrays | None:
        """The arrays of ``predictions.npz``, or None if they were not kept.

        ``ids [N]``, ``groups [N]``, ``labels [N]`` and for every test pattern key K: ``K/present [N, M]``,
        ``K/fused [N, C]``, ``K/<modality> [N, C]`` and, where the method has them, ``K/weight [N, M]``; for complete
        samples also ``complete/projection/<modality> [N, 2]``. ``K/correct [N, M + 1]``, which older archives lack,
        says which of the modalities' and, last, of the fused predictions are right.
        """
        path = self.folder(trial_id) / PREDICTIONS
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    def outcomes(self, trial_id: str) -> TrialOutcomes | None:
        """Which test predictions of a trial are right, or None if that was not kept.

        Trials of the same test samples share one :class:`SampleSet`, which is read once.

        Raises:
            DamagedOutcomesError: If they cannot be read.
        """
        try:
            return read_outcomes(self.folder(trial_id) / OUTCOMES, self._read_samples)
        except FileNotFoundError:
            return None

    def write(
        self,
        record: Record,
        predictions: Mapping[str, NDArray[Any]] | None = None,
        model: bytes = b"",
        outcomes: TrialOutcomes | None = None,
    ) -> None:
        """Writes a trial's folder as one atomic step; an older one is replaced.

        Args:
            record: The record; its ``files`` are filled in here, and locations of files are left out.
            predictions: See :meth:`predictions`.
            model: The weights in safetensors format, if they are to be kept.
            outcomes: See :meth:`outcomes`.
        """
        with self._renewed(record.trial.id) as folder:
            if outcomes is not None:
                self._write_samples(outcomes.samples)
                write_outcomes(folder / OUTCOMES, outcomes)
            if predictions is not None:
                with (folder / PREDICTIONS).open("wb") as file:
                    np.savez_compressed(file, allow_pickle=False, **predictions)
            if model:
                (folder / MODEL).write_bytes(model)
            files = {name: _sha256(folder / name) for name in BESIDE if (folder / name).is_file()}
            stored = record.model_copy(update={"files": files, "trial": record.trial.portable()})
            (folder / RECORD).write_text(_seal(stored.model_dump_json()), encoding="utf-8")

    def adopt(self, other: Store, trial_id: str) -> None:
        """Copies a trial's folder, verified before, from another results folder, in the same way as :meth:`write`.

        Raises:
            DamagedOutcomesError: If the samples of its outcomes cannot be read.
        """
        outcomes, origin = other.outcomes(trial_id), other.folder(trial_id)
        with self._renewed(trial_id) as folder:
            if outcomes is not None:
                self._write_samples(outcomes.samples)
            for name in (*BESIDE, RECORD):  # the record last, as in `write`
                if (origin / name).is_file():
                    shutil.copyfile(origin / name, folder / name)

    def _read_samples(self, key: str) -> SampleSet:
        if key not in self._samples:
            self._samples[key] = read_samples(self.root / "samples" / f"{key}.npz")
        return self._samples[key]

    def _write_samples(self, samples: SampleSet) -> None:
        """Writes test samples, unless they are there already."""
        try:
            self._read_samples(samples.key)
        except DamagedOutcomesError:
            write_atomically(self.root / "samples" / f"{samples.key}.npz", packed(samples))

    @contextmanager
    def _renewed(self, trial_id: str) -> Iterator[Path]:
        """A folder to fill, which becomes the trial's at the end of the block, as one atomic step."""
        temporary, final, old = None, self.folder(trial_id), self.trials / f".{trial_id}.old"
        try:
            self.trials.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{trial_id}.", suffix=".tmp", dir=self.trials))
            yield temporary
            for path in [*temporary.iterdir(), temporary]:
                _sync(path)
            if final.exists():
                shutil.rmtree(old, ignore_errors=True)
                final.rename(old)  # `recover` repairs a crash between the two renames
            temporary.rename(final)
            _sync(self.trials)
            shutil.rmtree(old, ignore_errors=True)
        except Exception as error:
            if temporary is not None:  # on a full disk, what was written of it is in the way
                shutil.rmtree(temporary, ignore_errors=True)
            if isinstance(error, OSError):
                raise cannot_write("results", self.root, error) from error
            raise

    def write_failure(self, record: Record) -> None:
        """Writes a failed trial's record, unless the trial has a good one: nothing computed is lost."""
        old = self.read(record.trial.id)
        if old is None or old.status == "failed":
            self.write(record)

    def recover(self, trial_id: str) -> None:
        """Clears up after a crash: removes half-written folders and restores a record that was being replaced.

        Call it only while holding the trial's lease.
        """
        final, old = self.folder(trial_id), self.trials / f".{trial_id}.old"
        if old.is_dir() and not final.exists():
            old.rename(final)
        for path in [old, *self.trials.glob(f".{glob.escape(trial_id)}.*.tmp")]:
            shutil.rmtree(path, ignore_errors=True)

    def _set_aside(self, trial_id: str, reason: str) -> None:
        target = self.root / "set_aside" / f"{trial_id}.{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self.folder(trial_id).rename(target)
            reason += f"; moved to {target.parent}"
        except OSError:
            reason += "; it could not be moved"
        self.set_aside.append((trial_id, reason))

    # -- plans ----------------------------------------------------------------------------------

    def write_plan(self, plan: Plan) -> None:
        """Saves what a suite asked for."""
        cells = tuple(cell.model_copy(update={"trial": cell.trial.portable()}) for cell in plan.cells)
        content = plan.model_copy(update={"cells": cells}).model_dump_json()
        path = self.root / "plans" / f"{plan.name}.json"
        try:
            write_atomically(path, content.encode())
        except OSError as error:
            raise cannot_write("results", self.root, error) from error

    def plans(self) -> list[Plan]:
        """The plans of all suites that ran into this folder, by name; :attr:`unread` has those that cannot be read.

        Raises:
            UserError: If there are plans, but none can be read.
        """
        plans = []
        self.unread = []
        for path in sorted((self.root / "plans").glob("*.json")):
            try:
                plans.append(Plan.model_validate_json(path.read_text(encoding="utf-8")))
            except (OSError, ValueError) as error:
                problem = f"this plan cannot be read ({type(error).__name__})."
                remedy = "Run the suite again (finished trials are reused), or move the file elsewhere."
                self.unread.append(UserError(problem, remedy=remedy, file=str(path)))
        if self.unread and not plans:
            raise UserError.of(self.unread)
        return plans


def read_record(folder: Path, *, quick: bool = False) -> Record:
    """Reads and verifies one trial's folder: fields, checksums of all files, and that it is the trial it is called.

    Raises:
        FileNotFoundError: If there is no such folder.
        CorruptRecordError: If it does not parse, or a checksum does not agree.
        UserError: If it may not be read, or was written by a newer version.
    """
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    path = folder / RECORD
    try:
        body, seal = _unseal(path.read_text(encoding="utf-8"))
    except PermissionError as error:
        raise UserError("this record may not be read.", remedy="Correct its permissions.", file=str(path)) from error
    except (OSError, ValueError) as error:
        raise CorruptRecordError(f"{RECORD} does not parse ({type(error).__name__})") from error
    if _digest(body) != seal:
        raise CorruptRecordError(f"{RECORD} does not have the checksum that it was written with")
    try:
        record = Record.model_validate_json(body)
    except ValidationError as error:
        for fault in error.errors():
            if fault["loc"] == ("schema_version",) and fault["type"] == "less_than_equal":
                problem = f"this record has schema version {fault['input']}, newer than {SCHEMA_VERSION}."
                raise UserError(problem, remedy="Upgrade mlabench.", file=str(path)) from error
        raise CorruptRecordError(f"{RECORD} does not have the expected fields ({error.error_count()})") from error
    if record.trial.id != folder.name:
        raise CorruptRecordError(f"{RECORD} belongs to the trial {record.trial.id}")
    _check_files(folder, record.files, changed_since=path.stat().st_mtime_ns if quick else -1)
    return record


def _check_files(folder: Path, checksums: Mapping[str, str], changed_since: int) -> None:
    """Compares the files beside a record with their checksums; only those written after ``changed_since`` (in ns)."""
    for path in (folder / name for name in BESIDE):
        if not path.exists():
            continue  # left out on purpose (committed references carry no predictions)
        is_old = path.name in checksums and path.stat().st_mtime_ns <= changed_since
        if not is_old and _sha256(path) != checksums.get(path.name):
            raise CorruptRecordError(f"{path.name} does not have the checksum that it was written with")


#: What stands around the checksum at the end of a record: now, and when records had a line for each value.
_SEALS = ((',"sha256":"', '"}\n', "}"), (',\n "sha256": "', '"\n}\n', "\n}"))


def _seal(body: str) -> str:
    """Adds the checksum of a JSON object as its last field, so that verifying needs no parsing."""
    before, after, end = _SEALS[0]
    return f"{body.removesuffix(end)}{before}{_digest(body)}{after}"


def _unseal(text: str) -> tuple[str, str]:
    """The JSON object and its checksum; ValueError if there is none."""
    for before, after, end in _SEALS:
        head, mark, tail = text.rpartition(before)
        if mark and tail.endswith(after):
            return head + end, tail.removesuffix(after)
    raise ValueError("no checksum")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256(path: Path) -> str:
    """Of a file; empty if it is not one."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _sync(path: Path) -> None:
    """Flushes a file or a folder's entries to disk, where the system can."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # Windows cannot open folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

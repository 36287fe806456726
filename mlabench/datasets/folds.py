"""Folds: a dataset's samples divided again into training, validation and test parts, dependent ones kept together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlabench.datasets.contract import Data, Dataset, ModalityInputs, Split, StoredRows, Task
from mlabench.errors import UserError
from mlabench.trial import Fold
from mlabench.words import counted

#: One in so many groups of the training part is for validation.
VALIDATION = 8

_HASHES = 2**64
_Mask = NDArray[np.bool_]

_CUT = (
    "Folds by {by!r} cut through groups (dialogues, texts or the like): samples that share one with the test part "
    "are for validation, never for training."
)
#: A division of this name says who speaks.
_SPEAKER = "speaker"
_SHARED = "Speakers of the test part are in the training part, too: not comparable with results for unseen speakers."


def fold_names(dataset: Dataset, by: str, count: int | None) -> tuple[str, ...]:
    """The names of the folds into which a dataset can be divided; see :class:`mlabench.trial.Fold`.

    Raises:
        UserError: If the dataset has no such division, or too few units of a class for so many folds.
    """
    data = dataset.load()
    samples = _pooled(data, modalities=())
    units = _units(samples, by)
    values = sorted(set(units), key=lambda value: (0, int(value), "") if value.isdecimal() else (1, 0, value))
    _check_classes(data.task, samples, units, by, count)
    names = tuple(values) if count is None else tuple(str(number) for number in range(1, count + 1))
    for name in names if by else ():
        _divide(data.task, samples, Fold(by=by, count=count, name=name), seed=0)
    return names


def with_fold(data: Data, fold: Fold, seed: int) -> Data:
    """The data with another split: the fold is tested; an eighth of the other groups, by class, is for validation.

    Where a division cuts through groups, what shares a group with the test part is for validation, too. ``seed``
    decides how units are dealt (:func:`deal`) and which groups are for validation.

    Raises:
        UserError: If the training part has no sample of a class.
    """
    samples = _pooled(data, data.task.modalities)
    # Samples stand in the order of their ids, so that the split they come from leaves no trace.
    order = np.array(sorted(range(len(samples)), key=samples.ids.__getitem__))
    masks = _divide(data.task, samples, fold, seed)
    train, validation, test = (samples.take(order[mask[order]]) for mask in masks)
    notes = [_CUT.format(by=fold.by)] if {*test.groups} & {*validation.groups} else []
    if _SPEAKER in samples.units and {*test.units[_SPEAKER]} & {*train.units[_SPEAKER]}:
        notes.append(_SHARED)
    return replace(data, train=train, validation=validation, test=test, notes=(*data.notes, *notes), split_notes=())


def _divide(task: Task, samples: Split, fold: Fold, seed: int) -> tuple[_Mask, _Mask, _Mask]:
    """Which samples are for training, for validation and for test. bool ``[N]`` each"""
    units = _units(samples, fold.by)
    if fold.count is None:
        tested = np.array([unit == fold.name for unit in units])
    else:
        dealt = deal(units, samples.labels, fold.count, f"{seed}\0test")
        tested = np.array([str(dealt[unit] + 1) == fold.name for unit in units])
    touched = {samples.groups[row] for row in np.flatnonzero(tested)}
    kept = touched | _for_validation(samples, touched, f"{seed}\0{fold.name}\0validation")
    validates = ~tested & np.array([group in kept for group in samples.groups])
    trains = ~tested & ~validates
    if not trains.any():
        raise UserError(
            f"folds by {fold.by!r} cut through all groups, so that nothing is left to train on.",
            remedy="Give a number of folds: they keep groups whole.",
            field="folds",
        )
    for label in set(samples.labels.tolist()) - set(samples.labels[trains].tolist()):
        raise UserError(
            f"the training part of the fold {fold.name!r} has no sample of the class {task.classes[label]!r}.",
            remedy="Use other folds, or leave the class out.",
            field="folds",
        )
    return trains, validates, tested


def deal(units: Sequence[str], labels: Iterable[int], count: int, salt: str) -> dict[str, int]:
    """The fold, from 0, that each unit is dealt to: whole units, stratified by class.

    The units of a class stand in the order of a hash of ``salt`` and their name, and are cut into ``count`` stretches
    of equal length, up to one; a hash of the class decides which are the longer ones. ``units`` and ``labels`` are
    those of each sample; a unit belongs to its most frequent class.

    So more samples of known units move nobody, whatever their number, and a new unit moves ``count - 1`` others of its
    class at most, those at the borders. A fold drawn for each unit by itself would move none, but of five folds of
    ``stamps`` (644 concepts) the smallest would have 98 concepts and the largest 165 instead of 126 and 133, and one
    fold in fifty would test a class with no sample.
    """
    dealt = {}
    for label, members in _by_class(units, labels, salt).items():
        start = _hash(salt, "class", str(label))
        for rank, unit in enumerate(members):
            dealt[unit] = count * (rank * _HASHES + start) // (len(members) * _HASHES)
    return dealt


def _for_validation(samples: Split, tested: set[str], salt: str) -> set[str]:
    """An eighth of the groups that are not ``tested``: of each class one at least, and never its only one."""
    others = np.flatnonzero([group not in tested for group in samples.groups])
    members = _by_class([samples.groups[row] for row in others], samples.labels[others], salt).values()
    return {group for own in members if len(own) > 1 for group in own[: max(1, round(len(own) / VALIDATION))]}


def _by_class(units: Sequence[str], labels: Iterable[int], salt: str) -> dict[int, list[str]]:
    """The units by their most frequent class, in the order of a hash."""
    counts: dict[str, Counter[int]] = {}
    for unit, label in zip(units, labels, strict=True):
        counts.setdefault(unit, Counter())[int(label)] += 1
    classes: dict[int, list[str]] = {}
    for unit in sorted(counts, key=lambda unit: (_hash(salt, "unit", unit), unit)):
        found = counts[unit]
        classes.setdefault(min(found, key=lambda label: (-found[label], label)), []).append(unit)
    return classes


def _hash(*parts: str) -> int:
    """A number below ``_HASHES``, a pure function of ``parts``."""
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest())


def _units(samples: Split, by: str) -> tuple[str, ...]:
    if by and by not in samples.units:
        known = f"It has {', '.join(samples.units)}." if samples.units else "It has none: give a number of folds."
        raise UserError(
            f"the dataset has no division {by!r}.",
            remedy=f"{known} mlabench/datasets/README.md says what each dataset's divisions need.",
            field="folds.by",
        )
    return samples.units[by] if by else samples.groups


def _check_classes(task: Task, samples: Split, units: Sequence[str], by: str, count: int | None) -> None:
    """Every class must be in as many units as there are folds, and in two of those that are folds themselves."""
    having: dict[int, set[str]] = {}
    for unit, label in zip(units, samples.labels.tolist(), strict=True):
        having.setdefault(label, set()).add(unit)
    rarest = min(having, key=lambda label: (len(having[label]), label))
    fewest = len(having[rarest])
    if fewest < (count or 2):
        why = f"fewer than the {count} folds." if count else "and cannot be learned where that is tested."
        raise UserError(
            f"the class {task.classes[rarest]!r} is in {counted(fewest, by or 'group')} only, {why}",
            remedy=f"Use {fewest} folds at most." if fewest > 1 else "Use other folds, or leave the class out.",
            field="folds",
        )


def _pooled(data: Data, modalities: Iterable[str]) -> Split:
    """The samples of all splits, with the inputs of these ``modalities``."""
    splits = (data.train, data.validation, data.test)
    return Split(
        ids=tuple(sample for split in splits for sample in split.ids),
        labels=np.concatenate([split.labels for split in splits]),
        inputs={modality: _joined([split.inputs[modality] for split in splits]) for modality in modalities},
        groups=tuple(group for split in splits for group in split.groups),
        units={name: tuple(unit for split in splits for unit in split.units[name]) for name in data.train.units},
    )


def _joined(parts: Sequence[ModalityInputs]) -> ModalityInputs:
    first = parts[0]
    stored = [part for part in parts if isinstance(part, StoredRows)]
    if isinstance(first, StoredRows) and all(part.array is first.array for part in stored):
        rows: NDArray[np.int64] = np.concatenate([part.rows for part in stored])
        return StoredRows(first.array, rows)
    if isinstance(first, tuple):
        return tuple(item for part in parts if isinstance(part, tuple) for item in part)
    return np.concatenate([part.read(np.arange(len(part))) if isinstance(part, StoredRows) else part for part in parts])

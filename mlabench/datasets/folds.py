"""Folds: a dataset's samples dealt again into training, validation and test parts, groups of dependent ones whole."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mlabench.datasets.contract import Data, Dataset, ModalityInputs, Split, StoredRows
from mlabench.errors import UserError
from mlabench.trial import Fold

#: The share of the training part, in groups, that epochs are selected on.
VALIDATION = 1 / 8


def fold_names(dataset: Dataset, by: str, count: int | None) -> tuple[str, ...]:
    """The names of the folds into which a dataset can be divided; see :class:`mlabench.trial.Fold`.

    Raises:
        UserError: If the dataset has no such division, or fewer units than folds.
    """
    if count is not None and not by:
        return tuple(str(number) for number in range(1, count + 1))
    values = sorted(set(_units(pooled(dataset.load()), by)))
    if count is None:
        return tuple(values)
    if len(values) < count:
        raise UserError(f"{count} folds by {by!r} need as many values of it; there are {len(values)}.", field="folds")
    return tuple(str(number) for number in range(1, count + 1))


def with_fold(data: Data, fold: Fold, seed: int) -> Data:
    """The data with another split: the fold is tested, an eighth of the other groups is for validation.

    ``seed`` decides how the units are dealt (:func:`deal`); where each value of a division is a fold of its own, it
    only decides which groups are for validation.
    """
    samples = pooled(data)
    units = _units(samples, fold.by)
    if fold.count is None:
        tested = np.array([unit == fold.name for unit in units])
    else:
        dealt = deal(units, samples.labels, fold.count, f"{seed}\0test")
        tested = np.array([str(dealt[unit] + 1) == fold.name for unit in units])
    (rest,), (test,) = (~tested).nonzero(), tested.nonzero()
    others = samples.take(rest)
    parts = round(1 / VALIDATION)
    held_out = deal(others.groups, others.labels, parts, f"{seed}\0{fold.name}\0validation")
    validates = np.array([held_out[group] == 0 for group in others.groups])
    return replace(
        data,
        train=others.take((~validates).nonzero()[0]),
        validation=others.take(validates.nonzero()[0]),
        test=samples.take(test),
    )


def deal(units: Sequence[str], labels: Iterable[int], count: int, salt: str) -> dict[str, int]:
    """The part, from 0, that each unit is dealt to: whole units, stratified by class.

    Within a class, the units stand in a circle in the order of a hash of ``salt`` and their name; the circle begins at
    a hash of the class and is cut into ``count`` arcs with equal numbers of units, up to one. So another seed deals
    again, more samples of known units move nobody, and a new unit only moves those at the borders of arcs.
    ``units`` and ``labels`` are those of each sample; a unit belongs to its most frequent class.
    """
    classes: dict[int, list[str]] = {}
    for unit, label in _class_of(units, labels).items():
        classes.setdefault(label, []).append(unit)
    dealt = {}
    for label, members in classes.items():
        start = _uniform(salt, "class", str(label))
        for rank, unit in enumerate(sorted(members, key=lambda unit: (_uniform(salt, "unit", unit), unit))):
            dealt[unit] = int(count * ((rank + start) / len(members) % 1.0))
    return dealt


def pooled(data: Data) -> Split:
    """All samples, in the order of their ids, so that the split they come from leaves no trace."""
    splits = (data.train, data.validation, data.test)
    ids = [sample for split in splits for sample in split.ids]
    names = dict.fromkeys(name for split in splits for name in split.units)
    whole = Split(
        ids=tuple(ids),
        labels=np.concatenate([split.labels for split in splits]),
        inputs={modality: _joined([split.inputs[modality] for split in splits]) for modality in data.task.modalities},
        groups=tuple(group for split in splits for group in split.groups),
        units={name: tuple(unit for split in splits for unit in split.units[name]) for name in names},
    )
    return whole.take(np.argsort(np.array(ids), kind="stable"))


def _joined(parts: Sequence[ModalityInputs]) -> ModalityInputs:
    if stored := [part for part in parts if isinstance(part, StoredRows)]:
        return StoredRows(stored[0].array, np.concatenate([part.rows for part in stored]))
    if isinstance(parts[0], tuple):
        return tuple(item for part in parts if isinstance(part, tuple) for item in part)
    return np.concatenate([np.asarray(part) for part in parts])


def _units(samples: Split, by: str) -> tuple[str, ...]:
    if not by:
        return samples.groups
    if by not in samples.units:
        known = ", ".join(samples.units) or "none; give a number of folds instead"
        raise UserError(f"the dataset has no division {by!r}.", remedy=f"Its divisions: {known}.", field="folds.by")
    return samples.units[by]


def _class_of(units: Sequence[str], labels: Iterable[int]) -> Mapping[str, int]:
    counts: dict[str, Counter[int]] = {}
    for unit, label in zip(units, labels, strict=True):
        counts.setdefault(unit, Counter())[int(label)] += 1
    return {unit: min(found, key=lambda label: (-found[label], label)) for unit, found in counts.items()}


def _uniform(*parts: str) -> float:
    """A number in [0, 1), a pure function of ``parts``."""
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2.0**53

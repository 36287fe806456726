"""The dataset contract. Free of torch, so that listings and reports stay quick.

A dataset is a class registered under the entry-point group ``mlabench.datasets``. It turns its
options into a :class:`Data`: a task and its train, validation and test splits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mlabench import registry
from mlabench.errors import UserError
from mlabench.hyperparameters import Hyperparameters
from mlabench.media import Item, Medium


@dataclass(frozen=True)
class Task:
    """What is to be learned.

    Attributes:
        modalities: Names of the modalities; this order is the column order of ``present`` everywhere.
        classes: Names of the classes; a label is an index into it.
        shapes: Shape of one sample's input per modality, without the sample axis, e.g. ``(1280,)``. A raw
            modality has one only when it has been decoded as its encoder wants it.
    """

    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class StoredRows:
    """Rows of an array that is read on demand: on disk, so that it may be larger than memory, or shared by samples.

    Attributes:
        array: Memory-mapped, or in memory. ``[R, *shape]``
        rows: Which of its rows these are, in order. int64 ``[N]``
    """

    array: NDArray[Any]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: NDArray[np.int64]) -> StoredRows:
        """The rows at ``rows``, not read yet."""
        return StoredRows(self.array, self.rows[rows])

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """A copy in memory of the rows at ``rows [n]``. ``[n, *shape]``"""
        return self.array[self.rows[rows]]


#: One modality of a split: values ``[N, *shape]`` in memory or on disk, or raw items that are not decoded yet.
ModalityInputs = NDArray[Any] | StoredRows | tuple[Item, ...]


@dataclass(frozen=True)
class Split:
    """One split.

    Attributes:
        ids: Sample ids, unique over the whole dataset; missing patterns are drawn from them. ``[N]``
        labels: Class indices. int64 ``[N]``
        inputs: Per modality, in memory, on disk, or raw. Features are float32.
        groups: What samples share when they are not independent (a stamp, a speaker). ``[N]``
        units: Other divisions of the samples that folds can follow, such as ``session``: the value of each sample,
            by the division's name. ``[N]`` each
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    inputs: Mapping[str, ModalityInputs]
    groups: tuple[str, ...]
    units: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Split:
        """The split restricted to ``rows``, in that order."""
        rows = np.asarray(rows, dtype=np.int64)
        return Split(
            ids=tuple(self.ids[row] for row in rows),
            labels=self.labels[rows],
            inputs={modality: _take(values, rows) for modality, values in self.inputs.items()},
            groups=tuple(self.groups[row] for row in rows),
            units={name: tuple(values[row] for row in rows) for name, values in self.units.items()},
        )


def _take(values: ModalityInputs, rows: NDArray[np.int64]) -> ModalityInputs:
    if isinstance(values, StoredRows):
        return values.take(rows)
    return tuple(values[row] for row in rows) if isinstance(values, tuple) else values[rows]


@dataclass(frozen=True)
class Data:
    """A loaded dataset.

    Attributes:
        task: What is to be learned.
        train: The split that methods are trained on.
        validation: The split that epochs are selected on; never the test split.
        test: Seen by the evaluator only.
        notes: Caveats that reports print with every number, e.g. how labels were chosen.
        split_notes: Caveats of the dataset's own split alone, e.g. that speakers stand in train and test. Folds have
            none of these.
        skipped: Number of items left out, by reason.
        complaints: Number of items that were decoded although their decoder reported damage, by modality.
        bayes: The best accuracy that any method can have, in [0, 1], of every subset of the modalities, by
            :func:`subset_key`; empty where it is not known, as in all real data.
    """

    task: Task
    train: Split
    validation: Split
    test: Split
    notes: tuple[str, ...] = field(default=())
    split_notes: tuple[str, ...] = field(default=())
    skipped: Mapping[str, int] = field(default_factory=dict)
    complaints: Mapping[str, int] = field(default_factory=dict)
    bayes: Mapping[str, float] = field(default_factory=dict)

    @property
    def damage(self) -> tuple[str, ...]:
        """Notes on what was left out, and on what was decoded although its decoder complained."""
        told = {"Left out": self.skipped, "Decoded, but with complaints of the decoder": self.complaints}
        return tuple(
            f"{what}: {', '.join(f'{name} ({count:,})' for name, count in sorted(counts.items()))}."
            for what, counts in told.items()
            if counts
        )


def subset_key(modalities: Iterable[str]) -> str:
    """The name of a subset of the modalities, which are given in the task's order: ``audio+image``."""
    return "+".join(modalities)


def best_accuracies(
    bayes: Mapping[str, float], modalities: Sequence[str], present: NDArray[np.bool_]
) -> dict[str, float]:
    """The best accuracy that any method can have under a missing pattern, in [0, 1].

    Args:
        bayes: That of every subset of the modalities; see :class:`Data`.
        modalities: Names of the columns of ``present``.
        present: The pattern. bool ``[N, M]``

    Returns:
        ``multimodal``, over all samples, and each modality, over the samples that have it, if any.
    """
    rows, counts = np.unique(present, axis=0, return_counts=True)
    subsets = [subset_key(name for name, here in zip(modalities, row, strict=True) if here) for row in rows]
    multimodal = float(np.dot([bayes[subset] for subset in subsets], counts) / len(present))
    seen = [name for column, name in enumerate(modalities) if present[:, column].any()]
    return {"multimodal": multimodal, **{name: bayes[name] for name in seen}}


@dataclass(frozen=True)
class Inventory:
    """What raw files hold, or what was made of them.

    Attributes:
        folder: Where it lies.
        samples: Number of samples by split.
        skipped: Number of items left out, by reason.
    """

    folder: Path
    samples: dict[str, int]
    skipped: dict[str, int]


#: Called with the stage, the number of items done and their total.
ReportProgress = Callable[[str, int, int], None]


def silent(*_: object) -> None:
    """A :data:`ReportProgress` that shows nothing."""


class Dataset(ABC):
    """Contract of a dataset.

    The class docstring's first line is the summary shown by ``mlabench ls datasets``. A module that
    defines a dataset must not import torch at its top level.
    """

    class Config(Hyperparameters):
        """The dataset's options, e.g. which modalities or which published split."""

    config: Hyperparameters
    #: Increase it whenever a change to the code changes what is loaded; trials of older versions then run again.
    version: ClassVar[int] = 1
    #: Where the data come from and under which licence, in one sentence.
    source: ClassVar[str] = ""
    #: The published dataset this one stands in for, if any; tables say so.
    twin_of: ClassVar[str] = ""
    #: Another dataset that has the same samples, if any; means over datasets count the two as one.
    samples_of: ClassVar[str] = ""
    #: Encoders and training that suit these data, as a suite would write them. ``--dataset`` puts them in place
    #: of a suite's own, which were meant for other data.
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, config: Hyperparameters) -> None:
        self.config = config

    @property
    def name(self) -> str:
        """The name it is registered under; the class's own if it is not."""
        own = type(self).__module__, type(self).__name__
        names = (name for name, entry in registry.entries("datasets").items() if (entry.module, entry.attribute) == own)
        return next(names, own[1])

    @property
    def media(self) -> Mapping[str, Medium]:
        """What each modality consists of, in the task's order. Override it where that needs no loading.

        Raises:
            UserError: As :meth:`load`.
        """
        return dict.fromkeys(self.load().task.modalities, "features")

    @abstractmethod
    def fingerprint(self) -> str:
        """A short hash of everything that decides the samples: files, splits, options that change them.

        Raises:
            UserError: If the data are not there; it says what to get and where to put it.
        """

    @abstractmethod
    def load(self) -> Data:
        """Loads the three splits.

        Raises:
            UserError: If the data are not there or do not have the expected layout.
        """

    def fit(self, data: Data) -> Data:
        """What is fitted to data (standardisation, PCA), fitted to ``data.train`` alone and applied to all splits.

        Called after the split is made, whether it is the dataset's own or one of its folds. Optional.
        """
        return data

    def check(self, root: Path | None = None) -> Inventory:  # noqa: ARG002
        """Counts the samples that the raw files hold. Optional.

        Args:
            root: Where the raw files are; ``None`` for where they are installed, or where an option says.

        Raises:
            UserError: If the dataset has no raw files, or they are not found.
        """
        raise UserError(f"{type(self).__name__} is not made from raw files, so there is nothing to check.")

    def prepare(
        self,
        root: Path | None = None,  # noqa: ARG002
        out: Path | None = None,  # noqa: ARG002
        progress: ReportProgress | None = None,  # noqa: ARG002
    ) -> Inventory:
        """Rebuilds the features that :meth:`load` reads from the raw files. Optional.

        Args:
            root: Where the raw files are; ``None`` for where they are installed.
            out: Folder to write to; ``None`` for the one that :meth:`load` reads.
            progress: Called after each item.

        Raises:
            UserError: If the dataset has no raw files, they are not found, or ``out`` cannot be written.
        """
        raise UserError(f"{type(self).__name__} is not made from raw files, so there is nothing to prepare.")

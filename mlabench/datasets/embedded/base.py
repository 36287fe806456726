"""The base of datasets whose frozen features ship inside the package. Free of torch."""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from mlabench.datasets.contract import Data, Dataset, Inventory, ReportProgress, Split, StoredRows, Task
from mlabench.datasets.embedded.fitting import Counts, principal_components, standardise
from mlabench.datasets.embedded.rebuild import Rebuild
from mlabench.datasets.embedded.storage import Features, fingerprint, read_features, restore
from mlabench.media import Medium

#: An option of a dataset.
Components = Annotated[
    int | None,
    Field(
        ge=1,
        description="Principal components that pictures and texts are reduced to, fitted to the training samples; "
        "null: all dimensions, standardised.",
    ),
]


class Embedded(Dataset):
    """A folder of features, their table of samples and their data card; see :mod:`mlabench.datasets.embedded.storage`.

    :meth:`load` gives the features as their encoders made them, each distinct row once; :meth:`fit` makes of them what
    methods see. A subclass declares the following, and its ``Config`` has fields ``modalities`` and ``components``.
    """

    #: The folder of the features; ``README.md`` there is the data card.
    folder: ClassVar[Path]
    #: Names of the classes, in the order of their indices.
    classes: ClassVar[tuple[str, ...]]
    #: How the features are rebuilt from raw files.
    rebuild: ClassVar[Rebuild[Any]]

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """Caveats that reports print with every number."""

    @property
    def media(self) -> dict[str, Medium]:
        """The chosen modalities, in the order of the columns."""
        modalities: tuple[str, ...] = getattr(self.config, "modalities", ())
        return dict.fromkeys(modalities, "features")

    def options(self) -> dict[str, Any]:
        """The options that decide what is loaded."""
        return self.config.model_dump(mode="json")

    def column(self, modality: str) -> str:
        """The column of the table, and name of the tensor, that a modality is read from."""
        return modality

    def fingerprint(self) -> str:
        """First 12 hex digits of a SHA-256 over the files and the options that matter."""
        return fingerprint(self.folder, self.options(), self._remedy)

    def load(self) -> Data:
        """Loads the three splits from the folder of features; nothing is fitted to any of them."""
        rows, tensors, metadata = read_features(self.folder, self._remedy)
        features = {modality: restore(tensors, self.column(modality)) for modality in self.media}
        shapes = {modality: values.shape[1:] for modality, values in features.items()}

        def split(name: str) -> Split:
            own = [row for row in rows if row["split"] == name]
            return Split(
                ids=tuple(row["id"] for row in own),
                labels=np.array([self.classes.index(row["class"]) for row in own], dtype=np.int64),
                inputs={
                    modality: StoredRows(values, np.array([int(row[self.column(modality)]) for row in own], np.int64))
                    for modality, values in features.items()
                },
                groups=tuple(row["concept"] for row in own),
            )

        skipped = json.loads(metadata["made"])["skipped"].items()
        left_out = ", ".join(f"{reason} ({count})" for reason, count in skipped)
        return Data(
            task=Task(tuple(self.media), self.classes, shapes),
            train=split("train"),
            validation=split("validation"),
            test=split("test"),
            notes=(*self.notes, f"Left out when the features were made: {left_out}."),
        )

    def fit(self, data: Data) -> Data:
        """Features as methods see them, float32 in memory, fitted to the training samples alone."""
        fitted = {}
        for modality in data.task.modalities:
            rows = stored_rows(data.train, modality)
            uses = np.bincount(rows.rows, minlength=len(rows.array))
            fitted[modality] = self.transform(modality, rows.array, uses, data)

        def split(own: Split) -> Split:
            inputs = {modality: values[stored_rows(own, modality).rows] for modality, values in fitted.items()}
            return replace(own, inputs=inputs)

        return replace(
            data,
            task=replace(data.task, shapes={modality: values.shape[1:] for modality, values in fitted.items()}),
            train=split(data.train),
            validation=split(data.validation),
            test=split(data.test),
        )

    def transform(self, modality: str, values: Features, uses: Counts, data: Data) -> Features:  # noqa: ARG002
        """What methods see of a modality.

        Args:
            modality: Its name.
            values: Its distinct rows, as :meth:`load` gives them. ``[R, D]``
            uses: How many training samples use each; a row that none uses must have no say. int64 ``[R]``
            data: The samples.

        Returns:
            The rows, transformed. float32 ``[R, d]``
        """
        components: int | None = getattr(self.config, "components", None)
        if components is None or components >= values.shape[1]:
            return standardise(values, uses)
        return principal_components(values, uses, components)

    def check(self, root: Path | None = None) -> Inventory:
        """See :meth:`Dataset.check`."""
        return self.rebuild.check(root)

    def prepare(
        self, root: Path | None = None, out: Path | None = None, progress: ReportProgress | None = None
    ) -> Inventory:
        """See :meth:`Dataset.prepare`."""
        return self.rebuild.prepare(root, out or self.folder, self.folder, progress)

    @property
    def _remedy(self) -> str:
        """What to do if the files are missing."""
        return (
            f"Reinstall mlabench, or rebuild the features: `mlabench data prepare {self.name} --root DIR`. "
            f"For DIR: {self.rebuild.obtain}"
        )


def stored_rows(split: Split, modality: str) -> StoredRows:
    """A modality's rows, as :meth:`Embedded.load` gives them."""
    rows = split.inputs[modality]
    if not isinstance(rows, StoredRows):
        raise TypeError(f"the features of {modality!r} have been fitted already")
    return rows

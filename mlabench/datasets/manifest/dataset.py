"""The dataset ``manifest``: your own data, described by one table."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from mlabench.datasets.contract import Data, Inventory, Split
from mlabench.datasets.listing import SPLITS, LeftOutError, Listing, RawSample, SplitName
from mlabench.datasets.manifest.feature_files import Features, read_array, read_arrays
from mlabench.datasets.manifest.table import Table, read_table
from mlabench.datasets.published.base import RawDataset
from mlabench.datasets.splits import split_groups
from mlabench.errors import UserError
from mlabench.hyperparameters import Hyperparameters
from mlabench.media import Audio, Image, Item, Medium, Text, Video

#: What a table may call the splits, in any case.
SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
#: How samples are split if the table does not say.
SHARES: dict[SplitName, float] = {"train": 0.7, "validation": 0.1, "test": 0.2}
#: How training samples are split if the table has no validation rows.
VALIDATION_SHARES: dict[SplitName, float] = {"train": 0.9, "validation": 0.1}
#: If more than this share of a column's files are not there, something is wrong with the paths, not with the files.
ABSENT_SHARE = 0.1

_FILES: dict[Medium, Callable[[Path], Item]] = {"image": Image, "video": Video, "audio": Audio}


class Manifest(RawDataset):
    """Your own data: one table that names each sample's class, split and files.

    The table is CSV, TSV or Parquet; ``mlabench/datasets/README.md`` has its columns. A sample that lacks a modality
    (an empty cell, or a file that is not there) is left out and counted; modalities go missing by the suite's patterns
    only.
    """

    class Config(Hyperparameters):
        """Options of ``manifest``."""

        file: Path = Field(description="The table: CSV, TSV or Parquet.")
        folder: Path | None = Field(
            default=None, description="Where relative paths in the table start; default: the table's folder."
        )
        modalities: dict[
            Annotated[str, Field(pattern=r"^[A-Za-z]\w*$")], Literal["image", "video", "audio", "text", "features"]
        ] = Field(
            min_length=1,
            description="What each modality consists of, e.g. {speech: audio, caption: text}; each is a column of the "
            "table, and everywhere they stand in alphabetical order.",
        )
        features: Path | None = Field(
            default=None,
            description="A .safetensors or .npz file with one array [N, ...] per modality of features; row i belongs "
            "to row i of the table. Without it, their columns name .npy files.",
        )
        units: tuple[str, ...] = Field(
            default=(),
            exclude_if=lambda units: not units,
            description="Columns that folds can follow, such as a speaker or a session: `folds: {by: speaker}`. "
            "A column `fold` is one of them by itself.",
        )

        @field_validator("modalities")
        @classmethod
        def _no_column_of_another_meaning(cls, value: dict[str, str]) -> dict[str, str]:
            taken = {"id", "label", "split", "group", "fold"} & value.keys()
            if taken:
                raise ValueError(
                    f"{min(taken)!r} is not a valid modality: the table's column of that name means something else"
                )
            return value

        @model_validator(mode="after")
        def _features_are_used(self) -> Self:
            if self.features and "features" not in self.modalities.values():
                raise ValueError("a file of features is given, but no modality consists of features")
            return self

    config: Config
    source = "Your own files."

    @property
    def media(self) -> dict[str, Medium]:
        """What each modality consists of, in alphabetical order: a suite's mappings have none of their own."""
        return dict(sorted(self.config.modalities.items()))

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of all rows, sorted."""
        return tuple(sorted({row["label"] for row in self._table.rows}))

    @cached_property
    def _table(self) -> Table:
        """The table, its ids and labels checked."""
        wanted = {"id", "label", "split", "group", "fold", *self.config.units, *self.media}
        table = read_table(self.config.file, wanted)
        for column in ("id", "label"):
            table.require(column, f"Add it: every sample needs its {column}.")
        for modality, medium in self.media.items():
            if medium != "features" or not self.config.features:
                remedy = (
                    "Add it, or give the file of all features as `features`." if medium == "features" else "Add it."
                )
                table.require(modality, remedy, field=f"dataset.modalities.{modality}")
        for unit in self.config.units:
            table.require(unit, "Add it, or leave it out of 'units'.", field="dataset.units")
        first: dict[str, int] = {}
        for number, row in enumerate(table.rows):
            for column in ("id", "label", *self._units(table)):
                if not row[column]:
                    raise table.error(number, column, "the cell is empty.", "Fill it in, or remove the row.")
            if first.setdefault(row["id"], number) != number:
                before = f"line {table.lines[first[row['id']]]}" if table.lines else f"row {first[row['id']] + 1}"
                raise table.error(
                    number, "id", f"the id {row['id']!r} is that of {before} already.", "Give each sample its own."
                )
        if len({row["label"] for row in table.rows}) < 2:
            raise table.error(0, "label", "all rows have the same label.", "There must be two classes at least.")
        return table

    def _units(self, table: Table) -> list[str]:
        """The columns that folds can follow."""
        return list(dict.fromkeys((*(["fold"] if "fold" in table.columns else []), *self.config.units)))

    @cached_property
    def _arrays(self) -> dict[str, Features]:
        """The arrays of the file of features, if there is one. ``[rows of the table, ...]``"""
        if not self.config.features:
            return {}
        names = [modality for modality, medium in self.media.items() if medium == "features"]
        return read_arrays(self.config.features, names, len(self._table.rows))

    @cached_property
    def _features(self) -> dict[str, dict[str, Features]]:
        """Features by modality and sample id, filled by :meth:`listing`."""
        return defaultdict(dict)

    def listing(self) -> Listing[RawSample]:
        """Lists the samples in the order of the table; features are read, raw files only looked for."""
        listing = Listing[RawSample]()
        splits = self._splits(listing.split_notes)
        units = self._units(self._table)
        absent = {modality: self._absent(modality) for modality in self.media}
        for number, row in enumerate(self._table.rows):
            with listing.counting():
                items = {modality: self._item(number, modality, absent[modality]) for modality in self.media}
                group = row.get("group") or row["id"]
                listing.samples.append(
                    RawSample(
                        row["id"], row["label"], splits[number], items, group, {unit: row[unit] for unit in units}
                    )
                )
        return listing

    def load(self) -> Data:
        """The three splits: features in memory, raw inputs not decoded yet."""
        data = super().load()
        shapes = {modality: next(iter(values.values())).shape for modality, values in self._features.items()}
        return replace(data, task=replace(data.task, shapes=shapes))

    def check(self, root: Path | None = None) -> Inventory:
        """What :meth:`listing` found; the folder is that in which relative paths start."""
        return replace(super().check(root), folder=self._folder)

    def _split(self, name: SplitName) -> Split:
        split = super()._split(name)
        features = {
            modality: np.stack([values[sample] for sample in split.ids]) for modality, values in self._features.items()
        }
        return replace(split, inputs={**split.inputs, **features})

    def _splits(self, notes: list[str]) -> list[SplitName]:
        """The split of every row; what the table leaves open is decided here, and noted."""
        table = self._table
        groups = [row.get("group") or row["id"] for row in table.rows]
        labels = [row["label"] for row in table.rows]
        if "split" in table.columns:
            splits = [self._named_split(number) for number in range(len(table.rows))]
        else:
            decided = split_groups(groups, labels, SHARES)
            splits = [decided[group] for group in groups]
            notes.append("The table names no splits: 70 % of the samples are for training, 10 % for validation.")
        if "split" in table.columns and "validation" not in splits:
            train = [number for number, split in enumerate(splits) if split == "train"]
            decided = split_groups([groups[at] for at in train], [labels[at] for at in train], VALIDATION_SHARES)
            for number in train:
                splits[number] = decided[groups[number]]
            notes.append("The table names no validation split: a tenth of its training samples serves.")
        for split in SPLITS:
            if split not in splits:
                raise UserError(
                    f"no sample for {split} among {len(set(groups))} groups.",
                    remedy="Add a column 'split' that says train, validation or test, or correct it.",
                    file=str(table.path),
                    field="split",
                )
        return splits

    def _named_split(self, number: int) -> SplitName:
        name = self._table.rows[number]["split"]
        split = SPLIT_NAMES.get(name.lower())
        if split is None:
            remedy = "Known: train, validation (or val, dev) and test."
            raise self._table.error(number, "split", f"unknown split {name!r}.", remedy)
        return split

    def _absent(self, modality: str) -> set[int]:
        """The rows whose file is not there; there must not be many."""
        medium, table = self.media[modality], self._table
        if medium == "text" or modality in self._arrays:
            return set()
        named = [number for number, row in enumerate(table.rows) if row[modality]]
        absent = [number for number in named if not _is_there(self._path(number, modality), medium)]
        if len(absent) > ABSENT_SHARE * len(named):
            examples = ", ".join(str(self._path(number, modality)) for number in absent[:3])
            raise table.error(
                absent[0],
                modality,
                f"{len(absent)} of the {len(named)} files that this column names are not there: {examples}"
                f"{', ...' if len(absent) > 3 else ''}.",
                "Correct them, or say with `dataset.folder` where relative paths start.",
            )
        return set(absent)

    @property
    def _folder(self) -> Path:
        return self.config.folder or self.config.file.parent

    def _path(self, number: int, modality: str) -> Path:
        return self._folder / self._table.rows[number][modality]

    def _item(self, number: int, modality: str, absent: set[int]) -> Item:
        medium = self.media[modality]
        if modality in self._arrays:
            return self._keep(number, modality, self._arrays[modality][number])
        cell = self._table.rows[number][modality]
        if not cell:
            raise LeftOutError(f"no {modality}")
        if medium == "text":
            return Text(cell)
        if number in absent:
            raise LeftOutError(f"{modality} file not found")
        if medium == "features":
            return self._keep(number, modality, read_array(self._path(number, modality)))
        return _FILES[medium](self._path(number, modality))

    def _keep(self, number: int, modality: str, values: Features) -> Text:
        """Checks and keeps a sample's features. What is listed is their hash, so that fingerprints cover them."""
        kept = self._features[modality]
        shape = next(iter(kept.values()), values).shape
        if values.shape != shape:
            problem = f"the features have the shape {values.shape}, those of rows before {shape}."
            raise self._table.error(number, modality, problem, "Pad or pool them to one shape.")
        if not np.isfinite(values).all():
            problem = "the features hold a number that is not finite (NaN, or too large for float32)."
            raise self._table.error(number, modality, problem, "Fix them, or remove the row.")
        kept[self._table.rows[number]["id"]] = values
        return Text(f"{shape} {hashlib.sha256(values.tobytes()).hexdigest()}")


def _is_there(path: Path, medium: Medium) -> bool:
    """Whether there is a file (for a video, a folder of frames will do). What no path can be is not there."""
    try:
        return path.is_file() or (medium == "video" and path.is_dir())
    except (OSError, ValueError):
        return False

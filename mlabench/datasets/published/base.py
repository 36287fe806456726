"""What datasets that are read from their published files have in common. Free of torch.

Such a dataset lists its samples, says where each modality of each lies, and decodes nothing: how a
picture or a sound becomes numbers is the encoder's business (:mod:`mlabench.media.preprocessing`).
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np

from mlabench.datasets.contract import Data, Dataset, Inventory, Split, Task
from mlabench.datasets.listing import SPLITS, Listing, RawSample, SplitName
from mlabench.datasets.splits import split_groups
from mlabench.errors import UserError
from mlabench.media import Medium, identity

_T = TypeVar("_T")

_SHARED_GROUPS = (
    "{shared} of the {tested} groups (speakers, dialogues, texts or the like) of the test split "
    "are in the training or validation data, too: accuracies are optimistic for new ones."
)


class RawDataset(Dataset):
    """Base of datasets that are read from their published files.

    A subclass gives :attr:`classes` and :meth:`listing`, and its ``Config`` a ``root`` and mostly ``modalities``.
    """

    #: The modalities where ``Config`` has no such option.
    modalities: ClassVar[tuple[Medium, ...]] = ()

    #: How to get the data: whom to ask, or which link to follow, and under which licence.
    obtain: ClassVar[str] = ""
    #: Flags that run the same sweep on an embedded dataset.
    stand_in: ClassVar[str] = ""

    @property
    def media(self) -> dict[str, Medium]:
        """The chosen modalities, in the order of the columns; each consists of what it is called."""
        chosen: tuple[Medium, ...] = getattr(self.config, "modalities", self.modalities)
        return {medium: medium for medium in chosen}

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their indices."""

    @abstractmethod
    def listing(self) -> Listing[RawSample]:
        """Lists all samples without decoding any.

        Raises:
            UserError: If the files are not there or do not have a known layout; see :meth:`not_found`.
        """

    @classmethod
    def wanted(cls, root: Path) -> Callable[[str], bool] | None:  # noqa: ARG003
        """Which members of the published archives are read, by the name of their file; None: all.

        ``mlabench data get`` asks it once the lists are in ``root``.
        """
        return None

    @cached_property
    def _listed(self) -> Listing[RawSample]:
        try:
            listing = self.listing()
        except OSError as error:
            problem = f"cannot be read ({error.strerror or error})."
            raise UserError(problem, remedy="Check its permissions.", file=str(error.filename)) from error
        ids = Counter(sample.id for sample in listing.samples)
        twice = [name for name, count in ids.items() if count > 1]
        if twice:
            raise UserError(
                f"{self.name}: {len(twice)} sample ids occur more than once, e.g. {twice[0]!r}.",
                remedy="Remove the duplicates from the list files.",
            )
        sizes = Counter(sample.split for sample in listing.samples)
        empty = [split for split in SPLITS if not sizes[split]]
        if empty:
            reasons = "; ".join(f"{reason}: {count}" for reason, count in listing.skipped.items()) or "nothing skipped"
            raise UserError(
                f"{self.name}: no sample is left for {', '.join(empty)} ({reasons}).",
                remedy=f"`mlabench data check {self.name}` says what was found.",
            )
        return listing

    def fingerprint(self) -> str:
        """First 12 hex digits of a SHA-256 over ids, labels, splits, groups, units and the sizes of all files.

        Where the files lie is left out, so that trials of two machines share it.
        """
        digest = hashlib.sha256(json.dumps([tuple(self.media), self.classes]).encode())
        for sample in self._listed.samples:
            items = {modality: identity(sample.items[modality]) for modality in self.media}
            units = [dict(sample.units)] if sample.units else []
            content = [sample.id, sample.label, sample.split, sample.group, items, *units]
            digest.update(json.dumps(content, sort_keys=True).encode())
        return digest.hexdigest()[:12]

    def load(self) -> Data:
        """The three splits, their inputs not decoded yet."""
        listing = self._listed
        groups = ((sample.split, sample.group) for sample in listing.samples)
        return Data(
            task=Task(tuple(self.media), self.classes, shapes={}),
            train=self._split("train"),
            validation=self._split("validation"),
            test=self._split("test"),
            notes=tuple(listing.notes),
            split_notes=(*listing.split_notes, *shared_with_test(groups, _SHARED_GROUPS)),
            skipped=dict(listing.skipped),
        )

    def _split(self, name: SplitName) -> Split:
        own = [sample for sample in self._listed.samples if sample.split == name]
        index = {label: number for number, label in enumerate(self.classes)}
        return Split(
            ids=tuple(sample.id for sample in own),
            labels=np.array([index[sample.label] for sample in own], dtype=np.int64),
            inputs={modality: tuple(sample.items[modality] for sample in own) for modality in self.media},
            groups=tuple(sample.group for sample in own),
            units={unit: tuple(sample.units[unit] for sample in own) for unit in self._listed.samples[0].units},
        )

    def check(self, root: Path | None = None) -> Inventory:
        """What :meth:`listing` found; the folder is the option ``root``."""
        sizes = Counter(sample.split for sample in self._listed.samples)
        folder = root or self.root or Path()
        return Inventory(folder, {split: sizes[split] for split in SPLITS}, dict(self._listed.skipped))

    @property
    def root(self) -> Path | None:
        """The option ``root``."""
        root: Path | None = getattr(self.config, "root", None)
        return root

    def find(self, looked_for: str, is_it: Callable[[Path], bool], below: Sequence[str] = ()) -> Path:
        """The option ``root``, or a folder of a name ``below`` it: the first that ``is_it``; see :meth:`not_found`."""
        candidates = [self.root, *(self.root / name for name in below)] if self.root else []
        for folder in candidates:
            if is_it(folder):
                return folder
        raise self.not_found(self.root, looked_for)

    def find_lists(self, folder: Path, names: Iterable[str], source: str) -> list[Path]:
        """The files of published lists, in the option ``lists`` or else in the folder of the data.

        Raises:
            UserError: If one is not there; it says where to get them.
        """
        folder = getattr(self.config, "lists", None) or folder
        paths = [folder / name for name in names]
        for path in paths:
            if not path.is_file():
                from mlabench.datasets.sources import part_with

                part = part_with(self.name, path.name)
                command = f"Run `mlabench data get {self.name} --part {part} --root {folder}`, or: " if part else ""
                raise UserError(
                    f"this split needs {' and '.join(one.name for one in paths)}, and {path.name} is not in {folder}.",
                    remedy=f"{command}Get them from {source}, and give their folder: `--set dataset.lists=DIR`.",
                    field="dataset.lists",
                )
        return paths

    def not_found(self, root: Path | None, looked_for: str) -> UserError:
        """The error to raise where the files are not there: what to get, where to put it, and what runs now."""
        place = f"{looked_for} not found in {root}" if root else "no folder was given"
        from mlabench.datasets.sources import how_to_get

        ways = " Or: ".join(filter(None, (how_to_get(self.name), self.obtain)))
        remedy = (
            f"{ways} Then give its folder: `--set dataset.root=DIR` (it holds {looked_for}); "
            "mlabench/datasets/README.md has the layout."
        )
        if self.stand_in:
            remedy += f" To run the same sweep on embedded data now, add `{self.stand_in}`."
        return UserError(f"the data of {self.name!r} are not there: {place}.", remedy=remedy, field="dataset.root")


def shared_with_test(members: Iterable[tuple[SplitName, str]], note: str) -> list[str]:
    """The note, with both numbers filled in, if some of the test split's members are in another split, too."""
    known, tested = set[str](), set[str]()
    for split, name in members:
        (tested if split == "test" else known).add(name)
    shared = tested & known
    return [note.format(shared=len(shared), tested=len(tested))] if shared else []


def carve_validation(labels: Mapping[str, str], share: float = 0.1) -> set[str]:
    """The ids of a validation split, taken from training samples (class by id) where none was published.

    Stratified by class and fixed: it depends on the ids alone.
    """
    shares = {"validation": share, "train": 1.0 - share}
    split = split_groups(list(labels), list(labels.values()), shares)
    return {sample for sample, name in split.items() if name == "validation"}


def parse_lines(path: Path, lines: Iterable[str], source: str, parse: Callable[[str], _T]) -> list[_T]:
    """Reads the lines of a published list; blank ones are passed over.

    ``parse`` turns a stripped line into an entry, or raises a ``ValueError`` that says what is wrong with it.
    ``source`` says where to get the list.
    """
    entries = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                entries.append(parse(line.strip()))
            except ValueError as error:
                remedy = f"Get the file from {source} again."
                raise UserError(str(error), remedy=remedy, file=str(path), line=number) from error
    return entries

"""What raw files hold: the samples, and why others are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from mlabench.media import Item, UnreadableError

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

_Sample = TypeVar("_Sample")


class LeftOutError(Exception):
    """A sample cannot be used. The message is a short reason without names, so that equal reasons add up."""


@dataclass(frozen=True)
class RawSample:
    """One sample of a raw dataset.

    Attributes:
        id: Unique and stable: the name that the dataset itself gives it, not its place in a list or on a disk.
        label: Name of its class.
        split: Where it belongs.
        items: Its modalities.
        group: What it shares with samples that are not independent of it (a speaker, a dialogue).
        units: What folds can follow instead, by name, e.g. ``{"session": "Ses01"}``; the same names for all samples.
    """

    id: str
    label: str
    split: SplitName
    items: Mapping[str, Item]
    group: str
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Listing(Generic[_Sample]):
    """What raw files hold.

    Attributes:
        samples: In an order that does not depend on the file system.
        skipped: Number of items left out, by reason.
        notes: Caveats that reports print with every number.
        split_notes: Caveats of the dataset's own split, which folds do not have.
    """

    samples: list[_Sample] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    split_notes: list[str] = field(default_factory=list)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Counts the reason if what is done within leaves a sample out."""
        try:
            yield
        except (LeftOutError, UnreadableError) as reason:
            self.skipped[str(reason)] += 1

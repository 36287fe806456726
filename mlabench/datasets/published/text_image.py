"""What datasets of texts with pictures share: their base, clean texts, folders of files, published lists."""

from __future__ import annotations

import hashlib
import html
import json
import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from os.path import isdir, isfile
from pathlib import Path, PurePosixPath
from typing import ClassVar

from mlabench.datasets.listing import LeftOutError, Listing, RawSample, SplitName
from mlabench.datasets.published.base import RawDataset, carve_validation, parse_lines
from mlabench.errors import UserError
from mlabench.media import Image, Text, decode_text, one_line

#: The lists of QMF (ICML 2023), of the same names for both datasets.
QMF_LISTS: Mapping[SplitName, str] = {"train": "train.jsonl", "validation": "dev.jsonl", "test": "test.jsonl"}
MLA_SOURCE = "the folder data of github.com/Cecile-hi/Multimodal-Learning-with-Alternating-Unimodal-Adaptation"
#: With the name of the dataset's folder after it.
QMF_SOURCE = "the folder text-image-classification/datasets/{} of github.com/QingyangZhang/QMF"

_NOT_LISTED = "this line is not one of a published list."
_TAG = re.compile(r"<[/!]?[A-Za-z-][^<>]*>")
_PICTURE_AND_LABEL = re.compile(r"(\S+)\.jpg\s+(\S+)")


@dataclass(frozen=True)
class ListLine:
    """One line of a list: the name of the picture's file without its suffix, and a text if the list has one."""

    id: str
    label: str
    split: SplitName
    text: str = ""


class TextImageDataset(RawDataset):
    """Texts with pictures, and lists of QMF and MLA that split them."""

    version = 2
    stand_in = "--dataset clipart"
    #: File names of MLA's lists.
    mla_lists: ClassVar[Mapping[SplitName, str]]
    #: The dataset's folder in QMF's repository.
    qmf_folder: ClassVar[str]

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The folder of the data."""

    @cached_property
    def qmf(self) -> list[ListLine]:
        """The lines of QMF's lists."""
        return self._read_lists(QMF_LISTS, QMF_SOURCE.format(self.qmf_folder))

    @cached_property
    def mla(self) -> list[ListLine]:
        """The lines of MLA's lists."""
        return self._read_lists(self.mla_lists, MLA_SOURCE)

    def _read_lists(self, names: Mapping[SplitName, str], source: str) -> list[ListLine]:
        paths = self.find_lists(self.folder, names.values(), source)
        return [line for split, path in zip(names, paths, strict=True) for line in read_list(path, split, source)]


def make_sample(
    name: str, label: str, split: SplitName, picture: Path | None, text: str | None, no_text: str
) -> RawSample:
    """A picture and its clean text, unless one is not there or empty; samples of one text form a group.

    Records name the groups of their test samples, so a group is called by a hash: no text gets into them.
    """
    if picture is None:
        raise LeftOutError("no picture")
    if _is_empty(picture):
        raise LeftOutError("empty picture file")
    if text is None:
        raise LeftOutError(no_text)
    if not text:
        raise LeftOutError("empty text")
    group = hashlib.sha256(text.casefold().encode()).hexdigest()[:16]
    return RawSample(name, label, split, {"text": Text(text), "image": Image(picture)}, group)


def plain_text(text: str) -> str:
    """The text in one line, without character references, tags, and control or other invisible characters."""
    text = one_line(_TAG.sub(" ", html.unescape(text)))
    return one_line("".join(filter(str.isprintable, text)))


def files_by_name(folder: Path, suffix: str) -> dict[str, Path]:
    """The files with a suffix that lie directly in a folder, by name without it, in alphabetical order."""
    # Unlike Path.is_file, this is never an error.
    files = (path for path in _entries(folder) if path.name.lower().endswith(suffix) and isfile(path))  # noqa: PTH113
    return {path.name[: -len(suffix)]: path for path in files}


def subfolders(folder: Path) -> tuple[str, ...]:
    """Names of the folders that lie directly in a folder, in alphabetical order."""
    return tuple(path.name for path in _entries(folder) if isdir(path))  # noqa: PTH112


def _entries(folder: Path) -> list[Path]:
    try:
        # A name that starts with a dot is hidden, or the shadow of a file that macOS packed.
        return sorted(path for path in folder.iterdir() if path.name[0] != ".")
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror or error}).", file=str(folder)) from error


def _is_empty(path: Path) -> bool:
    """Whether a file holds nothing, or has gone."""
    try:
        return not path.stat().st_size
    except OSError:
        return True


def read_lines(path: Path) -> list[str]:
    """The lines of a file, each decoded on its own, so that one in another encoding leaves the rest alone."""
    try:
        return [decode_text(line) for line in path.read_bytes().splitlines()]
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror or error}).", file=str(path)) from error


def read_list(path: Path, split: SplitName, source: str) -> list[ListLine]:
    """Reads a published list.

    A line of QMF's (``*.jsonl``) is an object with ``text``, ``label`` and ``img``
    (``images/train/sushi/sushi_7.jpg``), one of MLA's reads ``sushi_7.jpg sushi``.
    """
    parse = _parse_jsonl if path.suffix == ".jsonl" else _parse_pair
    return parse_lines(path, read_lines(path), source, lambda line: parse(line, split))


def _parse_jsonl(line: str, split: SplitName) -> ListLine:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # deeply nested brackets exhaust the parser's stack
        raise ValueError(_NOT_LISTED) from error
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("img", "label", "text")):
        raise ValueError(_NOT_LISTED)
    return ListLine(PurePosixPath(row["img"]).stem, row["label"], split, row["text"])


def _parse_pair(line: str, split: SplitName) -> ListLine:
    match = _PICTURE_AND_LABEL.fullmatch(line)
    if not match:
        raise ValueError(_NOT_LISTED)
    return ListLine(match[1], match[2], split)


def keep_for_validation(listing: Listing[RawSample], share: float) -> None:
    """Moves a share of the training samples to the validation split, where none was published."""
    train = {sample.id: sample.label for sample in listing.samples if sample.split == "train"}
    kept = carve_validation(train, share)
    listing.samples = [
        replace(sample, split="validation") if sample.id in kept else sample for sample in listing.samples
    ]

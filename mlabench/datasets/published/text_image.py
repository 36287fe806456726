"""What datasets of texts and pictures share: clean texts, folders of files, published lists. Free of torch."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from mlabench.datasets.published.base import Listing, SplitName, carve_validation
from mlabench.errors import UserError
from mlabench.media import decode_text, one_line

#: The lists of QMF (ICML 2023), of the same names for both datasets.
QMF_LISTS: Mapping[SplitName, str] = {"train": "train.jsonl", "validation": "dev.jsonl", "test": "test.jsonl"}

_TAG = re.compile(r"<[/!]?[A-Za-z-][^<>]*>")
_PICTURE_AND_LABEL = re.compile(r"(\S+)\.jpg\s+(\S+)")


@dataclass(frozen=True)
class Listed:
    """One line of a list.

    Attributes:
        id: Name of the picture's file without its suffix.
        label: Name of the class.
        split: Where the list puts the sample.
        text: The text as the list has it; empty if it has none.
    """

    id: str
    label: str
    split: SplitName
    text: str = ""


def plain_text(text: str) -> str:
    """The text in one line, without character references, tags, and control or other invisible characters."""
    text = one_line(_TAG.sub(" ", html.unescape(text)))
    return one_line("".join(filter(str.isprintable, text)))


def files_by_name(folder: Path, suffix: str) -> dict[str, os.DirEntry[str]]:
    """The files with a suffix that lie directly in a folder, by name without it, in alphabetical order.

    Asks the system for names only, so that tens of thousands of files take a fraction of a second.

    Raises:
        UserError: If the folder cannot be read.
    """
    files = (entry for entry in _entries(folder) if entry.name.lower().endswith(suffix) and _is(entry.is_file))
    return {entry.name[: -len(suffix)]: entry for entry in files}


def subfolders(folder: Path) -> tuple[str, ...]:
    """Names of the folders that lie directly in a folder, in alphabetical order.

    Raises:
        UserError: If the folder cannot be read.
    """
    return tuple(entry.name for entry in _entries(folder) if _is(entry.is_dir))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            # A name that starts with a dot is hidden, or the shadow of a file that macOS packed.
            return sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror or error}).", file=str(folder)) from error


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # a link to itself
        return False


def is_empty(entry: os.DirEntry[str]) -> bool:
    """Whether a file holds nothing, or has gone."""
    try:
        return not entry.stat().st_size
    except OSError:
        return True


def read_lines(path: Path) -> list[str]:
    """The lines of a file, each decoded on its own, so that one in another encoding leaves the rest alone.

    Raises:
        UserError: If the file cannot be read.
    """
    try:
        return [decode_text(line) for line in path.read_bytes().splitlines()]
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror or error}).", file=str(path)) from error


def read_lists(folder: Path, names: Mapping[SplitName, str], source: str) -> list[Listed]:
    """Reads published lists: ``*.jsonl`` as QMF's, others as MLA's.

    A line of QMF's is an object with ``text``, ``label`` and ``img`` (``images/train/sushi/sushi_7.jpg``), one of
    MLA's reads ``sushi_7.jpg sushi``.

    Args:
        folder: Where they lie.
        names: File name of each split.
        source: Where to get them, for the error message.

    Raises:
        UserError: If a file is not there, or a line of it reads otherwise.
    """
    listed = []
    for split, name in names.items():
        path = folder / name
        if not path.is_file():
            raise UserError(
                f"no list {name} in {folder}.",
                remedy=f"Get {', '.join(names.values())} from {source}, and give their folder: "
                "`--set dataset.lists=DIR`.",
                field="dataset.lists",
            )
        parse = _parse_jsonl if path.suffix == ".jsonl" else _parse_pair
        for number, line in enumerate(read_lines(path), start=1):
            if not line.strip():
                continue
            try:
                listed.append(parse(line, split))
            # Deeply nested brackets exhaust the parser's stack.
            except (ValueError, RecursionError) as error:
                raise UserError(
                    "this line is not one of a published list.",
                    remedy=f"Get the file from {source} again.",
                    file=str(path),
                    line=number,
                ) from error
    return listed


def _parse_jsonl(line: str, split: SplitName) -> Listed:
    row = json.loads(line)
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("img", "label", "text")):
        raise ValueError(line)
    return Listed(PurePosixPath(row["img"]).stem, row["label"], split, row["text"])


def _parse_pair(line: str, split: SplitName) -> Listed:
    match = _PICTURE_AND_LABEL.fullmatch(line.strip())
    if not match:
        raise ValueError(line)
    return Listed(match[1], match[2], split)


def keep_for_validation(listing: Listing, share: float) -> None:
    """Moves a share of the training samples to the validation split, where none was published."""
    train = {sample.id: sample.label for sample in listing.samples if sample.split == "train"}
    kept = carve_validation(train, share)
    listing.samples = [
        replace(sample, split="validation") if sample.id in kept else sample for sample in listing.samples
    ]

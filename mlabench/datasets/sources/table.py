"""The table of sources, ``table.yaml``, which says what its fields mean."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mlabench.errors import UserError

FOLDER = Path(__file__).parent

_HASH = r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}|md5:[0-9a-f]{32}|git:[0-9a-f]{40})"
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceFile(_Entry):
    """A file at a source: its path below the base address, and what is known of it beforehand."""

    path: str
    to: str = ""
    size: int | None = None
    hash: str | None = Field(default=None, pattern=f"^{_HASH}$")


class FileList(_Entry):
    """Files that stand in a list beside the table: those below a folder."""

    file: str
    below: str


class Unpack(_Entry):
    """Which members of an archive go where."""

    keep: str
    to: str
    chosen: bool = False

    def place(self, member: str) -> str | None:
        """Where a member goes, below the folder of the data; None if it is left out."""
        match = re.fullmatch(self.keep, member)
        return match.expand(self.to) if match else None


class Kaggle(_Entry):
    """A dataset on Kaggle; ``inside`` is the folder of what it holds that is wanted, if it has one."""

    handle: str
    inside: str = ""


class Part(_Entry):
    """What can be fetched alone."""

    about: str
    licence: str = ""
    base: str = ""
    files: tuple[SourceFile, ...] = ()
    list: FileList | None = None
    record: str = ""
    unpack: Unpack | None = None
    kaggle: Kaggle | None = None
    ask: str = ""
    size: int = 0
    disk: int = 0

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if sum(map(bool, (self.files, self.list, self.kaggle, self.ask))) != 1:
            raise ValueError("a part has either files, a list, kaggle or ask")
        if (self.files or self.list) and not self.base.endswith("/"):
            raise ValueError("base must end in a slash")
        return self

    def all_files(self) -> tuple[SourceFile, ...]:
        """Its files, those of a list included."""
        return self.files or (tuple(_listed(self.list)) if self.list else ())


class Source(_Entry):
    """A dataset, and what of it can be fetched."""

    title: str
    licence: str
    page: str
    form: str = ""
    folder: Path
    parts: Mapping[str, Part]

    @model_validator(mode="before")
    @classmethod
    def _count(cls, written: dict[str, Any]) -> dict[str, Any]:
        """Writes out the parts that one line of the table stands for."""
        parts = {}
        for pattern, part in written["parts"].items():
            for name in expand(pattern):
                files = [
                    {**file, "path": path}
                    for file in part.get("files", ())
                    for path in expand(file["path"].replace("{part}", name))
                ]
                own = {**part, "files": files}
                if "unpack" in part:
                    own["unpack"] = {**part["unpack"], "to": part["unpack"]["to"].replace("{part}", name)}
                parts[name] = own
        return {**written, "parts": parts}


def expand(pattern: str) -> list[str]:
    """``s{1..3}`` is ``s1``, ``s2``, ``s3``; a pattern without braces is itself."""
    match = _RANGE.search(pattern)
    if not match:
        return [pattern]
    numbers = range(int(match[1]), int(match[2]) + 1)
    return [f"{pattern[: match.start()]}{number}{pattern[match.end() :]}" for number in numbers]


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load((FOLDER / "table.yaml").read_text(encoding="utf-8"))
    return table


def names() -> tuple[str, ...]:
    """The datasets of which something can be fetched."""
    return tuple(_table())


@cache
def source_of(name: str) -> Source:
    """What the table says of a dataset.

    Raises:
        UserError: If it says nothing of it.
    """
    if name not in _table():
        near = difflib.get_close_matches(name, names(), n=1)
        raise UserError(
            f"there is no source for {name!r}.",
            remedy=(f"Did you mean {near[0]!r}? " if near else "") + f"There are sources for {', '.join(names())}.",
        )
    return Source.model_validate(_table()[name])


def how_to_get(name: str) -> str:
    """The command that fetches the data of a dataset, in a sentence; empty if there is none."""
    if name not in names() or any(part.ask for part in source_of(name).parts.values()):
        return ""
    return f"`mlabench data get {name}` fetches them, after naming licence and size."


def part_with(name: str, file: str) -> str:
    """The part of a dataset that holds a plain file of this name; empty if none does."""
    if name in names():
        for part, content in source_of(name).parts.items():
            if any(PurePosixPath(one.to or one.path).name == file for one in content.files):
                return part
    return ""


def _listed(files: FileList) -> Iterator[SourceFile]:
    for line in (FOLDER / files.file).read_text(encoding="utf-8").splitlines():
        digest, size, path = line.split(" ", 2)
        if path.startswith(files.below):
            yield SourceFile(path=path, to=path, size=int(size), hash=f"sha256:{digest}")

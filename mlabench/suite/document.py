"""Plain data, and where each value of them was written, so that every complaint can name a line."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import Any, TypeAlias

from mlabench.errors import UserError

Keys: TypeAlias = tuple[str | int, ...]

#: In ``encoders``: every modality that is not named.
EVERY = "*"


@dataclass(frozen=True)
class Origin:
    """Where a value was written: a file and a line, or a command-line flag."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"

    def error(self, problem: str, remedy: str = "", field: str | None = None) -> UserError:
        """A complaint about what was written here."""
        return UserError(problem, remedy=remedy, file=self.source, line=self.line, field=field)


@dataclass(frozen=True)
class Document:
    """Plain data and the origin of each value in it; ``()`` is the path of the whole."""

    data: Any
    origins: Mapping[Keys, Origin]

    @classmethod
    def of(cls, data: Any, origin: Origin) -> Document:
        """Data that were written at one place."""
        return cls(data, {(): origin})

    def has(self, *path: str | int) -> bool:
        """Whether there is a value at ``path``."""
        return path in self.origins

    def find(self, *path: str | int) -> Any:
        """The value at ``path``; None if there is none."""
        return reduce(getitem, path, self.data) if self.has(*path) else None

    def origin(self, *path: str | int) -> Origin:
        """Where the value at ``path`` was written, or its innermost ancestor that exists."""
        return next(self.origins[path[:depth]] for depth in range(len(path), -1, -1) if self.has(*path[:depth]))

    def at(self, *path: str | int) -> Document:
        """The document at ``path``, where there is one."""
        inside = {at[len(path) :]: origin for at, origin in self.origins.items() if at[: len(path)] == path}
        return Document(self.find(*path), inside)

    def without(self, key: str) -> Document:
        """A copy of a mapping without this key."""
        return Document({other: value for other, value in self.data.items() if other != key}, self.origins)

    def completed(self) -> Document:
        """The whole suite, short forms written out, with an origin for each value and for nothing else."""
        origins: dict[Keys, Origin] = {}

        def walk(value: Any, path: Keys, outer: Origin) -> Any:
            origin = origins[path] = self.origins.get(path, outer)
            value = _long_form(value, path)
            if isinstance(value, dict):
                return {key: walk(item, (*path, key), origin) for key, item in value.items()}
            if isinstance(value, list):
                return [walk(item, (*path, at), origin) for at, item in enumerate(value)]
            return value

        return Document(walk(self.data, (), self.origins[()]), origins)

    def assign(self, path: Keys, new: Document) -> Document:
        """A copy with ``new`` at ``path``; missing mappings on the way are made."""
        data = copy.deepcopy(self.data)
        origins = {at: origin for at, origin in self.origins.items() if at[: len(path)] != path}
        holder = inner = data
        for depth, key in enumerate(path, 1):
            holder, key = inner, str(key) if isinstance(inner, dict) else key  # noqa: PLW2901
            if isinstance(holder, dict) and key not in holder:
                holder[key] = {}
                origins[path[:depth]] = new.origin()
            elif not _holds(holder, key):
                field = dotted(path)
                raise new.origin().error(f"there is no {key!r} in the suite's {field!r}.", field=field)
            inner = holder[key]
        holder[key] = new.data
        origins.update({(*path, *at): origin for at, origin in new.origins.items()})
        return Document(data, origins).completed()


def merge(base: Document, over: Document) -> Document:
    """``over`` on top of ``base``: mappings are merged, everything else is replaced.

    A mapping that names something else (``{name: sgd}`` over ``{name: adam, betas: ...}``) replaces
    too, since options belong to what they were written for; and so do folds, which say one thing.
    """

    def both(old: Any, new: Any, *path: str) -> Any:
        if not (isinstance(old, dict) and isinstance(new, dict)) or path == ("folds",):
            return new
        if path and "name" in old and "name" in new and old["name"] != new["name"]:
            return new
        return {
            **old,
            **{key: both(old[key], value, *path, key) if key in old else value for key, value in new.items()},
        }

    return Document(both(base.data, over.data), {**base.origins, **over.origins}).completed()


def _long_form(value: Any, path: Keys) -> Any:
    """What ``value`` is short for: a name for ``{name: ...}``, the only entry for a list."""
    match path:
        case ("seeds" | "question" | "methods",) | ("missing", "rates" | "splits" | "evaluate"):
            return value if value is None or isinstance(value, dict | list) else [value]
        case ("encoders",):
            return {EVERY: value} if isinstance(value, str) else value
        case (
            ("dataset",)
            | ("encoders" | "methods", _)
            | ("training", "optimizer" | "schedule")
            | ("methods", _, "training", "optimizer" | "schedule")
        ):
            return {"name": value} if isinstance(value, str) else value
        case ("methods", _, "training"):
            return {"settings": value} if isinstance(value, str) else value
    return value


def _holds(value: Any, key: str | int) -> bool:
    return (isinstance(value, dict) and key in value) or (isinstance(value, list) and key in range(len(value)))


def dotted(path: Keys) -> str:
    """The path as people write it, for example ``methods.2.label``."""
    return ".".join(map(str, path))


def leaves(value: Any, path: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Scalars and lists of scalars, with their paths."""
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        inner = enumerate(value)
    if not inner:
        yield path, value
    for key, item in inner:
        yield from leaves(item, (*path, key))

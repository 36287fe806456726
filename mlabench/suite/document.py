"""Plain data, and where each value of them was written, so that every complaint can name a line."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from mlabench.errors import UserError

Keys: TypeAlias = tuple[str | int, ...]

#: In ``encoders``: every modality that is not named.
EVERY = "*"
#: What may be given by its name alone, beside encoders and methods.
_NAMED = {("dataset",), ("optimizer",), ("schedule",)}


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
    """Plain data and the origin of each value in it; ``()`` is the path of the whole.

    Short forms are kept as they were written. Where a path leads into one, it is read as what it stands for
    (:func:`_long_form`).
    """

    data: Any
    origins: Mapping[Keys, Origin]

    @classmethod
    def of(cls, data: Any, origin: Origin) -> Document:
        """Data that were written at one place."""
        return cls(data, dict.fromkeys(_places(data), origin))

    def has(self, *path: str | int) -> bool:
        """Whether there is a value at ``path``."""
        return self._locate(path)[0] == len(path)

    def find(self, *path: str | int) -> Any:
        """The value at ``path``; None if there is none."""
        depth, value, _ = self._locate(path)
        return value if depth == len(path) else None

    def origin(self, *path: str | int) -> Origin:
        """Where the value at ``path`` was written, or its innermost ancestor that exists."""
        return self._locate(path)[2]

    def at(self, *path: str | int) -> Document:
        """The document at ``path``, where there is one."""
        inside = {at[len(path) :]: origin for at, origin in self.origins.items() if at[: len(path)] == path}
        return Document(self.find(*path), {(): self.origin(*path), **inside})

    def without(self, *keys: str) -> Document:
        """A copy of a mapping without these keys."""
        return Document({key: value for key, value in self.data.items() if key not in keys}, self.origins)

    def _locate(self, path: Keys) -> tuple[int, Any, Origin]:
        """How far ``path`` leads, what is there, and where that was written."""
        value, origin = self.data, self.origins[()]
        for depth, key in enumerate(path):
            long = _long_form(value, path[:depth], key)
            if not _holds(long, key):
                return depth, value, origin
            value, origin = long[key], self.origins.get(path[: depth + 1], origin)
        return len(path), value, origin

    def assign(self, path: Keys, new: Document) -> Document:
        """A copy with ``new`` at ``path``; missing mappings on the way are made.

        Raises:
            KeyError: If the path leads through a scalar or past the end of a list.
        """
        root: dict[str | int, Any] = {"": copy.deepcopy(self.data)}
        holder, last, origins = root, "", dict(self.origins)  # type: tuple[Any, str | int, dict[Keys, Origin]]
        for depth, key in enumerate(path):
            value = _long_form(holder[last], path[:depth], key)
            if value is not holder[last]:
                origins[(*path[:depth], *_first_key(value))] = self.origin(*path[:depth])
                holder[last] = value
            if isinstance(value, dict) and str(key) not in value:
                value[str(key)] = {}
                origins[path[: depth + 1]] = new.origins[()]
            elif not isinstance(value, dict) and not _holds(value, key):
                raise KeyError(key)
            holder, last = value, str(key) if isinstance(value, dict) else key
        holder[last] = new.data
        return Document(root[""], _pruned(root[""], {**origins, **_below(path, new)}))


def merge(base: Document, over: Document) -> Document:
    """``over`` on top of ``base``: mappings are merged, everything else is replaced.

    A mapping that names something else (``{name: sgd}`` over ``{name: adam, betas: ...}``) replaces
    too, since options belong to what they were written for.
    """
    origins = {**base.origins, **over.origins}

    def both(old: Any, new: Any, path: Keys) -> Any:
        if isinstance(new, dict) and (long := _long_form(old, path, "")) is not old:
            old = long
            origins.setdefault((*path, *_first_key(long)), base.origins[path])
        elif isinstance(old, dict) and (long := _long_form(new, path, "")) is not new:
            new = long
            origins[(*path, *_first_key(long))] = over.origins[path]
        if not (isinstance(old, dict) and isinstance(new, dict)):
            return new
        if path and "name" in old and "name" in new and old["name"] != new["name"]:
            return new
        merged = {key: both(old[key], value, (*path, key)) if key in old else value for key, value in new.items()}
        return {**old, **merged}

    data = both(base.data, over.data, ())
    return Document(data, _pruned(data, origins))


def _long_form(value: Any, path: Keys, key: str | int) -> Any:
    """What ``value`` stands for to one who looks for ``key`` in it: a name for ``{name: ...}``, an entry for a list."""
    if isinstance(key, int):
        return value if value is None or isinstance(value, dict | list) else [value]
    if not isinstance(value, str):
        return value
    if path == ("encoders",):
        return {EVERY: value}
    component = len(path) == 2 and path[0] in ("encoders", "methods")
    return {"name": value} if component or path[-1:] in _NAMED else value


def _first_key(value: Any) -> Keys:
    return (0,) if isinstance(value, list) else tuple(value)


def _holds(value: Any, key: str | int) -> bool:
    if isinstance(value, dict):
        return key in value
    return isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value)


def _below(path: Keys, document: Document) -> dict[Keys, Origin]:
    return {(*path, *at): origin for at, origin in document.origins.items()}


def _pruned(data: Any, origins: Mapping[Keys, Origin]) -> dict[Keys, Origin]:
    """The origins of what is there."""
    return {path: origins[path] for path in _places(data) if path in origins}


def _places(data: Any, path: Keys = ()) -> Iterator[Keys]:
    """The paths of all values."""
    yield path
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from _places(value, (*path, key))


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

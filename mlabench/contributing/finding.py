"""What does not agree: one line for each, which names file and field, what is stored and what follows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: What is stored of a value that is not there.
ABSENT = "nothing"
#: Numbers that differ by less are the same: sums are rounded differently elsewhere.
TOLERANCE = 1e-6
_LONGEST = 80


@dataclass(frozen=True)
class Finding:
    """A disagreement.

    Attributes:
        file: The file, by its path in the contribution.
        field: The field in it; empty for all of it.
        problem: What is wrong, if not that a value differs.
        stored: What the file says.
        recomputed: What follows from the rest.
    """

    file: str
    field: str
    problem: str = ""
    stored: Any = ABSENT
    recomputed: Any = ABSENT

    def __str__(self) -> str:
        where = ": ".join(part for part in (_safe(self.file), _safe(self.field)) if part)
        return f"{where}: {self.problem or f'stored {shown(self.stored)}, recomputed {shown(self.recomputed)}'}"


def differences(
    file: str, stored: Any, recomputed: Any, field: str = "", tolerance: float = TOLERANCE
) -> Iterator[Finding]:
    """The leaves in which two values differ, as JSON has them."""
    if isinstance(stored, Mapping) and isinstance(recomputed, Mapping):
        for key in dict.fromkeys([*stored, *recomputed]):
            inner = f"{field}.{key}" if field else str(key)
            yield from differences(file, stored.get(key, ABSENT), recomputed.get(key, ABSENT), inner, tolerance)
    elif _is_list(stored) and _is_list(recomputed) and len(stored) == len(recomputed):
        for place, (one, other) in enumerate(zip(stored, recomputed, strict=True)):
            yield from differences(file, one, other, f"{field}[{place}]", tolerance)
    elif not _same(stored, recomputed, tolerance):
        yield Finding(file, field, stored=stored, recomputed=recomputed)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _same(a: Any, b: Any, tolerance: float) -> bool:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (a, b))
    if numbers:
        return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance) or (math.isnan(a) and math.isnan(b))
    return type(a) is type(b) and bool(a == b)


def shown(value: Any) -> str:
    """A value on a line of its own, cut short."""
    text = json.dumps(value, default=str) if value is not ABSENT else ABSENT
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _safe(name: str) -> str:
    """A name as it is if it is plain, else with all escaped that a terminal would obey."""
    return name if name.isprintable() and name.isascii() else json.dumps(name)

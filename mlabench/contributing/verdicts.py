"""What the contributed trials say of the contributed methods: each pair, decided as `mlabench.compare` decides it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from mlabench.errors import UserError
from mlabench.reporting import compare_labels
from mlabench.store import Store
from mlabench.suite import Plan

_TARGET = "multimodal"


def decide_all(store: Store, plans: Sequence[Plan]) -> list[dict[str, Any]]:
    """One row per suite, pair of labels and missing pattern, as plain data; empty where there is one method alone."""
    return [row for plan in plans for pair in combinations(plan.labels, 2) for row in _decided(store, plan, *pair)]


def _decided(store: Store, plan: Plan, first: str, second: str) -> Iterator[dict[str, Any]]:
    try:
        rows = compare_labels(store, [plan], first, second, _TARGET).to_dict("records")
    except UserError:  # they have no trainings in common
        return
    for row in rows:
        yield {"first": first, "second": second, **{str(name): _plain(value) for name, value in row.items()}}


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value

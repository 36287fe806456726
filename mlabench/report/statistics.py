"""What is said about a number measured with several seeds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Summary:
    """Mean and spread over runs.

    Attributes:
        mean: Mean, None without a run.
        std: Sample standard deviation (ddof = 1), None with fewer than two runs: no spread is invented.
        n: Number of runs.
    """

    mean: float | None = None
    std: float | None = None
    n: int = 0


@dataclass(frozen=True)
class Interval:
    """An estimate and the interval that covers the true value with a probability of ``level``.

    Attributes:
        estimate: The estimate.
        low: Lower end.
        high: Upper end.
        level: Its confidence.
    """

    estimate: float
    low: float
    high: float
    level: float = 0.95


def summarise(values: Iterable[float]) -> Summary:
    """Mean and sample standard deviation of the values that are numbers."""
    array = np.fromiter(values, dtype=float)
    array = array[~np.isnan(array)]
    return Summary(
        mean=float(array.mean()) if array.size else None,
        std=float(array.std(ddof=1)) if array.size > 1 else None,
        n=int(array.size),
    )

"""One effect, measured on several datasets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlabench.statistics.resampling import LEVEL, Interval, student_quantile

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MeanOverDatasets:
    """The mean of an effect over the datasets that there might be, and how much it differs between them.

    Attributes:
        mean: The mean effect; its interval covers the draw of the datasets.
        heterogeneity: Standard deviation of the true effects between datasets (tau), in the unit of the effects.
        inconsistency: The share of the effects' variance that is heterogeneity rather than error (I squared).
        p_value: Of the hypothesis that all effects are equal (Cochran's Q).
        shrunk: Each dataset's effect, moved towards the mean the more, the less certain it is.
    """

    mean: Interval
    heterogeneity: float
    inconsistency: float
    p_value: float
    shrunk: dict[str, float]


def mean_over_datasets(effects: Mapping[str, Interval]) -> MeanOverDatasets:
    """A random-effects mean: datasets have true effects of their own, drawn from a normal distribution.

    With errors s_i (half the 95 % interval over 1.96) and weights ``w_i = 1 / (s_i^2 + tau^2)``, tau is such that
    ``sum_i w_i (y_i - mean)^2 = K - 1`` (Paule and Mandel, 1982, Journal of Research of the National Bureau of
    Standards 87), or 0. The interval is Hartung's and Knapp's (2001, Statistics in Medicine 20): Student's t with
    K - 1 degrees of freedom, and never narrower than the errors allow. Two datasets make it very wide.

    Args:
        effects: The effect on each dataset, with its 95 % interval.

    Raises:
        ValueError: If there is none, or an interval is infinite or has no width.
    """
    values = np.array([effect.estimate for effect in effects.values()])
    errors = np.array([effect.half_width for effect in effects.values()]) / student_quantile((1 + LEVEL) / 2)
    if not effects or not np.isfinite(errors).all() or (errors <= 0).any():
        raise ValueError("a mean over datasets needs effects with finite intervals")
    between = _paule_mandel(values, errors)
    weights = 1 / (errors**2 + between)
    mean = float(weights @ values / weights.sum())
    shrunk = (between * values + errors**2 * mean) / (errors**2 + between)
    freedom = len(values) - 1
    if freedom == 0:
        (interval,), p_value = effects.values(), 1.0
    else:
        from scipy.special import chdtrc

        half = student_quantile((1 + LEVEL) / 2, freedom) / math.sqrt(weights.sum())
        interval = Interval(mean, mean - half, mean + half, unit=next(iter(effects.values())).unit)
        p_value = float(chdtrc(freedom, _cochran(values, errors, 0.0)))
    precision = 1 / errors**2
    spread = precision.sum() - (precision**2).sum() / precision.sum()
    typical = freedom / spread if freedom else math.inf  # squared error (Higgins and Thompson, 2002)
    return MeanOverDatasets(
        mean=interval,
        heterogeneity=math.sqrt(between),
        inconsistency=float(between / (between + typical)),
        p_value=p_value,
        shrunk=dict(zip(effects, shrunk.tolist(), strict=True)),
    )


def _cochran(values: Floats, errors: Floats, between: float) -> float:
    """Weighted squares about the weighted mean."""
    weights = 1 / (errors**2 + between)
    return float(weights @ (values - weights @ values / weights.sum()) ** 2)


def _paule_mandel(values: Floats, errors: Floats) -> float:
    """The variance between datasets; the weighted squares fall as it grows."""
    freedom = len(values) - 1
    if freedom == 0 or _cochran(values, errors, 0.0) <= freedom:
        return 0.0
    low, high = 0.0, float(((values - values.mean()) ** 2).sum())  # here every weight is below 1 over the squares
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _cochran(values, errors, middle) > freedom else (low, middle)
    return high

"""Many methods at once: their ranks, and how often one beats another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from mlabench.statistics.comparisons import Outcomes, distribution_of, in_pairs, paired_trainings
from mlabench.statistics.decisions import holm
from mlabench.statistics.resampling import LEVEL, Interval, student_quantile


@dataclass(frozen=True)
class RankInterval:
    """The place of a method among others, 1 being the best.

    Attributes:
        estimate: By estimated accuracy.
        low: The best place that it may have, at 95 %.
        high: The worst one.
    """

    estimate: int
    low: int
    high: int


@dataclass(frozen=True)
class Ranking:
    """How methods rank, as far as it can be told.

    Attributes:
        intervals: The place of each method.
        separability: The share of all pairs of methods that are distinguishable.
    """

    intervals: dict[str, RankInterval]
    separability: float
    _accuracy: Mapping[str, float] = field(default_factory=dict, repr=False)
    #: Uncorrected, by pairs of methods, the less accurate one first.
    _p_values: Mapping[tuple[str, str], float] = field(default_factory=dict, repr=False)

    @property
    def top_group(self) -> tuple[str, ...]:
        """The methods that may be first: those that none is shown to be better than."""
        return tuple(name for name, place in self.intervals.items() if place.low == 1)

    def among(self, names: Iterable[str]) -> Ranking:
        """How these methods rank among themselves, as :func:`rank_intervals` of them alone would say.

        Raises:
            KeyError: If one of them was not ranked.
        """
        accuracy = {name: self._accuracy[name] for name in names}
        return _ranked(accuracy, {pair: p for pair, p in self._p_values.items() if accuracy.keys() >= set(pair)})


def rank_intervals(outcomes: Mapping[str, Outcomes]) -> Ranking:
    """The place of each method, from its comparisons in pairs with all others.

    The best place that a method may have is behind those that are shown to be better, the worst one before those that
    are shown to be worse (Mohamad, van Zwet, Goeman, 2022, Biometrics 78), so places never contradict comparisons, and
    equal methods share theirs. P-values are corrected over all pairs by :func:`holm`: all intervals together cover the
    true places with 95 %, and a pair that is distinguishable here stays so in any smaller family of the same
    comparisons. A percentile bootstrap of ranks does not cover them where methods are nearly equal.

    Args:
        outcomes: On the same samples, by method. A pair is compared over the seeds that both have; with a single
            training it is not distinguishable.

    Raises:
        ValueError: If a pair is not about the same samples or folds, or has no seeds in common.
    """
    accuracy = {name: outcome.accuracy for name, outcome in outcomes.items()}
    pairs = [sorted(pair, key=accuracy.__getitem__) for pair in combinations(outcomes, 2)]
    return _ranked(accuracy, {(worse, better): _p_value(outcomes[worse], outcomes[better]) for worse, better in pairs})


def _ranked(accuracy: Mapping[str, float], p_values: Mapping[tuple[str, str], float]) -> Ranking:
    """Places from the p-values of all pairs, the less accurate method first, not corrected yet."""
    corrected = zip(p_values, holm(list(p_values.values())), strict=True)
    shown = [pair for pair, p_value in corrected if p_value < 1 - LEVEL]
    places = {
        name: RankInterval(
            estimate=1 + sum(other > own for other in accuracy.values()),
            low=1 + sum(name == worse for worse, _ in shown),
            high=len(accuracy) - sum(name == better for _, better in shown),
        )
        for name, own in accuracy.items()
    }
    return Ranking(places, len(shown) / max(1, len(p_values)), accuracy, p_values)


def _p_value(a: Outcomes, b: Outcomes) -> float:
    paired = in_pairs((a, b))
    return distribution_of(paired, (1.0, -1.0)).p_value() if paired[0].trainings > 1 else 1.0


def probability_better(a: Outcomes, b: Outcomes) -> Interval:
    """How probably a training of ``a`` beats its twin of ``b`` on the same test part; a tie is half a win.

    The share of the trainings that both have. Its interval is Wilson's (1927, Journal of the American Statistical
    Association 22). Trainings that are tested on the same samples are worth fewer independent ones: as many as their
    variance is larger than that of their mean, which includes the samples' share of it.

    Returns:
        A probability, in [0, 1]; with one training nothing is known, and the interval is as wide as can be.

    Raises:
        ValueError: If they are not about the same samples or folds, or have no seeds in common.
    """
    differences = paired_trainings(a, b)
    share = float(np.mean((differences > 0) + 0.5 * (differences == 0)))
    if differences.size < 2:
        return Interval(share, 0.0, 1.0, unit="probability")
    found = distribution_of(in_pairs((a, b)), (1.0, -1.0))
    variance = float(found.deviations.var()) + found.training_error**2
    spread = float(differences.var(ddof=1))
    worth = min(float(differences.size), max(1.0, spread / variance)) if variance > 0 else float(differences.size)
    normal = student_quantile((1 + LEVEL) / 2)
    middle = (share + normal**2 / (2 * worth)) / (1 + normal**2 / worth)
    half = normal / (1 + normal**2 / worth) * math.sqrt(share * (1 - share) / worth + normal**2 / (4 * worth**2))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half), unit="probability")

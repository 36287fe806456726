"""Many methods at once: their ranks, and how often one beats another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlabench.statistics.comparisons import Outcomes, distribution_of, in_pairs, paired_trainings
from mlabench.statistics.decisions import holm
from mlabench.statistics.resampling import LEVEL, Interval, student_quantile

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class RankInterval:
    """The place of a method among others, 1 being the best.

    Attributes:
        estimate: By estimated accuracy.
        low: The best place that it may truly have, at 95 %.
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
        separability: The share of all pairs of methods that are told apart, their p-values being corrected over all
            pairs.
    """

    intervals: dict[str, RankInterval]
    separability: float

    @property
    def top_group(self) -> tuple[str, ...]:
        """Whoever may be first. The truly best is among them with a probability of 95 %."""
        return tuple(name for name, place in self.intervals.items() if place.low == 1)


def rank_intervals(outcomes: Mapping[str, Outcomes]) -> Ranking:
    """The place of each method, from its comparisons in pairs with all others.

    The best place that a method may have is behind those that are shown to be better, the worst one before those that
    are shown to be worse (Mohamad, van Zwet, Goeman, 2022, Biometrics 78), so places never contradict comparisons, and
    equal methods share theirs. A method's p-values are corrected over its comparisons by :func:`holm`: each interval by
    itself covers the true place with 95 %. A percentile bootstrap of ranks does not where methods are nearly equal.

    Args:
        outcomes: On the same samples, by method. A pair is compared over the seeds that both have; with a single
            training it is not told apart.

    Raises:
        ValueError: If a pair is not about the same samples or folds, or has no seeds in common.
    """
    names = list(outcomes)
    p_values = np.ones((len(names), len(names)))
    for one, other in combinations(range(len(names)), 2):
        paired = in_pairs((outcomes[names[one]], outcomes[names[other]]))
        if paired[0].trainings > 1:
            p_values[one, other] = p_values[other, one] = distribution_of(paired, (1.0, -1.0)).p_value()
    accuracy = np.array([outcome.accuracy for outcome in outcomes.values()])
    places = {}
    for index, name in enumerate(names):
        others = np.arange(len(names)) != index
        shown = np.array(holm(p_values[index, others].tolist())) < 1 - LEVEL
        better, worse = accuracy[others] > accuracy[index], accuracy[others] < accuracy[index]
        places[name] = RankInterval(
            estimate=1 + int(better.sum()),
            low=1 + int((shown & better).sum()),
            high=len(names) - int((shown & worse).sum()),
        )
    pairs = holm(p_values[np.triu_indices(len(names), 1)].tolist())
    return Ranking(places, sum(p_value < 1 - LEVEL for p_value in pairs) / max(1, len(pairs)))


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


@dataclass(frozen=True)
class Ranks:
    """How methods rank over tasks (Demsar, 2006, JMLR 7).

    Attributes:
        mean_ranks: Of each method; 1 is best.
        friedman_p: P-value of the hypothesis that all methods rank alike: Friedman's test, with two methods
            Wilcoxon's; 1 with fewer than two tasks.
        critical_difference: Mean ranks that differ by less are indistinguishable (Nemenyi, 5 %).
        groups: The largest sets of indistinguishable methods, as indices, best first.
        tasks: Number of tasks.
    """

    mean_ranks: tuple[float, ...]
    friedman_p: float
    critical_difference: float
    groups: tuple[tuple[int, ...], ...]
    tasks: int


def critical_difference(scores: Floats) -> Ranks:
    """Ranks of methods over tasks, and which of them are indistinguishable.

    If Friedman's test finds no difference, all methods are indistinguishable. Tasks that share training data, such
    as missing rates on one dataset, are not independent, and then the test finds too much.

    Args:
        scores: The higher the better, without gaps. ``[K tasks, M methods]``

    Raises:
        ValueError: If there are fewer than two methods, no task, or gaps.
    """
    from scipy import stats

    if scores.ndim != 2 or not scores.size or not np.isfinite(scores).all():
        raise ValueError("scores must be a full table of numbers")
    tasks, methods = scores.shape
    if methods < 2:
        raise ValueError("ranks need two methods")
    ranks = stats.rankdata(-scores, axis=1).mean(axis=0)
    nemenyi = float(stats.studentized_range.ppf(LEVEL, methods, np.inf)) / math.sqrt(2)
    critical = nemenyi * math.sqrt(methods * (methods + 1) / (6 * tasks))
    if tasks < 2 or (scores == scores[:, :1]).all():
        p_value = 1.0
    elif methods == 2:
        p_value = float(stats.wilcoxon(scores[:, 0], scores[:, 1]).pvalue)
    else:
        p_value = float(stats.friedmanchisquare(*scores.T).pvalue)
    order = np.argsort(ranks, kind="stable")
    reach = critical if p_value < 1 - LEVEL else math.inf
    return Ranks(
        mean_ranks=tuple(float(rank) for rank in ranks),
        friedman_p=p_value,
        critical_difference=critical,
        groups=_cliques(ranks, order, reach),
        tasks=tasks,
    )


def _cliques(ranks: Floats, order: NDArray[np.intp], reach: float) -> tuple[tuple[int, ...], ...]:
    """Maximal runs of methods, in order of rank, whose ranks span less than ``reach``; single methods left out."""
    found: list[tuple[int, ...]] = []
    end = 0
    for start, method in enumerate(order):
        new_end = max(place for place in range(start, len(order)) if ranks[order[place]] - ranks[method] < reach) + 1
        if new_end > end and new_end - start > 1:
            found.append(tuple(int(index) for index in order[start:new_end]))
        end = max(end, new_end)
    return tuple(found)

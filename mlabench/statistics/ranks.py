"""Methods compared over several tasks at once: datasets, missing rates, or both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlabench.statistics.resampling import LEVEL, RESAMPLES, Interval, student_quantile

Floats = NDArray[np.floating[Any]]

_SEED = 20240618


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

    tasks, methods = _checked(scores).shape
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


def win_rates(scores: Floats) -> NDArray[np.float64]:
    """How often each method (row) beats each other (column); a tie is half a win. ``[M, M]``

    Args:
        scores: The higher the better, without gaps. ``[K tasks, M methods]``
    """
    first, second = _checked(scores)[:, :, None], scores[:, None, :]
    return np.asarray(((first > second) + 0.5 * (first == second)).mean(axis=0), dtype=float)


def probability_of_improvement(a: Floats, b: Floats) -> Interval:
    """How probably a run of ``a`` beats a run of ``b`` on a task drawn at random (Agarwal et al., 2021).

    Runs are compared each with each within a task; a tie is half a win. The interval is by the stratified
    bootstrap of the paper, widened as described at :func:`interquartile_mean`.

    Args:
        a: Scores of one method, the higher the better. ``[S seeds, T tasks]``
        b: Scores of the other. ``[R seeds, T tasks]``

    Returns:
        A probability, in [0, 1].

    Raises:
        ValueError: If the tasks differ in number, or there are gaps.
    """
    if _checked(a).shape[1] != _checked(b).shape[1]:
        raise ValueError("the methods have different tasks")
    generator = np.random.default_rng(_SEED)
    first, second = _resampled(a, generator), _resampled(b, generator)
    replicates = np.mean([_wins(one, two) for one, two in zip(first, second, strict=True)], axis=1)
    return _interval(float(_wins(a, b).mean()), replicates, min(len(a), len(b)), a.shape[1], (0.0, 1.0))


def interquartile_mean(scores: Floats) -> Interval:
    """Mean of the middle half of all runs on all tasks (Agarwal et al., 2021).

    The interval is by the paper's bootstrap, stratified by task: seeds are resampled within each, the tasks stay.
    With few seeds that alone is too narrow, so its ends are moved out by the factor of the expanded percentile
    interval (Hesterberg, 2015): sqrt(S / (S - 1)) for the resampled variance being too small, and Student's t with
    T (S - 1) degrees of freedom over the normal quantile. With one seed the interval is as wide as can be: the
    spread is unknown.

    Args:
        scores: Without gaps. ``[S seeds, T tasks]``

    Returns:
        In the unit of ``scores``.

    Raises:
        ValueError: If there are gaps.
    """
    seeds, tasks = _checked(scores).shape
    replicates = _trimmed(_resampled(scores, np.random.default_rng(_SEED)).reshape(RESAMPLES, -1))
    estimate = float(_trimmed(scores.reshape(1, -1))[0])
    return _interval(estimate, replicates, seeds, tasks, (-math.inf, math.inf))


def _checked(scores: Floats) -> Floats:
    if scores.ndim != 2 or not scores.size or not np.isfinite(scores).all():
        raise ValueError("scores must be a full table of numbers")
    return scores


def _resampled(scores: Floats, generator: np.random.Generator) -> Floats:
    """Seeds resampled within each task. ``[B, S, T]``"""
    seeds, tasks = scores.shape
    return scores[generator.integers(seeds, size=(RESAMPLES, seeds, tasks)), np.arange(tasks)]


def _wins(a: Floats, b: Floats) -> NDArray[np.float64]:
    """Per task, the share of pairs of runs that ``a`` wins. ``[T]``"""
    return np.asarray(((a[:, None] > b) + 0.5 * (a[:, None] == b)).mean(axis=(0, 1)), dtype=float)


def _trimmed(rows: Floats) -> NDArray[np.float64]:
    """Mean of each row without its lowest and its highest quarter. ``[B]``"""
    from scipy.stats import trim_mean

    return np.asarray(trim_mean(rows, 0.25, axis=1), dtype=float)


def _interval(estimate: float, replicates: Floats, seeds: int, tasks: int, limits: tuple[float, float]) -> Interval:
    """The bootstrap's percentile interval, widened for few seeds and cut to what is possible."""
    if seeds < 2:
        return Interval(estimate, *limits)
    upper = (1 + LEVEL) / 2
    factor = math.sqrt(seeds / (seeds - 1)) * student_quantile(upper, tasks * (seeds - 1)) / student_quantile(upper)
    ends = estimate + factor * (np.quantile(replicates, [1 - upper, upper]) - estimate)
    low, high = np.clip(ends, *limits)
    return Interval(estimate, float(low), float(high))

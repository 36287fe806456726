"""Comparisons of numbers measured with several seeds on the same test samples.

Methods that share seeds, splits and missing patterns are compared in pairs. Accuracies are in percent and differences
in points, unless a docstring says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlabench.statistics.resampling import (
    LEVEL,
    POWER,
    RESAMPLES,
    ConfidenceDistribution,
    Interval,
    confidence_distribution,
    student_quantile,
    student_tails,
)

Codes = NDArray[np.integer[Any]]

#: A number for each seed: by seed, or in the order of the seeds if none is missing.
PerSeed = Mapping[int, float] | Sequence[float]


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


def summarise(values: Iterable[float]) -> Summary:
    """Mean and sample standard deviation of the values that are numbers."""
    array = np.fromiter(values, dtype=float)
    array = array[~np.isnan(array)]
    return Summary(
        mean=float(array.mean()) if array.size else None,
        std=float(array.std(ddof=1)) if array.size > 1 else None,
        n=int(array.size),
    )


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Which test samples one method gets right under one condition, seed by seed.

    With folds, each sample is tested once per repeat, by the training of the fold that holds it; a row is a repeat.

    Attributes:
        correct: One row per seed, one column per test sample; averaged over several conditions, the share of them in
            [0, 1]. ``[R, N]``
        groups: Codes of the independent units that the samples belong to (stamp, speaker, dialogue). ``[N]``
        seeds: The seeds of the rows.
        folds: Codes of the fold that tested each sample: each fold of each row is a training of its own. None if each
            row is one training. ``[R, N]``
    """

    correct: NDArray[np.bool_] | NDArray[np.floating[Any]]
    groups: NDArray[np.int64]
    seeds: tuple[int, ...]
    folds: Codes | None = None

    @property
    def trainings(self) -> int:
        """Number of trainings behind it."""
        return len(self.seeds) if self.folds is None else sum(np.unique(row).size for row in self.folds)

    def of(self, seeds: Sequence[int]) -> Outcomes:
        """The rows of some of its seeds."""
        if tuple(seeds) == self.seeds:
            return self
        rows = [self.seeds.index(seed) for seed in seeds]
        folds = None if self.folds is None else self.folds[rows]
        return Outcomes(self.correct[rows], self.groups, tuple(seeds), folds)

    @property
    def accuracy(self) -> float:
        """Mean over seeds and samples, in percent."""
        return float(100 * self.correct.mean())

    @cached_property
    def interval(self) -> Interval:
        """See :func:`accuracy_interval`."""
        own = confidence_distribution(100.0 * self.correct, self.groups, 100.0, self.folds, training_sets=1.0).interval
        return Interval(own.estimate, max(0.0, own.low), min(100.0, own.high), own.level)


@dataclass(frozen=True)
class Comparison:
    """A difference in pairs.

    Attributes:
        difference: The first minus the second.
        p_value: Two-sided, uncorrected; below 0.05 just where the 95 % interval excludes 0.
        detectable: The smallest true difference that this test finds with a probability of 80 %.
        seeds: Number of seeds (with folds: repeats) that all have.
        trainings: Number of trainings behind each side. With one, the interval says what other test samples would do;
            what other trainings would do is unknown.
        samples: Number of test samples; 0 if numbers per seed were compared.
        groups: Number of independent units among them; 0 likewise.
        distribution: What intervals and p-values are read from; None if nothing is known about the spread.
    """

    difference: Interval
    p_value: float
    detectable: float
    seeds: int
    trainings: int
    samples: int = 0
    groups: int = 0
    distribution: ConfidenceDistribution | None = field(default=None, repr=False, compare=False)

    @property
    def seed_spread_known(self) -> bool:
        """Whether the interval covers the draw of the trainings."""
        return self.trainings > 1

    @property
    def half_width(self) -> float:
        """Of the 95 % interval."""
        return self.difference.half_width

    def equivalence_p(self, margin: float) -> float:
        """P-value of the hypothesis that the true difference is ``margin`` or more, to either side.

        Two one-sided tests (TOST; Schuirmann, 1987, Journal of Pharmacokinetics and Biopharmaceutics 15), the larger
        of their p-values: below 0.05 just where the 90 % interval lies within plus or minus ``margin``.
        """
        if self.distribution is None:
            return 1.0
        return max(self.distribution.below(-margin), self.distribution.mirrored().below(-margin))

    @cached_property
    def excluded(self) -> float:
        """The smallest margin that the true difference stays within, at 95 %: the farther end of the 90 % interval."""
        if self.distribution is None:
            return math.inf
        tail = 1 - LEVEL
        return -min(self.distribution.quantile(tail), self.distribution.mirrored().quantile(tail))


def averaged(outcomes: Sequence[Outcomes | None], weights: Sequence[float] | None = None) -> Outcomes | None:
    """The weighted mean over several conditions, sample by sample, of the seeds that have all of them.

    Args:
        outcomes: One per condition, on the same samples.
        weights: One per condition; equal ones if None.

    Returns:
        None if a condition is not known, or no seed has all of them.

    Raises:
        ValueError: If they are not about the same samples or folds.
    """
    shares = np.ones(len(outcomes)) if weights is None else np.asarray(weights)
    return weighted_sum(outcomes, shares / shares.sum())


def weighted_sum(outcomes: Sequence[Outcomes | None], weights: ArrayLike) -> Outcomes | None:
    """Likewise a weighted sum, whatever the weights add up to."""
    known = [outcome for outcome in outcomes if outcome is not None]
    seeds = sorted(set.intersection(*(set(outcome.seeds) for outcome in known))) if known else []
    if len(known) < len(outcomes) or not seeds:
        return None
    rows = in_pairs([outcome.of(seeds) for outcome in known])
    return replace(rows[0], correct=np.tensordot(np.asarray(weights, dtype=float), [row.correct for row in rows], 1))


def accuracy_interval(outcomes: Outcomes) -> Interval:
    """The accuracy in percent, and its 95 % interval over seeds and groups of samples.

    See :func:`mlabench.statistics.resampling.confidence_distribution` for the method and its simulated coverage. With
    one seed the interval is over the samples alone: the spread over seeds is unknown, not zero.
    """
    return outcomes.interval


def compare(a: Outcomes, b: Outcomes) -> Comparison:
    """The accuracy of ``a`` minus that of ``b``, in points, in pairs over the seeds that both have.

    The test is the one that belongs to the interval, so both say the same: the p-value is twice the share of the
    bootstrap distribution beyond 0. Simulated size at 5 %: 2 to 4 % with 5 seeds, 0 to 4 % with 3, 0 to 2 % with 2.
    Simulated power at :attr:`Comparison.detectable`: 77 to 90 % with 3 or 5 seeds, 60 % with 2. With one seed the test
    is about these two trained models, not about the methods: where seeds differ by 3 points, it takes every other
    pair of equal methods for different.

    Raises:
        ValueError: If they are not about the same samples or folds, or have no seeds in common.
    """
    return contrast((a, b), (1.0, -1.0))


def contrast(outcomes: Sequence[Outcomes], weights: Sequence[float]) -> Comparison:
    """A weighted sum of accuracies, in points, in pairs over the seeds that all have.

    For instance the interaction of two parts of a method, with the weights 1, -1, -1 and 1.

    Args:
        outcomes: On the same samples.
        weights: One per element of ``outcomes``; their sum is 0.

    Raises:
        ValueError: If they are not about the same samples or folds, or have no seeds in common.
    """
    paired = in_pairs(outcomes)
    distribution = distribution_of(paired, weights)
    groups = paired[0].groups
    return Comparison(
        difference=distribution.interval,
        p_value=distribution.p_value(),
        detectable=distribution.detectable(),
        seeds=len(paired[0].seeds),
        trainings=paired[0].trainings,
        samples=groups.size,
        groups=np.unique(groups).size,
        distribution=distribution,
    )


def p_of_difference(a: Outcomes, b: Outcomes) -> float:
    """The p-value of :func:`compare`, in a fraction of its time.

    Raises:
        ValueError: If they are not about the same samples or folds, or have no seeds in common.
    """
    return distribution_of(in_pairs((a, b)), (1.0, -1.0)).p_value()


def paired_trainings(a: Outcomes, b: Outcomes) -> NDArray[np.float64]:
    """The accuracy of each training of ``a`` minus that of its twin of ``b``, in points. ``[U]``

    Twins have the same seed and fold. Each is tested on its own fold, or on all samples if there are none.

    Raises:
        ValueError: If they are not about the same samples or folds, or have no seeds in common.
    """
    first, second = in_pairs((a, b))
    return 100.0 * (_by_training(first) - _by_training(second))


def _by_training(outcomes: Outcomes) -> NDArray[np.float64]:
    """The share that each training gets right. ``[U]``"""
    if outcomes.folds is None:
        return np.asarray(outcomes.correct.mean(axis=1))
    rows = zip(outcomes.correct, outcomes.folds, strict=True)
    return np.array([row[folds == fold].mean() for row, folds in rows for fold in np.unique(folds)])


def corrected_resampled_t(a: Outcomes, b: Outcomes) -> Comparison:
    """The accuracy of ``a`` minus that of ``b`` by the corrected resampled t-test, as a conservative check.

    From the differences d of the J trainings of k folds and their repeats: ``t = mean(d) / sqrt((1 / J + 1 / (k - 1))
    var(d))`` has J - 1 degrees of freedom; 1 / (k - 1) is the ratio of test to training samples (Nadeau and Bengio,
    2003, Machine Learning 52; Bouckaert and Frank, 2004, PAKDD).

    Raises:
        ValueError: If there are no folds, they are not about the same samples or folds, or have no seeds in common.
    """
    differences = paired_trainings(a, b)
    if a.folds is None or a.trainings < 2 * len(a.seeds):
        raise ValueError("the corrected resampled t-test needs two folds or more")
    found = _mean_of(differences, correction=1 / (a.trainings / len(a.seeds) - 1))
    return replace(found, seeds=sum(seed in b.seeds for seed in a.seeds))


def in_pairs(outcomes: Sequence[Outcomes]) -> list[Outcomes]:
    """The rows of the seeds that all have; ``ValueError`` as :func:`contrast` says."""
    first = outcomes[0]
    if any(not np.array_equal(first.groups, other.groups) for other in outcomes[1:]):
        raise ValueError("the outcomes are not about the same samples")
    seeds = [seed for seed in first.seeds if all(seed in other.seeds for other in outcomes)]
    if not seeds:
        raise ValueError("the outcomes have no seeds in common")
    paired = [outcome.of(seeds) for outcome in outcomes]
    if not all(_same_folds(paired[0].folds, other.folds) for other in paired[1:]):
        raise ValueError("the outcomes are not of the same folds")
    return paired


def _same_folds(a: Codes | None, b: Codes | None) -> bool:
    return np.array_equal(a, b) if a is not None and b is not None else a is b


def distribution_of(paired: Sequence[Outcomes], weights: Sequence[float]) -> ConfidenceDistribution:
    """Of a weighted sum of accuracies, in points."""
    values = sum(100.0 * weight * other.correct for weight, other in zip(weights, paired, strict=True))
    scale = 50.0 * sum(abs(weight) for weight in weights)
    return confidence_distribution(np.asarray(values), paired[0].groups, scale, paired[0].folds)


def difference_of_means(a: PerSeed, b: PerSeed) -> Comparison:
    """The mean of ``a`` minus that of ``b``, numbers that exist once per seed, in pairs over the seeds of both.

    A paired t-test and its interval; the test samples are taken as given. With one seed in common nothing is
    known about the spread: the interval is infinite and the p-value 1.

    Args:
        a: A number per seed, in any unit, which is that of the result.
        b: Likewise.

    Raises:
        ValueError: If they have no seeds in common.
    """
    return _mean_of([first - second for first, second in _paired(a, b)])


def _paired(*numbers: PerSeed) -> list[tuple[float, ...]]:
    """The numbers of each seed that all have."""
    by_seed = [entry if isinstance(entry, Mapping) else dict(enumerate(entry)) for entry in numbers]
    seeds = [seed for seed in by_seed[0] if all(seed in entry for entry in by_seed)]
    if not seeds:
        raise ValueError("there are no seeds in common")
    return [tuple(entry[seed] for entry in by_seed) for seed in seeds]


def _mean_of(per_seed: ArrayLike, correction: float = 0.0) -> Comparison:
    """A mean over trainings with its t-interval, and the t-test that it is 0."""
    values = np.asarray(per_seed, dtype=float)
    mean, freedom = float(values.mean()), values.size - 1
    if freedom == 0:
        return Comparison(Interval(mean, -math.inf, math.inf), 1.0, math.inf, seeds=1, trainings=1)
    error = float(values.std(ddof=1)) * math.sqrt(1 / values.size + correction)
    half = student_quantile((1 + LEVEL) / 2, freedom) * error
    p_value = student_tails(mean / error, freedom) if error > 0 else float(mean == 0)
    return Comparison(
        difference=Interval(mean, mean - half, mean + half),
        p_value=p_value,
        detectable=half + student_quantile(POWER, freedom) * error,
        seeds=values.size,
        trainings=values.size,
        distribution=ConfidenceDistribution(mean, np.zeros(RESAMPLES), error, freedom, lasting=0.0),
    )


def brier_scores(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Of each sample, the squared distance of the predicted probabilities from the truth; the lower, the better.

    ``sum over classes of (p_c - [c is the label])^2``, from 0 to 2; their mean is the Brier score (Brier, 1950, Monthly
    Weather Review 78). It is lowest in expectation for the true probabilities. Half of it is in [0, 1], so that
    :class:`Outcomes` can take it for ``correct``, and be compared.

    Args:
        probabilities: One column per class. ``[N, C]``
        labels: ``[N]``
    """
    squares = (np.asarray(probabilities, dtype=float) - np.eye(probabilities.shape[1])[labels]) ** 2
    return np.asarray(squares.sum(axis=1))


def area_under_curve(rates: Sequence[float], accuracies: Sequence[float]) -> float:
    """Area under accuracy against missing rate by the trapezoidal rule, divided by the range: a mean accuracy.

    Raises:
        ValueError: If there is no point, or two at the same rate.
    """
    points = sorted(zip(rates, accuracies, strict=True))
    x, y = np.array(points, dtype=float).reshape(-1, 2).T
    if not x.size or (np.diff(x) <= 0).any():
        raise ValueError(f"a curve needs distinct rates, got {list(rates)}")
    return float(np.trapezoid(y, x) / (x[-1] - x[0])) if x.size > 1 else float(y[0])


def shapley(values: Mapping[frozenset[str], float]) -> dict[str, float]:
    """Each player's Shapley value: what it adds, averaged over all orders in which the players may join.

    They add up to the value of all players minus that of none.

    Args:
        values: The value of every subset of the players (for modalities, the accuracy with exactly these present);
            that of the empty one may be the chance level.

    Raises:
        ValueError: If a subset has no value.
    """
    players = sorted(frozenset[str]().union(*values))
    subsets = [frozenset(chosen) for size in range(len(players) + 1) for chosen in combinations(players, size)]
    absent = [" + ".join(sorted(subset)) or "the empty set" for subset in subsets if subset not in values]
    if absent:
        raise ValueError(f"no value for {', '.join(absent)}")
    total = math.factorial(len(players))
    return {
        player: sum(
            math.factorial(len(subset))
            * math.factorial(len(players) - len(subset) - 1)
            / total
            * (values[subset | {player}] - values[subset])
            for subset in subsets
            if player not in subset
        )
        for player in players
    }

"""Samples that are dealt into folds, each tested by a training of its own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mlabench.statistics import (
    Outcomes,
    accuracy_interval,
    averaged,
    compare,
    confidence_distribution,
    distinguishable,
)

SIZES = np.random.default_rng(1).geometric(1 / 4, size=60)
GROUPS = np.repeat(np.arange(60), SIZES)


def dealt(random: np.random.Generator, repeats: int, folds: int = 5) -> np.ndarray:
    """Whole groups dealt into folds of about equal size, anew in each repeat. ``[R, N]``"""
    return np.stack([random.permutation(np.arange(60) % folds) for _ in range(repeats)])[:, GROUPS]


def outcomes(random: np.random.Generator, repeats: int, rate: float = 0.7) -> Outcomes:
    folds = dealt(random, repeats)
    return Outcomes(random.random(folds.shape) < rate, GROUPS, tuple(range(repeats)), folds)


@pytest.mark.parametrize("repeats", [1, 2, 5])
def test_the_variance_is_that_of_groups_and_trainings_with_what_both_hold_counted_once(repeats: int) -> None:
    random = np.random.default_rng(repeats)
    folds = dealt(random, repeats)
    effect = random.normal(0, 0.3, (repeats, 5))
    values = random.normal(1, 1, folds.shape) + np.take_along_axis(effect, folds, axis=1)
    found = confidence_distribution(values, GROUPS, 10.0, folds)

    size, estimate = values.size, values.mean()
    trainings = [values[row, folds[row] == fold] for row in range(repeats) for fold in range(5)]
    weights = np.array([len(training) / size for training in trainings])
    spread = sum((w * (training.mean() - estimate)) ** 2 for w, training in zip(weights, trainings, strict=True))
    of_trainings = spread / (1 - sum(weights**2))
    of_groups = of_both = 0.0
    for group in range(60):
        sums = values[:, group == GROUPS].sum(axis=1) - estimate * SIZES[group]
        of_groups += sums.mean() ** 2 / len(GROUPS) ** 2
        of_both += (sums**2).sum() / size**2
    assert found.estimate == pytest.approx(estimate)
    assert found.training_error**2 == pytest.approx(of_trainings)
    assert found.freedom == pytest.approx(1 / sum(weights**2) - 1)
    # The bootstrap's own spread is within some percent of the formula's, besides being widened for 60 groups.
    left = max(0.0, of_groups - min(of_both, of_trainings))
    assert found.deviations.var() == pytest.approx(left, rel=0.2, abs=1e-12)


def test_where_only_trainings_differ_it_is_the_t_test_over_trainings() -> None:
    groups = np.arange(200)
    folds = np.random.default_rng(2).permutation(groups % 5)[None]
    right = np.array([True, True, False, True, False])[folds]
    wrong = Outcomes(~np.ones_like(right), groups, (0,), folds)
    comparison = compare(Outcomes(right, groups, (0,), folds), wrong)
    expected = stats.ttest_1samp([100.0, 100, 0, 100, 0], 0.0)
    limits = expected.confidence_interval(0.95)
    np.testing.assert_allclose([comparison.difference.low, comparison.difference.high], limits, rtol=1e-4)
    assert comparison.p_value == pytest.approx(expected.pvalue, rel=1e-6)
    assert (comparison.seeds, comparison.trainings, comparison.samples) == (1, 5, 200)


def test_one_training_whose_samples_are_all_of_one_fold_knows_no_spread() -> None:
    random = np.random.default_rng(3)
    correct = random.random((1, 200)) < 0.7
    one = Outcomes(correct, np.arange(200), (0,), np.zeros((1, 200), dtype=int))
    assert one.trainings == 1
    assert accuracy_interval(one) == accuracy_interval(Outcomes(correct, np.arange(200), (0,)))


def test_repeats_are_paired_with_their_folds() -> None:
    a, b = (outcomes(np.random.default_rng(4), 3, rate) for rate in (0.8, 0.7))
    later = b.of((2, 1))
    assert later.folds is not None
    comparison = compare(a, later)
    assert comparison == compare(a.of((1, 2)), b.of((1, 2)))
    assert (comparison.seeds, comparison.trainings) == (2, 10)
    assert distinguishable(a, b) == (compare(a, b).p_value < 0.05)
    both = averaged([a, later])
    assert both is not None
    assert both.folds is not None
    assert both.seeds == (1, 2)
    np.testing.assert_array_equal(both.folds, np.asarray(a.folds)[[1, 2]])


def test_different_folds_cannot_be_compared() -> None:
    a, b = (outcomes(np.random.default_rng(generator), 2) for generator in (5, 6))
    with pytest.raises(ValueError, match="same folds"):
        compare(a, b)
    with pytest.raises(ValueError, match="same folds"):
        compare(a, Outcomes(a.correct, a.groups, a.seeds))
    with pytest.raises(ValueError, match="same folds"):
        averaged([a, b])
    with pytest.raises(ValueError, match=r"folds \(1, 5\) do not fit"):
        confidence_distribution(np.ones((2, 5)), np.arange(5), 1.0, np.ones((1, 5), dtype=int))

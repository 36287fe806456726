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
    corrected_resampled_t,
    p_of_difference,
    paired_trainings,
)

SIZES = np.random.default_rng(1).geometric(1 / 4, size=60)
GROUPS = np.repeat(np.arange(60), SIZES)


def dealt(random: np.random.Generator, repeats: int, folds: int = 5) -> np.ndarray:
    """Whole groups dealt into folds of about equal size, anew in each repeat. ``[R, N]``"""
    return np.stack([random.permutation(np.arange(60) % folds) for _ in range(repeats)])[:, GROUPS]


def outcomes(random: np.random.Generator, repeats: int, rate: float = 0.7) -> Outcomes:
    folds = dealt(random, repeats)
    return Outcomes(random.random(folds.shape) < rate, GROUPS, tuple(range(repeats)), folds)


@pytest.mark.parametrize("training_sets", [0.5, 1.0])
@pytest.mark.parametrize("repeats", [1, 2, 5])
def test_the_variance_by_loops(repeats: int, training_sets: float) -> None:
    random = np.random.default_rng(repeats)
    folds = dealt(random, repeats)
    effect = random.normal(0, 0.6, (repeats, 5))
    own = random.normal(0, 0.5, 60)[GROUPS]
    values = own + random.normal(1, 1, folds.shape) + np.take_along_axis(effect, folds, axis=1)
    found = confidence_distribution(values, GROUPS, 10.0, folds, training_sets)

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
    freedom = len(GROUPS) ** 2 / sum(SIZES**2) - 1
    widening = (stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)) ** 2 * 60 / 59
    of_samples = (of_groups - of_both) * repeats / (repeats - 1) if repeats > 1 else training_sets / 2 * of_groups
    groups = widening * (of_groups + training_sets * of_samples)
    excess = max(0.0, of_trainings - of_both)
    assert excess > 0

    assert found.estimate == pytest.approx(estimate)
    assert found.training_error**2 == pytest.approx(excess + groups / 4)
    satterthwaite = (excess + groups / 4) ** 2 / (
        excess * of_trainings / (1 / sum(weights**2) - 1) + (groups / 4) ** 2 / freedom
    )
    assert found.freedom == pytest.approx(satterthwaite)
    assert found.deviations.var() == pytest.approx(groups * 3 / 4, rel=0.1)  # the bootstrap's own spread
    if repeats > 1:
        assert found.lasting == pytest.approx(np.sqrt(widening * (1 + training_sets) * of_samples))
    else:
        assert found.lasting is None


def test_where_only_trainings_differ_it_is_the_t_test_over_trainings() -> None:
    groups = np.arange(3000)
    folds = np.random.default_rng(2).permutation(groups % 5)[None]
    right = np.array([True, True, False, True, False])[folds]
    wrong = Outcomes(~np.ones_like(right), groups, (0,), folds)
    comparison = compare(Outcomes(right, groups, (0,), folds), wrong)
    expected = stats.ttest_1samp([100.0, 100, 0, 100, 0], 0.0)
    limits = expected.confidence_interval(0.95)
    np.testing.assert_allclose([comparison.difference.low, comparison.difference.high], limits, rtol=0.02)
    assert comparison.p_value == pytest.approx(expected.pvalue, rel=0.02)
    assert (comparison.seeds, comparison.trainings, comparison.samples) == (1, 5, 3000)


@pytest.mark.parametrize("repeats", [1, 3])
def test_methods_that_agree_everywhere_are_equal_by_the_rule_of_three(repeats: int) -> None:
    a = outcomes(np.random.default_rng(7), repeats)
    same = compare(a, a)
    assert same.p_value == 1.0
    assert same.excluded == pytest.approx(100 * (1 - 0.1 ** (1 / 60)), rel=0.01)  # either sign is as probable


def test_values_that_differ_by_rounding_alone_do_not_differ() -> None:
    folds = dealt(np.random.default_rng(10), 2)
    third = np.full(folds.shape, 1 / 3)
    for where in (folds, None):
        found = confidence_distribution(100 * third * 0.7, GROUPS, 100.0, where)
        assert found.interval.half_width == pytest.approx(100 * (1 - 0.05 ** (1 / 60)), rel=0.01)


def test_the_corrected_resampled_t_test_by_hand() -> None:
    a, b = (outcomes(np.random.default_rng(8), 3, rate) for rate in (0.8, 0.7))
    assert a.folds is not None
    b = Outcomes(np.random.default_rng(9).random(a.correct.shape) < 0.7, a.groups, a.seeds, a.folds)
    differences = [
        100 * (a.correct[row][a.folds[row] == fold].mean() - b.correct[row][a.folds[row] == fold].mean())
        for row in range(3)
        for fold in range(5)
    ]
    np.testing.assert_allclose(paired_trainings(a, b), differences)
    error = np.sqrt((1 / 15 + 1 / 4) * np.var(differences, ddof=1))
    expected = stats.t(14, np.mean(differences), error).interval(0.95)
    found = corrected_resampled_t(a, b)
    assert (found.difference.low, found.difference.high) == pytest.approx(expected)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(np.mean(differences)) / error, 14))
    assert (found.seeds, found.trainings) == (3, 15)
    one = Outcomes(a.correct, a.groups, a.seeds)
    with pytest.raises(ValueError, match="two folds"):
        corrected_resampled_t(one, one)
    np.testing.assert_allclose(paired_trainings(one, one), [0.0, 0.0, 0.0])


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
    assert p_of_difference(a, b) == compare(a, b).p_value
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

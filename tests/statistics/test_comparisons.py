from __future__ import annotations

import math
import time
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlabench.statistics import (
    ConfidenceDistribution,
    Interval,
    Outcomes,
    accuracy_interval,
    area_under_curve,
    compare,
    contrast,
    difference_of_means,
    p_of_difference,
    shapley,
)

SIZES = np.random.default_rng(5).geometric(1 / 8, size=130)
GROUPS = np.repeat(np.arange(130), SIZES)


def independent(correct: np.ndarray) -> Outcomes:
    """Outcomes of samples that are groups of their own."""
    return Outcomes(correct, np.arange(correct.shape[1]), tuple(range(len(correct))))


class World:
    """Seeds, groups, samples and their interaction all decide whether a prediction is right."""

    def __init__(self, seed_effect: float, generator: int = 0) -> None:
        self.seed_effect = seed_effect
        self.random = np.random.default_rng(generator)

    def method(self, seeds: int, group: np.ndarray, sample: np.ndarray, shift: float = 0.0) -> Outcomes:
        score = (
            1.2
            + shift
            + self.random.normal(0, self.seed_effect, (seeds, 1))
            + group[GROUPS]
            + sample
            + self.random.normal(0, 0.3, (seeds, len(SIZES)))[:, GROUPS]
            + self.random.logistic(0, 0.5, (seeds, len(GROUPS)))
        )
        return Outcomes(score > 0, GROUPS, tuple(range(seeds)))

    def one(self, seeds: int) -> Outcomes:
        return self.method(seeds, self.random.normal(0, 0.8, len(SIZES)), self.random.normal(0, 0.8, len(GROUPS)))

    def two(self, seeds: int, shift: float = 0.0) -> tuple[Outcomes, Outcomes]:
        group, sample = self.random.normal(0, 0.8, len(SIZES)), self.random.normal(0, 0.8, len(GROUPS))

        def own() -> tuple[np.ndarray, np.ndarray]:
            return group + self.random.normal(0, 0.4, len(SIZES)), sample + self.random.normal(0, 0.4, len(GROUPS))

        return self.method(seeds, *own(), shift), self.method(seeds, *own())

    def accuracy(self) -> float:
        """The true one, over all seeds and samples that there might be."""
        draws = 1_000_000
        spread = math.sqrt(self.seed_effect**2 + 2 * 0.8**2 + 0.3**2)
        score = 1.2 + self.random.normal(0, spread, draws) + self.random.logistic(0, 0.5, draws)
        return float(100 * (score > 0).mean())


def binomial_error(probability: float, repetitions: int) -> float:
    """Three standard errors of a simulated share."""
    return 3 * math.sqrt(probability * (1 - probability) / repetitions)


# -- intervals and tests over seeds and samples ----------------------------------------------------------------


@pytest.mark.parametrize(("seeds", "seed_effect"), [(3, 0.0), (3, 0.2), (5, 0.05)])
def test_intervals_cover_the_truth_as_often_as_they_say(seeds: int, seed_effect: float) -> None:
    repetitions = 250
    world = World(seed_effect)
    truth = world.accuracy()
    found = [accuracy_interval(world.one(seeds)) for _ in range(repetitions)]
    coverage = np.mean([interval.low <= truth <= interval.high for interval in found])
    assert coverage >= 0.95 - binomial_error(0.95, repetitions)
    # Nor are they needlessly wide: at most so much wider than one would draw them knowing the estimate's spread.
    ideal = 2 * 1.96 * np.std([interval.estimate for interval in found])
    allowed = {(3, 0.0): 1.3, (3, 0.2): 2.2, (5, 0.05): 1.3}[seeds, seed_effect]  # t with 2 degrees of freedom: 4.3
    assert np.mean([interval.high - interval.low for interval in found]) < allowed * ideal


@pytest.mark.parametrize(("seeds", "seed_effect"), [(3, 0.0), (3, 0.2), (5, 0.05)])
def test_the_paired_test_rejects_a_true_hypothesis_as_rarely_as_it_says(seeds: int, seed_effect: float) -> None:
    repetitions = 250
    world = World(seed_effect, generator=1)
    p_values = [compare(*world.two(seeds)).p_value for _ in range(repetitions)]
    assert np.mean(np.array(p_values) < 0.05) <= 0.05 + binomial_error(0.05, repetitions)
    assert np.mean(np.array(p_values) < 0.5) >= 0.3  # nor is it so cautious as to be useless


def test_a_difference_as_large_as_the_detectable_one_is_found_in_about_80_percent() -> None:
    repetitions, seeds, shift = 200, 5, 0.29
    world = World(0.05, generator=2)
    found = [compare(*world.two(seeds, shift)) for _ in range(repetitions)]
    difference = np.mean([comparison.difference.estimate for comparison in found])
    detectable = np.median([comparison.detectable for comparison in found])
    assert difference == pytest.approx(detectable, rel=0.1)  # the shift was chosen so
    power = np.mean([comparison.p_value < 0.05 for comparison in found])
    assert abs(power - 0.8) < 0.05 + binomial_error(0.8, repetitions)


def test_without_seeds_and_groups_it_is_what_scipy_makes_of_the_samples() -> None:
    random = np.random.default_rng(3)
    a, b = random.random((1, 600)) < 0.8, random.random((1, 600)) < 0.75
    interval = accuracy_interval(independent(a))
    bootstrap = stats.bootstrap((100.0 * a[0],), np.mean, method="percentile", rng=random).confidence_interval
    assert interval.estimate == pytest.approx(100 * a.mean())
    np.testing.assert_allclose([interval.low, interval.high], bootstrap, atol=0.35)

    comparison = compare(independent(a), independent(b))
    expected = stats.ttest_rel(100.0 * a[0], 100.0 * b[0])
    limits = expected.confidence_interval(0.95)
    np.testing.assert_allclose([comparison.difference.low, comparison.difference.high], limits, atol=0.35)
    assert comparison.p_value == pytest.approx(expected.pvalue, abs=0.01)
    permuted = stats.permutation_test(
        (100.0 * a[0], 100.0 * b[0]), lambda x, y: np.mean(x - y), permutation_type="samples", rng=random
    )
    assert comparison.p_value == pytest.approx(permuted.pvalue, abs=0.015)
    assert (comparison.seeds, comparison.samples, comparison.groups) == (1, 600, 600)
    assert not comparison.seed_spread_known


def test_where_only_seeds_differ_it_is_the_t_test_over_seeds() -> None:
    a = np.repeat([[True], [True], [False], [True], [True]], 40, axis=1)
    comparison = compare(independent(a), independent(~np.ones_like(a)))
    expected = stats.ttest_1samp(100.0 * a[:, 0], 0.0)
    limits = expected.confidence_interval(0.95)
    np.testing.assert_allclose([comparison.difference.low, comparison.difference.high], limits, rtol=1e-4)
    assert comparison.p_value == pytest.approx(expected.pvalue, rel=1e-6)


def test_groups_count_as_one_each() -> None:
    random = np.random.default_rng(4)
    once = random.random((2, 100)) < 0.7
    outcomes = Outcomes(np.repeat(once, 12, axis=1), np.repeat(np.arange(100), 12), (0, 1))
    grouped, single = accuracy_interval(outcomes), accuracy_interval(independent(once))
    assert grouped.low == pytest.approx(single.low, abs=1e-3)
    assert grouped.high == pytest.approx(single.high, abs=1e-3)


def test_large_splits_are_resampled_in_as_many_groups_as_needed() -> None:
    random = np.random.default_rng(5)
    correct = random.random((1, 20_000)) < 0.9
    interval = accuracy_interval(independent(correct))
    half = 1.96 * 100 * math.sqrt(correct.mean() * (1 - correct.mean()) / 20_000)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.08)


@given(seeds=st.integers(1, 4), samples=st.integers(2, 40), rate=st.floats(0.05, 0.95), random=st.integers(0, 10**6))
def test_p_values_agree_with_intervals_and_signs_do_not_matter(
    seeds: int, samples: int, rate: float, random: int
) -> None:
    generator = np.random.default_rng(random)
    groups = generator.integers(0, samples, samples)
    a, b = (
        Outcomes(generator.random((seeds, samples)) < share, groups, tuple(range(seeds))) for share in (rate, 1 - rate)
    )
    one, other = compare(a, b), compare(b, a)
    interval = one.difference
    assert interval.low <= interval.high
    if not 0.0499 < one.p_value < 0.0501:  # within the precision of the interval's ends
        assert (one.p_value < 0.05) == (interval.low > 0 or interval.high < 0)
    assert p_of_difference(a, b) == one.p_value
    assert one.detectable > 0
    assert other.difference.estimate == pytest.approx(-interval.estimate)
    assert other.difference.low == pytest.approx(-interval.high, abs=1e-3)
    assert other.p_value == pytest.approx(one.p_value, abs=1e-9)
    accuracy = accuracy_interval(a)
    assert 0 <= accuracy.low <= accuracy.estimate + 1e-9
    assert accuracy.estimate - 1e-9 <= accuracy.high <= 100


@given(seed_error=st.floats(-1, 2), freedom=st.integers(1, 9), random=st.integers(0, 10**6))
def test_quantiles_invert_the_distribution(seed_error: float, freedom: int, random: int) -> None:
    deviations = np.sort(np.random.default_rng(random).standard_exponential(200))
    found = ConfidenceDistribution(3.0, deviations, 10**seed_error, freedom)
    for probability in (0.025, 0.2):
        assert found.below(found.quantile(probability)) == pytest.approx(probability, abs=1e-5)


def test_only_seeds_that_both_have_are_compared() -> None:
    random = np.random.default_rng(6)
    correct = random.random((4, 50)) < 0.6
    a = Outcomes(correct[:3], np.arange(50), (0, 1, 2))
    b = Outcomes(correct[[3, 1]], np.arange(50), (7, 1))
    comparison = compare(a, b)
    assert comparison.seeds == 1
    assert comparison.difference.estimate == 0.0


def test_other_samples_and_other_seeds_cannot_be_compared() -> None:
    a = independent(np.ones((2, 5), dtype=bool))
    with pytest.raises(ValueError, match="same samples"):
        compare(a, independent(np.ones((2, 6), dtype=bool)))
    with pytest.raises(ValueError, match="same samples"):
        compare(a, Outcomes(a.correct, np.array([0, 0, 1, 1, 2]), a.seeds))
    with pytest.raises(ValueError, match="no seeds in common"):
        compare(a, Outcomes(a.correct, a.groups, (5, 6)))
    with pytest.raises(ValueError, match="empty"):
        accuracy_interval(Outcomes(np.ones((2, 0), dtype=bool), np.arange(0), (0, 1)))


def test_what_never_occurs_follows_the_rule_of_three() -> None:
    perfect = independent(np.ones((1, 100), dtype=bool))
    interval = accuracy_interval(perfect)
    assert interval.high == interval.estimate == 100.0
    assert interval.low == pytest.approx(100 * 0.05 ** (1 / 100), abs=0.02)  # about 100 - 300 / 100
    same = compare(perfect, perfect)
    assert same.p_value == 1.0
    assert same.difference.low == pytest.approx(-same.difference.high)
    assert same.difference.high == pytest.approx(3.0, abs=0.1)
    lone = accuracy_interval(Outcomes(np.array([[True, False]]), np.zeros(2, dtype=int), (0,)))
    assert (lone.low, lone.high) == (0.0, 100.0)  # one group says nothing of others


def test_a_contrast_of_two_differences() -> None:
    random = np.random.default_rng(7)
    cells = [independent(random.random((3, 200)) < rate) for rate in (0.8, 0.7, 0.6, 0.6)]
    interaction = contrast(cells, (1, -1, -1, 1))
    expected = cells[0].accuracy - cells[1].accuracy - cells[2].accuracy + cells[3].accuracy
    assert interaction.difference.estimate == pytest.approx(expected)
    values = cells[0].correct * 1.0 - cells[1].correct - cells[2].correct + cells[3].correct
    width = interaction.difference.high - interaction.difference.low
    assert width > 2 * 1.96 * 100 * values.mean(axis=0).std() / math.sqrt(200) * 0.9


def test_the_same_input_gives_the_same_numbers() -> None:
    one, two = World(0.1, 3).two(3), World(0.1, 3).two(3)
    assert compare(*one) == compare(*two)


def test_it_is_fast_enough_for_many_tables() -> None:
    a, b = World(0.1).two(5)
    compare(a, b)
    start = time.perf_counter()
    for _ in range(20):
        compare(a, b)
    assert (time.perf_counter() - start) / 20 < 0.3


# -- numbers per seed ------------------------------------------------------------------------------------------


def test_numbers_per_seed_are_compared_as_scipy_does() -> None:
    a, b = {0: 61.0, 1: 64.5, 2: 60.0, 3: 66.0}, {1: 60.0, 2: 58.5, 3: 61.0, 0: 60.5, 9: 0.0}
    comparison = difference_of_means(a, b)
    expected = stats.ttest_rel([a[seed] for seed in a], [b[seed] for seed in a])
    limits = expected.confidence_interval(0.95)
    assert comparison.p_value == pytest.approx(expected.pvalue)
    assert (comparison.difference.low, comparison.difference.high) == pytest.approx((limits.low, limits.high))
    assert (comparison.seeds, comparison.samples) == (4, 0)
    assert difference_of_means(list(a.values()), [b[seed] for seed in a]) == comparison


def test_the_detectable_difference_of_a_t_test_has_its_power() -> None:
    random = np.random.default_rng(8)
    values = random.normal(0, 1, (4000, 10))
    detectable = np.mean([difference_of_means(list(row), [0.0] * 10).detectable for row in values[:500]])
    power = np.mean(stats.ttest_1samp(values + detectable, 0, axis=1).pvalue < 0.05)
    assert power == pytest.approx(0.8, abs=0.04)


def test_one_seed_alone_says_nothing_about_the_spread() -> None:
    comparison = difference_of_means({0: 3.0}, {0: 1.0})
    assert comparison.difference == Interval(2.0, -math.inf, math.inf)
    assert (comparison.p_value, comparison.detectable, comparison.seeds) == (1.0, math.inf, 1)
    with pytest.raises(ValueError, match="no seeds in common"):
        difference_of_means({0: 3.0}, {1: 1.0})


def test_differences_without_spread() -> None:
    assert difference_of_means({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}).p_value == 1.0
    assert difference_of_means({0: 2.0, 1: 3.0}, {0: 1.0, 1: 2.0}).p_value == 0.0


# -- several tests, several tasks ------------------------------------------------------------------------------


def test_area_under_a_curve() -> None:
    assert area_under_curve([0.0, 0.5], [80, 60]) == pytest.approx(70)
    assert area_under_curve([0.0, 0.8, 0.2], [80, 40, 70]) == pytest.approx((0.2 * 75 + 0.6 * 55) / 0.8)
    assert area_under_curve([0.3], [55]) == 55
    for rates in ([], [0.1, 0.1]):
        with pytest.raises(ValueError, match="distinct"):
            area_under_curve(rates, [1.0] * len(rates))


def test_shapley_values_are_the_mean_over_all_orders() -> None:
    random = np.random.default_rng(9)
    players = ("audio", "image", "text", "video")
    values = {
        frozenset(player for player, there in zip(players, chosen, strict=True) if there): float(random.random())
        for chosen in product([False, True], repeat=4)
    }
    orders = list(permutations(players))
    expected = dict.fromkeys(players, 0.0)
    for order in orders:
        for place, player in enumerate(order):
            before = frozenset(order[:place])
            expected[player] += (values[before | {player}] - values[before]) / len(orders)
    found = shapley(values)
    assert found == pytest.approx(expected)
    assert sum(found.values()) == pytest.approx(values[frozenset(players)] - values[frozenset()])
    del values[frozenset({"text", "audio"})]
    with pytest.raises(ValueError, match=r"audio \+ text"):
        shapley(values)

"""Many methods, and many datasets, at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from mlabench.statistics import (
    Interval,
    Outcomes,
    RankInterval,
    brier_scores,
    compare,
    decide,
    holm,
    mean_over_datasets,
    paired_trainings,
    probability_better,
    rank_intervals,
)


def methods(random: np.random.Generator, *rates: float, repeats: int = 3, samples: int = 300) -> dict[str, Outcomes]:
    """Methods of these accuracies, in five folds."""
    groups = np.arange(samples)
    folds = np.stack([random.permutation(groups % 5) for _ in range(repeats)])
    seeds = tuple(range(repeats))
    return {
        f"{number}": Outcomes(random.random(folds.shape) < rate, groups, seeds, folds)
        for number, rate in enumerate(rates)
    }


def test_ranks_follow_from_the_comparisons_in_pairs() -> None:
    entries = methods(np.random.default_rng(0), 0.9, 0.6, 0.88, 0.63, 0.75)
    ranking = rank_intervals(entries)
    pairs = [(a, b) for a in entries for b in entries if a < b]
    tests = [compare(entries[a], entries[b]) for a, b in pairs]
    worse, better = [], []
    for (a, b), test, p in zip(pairs, tests, holm([test.p_value for test in tests]), strict=True):
        if p < 0.05:
            order = (b, a) if test.difference.estimate > 0 else (a, b)
            worse.append(order[0])
            better.append(order[1])
    for name, place in ranking.intervals.items():
        assert place.low == 1 + worse.count(name)
        assert place.high == 5 - better.count(name)
        assert place.estimate == 1 + sum(entries[other].accuracy > entries[name].accuracy for other in entries)
        assert place.low <= place.estimate <= place.high
    assert ranking.top_group == ("0", "2")
    assert ranking.intervals["4"] == RankInterval(3, 3, 3)
    assert ranking.separability == len(worse) / 10


def test_places_among_some_are_those_of_ranking_them_alone() -> None:
    entries = methods(np.random.default_rng(3), 0.9, 0.6, 0.84, 0.68, 0.76)
    ranking = rank_intervals(entries)
    some = ("1", "2", "4")
    alone = rank_intervals({name: entries[name] for name in some})
    among = ranking.among(some)
    assert among.intervals == alone.intervals
    assert among.separability == alone.separability
    assert ranking.separability < alone.separability, "fewer pairs, less correction"
    assert ranking.among(["3"]).intervals == {"3": RankInterval(1, 1, 1)}
    with pytest.raises(KeyError):
        ranking.among(["1", "another"])


def test_no_verdict_contradicts_the_places() -> None:
    random = np.random.default_rng(5)
    told_apart = 0
    for _ in range(20):
        entries = methods(random, *random.uniform(0.5, 0.9, size=6), repeats=2)
        ranking = rank_intervals(entries)
        for name in entries:
            others = [other for other in entries if other != name]
            decided = decide({other: compare(entries[name], entries[other]) for other in others}, margin=2.0)
            for other, decision in decided.items():
                if ranking.intervals[name].high < ranking.intervals[other].low:
                    told_apart += 1
                    assert decision is not None
                    assert decision.verdict == "better"
    assert told_apart > 20


def test_the_best_is_in_the_top_group_and_places_are_covered() -> None:
    random = np.random.default_rng(1)
    repetitions, first, covered = 60, 0, 0
    for _ in range(repetitions):
        ranking = rank_intervals(methods(random, 0.70, 0.72, 0.68, 0.72, repeats=2, samples=150))
        first += {"1", "3"} <= set(ranking.top_group)
        covered += ranking.intervals["0"].low <= 3 <= ranking.intervals["0"].high
    assert min(first, covered) >= (0.95 - 3 * math.sqrt(0.05 * 0.95 / repetitions)) * repetitions  # all with 95 %


def test_one_training_tells_nothing_apart() -> None:
    right, wrong = np.ones((1, 500), dtype=bool), np.zeros((1, 500), dtype=bool)
    entries = {"a": Outcomes(right, np.arange(500), (0,)), "b": Outcomes(wrong, np.arange(500), (0,))}
    ranking = rank_intervals(entries)
    assert ranking.top_group == ("a", "b")
    assert ranking.separability == 0
    assert rank_intervals({"a": entries["a"]}).top_group == ("a",)


def test_probability_of_winning_is_the_share_of_pairs_with_wilsons_interval() -> None:
    entries = methods(np.random.default_rng(2), 0.7, 0.68, repeats=4)
    a, b = entries.values()
    differences = paired_trainings(a, b)
    wins = sum(differences > 0) + 0.5 * sum(differences == 0)
    found = probability_better(a, b)
    assert found.estimate == wins / 20
    assert 0 < found.low < found.estimate < found.high < 1
    other = probability_better(b, a)
    assert (other.low, other.high) == pytest.approx((1 - found.high, 1 - found.low))

    # Samples have nothing in common but their number here: the trainings are worth nearly as many independent ones.
    wilson = stats.binomtest(round(wins), 20).proportion_ci(0.95, method="wilson")
    assert wilson.low - 0.1 < found.low <= wilson.low + 0.05
    certain = methods(np.random.default_rng(3), 0.95, 0.5)
    best = probability_better(*certain.values())
    expected = stats.binomtest(15, 15).proportion_ci(0.95, method="wilson")
    assert (best.estimate, best.high) == (1.0, 1.0)
    assert 0.5 * expected.low < best.low < expected.low + 0.05


def test_one_training_says_nothing_about_the_probability_of_winning() -> None:
    one = Outcomes(np.ones((1, 5), dtype=bool), np.arange(5), (0,))
    assert probability_better(one, one) == Interval(0.5, 0.0, 1.0, unit="probability")


def test_the_brier_score_by_hand() -> None:
    probabilities = np.array([[1.0, 0.0, 0.0], [0.2, 0.5, 0.3], [0.0, 0.0, 1.0]])
    found = brier_scores(probabilities, np.array([0, 2, 1]))
    assert found == pytest.approx([0.0, 0.04 + 0.25 + 0.49, 2.0])


# -- one effect on several datasets ----------------------------------------------------------------------------


def effects(values: list[float], errors: list[float]) -> dict[str, Interval]:
    half = [stats.norm.ppf(0.975) * error for error in errors]
    return {f"{n}": Interval(v, v - h, v + h) for n, (v, h) in enumerate(zip(values, half, strict=True))}


def test_the_random_effects_mean_solves_its_equation() -> None:
    values, errors = np.array([1.0, 4.0, -2.0, 3.0, 0.5]), np.array([0.8, 1.0, 0.6, 1.5, 0.7])
    found = mean_over_datasets(effects(values.tolist(), errors.tolist()))

    def excess(between: float) -> float:
        weights = 1 / (errors**2 + between)
        return float(weights @ (values - weights @ values / weights.sum()) ** 2) - 4

    between = optimize.brentq(excess, 0, 100)
    weights = 1 / (errors**2 + between)
    mean = weights @ values / weights.sum()
    half = stats.t.ppf(0.975, 4) * np.sqrt(weights @ (values - mean) ** 2 / 4 / weights.sum())  # Hartung and Knapp
    assert found.heterogeneity == pytest.approx(np.sqrt(between))
    assert (found.mean.estimate, found.mean.low, found.mean.high) == pytest.approx((mean, mean - half, mean + half))
    assert found.p_value == pytest.approx(stats.chi2.sf(excess(0.0) + 4, 4))
    assert list(found.shrunk.values()) == pytest.approx(mean + between / (between + errors**2) * (values - mean))
    assert 0 < found.inconsistency < 1


def test_equal_errors_make_it_a_t_interval() -> None:
    values = [1.0, 4.0, -2.0, 3.0]
    found = mean_over_datasets(effects(values, [0.5] * 4))
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.mean.low, found.mean.high) == pytest.approx((low, high))
    assert found.heterogeneity**2 == pytest.approx(np.var(values, ddof=1) - 0.25)
    assert found.inconsistency == pytest.approx(1 - 0.25 / np.var(values, ddof=1))


def test_effects_that_agree_are_pooled_by_precision() -> None:
    found = mean_over_datasets(effects([1.0, 1.2], [1.0, 2.0]))
    assert (found.heterogeneity, found.inconsistency) == (0.0, 0.0)
    assert found.mean.estimate == pytest.approx((1.0 + 1.2 / 4) / 1.25)
    assert found.mean.half_width == pytest.approx(stats.t.ppf(0.975, 1) / math.sqrt(1.25))
    assert set(found.shrunk.values()) == {found.mean.estimate}


def test_one_dataset_is_its_own_mean() -> None:
    alone = effects([2.0], [0.7])
    found = mean_over_datasets(alone)
    assert found.mean == alone["0"]
    assert (found.heterogeneity, found.inconsistency, found.p_value) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("known", [{}, {"a": Interval(1.0, -math.inf, math.inf)}, {"a": Interval(1.0, 1.0, 1.0)}])
def test_effects_without_a_known_error_have_no_mean(known: dict[str, Interval]) -> None:
    with pytest.raises(ValueError, match="finite intervals"):
        mean_over_datasets(known)


def test_the_interval_of_the_mean_covers_it() -> None:
    random = np.random.default_rng(4)
    repetitions, errors = 300, [0.5, 0.8, 1.0, 1.2, 0.6]
    found = [
        mean_over_datasets(effects((2.0 + random.normal(0, 1, 5) + random.normal(0, errors)).tolist(), errors)).mean
        for _ in range(repetitions)
    ]
    coverage = np.mean([interval.low <= 2.0 <= interval.high for interval in found])
    assert abs(coverage - 0.95) < 3 * math.sqrt(0.95 * 0.05 / repetitions)

"""Equivalence, verdicts, and how much more evidence a verdict would take."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlabench.statistics import (
    Comparison,
    Outcomes,
    compare,
    decide,
    difference_of_means,
    expected_half_width,
    further_trainings,
    holm,
)


def of(*differences: float) -> Comparison:
    """Two methods that differ by so much, training by training."""
    return difference_of_means(differences, [0.0] * len(differences))


def spread(mean: float, deviation: float, trainings: int = 10) -> Comparison:
    """Trainings whose mean and standard deviation are exactly these."""
    scores = stats.zscore(np.arange(trainings), ddof=1)
    return of(*(mean + deviation * scores))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_equivalence_is_two_one_sided_t_tests() -> None:
    values = np.random.default_rng(0).normal(0.4, 1.0, 12)
    comparison = of(*values)
    above = stats.ttest_1samp(values, -1.0, alternative="greater").pvalue
    below = stats.ttest_1samp(values, 1.0, alternative="less").pvalue
    assert comparison.equivalence_p(1.0) == pytest.approx(max(above, below))
    ends = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert comparison.excluded == pytest.approx(max(abs(ends.low), abs(ends.high)), rel=1e-4)


@given(seeds=st.integers(1, 4), rate=st.floats(0.2, 0.8), random=st.integers(0, 10**6))
def test_the_excluded_margin_is_where_equivalence_is_just_shown(seeds: int, rate: float, random: int) -> None:
    generator = np.random.default_rng(random)
    a, b = (Outcomes(generator.random((seeds, 60)) < p, np.arange(60), tuple(range(seeds))) for p in (rate, 0.5))
    comparison = compare(a, b)
    assert comparison.equivalence_p(comparison.excluded * 1.001 + 1e-6) <= 0.05
    assert comparison.equivalence_p(comparison.excluded * 0.99 - 1e-6) > 0.05 - 0.002
    assert comparison.excluded >= abs(comparison.difference.estimate)
    assert compare(b, a).excluded == pytest.approx(comparison.excluded, abs=1e-3)


def test_one_number_shows_no_equivalence() -> None:
    assert of(0.1).equivalence_p(100.0) == 1.0
    assert of(0.1).excluded == math.inf


def test_the_four_verdicts() -> None:
    family = {
        "up": spread(3.0, 1.0),
        "down": spread(-3.0, 1.0),
        "level": spread(0.2, 1.0),
        "open": spread(1.5, 2.5),
        "absent": None,
    }
    decisions = decide(family, margin=2.0)
    assert list(decisions) == list(family)
    verdicts = {name: decision.verdict for name, decision in decisions.items() if decision}
    assert verdicts == {"up": "better", "down": "worse", "level": "practically equal", "open": "undecided"}
    assert decisions["absent"] is None
    assert [decision.needed for decision in decisions.values() if decision and decision.verdict != "undecided"] == [
        0
    ] * 3


def test_verdicts_are_corrected_for_the_family_each_kind_of_test_by_itself() -> None:
    one = spread(1.0, 1.3)  # p = 0.037
    assert decide({"one": one}, 0.9)["one"].verdict == "better"
    alike = {str(number): spread(1.0, 1.3) for number in range(4)}
    decided = decide(alike, 0.9)
    assert {decision.verdict for decision in decided.values()} == {"undecided"}
    assert decided["0"].p_value == pytest.approx(4 * one.p_value)
    assert decided["0"].equivalence_p == min(1.0, 4 * one.equivalence_p(0.9))
    # A clear difference costs the tests of equivalence nothing but its place.
    level = spread(0.0, 1.0)
    p_values = [spread(30.0, 1.0).equivalence_p(2.0), level.equivalence_p(2.0)]
    both = decide({"far": spread(30.0, 1.0), "level": level}, 2.0)
    assert [both[name].equivalence_p for name in ("far", "level")] == holm(p_values)
    assert [both[name].verdict for name in ("far", "level")] == ["better", "practically equal"]


def test_a_difference_that_is_shown_is_not_called_equal_however_small() -> None:
    assert decide({"": spread(0.5, 0.2)}, margin=2.0)[""].verdict == "better"


def test_one_training_never_decides() -> None:
    right, wrong = np.ones((1, 500), dtype=bool), np.zeros((1, 500), dtype=bool)
    a, b = (Outcomes(correct, np.arange(500), (0,)) for correct in (right, wrong))
    for pair in ((a, b), (a, a)):
        decision = decide({"": compare(*pair)}, margin=2.0)[""]
        assert (decision.verdict, decision.needed) == ("undecided", None)


def test_a_margin_is_above_zero() -> None:
    with pytest.raises(ValueError, match="margin must be above 0, got 0"):
        decide({}, 0)


@pytest.mark.parametrize(("mean", "margin"), [(1.0, 0.5), (0.2, 1.0)])
def test_further_trainings_are_as_many_as_a_t_interval_needs(mean: float, margin: float) -> None:
    comparison = spread(mean, 2.0, trainings=4)

    def half_width(trainings: int, level: float) -> float:
        return float(stats.t.ppf((1 + level) / 2, trainings - 1) * 2.0 / math.sqrt(trainings))

    enough = next(n for n in range(5, 999) if half_width(n, 0.95) < mean or mean + half_width(n, 0.90) < margin)
    assert further_trainings(comparison, margin) == enough - 4
    assert expected_half_width(comparison, 4) == pytest.approx(comparison.half_width)
    assert decide({"": comparison}, margin)[""].needed == enough - 4
    assert further_trainings(comparison, margin, families=(5, 5)) > enough - 4


def test_comparisons_that_are_decided_make_no_other_dearer() -> None:
    alone = decide({"open": spread(0.6, 1.5)}, 0.2)["open"]
    beside = {str(number): spread(9.0, 1.0) for number in range(5)}  # all better: of difference, one test is left
    decisions = decide({"open": spread(0.6, 1.5), **beside}, 0.2)
    assert alone is not None
    assert decisions["open"] is not None
    assert decisions["open"].needed == alone.needed


def test_trainings_cannot_make_up_for_few_samples() -> None:
    random = np.random.default_rng(1)
    seeds = tuple(range(20))
    always, noisy = (random.random((rows, 80)) < 0.7 for rows in (1, 20))
    a, b, c = (
        Outcomes(rows, np.arange(80), seeds)
        for rows in (random.random((20, 80)) < 0.7, np.tile(always, (20, 1)), noisy)
    )
    fixed, random_only = compare(a, b), compare(a, c)  # what tells the first two apart is which samples they get right
    assert further_trainings(fixed, 0.01) is None
    assert expected_half_width(fixed, 2000) > 0.9 * fixed.half_width
    assert expected_half_width(random_only, 2000) < 0.5 * random_only.half_width


def test_with_folds_the_width_of_more_repeats_is_foreseen() -> None:
    random = np.random.default_rng(2)
    groups = np.arange(150)
    folds = np.stack([random.permutation(groups % 5) for _ in range(40)])
    lasting = random.normal(0, 0.5, 150)
    effect = random.normal(0, 0.15, (40, 5))

    def repeats(number: int) -> Comparison:
        values = lasting + np.take_along_axis(effect, folds, axis=1) + random.normal(0, 0.5, folds.shape)
        pair = [Outcomes(v[:number], groups, tuple(range(number)), folds[:number]) for v in (values, 0 * values)]
        return compare(*pair)

    few = [repeats(3) for _ in range(20)]
    foreseen = np.mean([expected_half_width(comparison, 200) for comparison in few])
    assert foreseen == pytest.approx(repeats(40).half_width, rel=0.15)
    assert foreseen < 0.9 * np.mean([comparison.half_width for comparison in few])
    assert expected_half_width(repeats(1), 10) == math.inf
    needed = further_trainings(few[0], 0.5)
    assert needed is None or needed % 5 == 0

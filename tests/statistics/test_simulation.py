"""A short run of the simulation whose long one fills the table of the statistics' README."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlabench.statistics import compare
from tests.statistics.simulation import WORLDS, Learners, Noise, World, main, shares

DATASETS = 60

#: The folds are sessions, say, and have difficulties of their own.
NATURAL = Noise(training=0.1, fold=0.3)


def error(percent: float) -> float:
    """Three standard errors of a share of the datasets, in percent."""
    return 3 * math.sqrt(percent * (100 - percent) / DATASETS)


@pytest.mark.parametrize(
    "world",
    [
        Learners(features=10, groups=120, training_sets=80),
        Noise(training=0.3),
        Noise(training=0.2, groups=60, size=5.0),
        NATURAL,
    ],
)
def test_intervals_over_folds_cover_the_truth_and_tests_err_rarely(world: World) -> None:
    for _, found in shares(world, DATASETS):
        assert found.accuracies >= 95 - error(95)
        assert found.difference >= 95 - error(95)
        assert found.different <= 5 + error(5)
        assert found.equal <= 5 + error(5)
        if world != NATURAL:  # nor are they needlessly cautious: the corrected resampled t-test's are far wider
            assert found.width < 0.8 * found.corrected


def test_adding_repeats_until_intervals_are_narrow_spoils_no_interval() -> None:
    world, random, covered, stops = Noise(training=0.2), np.random.default_rng(3), [], set()
    a, b = world.truth()
    for _ in range(DATASETS):
        entries = world.entries(5, random)
        for repeats in range(2, 6):
            interval = compare(entries.a.of(range(repeats)), entries.b.of(range(repeats))).difference
            if interval.half_width < 4.8:
                break
        stops.add(repeats)
        covered.append(interval.low <= a - b <= interval.high)
    assert len(stops) > 2
    assert 100 * np.mean(covered) >= 95 - error(95)


def test_the_table_has_a_row_per_world(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--datasets", "2", "--only", "noise"])
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 2 + sum(name.startswith("noise") for name in WORLDS)
    assert {row.count("|") for row in rows} == {10}

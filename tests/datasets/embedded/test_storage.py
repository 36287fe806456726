"""How features lie on disk."""

import numpy as np
import pytest

from mlabench.datasets.embedded.storage import as_counts, as_levels, restore


@pytest.mark.parametrize(("levels", "dtype"), [(255, np.uint8), (4095, np.uint16)])
def test_levels_come_back_to_half_a_step(levels: int, dtype: type) -> None:
    values = np.random.default_rng(0).normal(3, [0.01, 1, 100], size=(50, 3)).astype(np.float32)
    tensors = as_levels("x", values, levels)
    assert tensors["x"].dtype == dtype
    assert (tensors["x"].min(axis=0) == 0).all()
    assert (tensors["x"].max(axis=0) == levels).all()
    half_a_step = np.ptp(values, axis=0) / levels / 2
    assert (np.abs(restore(tensors, "x") - values) <= 1.001 * half_a_step + 1e-6).all()


def test_what_never_changes_comes_back_exactly() -> None:
    values = np.full((4, 2), [0.1, -7], np.float32)
    np.testing.assert_array_equal(restore(as_levels("x", values, 255), "x"), values)


@pytest.mark.parametrize("most", [3, 300])
def test_counts_come_back_exactly(most: int) -> None:
    counts = np.zeros((5, 1024), np.float32)
    counts[[0, 0, 2, 4], [3, 1023, 7, 0]] = [1, 2, most, 1]  # rows 1 and 3 are empty, and so is the last bucket
    tensors = as_counts("x", counts)
    np.testing.assert_array_equal(restore(tensors, "x"), counts)
    assert sum(values.nbytes for values in tensors.values()) < 60

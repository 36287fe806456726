from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlabench.encoders.waveforms import masked_mean, mean_over_time, sounding, standardise, to_float


@given(st.lists(st.lists(st.integers(-2, 2), min_size=6, max_size=6), min_size=1, max_size=4))
def test_sound_ends_at_its_last_sample_that_is_not_zero(rows):
    mask = sounding(torch.tensor(rows, dtype=torch.int16)).numpy()
    for row, own in zip(rows, mask, strict=True):
        places = np.flatnonzero(row)
        length = places[-1] + 1 if len(places) else len(row)
        assert own.tolist() == [place < length for place in range(len(row))]


def test_full_scale():
    assert to_float(torch.tensor([-32768, 16384, 0], dtype=torch.int16)).tolist() == [-1.0, 0.5, 0.0]


def test_standardised_over_its_own_samples():
    random = np.random.default_rng(0)
    values = random.normal(3, 2, (2, 50)).astype(np.float32)
    values[1, 30:] = 0
    real = torch.from_numpy(values != 0)
    result = standardise(torch.from_numpy(values), real, 1e-7).numpy()
    for row, length in enumerate((50, 30)):
        own = values[row, :length].astype(np.float64)
        np.testing.assert_allclose(result[row, :length], (own - own.mean()) / own.std(), atol=1e-5)
        assert not result[row, length:].any()


def test_masked_mean():
    states = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    mask = np.array([[True, True, False, False], [False, True, True, True]])
    result = masked_mean(torch.from_numpy(states), torch.from_numpy(mask)).numpy()
    np.testing.assert_allclose(result[0], states[0, :2].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(result[1], states[1, 1:].mean(axis=0), atol=1e-6)


def test_frames_behind_the_end_do_not_count():
    states = torch.arange(5.0).view(1, 5, 1).repeat(4, 1, 1)
    real = torch.zeros(4, 100, dtype=torch.bool)
    for row, length in enumerate((1, 20, 21, 100)):  # a frame is 20 samples
        real[row, :length] = True
    assert mean_over_time(states, real).flatten().tolist() == [0.0, 0.0, 0.5, 2.0]

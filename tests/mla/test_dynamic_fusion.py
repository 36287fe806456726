"""Entropy weights by hand."""

from __future__ import annotations

import math

import numpy as np
import torch

from mlabench.mla.dynamic_fusion import dynamic_fusion


def logits_of(probabilities: list[list[list[float]]]) -> torch.Tensor:
    return torch.tensor(probabilities).log()


def test_two_modalities_by_hand() -> None:
    # Entropies: log 2 for the coin, 0.75 log 4/3 + 0.25 log 4 for the biased one.
    logits = logits_of([[[0.5, 0.5], [0.25, 0.75]]])
    entropy = np.array([math.log(2), 0.75 * math.log(4 / 3) + 0.25 * math.log(4)])
    weight = np.exp(entropy.max() - entropy) / np.exp(entropy.max() - entropy).sum()
    fused, actual = dynamic_fusion(logits, torch.tensor([[True, True]]))
    np.testing.assert_allclose(actual[0], weight, rtol=1e-6)
    expected = weight[0] * np.log([0.5, 0.5]) + weight[1] * np.log([0.25, 0.75])
    np.testing.assert_allclose(fused[0], expected, rtol=1e-6)
    assert actual[0, 1] > actual[0, 0]


def test_weights_are_per_sample() -> None:
    sure, unsure = [0.98, 0.01, 0.01], [0.4, 0.3, 0.3]
    logits = logits_of([[sure, unsure], [unsure, sure]])
    present = torch.ones(2, 2, dtype=torch.bool)
    _, weight = dynamic_fusion(logits, present)
    torch.testing.assert_close(weight[0], weight[1].flip(0))
    assert weight[0, 0] > 0.6
    _, alone = dynamic_fusion(logits[:1], present[:1])
    torch.testing.assert_close(alone[0], weight[0])


def test_absent_modality_has_no_say() -> None:
    logits = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    present = torch.tensor([[True, False, True], [False, False, True], [True, True, True], [False, True, False]])
    poisoned = logits.masked_fill(~present.unsqueeze(-1), torch.nan)
    fused, weight = dynamic_fusion(poisoned, present)
    assert (weight[~present] == 0).all()
    torch.testing.assert_close(weight.sum(dim=1), torch.ones(4))
    torch.testing.assert_close(fused[1], logits[1, 2])
    torch.testing.assert_close(fused[3], logits[3, 1])
    pair, _ = dynamic_fusion(logits[:1, [0, 2]], torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(fused[0], pair[0])


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[[1e4, -1e4], [0.0, 0.0]]])
    fused, weight = dynamic_fusion(logits, torch.ones(1, 2, dtype=torch.bool))
    # Entropies 0 and log 2: weights 2/3 and 1/3.
    torch.testing.assert_close(weight, torch.tensor([[2 / 3, 1 / 3]]))
    assert fused.isfinite().all()


def test_half_precision_logits_are_weighed_in_float32() -> None:
    logits = torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    present = torch.ones(6, 2, dtype=torch.bool)
    fused, weight = dynamic_fusion(logits, present)
    expected_fused, expected_weight = dynamic_fusion(logits.float(), present)
    assert fused.dtype == weight.dtype == torch.float32
    torch.testing.assert_close(weight, expected_weight)
    torch.testing.assert_close(fused, expected_fused)

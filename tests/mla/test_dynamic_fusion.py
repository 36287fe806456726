"""Entropies and weights by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mlabench.fusion import softmax_weights, weighted_sum
from mlabench.mla.dynamic_fusion import fusion_scores

Array = NDArray[np.float64]


def fuse(
    logits: torch.Tensor, present: torch.Tensor, kind: Any = "sample", size: int = 64
) -> tuple[torch.Tensor, torch.Tensor]:
    weight = softmax_weights(fusion_scores(kind, logits, present, size), present)
    return weighted_sum(logits, weight), weight


def logits_of(probabilities: list[list[list[float]]]) -> torch.Tensor:
    return torch.tensor(probabilities).log()


def random_logits(*shape: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# -- per sample, the paper's ----------------------------------------------------------------------


def test_two_modalities_by_hand() -> None:
    # Entropies: log 2 for the coin, 0.75 log 4/3 + 0.25 log 4 for the biased one.
    logits = logits_of([[[0.5, 0.5], [0.25, 0.75]]])
    entropy = np.array([math.log(2), 0.75 * math.log(4 / 3) + 0.25 * math.log(4)])
    weight = np.exp(entropy.max() - entropy) / np.exp(entropy.max() - entropy).sum()
    fused, actual = fuse(logits, torch.tensor([[True, True]]))
    np.testing.assert_allclose(actual[0], weight, rtol=1e-6)
    expected = weight[0] * np.log([0.5, 0.5]) + weight[1] * np.log([0.25, 0.75])
    np.testing.assert_allclose(fused[0], expected, rtol=1e-6)
    assert actual[0, 1] > actual[0, 0]


def test_weights_are_per_sample() -> None:
    sure, unsure = [0.98, 0.01, 0.01], [0.4, 0.3, 0.3]
    logits = logits_of([[sure, unsure], [unsure, sure]])
    present = torch.ones(2, 2, dtype=torch.bool)
    _, weight = fuse(logits, present)
    torch.testing.assert_close(weight[0], weight[1].flip(0))
    assert weight[0, 0] > 0.6
    _, alone = fuse(logits[:1], present[:1])
    torch.testing.assert_close(alone[0], weight[0])


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[[1e4, -1e4], [0.0, 0.0]]])
    fused, weight = fuse(logits, torch.ones(1, 2, dtype=torch.bool))
    # Entropies 0 and log 2: weights 2/3 and 1/3.
    torch.testing.assert_close(weight, torch.tensor([[2 / 3, 1 / 3]]))
    assert fused.isfinite().all()


# -- over the batch, the released code's ----------------------------------------------------------


def batch_weights(logits: Array, present: NDArray[np.bool_]) -> Array:
    """One batch: a soft-max over the samples for each class, its entropy over all cells."""
    entropy = np.empty(logits.shape[1])
    for modality in range(logits.shape[1]):
        cells = logits[present[:, modality], modality]  # [n, C]
        p = np.exp(cells) / np.exp(cells).sum(axis=0)
        entropy[modality] = -(p * np.log(p)).sum()
    weight = np.exp(-entropy) * present
    result: Array = weight / weight.sum(axis=1, keepdims=True)
    return result


@pytest.mark.parametrize("size", [4, 10, 64])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_batch_weights_by_hand(size: int, missing: float) -> None:
    """Consecutive samples share a weight; the last ones have fewer neighbours."""
    logits = random_logits(10, 3, 4)
    present = torch.rand(10, 3, generator=torch.Generator().manual_seed(1)) >= missing
    present[:, 1] = True
    expected = np.concatenate(
        [
            batch_weights(logits[start : start + size].double().numpy(), present[start : start + size].numpy())
            for start in range(0, 10, size)
        ]
    )
    _, weight = fuse(logits, present, "batch", size)
    np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-7)
    if not missing:
        assert len(weight.unique(dim=0)) == -(-10 // size)


def test_two_samples_two_classes_over_the_batch() -> None:
    # Column by column, one modality chooses between the samples with 3 : 1, the other evenly.
    logits = torch.tensor([[[math.log(3), 0.0], [0.0, 1.0]], [[0.0, math.log(3)], [0.0, 1.0]]])
    own = 2 * (0.75 * math.log(4 / 3) + 0.25 * math.log(4))
    other = 2 * math.log(2)
    _, weight = fuse(logits, torch.ones(2, 2, dtype=torch.bool), "batch")
    share = math.exp(-own) / (math.exp(-own) + math.exp(-other))
    torch.testing.assert_close(weight, torch.tensor([[share, 1 - share]]).expand(2, 2))


def test_a_prediction_depends_on_its_batch() -> None:
    logits = random_logits(8, 2, 5)
    present = torch.ones(8, 2, dtype=torch.bool)
    _, together = fuse(logits, present, "batch")
    _, alone = fuse(logits[:1], present[:1], "batch")
    # Alone, a sample has probability one in every column: no entropy, equal weights.
    torch.testing.assert_close(alone, torch.tensor([[0.5, 0.5]]))
    assert (together[0] - alone[0]).abs().max() > 0.2


def test_many_samples_make_it_a_choice_of_one_modality() -> None:
    """Exponents are entropies summed over classes and samples: up to ``C log n``."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.stack([5.0 * torch.randn(64, 10, generator=generator), torch.randn(64, 10, generator=generator)], 1)
    present = torch.ones(64, 2, dtype=torch.bool)
    _, weight = fuse(logits, present, "batch")
    assert weight[:, 0].min() > 0.9999
    assert fuse(logits, present)[1][:, 0].max() < 0.95


def test_a_modality_that_no_sample_of_a_batch_has() -> None:
    present = torch.ones(6, 3, dtype=torch.bool)
    present[:4, 2] = False
    logits = random_logits(6, 3, 4)
    fused, weight = fuse(logits.masked_fill(~present.unsqueeze(-1), torch.nan), present, "batch", 4)
    pair, _ = fuse(logits[:4, :2], present[:4, :2], "batch", 4)
    torch.testing.assert_close(fused[:4], pair)
    assert (weight[:4, 2] == 0).all()
    assert (weight[4:, 2] > 0).all()


# -- all ------------------------------------------------------------------------------------------


def test_average_by_hand() -> None:
    present = torch.tensor([[True, True, True], [True, False, True]])
    _, weight = fuse(torch.full((2, 3, 4), torch.nan), present, "average")
    torch.testing.assert_close(weight, torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.0, 0.5]]))


@pytest.mark.parametrize("kind", ["sample", "batch", "average"])
def test_absent_modality_has_no_say(kind: str) -> None:
    logits = random_logits(4, 3, 5)
    present = torch.tensor([[True, False, True], [False, False, True], [True, True, True], [False, True, False]])
    poisoned = logits.masked_fill(~present.unsqueeze(-1), torch.nan)
    fused, weight = fuse(poisoned, present, kind)
    assert (weight[~present] == 0).all()
    torch.testing.assert_close(weight.sum(dim=1), torch.ones(4))
    torch.testing.assert_close(fused[1], logits[1, 2])
    torch.testing.assert_close(fused[3], logits[3, 1])
    torch.testing.assert_close(fused, fuse(logits, present, kind)[0])


@pytest.mark.parametrize("kind", ["sample", "batch", "average"])
def test_half_precision_logits_are_weighed_in_float32(kind: str) -> None:
    logits = random_logits(6, 2, 4).bfloat16()
    present = torch.ones(6, 2, dtype=torch.bool)
    fused, weight = fuse(logits, present, kind)
    expected_fused, expected_weight = fuse(logits.float(), present, kind)
    assert fused.dtype == weight.dtype == torch.float32
    torch.testing.assert_close(weight, expected_weight)
    torch.testing.assert_close(fused, expected_fused)

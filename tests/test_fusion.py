"""Fusion helpers that methods share."""

from __future__ import annotations

import torch

from mlabench.fusion import average_weights, weighted_sum


def test_average_weights() -> None:
    present = torch.tensor([[True, True, True], [True, False, True], [False, True, False]])
    expected = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])
    torch.testing.assert_close(average_weights(present), expected)


def test_weighted_sum() -> None:
    logits = torch.tensor([[[1.0, 2.0], [10.0, 20.0]], [[torch.nan, torch.inf], [3.0, 4.0]]])
    weight = torch.tensor([[0.5, 0.1], [0.0, -2.0]])
    torch.testing.assert_close(weighted_sum(logits, weight), torch.tensor([[1.5, 3.0], [-6.0, -8.0]]))


def test_weighted_sum_passes_gradients_to_weighted_logits_only() -> None:
    logits = torch.randn(2, 2, 3, requires_grad=True)
    weight = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    weighted_sum(logits, weight).sum().backward()
    torch.testing.assert_close(logits.grad, weight.unsqueeze(-1).expand(2, 2, 3))

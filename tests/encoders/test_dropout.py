"""Dropout on the CPU: what it keeps, by how much it scales, what it draws from."""

import math

import pytest
import torch

from mlabench.encoders import Dropout


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_share_and_scale_of_what_is_kept(p: float) -> None:
    torch.manual_seed(0)
    values = torch.full((1000, 999), 3.0)
    dropped = Dropout(p)(values)
    share = (dropped == 0).double().mean().item()
    assert share == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / values.numel()))
    torch.testing.assert_close(
        dropped[dropped != 0], torch.full_like(dropped[dropped != 0], 3 / (1 - p)), rtol=1e-4, atol=0
    )


def test_neighbours_are_independent() -> None:
    """Four values share one draw of 64 bits."""
    torch.manual_seed(1)
    kept = (Dropout(0.5)(torch.ones(40_000, 4)) != 0).double()
    assert kept.mean(dim=0).sub(0.5).abs().max() < 5 * 0.5 / math.sqrt(len(kept))
    correlation = torch.corrcoef(kept.T) - torch.eye(4)
    assert correlation.abs().max() < 5 / math.sqrt(len(kept))


def test_gradients_pass_where_values_were_kept() -> None:
    torch.manual_seed(2)
    values = torch.ones(7, 5, requires_grad=True)
    dropped = Dropout(0.25)(values)
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped.detach())


def test_the_seed_decides_and_evaluation_drops_nothing() -> None:
    layer, values = Dropout(0.5), torch.randn(33, 3)

    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return layer(values)

    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))
    assert torch.equal(layer.eval()(values), values)
    assert layer.train()(values[:0]).shape == (0, 3)

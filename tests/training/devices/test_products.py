"""Matrix products, whoever computes them."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from mlabench.training.devices.products import use_fast_products


def layouts(rows: int, columns: int) -> dict[str, torch.Tensor]:
    """Matrices of all kinds that autograd and methods hand over."""
    generator = torch.Generator().manual_seed(rows * columns)
    return {
        "by rows": torch.randn(rows, columns, generator=generator),
        "by columns": torch.randn(columns, rows, generator=generator).t(),
        "a part": torch.randn(rows, columns + 3, generator=generator)[:, 1:-2],
        "repeated": torch.randn(1, columns, generator=generator).expand(rows, columns),
        "one value": torch.ones(()).expand(rows, columns),
    }


@pytest.mark.parametrize("sizes", [(96, 128, 80), (1, 1024, 700), (257, 2048, 1), (3, 2, 4), (0, 64, 32), (64, 0, 32)])
def test_products_of_all_layouts_against_numpy(sizes: tuple[int, int, int]) -> None:
    use_fast_products()
    rows, inner, columns = sizes
    bias = torch.randn(columns)
    for left_kind, left in layouts(rows, inner).items():
        for right_kind, right in layouts(inner, columns).items():
            exact = left.numpy().astype(np.float64) @ right.numpy().astype(np.float64)
            tolerance = 1e-6 * max(inner, 1)
            close = {"rtol": 1e-4, "atol": 2 * tolerance, "err_msg": f"{left_kind} times {right_kind}"}
            np.testing.assert_allclose(torch.mm(left, right), exact, **close)
            np.testing.assert_allclose(torch.addmm(bias, left, right), exact + bias.numpy(), **close)
            scaled = torch.addmm(bias, left, right, beta=0.5, alpha=2.0)
            np.testing.assert_allclose(scaled, 2 * exact + 0.5 * bias.numpy(), **close)


def test_gradients_of_a_linear_layer_against_numpy() -> None:
    use_fast_products()
    inputs, weight = torch.randn(128, 96, requires_grad=True), torch.randn(64, 96, requires_grad=True)
    bias, upstream = torch.randn(64, requires_grad=True), torch.randn(128, 64)
    F.linear(inputs, weight, bias).backward(upstream)
    x, w, g = (value.detach().numpy().astype(np.float64) for value in (inputs, weight, upstream))
    np.testing.assert_allclose(inputs.grad, g @ w, atol=1e-4)
    np.testing.assert_allclose(weight.grad, g.T @ x, atol=1e-4)
    np.testing.assert_allclose(bias.grad, g.sum(axis=0), atol=1e-4)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16, torch.int64])
def test_other_types_stay_as_they_are(kind: torch.dtype) -> None:
    use_fast_products()
    left, right = torch.randint(-4, 5, (96, 128)).to(kind), torch.randint(-4, 5, (128, 80)).to(kind)
    exact = left.double().numpy() @ right.double().numpy()
    assert torch.mm(left, right).dtype == kind
    np.testing.assert_allclose(torch.mm(left, right).double(), exact, rtol=0 if kind != torch.bfloat16 else 1e-2)


def test_the_same_products_give_the_same_bits() -> None:
    use_fast_products()
    left, right = torch.randn(256, 300), torch.randn(300, 128)
    first = torch.mm(left, right)
    assert all(torch.equal(first, torch.mm(left.clone(), right.clone())) for _ in range(5))

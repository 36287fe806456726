"""The matrix P against independent computations in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mlabench.mla.gradient_modification import GradientModification

Array = NDArray[np.float64]


def recursion(features: Array, alphas: Array) -> Array:
    """P after all ``features [t, d]``, by the published recursion: q first, then P."""
    p = np.eye(features.shape[1])
    for h, alpha in zip(features, alphas, strict=True):
        q = p @ h / (alpha + h @ p @ h)
        p = p - np.outer(q, h @ p)
    return p


def modification_of(features: Array, alphas: Array) -> GradientModification:
    modification = GradientModification(features.shape[1]).double()
    for h, alpha in zip(features, alphas, strict=True):
        modification.update(torch.tensor(h), float(alpha))
    return modification


@pytest.fixture
def features() -> Array:
    return np.random.default_rng(0).normal(size=(9, 5)) + 0.5


def test_starts_as_identity() -> None:
    assert torch.equal(GradientModification(4).projector, torch.eye(4))


def test_recursion_with_changing_alpha(features: Array) -> None:
    alphas = np.linspace(0.5, 0.01, len(features))
    projector = modification_of(features, alphas).projector.numpy()
    np.testing.assert_allclose(projector, recursion(features, alphas), rtol=0, atol=1e-14)


@pytest.mark.parametrize("alpha", [0.01, 0.1, 3.0])
@pytest.mark.parametrize("steps", [1, 4, 9])
def test_closed_form_for_constant_alpha(features: Array, alpha: float, steps: int) -> None:
    h = features[:steps].T
    closed = np.linalg.inv(np.eye(5) + h @ h.T / alpha)
    projector = modification_of(features[:steps], np.full(steps, alpha)).projector.numpy()
    np.testing.assert_allclose(projector, closed, rtol=0, atol=1e-12)


def test_eigenvalues_lie_between_zero_and_one(features: Array) -> None:
    projector = modification_of(features[:3], np.full(3, 0.1)).projector.numpy()
    np.testing.assert_array_equal(projector, projector.T)
    eigenvalues = np.linalg.eigvalsh(projector)
    assert eigenvalues[0] > 0
    assert eigenvalues[2] < 0.5  # three directions are damped,
    np.testing.assert_allclose(eigenvalues[3:], 1.0)  # the others are left alone


def test_modifies_from_the_right_in_place(features: Array) -> None:
    gradient = np.random.default_rng(1).normal(size=(3, 5))
    modification = modification_of(features[:2], np.full(2, 0.1))
    tensor = torch.tensor(gradient)
    modification.modify(tensor)
    np.testing.assert_allclose(tensor.numpy(), gradient @ recursion(features[:2], np.full(2, 0.1)), atol=1e-14)


def test_modified_step_hardly_changes_the_answer_to_seen_features(features: Array) -> None:
    modification = modification_of(features[:2], np.full(2, 1e-8))
    gradient = torch.ones(3, 5, dtype=torch.float64)
    modification.modify(gradient)
    seen, unseen = torch.tensor(features[0]), torch.tensor(features[5])
    assert (gradient @ seen).abs().max() < 1e-6
    assert (gradient @ unseen).abs().max() > 0.1


@pytest.mark.parametrize("scale", [1.0, 1e2, 1e4])
def test_stays_bounded_in_float32(scale: float) -> None:
    """Thousands of large, nearly equal features: plain recursive least squares ends in NaN here."""
    generator = torch.Generator().manual_seed(0)
    basis = scale * torch.randn(3, 32, generator=generator)
    modification = GradientModification(32)
    for weights in torch.rand(4000, 3, generator=generator) + 0.1:
        modification.update(weights @ basis, 0.1)
    eigenvalues = torch.linalg.eigvalsh(modification.projector.double())
    assert eigenvalues[0] > -0.01
    assert eigenvalues[2] < 0.01
    torch.testing.assert_close(eigenvalues[3:], torch.ones(29, dtype=torch.float64), rtol=0, atol=1e-3)


def test_autocast_does_not_lower_the_precision(features: Array) -> None:
    expected = modification_of(features, np.full(9, 0.1))
    modification = GradientModification(5)
    gradient = torch.ones(2, 5)
    with torch.autocast("cpu", torch.bfloat16):
        for h in features:
            modification.update(torch.tensor(h), 0.1)
        modification.modify(gradient)
    torch.testing.assert_close(modification.projector.double(), expected.projector, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradient.double(), torch.ones(2, 5).double() @ expected.projector, rtol=1e-3, atol=1e-5)

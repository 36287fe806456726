"""What is done to gradients, against independent computations in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mlabench.mla.gradient_modification import (
    GradientModification,
    OrthogonalToOthers,
    Projector,
    ReleasedProjector,
    make_modification,
)

Array = NDArray[np.float64]


def owm_step(p: Array, h: Array, alpha: float) -> Array:
    """The published recursion: q first, then P."""
    q = p @ h / (alpha + h @ p @ h)
    result: Array = p - np.outer(q, h @ p)
    return result


def released_step(p: Array, h: Array, alpha: float) -> Array:
    """The released code's formula, element by element."""
    k = p @ h
    result = np.empty_like(p)
    for row in range(len(h)):
        for column in range(len(h)):
            result[row, column] = p[row, column] - k[row] * k[column] / (alpha + k[row] * h[column])
    return result


def recursion(features: Array, alphas: Array, step: Any = owm_step, *, unit_norm: bool = False) -> Array:
    """P after all ``features [t, d]``."""
    p = np.eye(features.shape[1])
    for h, alpha in zip(features, alphas, strict=True):
        p = step(p, h, alpha)
        if unit_norm:
            p = p / np.sqrt((p**2).sum())
    return p


def feed(modification: GradientModification, features: Array, alphas: Array) -> Any:
    modification.double()
    for h, alpha in zip(features, alphas, strict=True):
        modification.update(0, torch.tensor(h), float(alpha))
    return modification


def projector_of(features: Array, alphas: Array, **options: Any) -> Projector:
    projector: Projector = feed(Projector(features.shape[1], **options), features, alphas)
    return projector


@pytest.fixture
def features() -> Array:
    return np.random.default_rng(0).normal(size=(9, 5)) + 0.5


# -- orthogonal weight modification ---------------------------------------------------------------


def test_starts_as_identity() -> None:
    assert torch.equal(Projector(4).projector, torch.eye(4))


def test_recursion_with_changing_alpha(features: Array) -> None:
    alphas = np.linspace(0.5, 0.01, len(features))
    projector = projector_of(features, alphas).projector.numpy()
    np.testing.assert_allclose(projector, recursion(features, alphas), rtol=0, atol=1e-14)


@pytest.mark.parametrize("alpha", [0.01, 0.1, 3.0])
@pytest.mark.parametrize("steps", [1, 4, 9])
def test_closed_form_for_constant_alpha(features: Array, alpha: float, steps: int) -> None:
    h = features[:steps].T
    closed = np.linalg.inv(np.eye(5) + h @ h.T / alpha)
    projector = projector_of(features[:steps], np.full(steps, alpha)).projector.numpy()
    np.testing.assert_allclose(projector, closed, rtol=0, atol=1e-12)


def test_eigenvalues_lie_between_zero_and_one(features: Array) -> None:
    projector = projector_of(features[:3], np.full(3, 0.1)).projector.numpy()
    np.testing.assert_array_equal(projector, projector.T)
    eigenvalues = np.linalg.eigvalsh(projector)
    assert eigenvalues[0] > 0
    assert eigenvalues[2] < 0.5  # three directions are damped,
    np.testing.assert_allclose(eigenvalues[3:], 1.0)  # the others are left alone


def test_modifies_from_the_right_in_place(features: Array) -> None:
    gradient = np.random.default_rng(1).normal(size=(3, 5))
    modification = projector_of(features[:2], np.full(2, 0.1))
    tensor = torch.tensor(gradient)
    modification.modify(0, tensor)
    np.testing.assert_allclose(tensor.numpy(), gradient @ recursion(features[:2], np.full(2, 0.1)), atol=1e-14)


def test_modified_step_hardly_changes_the_answer_to_seen_features(features: Array) -> None:
    modification = projector_of(features[:2], np.full(2, 1e-8))
    gradient = torch.ones(3, 5, dtype=torch.float64)
    modification.modify(0, gradient)
    seen, unseen = torch.tensor(features[0]), torch.tensor(features[5])
    assert (gradient @ seen).abs().max() < 1e-6
    assert (gradient @ unseen).abs().max() > 0.1


@pytest.mark.parametrize("scale", [1.0, 1e2, 1e4])
def test_stays_bounded_in_float32(scale: float) -> None:
    """Thousands of large, nearly equal features: plain recursive least squares ends in NaN here."""
    generator = torch.Generator().manual_seed(0)
    basis = scale * torch.randn(3, 32, generator=generator)
    modification = Projector(32)
    for weights in torch.rand(4000, 3, generator=generator) + 0.1:
        modification.update(0, weights @ basis, 0.1)
    eigenvalues = torch.linalg.eigvalsh(modification.projector.double())
    assert eigenvalues[0] > -0.01
    assert eigenvalues[2] < 0.01
    torch.testing.assert_close(eigenvalues[3:], torch.ones(29, dtype=torch.float64), rtol=0, atol=1e-3)


# -- scaled to unit norm, and the released formula ------------------------------------------------


def test_unit_norm_by_hand(features: Array) -> None:
    alphas = np.linspace(0.5, 0.01, len(features))
    projector = projector_of(features, alphas, unit_norm=True).projector.numpy()
    np.testing.assert_allclose(projector, recursion(features, alphas, unit_norm=True), rtol=0, atol=1e-14)
    assert np.linalg.norm(projector) == pytest.approx(1.0)


def test_released_formula_by_hand(features: Array) -> None:
    """After few steps: near a zero of its denominator the formula magnifies rounding a hundred-thousandfold."""
    features = features[:4]
    alphas = np.linspace(0.1, 0.01, len(features))
    gradient = np.random.default_rng(1).normal(size=(3, 5))
    p = recursion(features, alphas, released_step, unit_norm=True)
    for added, expected in ((False, gradient @ p.T), (True, gradient + gradient @ p.T)):
        modification = feed(ReleasedProjector(5, added=added), features, alphas)
        np.testing.assert_allclose(modification.projector.numpy(), p, rtol=0, atol=1e-12)
        tensor = torch.tensor(gradient)
        modification.modify(0, tensor)
        np.testing.assert_allclose(tensor.numpy(), expected, rtol=0, atol=1e-12)


def test_released_formula_gives_no_projector(features: Array) -> None:
    """Where the recursion's P is symmetric with eigenvalues in [0, 1], this one is neither symmetric nor positive."""
    p = feed(ReleasedProjector(5), features, np.full(9, 0.1)).projector.numpy()
    assert np.abs(p - p.T).max() > 0.05
    assert np.linalg.eigvalsh((p + p.T) / 2)[0] < -0.05


@pytest.mark.parametrize("scalar", [True, False])
def test_unit_norm_shrinks_the_gradient_at_width_512(scalar: bool) -> None:
    """To about 1 / sqrt(512) = 0.044 of its size; with the scalar denominator alone it keeps most of it.

    A matrix of unit Frobenius norm has a root-mean-square singular value of 1 / sqrt(512), and a random gradient sees
    just that: E |G P|^2 = |G|^2 |P|^2 / 512.
    """
    random = np.random.default_rng(0)
    features = np.abs(random.normal(size=(40, 512))) * 0.5  # after a ReLU
    gradient = random.normal(size=(6, 512))
    modification = feed(
        Projector(512, unit_norm=True) if scalar else ReleasedProjector(512), features, np.full(40, 0.1)
    )
    tensor = torch.tensor(gradient)
    modification.modify(0, tensor)
    ratio = np.linalg.norm(tensor.numpy()) / np.linalg.norm(gradient)
    assert ratio == pytest.approx(512**-0.5, rel=0.1 if scalar else 0.3)
    plain = torch.tensor(gradient)
    projector_of(features, np.full(40, 0.1)).modify(0, plain)
    assert 0.75 < np.linalg.norm(plain.numpy()) / np.linalg.norm(gradient) < 1.0


@pytest.mark.parametrize("kind", ["owm_frobenius", "released", "added"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_unit_norm_stays_finite_in_float32(kind: Any, scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    modification = make_modification(kind, 2, 32)
    assert isinstance(modification, Projector)
    for _ in range(4000):
        modification.update(0, scale * torch.randn(32, generator=generator).relu(), 0.1)
    assert modification.projector.norm().item() == pytest.approx(1.0, rel=1e-4)
    gradient = torch.ones(3, 32)
    modification.modify(0, gradient)
    assert gradient.isfinite().all()


# -- orthogonal to the other modalities -----------------------------------------------------------


def orthogonal_to(gradient: Array, directions: Array) -> Array:
    """Gram and Schmidt."""
    basis: list[Array] = []
    for h in directions:
        v = h - sum((h @ u) * u for u in basis)
        basis.append(v / np.linalg.norm(v))
    result: Array = gradient - sum(np.outer(gradient @ u, u) for u in basis)
    return result


def test_orthogonal_to_the_others_by_hand(features: Array) -> None:
    modification = OrthogonalToOthers(3, 5).double()
    for modality, h in ((0, features[3]), (0, features[0]), (1, features[1]), (2, features[2])):  # the last one counts
        modification.update(modality, torch.tensor(h), 0.1)
    gradient = np.random.default_rng(1).normal(size=(4, 5))
    for modality, others in ((0, [1, 2]), (1, [0, 2]), (2, [0, 1])):
        tensor = torch.tensor(gradient)
        modification.modify(modality, tensor)
        np.testing.assert_allclose(tensor.numpy(), orthogonal_to(gradient, features[others]), rtol=0, atol=1e-13)
        np.testing.assert_allclose(tensor.numpy() @ features[others].T, 0, atol=1e-13)
        assert np.abs(tensor.numpy() @ features[modality]).max() > 0.1  # free to learn its own


def test_what_has_not_been_seen_restricts_nothing(features: Array) -> None:
    modification = OrthogonalToOthers(3, 5).double()
    modification.update(1, torch.tensor(features[1]), 0.1)
    gradient = np.random.default_rng(1).normal(size=(4, 5))
    for modality, expected in ((0, orthogonal_to(gradient, features[[1]])), (1, gradient)):
        tensor = torch.tensor(gradient)
        modification.modify(modality, tensor)
        np.testing.assert_allclose(tensor.numpy(), expected, rtol=0, atol=1e-14)


def test_equal_features_of_two_modalities_are_one_direction(features: Array) -> None:
    modification = OrthogonalToOthers(3, 5)
    for modality in (1, 2):
        modification.update(modality, torch.tensor(features[1]).float(), 0.1)
    gradient = np.random.default_rng(1).normal(size=(4, 5))
    tensor = torch.tensor(gradient).float()
    modification.modify(0, tensor)
    np.testing.assert_allclose(tensor.numpy(), orthogonal_to(gradient, features[[1]]), rtol=0, atol=1e-5)


# -- all ------------------------------------------------------------------------------------------


def test_none_is_none() -> None:
    assert make_modification("none", 2, 4) is None


@pytest.mark.parametrize("kind", ["owm", "owm_frobenius", "released", "added", "ogd"])
def test_autocast_does_not_lower_the_precision(kind: Any, features: Array) -> None:
    results = []
    for low in (False, True):
        modification = make_modification(kind, 2, 5)
        assert modification is not None
        gradient = torch.ones(2, 5)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            for place, h in enumerate(features):
                modification.update(place % 2, torch.tensor(h), 0.1)
            modification.modify(0, gradient)
        assert all(value.dtype == torch.float32 for value in modification.state_dict().values())
        results.append(gradient)
    torch.testing.assert_close(*results, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["owm", "owm_frobenius", "released", "added", "ogd"])
def test_a_gradient_in_half_precision_keeps_its_type(kind: Any, features: Array) -> None:
    modification = make_modification(kind, 2, 5)
    assert modification is not None
    for place, h in enumerate(features):
        modification.update(place % 2, torch.tensor(h), 0.1)
    exact = torch.linspace(-1, 1, 10).reshape(2, 5).bfloat16()
    gradient, full = exact.clone(), exact.float()
    modification.modify(0, gradient)
    modification.modify(0, full)
    assert gradient.dtype == torch.bfloat16
    torch.testing.assert_close(gradient.float(), full, rtol=2**-8, atol=1e-6)


# -- controls and resets --------------------------------------------------------------------------


def test_isotropic_has_the_size_of_owm_and_the_direction_of_the_gradient(features: Array) -> None:
    gradient = np.random.default_rng(1).normal(size=(3, 5))
    h = features[:4].T
    modified = gradient @ np.linalg.inv(np.eye(5) + h @ h.T / 0.1)
    tensor = torch.tensor(gradient)
    feed(make_modification("isotropic", 2, 5), features[:4], np.full(4, 0.1)).modify(0, tensor)  # type: ignore[arg-type]
    expected = gradient * np.linalg.norm(modified) / np.linalg.norm(gradient)
    np.testing.assert_allclose(tensor.numpy(), expected, rtol=1e-12)


def test_decay_halves_the_gradient_after_its_half_life(features: Array) -> None:
    modification = make_modification("decay", 2, 5, half_life=4.0)
    assert modification is not None
    for updates, factor in enumerate([1.0, 1 / 1.25, 1 / 1.5, 1 / 1.75, 0.5, 1 / 2.25]):
        gradient = torch.full((3, 5), 2.0)
        modification.modify(0, gradient)
        torch.testing.assert_close(gradient, torch.full((3, 5), 2.0 * factor))
        assert int(modification.state_dict()["updates"]) == updates
        modification.update(0, torch.tensor(features[0]), 0.1)


@pytest.mark.parametrize("kind", ["owm", "owm_frobenius", "released", "added", "ogd", "isotropic", "decay"])
def test_a_reset_forgets_everything(kind: Any, features: Array) -> None:
    modification, new = make_modification(kind, 2, 5), make_modification(kind, 2, 5)
    assert modification is not None
    assert new is not None
    for place, h in enumerate(features):
        modification.update(place % 2, torch.tensor(h).float(), 0.1)
    assert any(not torch.equal(value, new.state_dict()[key]) for key, value in modification.state_dict().items())
    modification.reset()
    assert all(torch.equal(value, new.state_dict()[key]) for key, value in modification.state_dict().items())


@pytest.mark.parametrize("kind", ["isotropic", "decay"])
def test_controls_do_not_lower_the_precision_under_autocast(kind: Any, features: Array) -> None:
    results = []
    for low in (False, True):
        modification = make_modification(kind, 2, 5)
        assert modification is not None
        gradient = torch.linspace(-1, 1, 10).reshape(2, 5)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            for h in features:
                modification.update(0, torch.tensor(h), 0.1)
            modification.modify(0, gradient)
        results.append(gradient)
    torch.testing.assert_close(*results, rtol=0, atol=0)

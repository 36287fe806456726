"""Integrated gradients against a search for the shortest vector, and steps against separate gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from baselines.mmpareto import MMPareto, integrate
from mlabench.method import Batch
from mlabench.testing import adam, build_method, make_batch, make_task, only, parameters, sgd

Array = NDArray[np.float64]


def build(modalities: int = 3, **options: object) -> MMPareto:
    method = build_method(MMPareto, make_task(modalities), widths=[4, 6, 3, 5][:modalities], **options)
    assert isinstance(method, MMPareto)
    return method


def by_hand(a: list[Array], b: list[Array], gamma: float) -> list[Array]:
    """The authors' rule; the shortest vector between ``a`` and ``b`` is found by numerical search."""
    flat_a, flat_b = (np.concatenate([part.ravel() for part in parts]) for parts in (a, b))
    c = 0.5
    if flat_a @ flat_b < 0:
        search = minimize_scalar(
            lambda c: np.linalg.norm(c * flat_a + (1 - c) * flat_b),
            bounds=(0, 1),
            method="bounded",
            options={"xatol": 1e-9},
        )
        c = float(search.x)
    result = []
    for x, y in zip(a, b, strict=True):
        n = 2 * c * x + 2 * (1 - c) * y
        result.append(gamma * n * max(1.0, np.linalg.norm(x + y) / np.linalg.norm(n)))
    return result


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("size", [0.1, 1.0, 20.0])
def test_integration_by_hand(sign: float, size: float) -> None:
    random = np.random.default_rng(0)
    shapes = [(3, 4), (3,), (5, 3)]
    a = [random.normal(size=shape) for shape in shapes]
    b = [size * (sign * x + 0.7 * random.normal(size=x.shape)) for x in a]
    actual = integrate([torch.tensor(x) for x in a], [torch.tensor(x) for x in b], 1.5)
    for x, expected in zip(actual, by_hand(a, b, 1.5), strict=True):
        np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-6)
    dot = sum(float((x * y).sum()) for x, y in zip(a, b, strict=True))
    assert (dot > 0) == (sign > 0)
    if sign > 0:
        for x, (y, z) in zip(actual, zip(a, b, strict=True), strict=True):
            np.testing.assert_allclose(x, 1.5 * (y + z), rtol=1e-6)


def test_shortest_vector_is_stretched_to_the_length_of_the_sum() -> None:
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 1.0])
    # The point between them nearest to zero is (0.2, 0.6), at c = 0.4. Twice that, of length 1.265, is shorter than
    # a + b = (1, 1), and is stretched to the same length.
    direction = torch.tensor([0.4, 1.2])
    expected = direction * (2**0.5 / direction.norm())
    torch.testing.assert_close(integrate([a], [b], 1.0)[0], expected)


@pytest.mark.parametrize("gradients", [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_zero_gradients(gradients: tuple[float, float]) -> None:
    """The sum of the two remains, without NaN."""
    direction = torch.tensor([3.0, -4.0])
    a, b = (scale * direction for scale in gradients)
    torch.testing.assert_close(integrate([a], [b], 1.5)[0], 1.5 * (a + b))


def test_opposite_gradients_cancel() -> None:
    assert torch.equal(integrate([torch.tensor([1.0])], [torch.tensor([-1.0])], 1.5)[0], torch.tensor([0.0]))


def losses(method: MMPareto, batch: Batch) -> tuple[Tensor, list[Tensor | None]]:
    """The joint loss, and each modality's, sample by sample."""
    joint, own = [], []
    for i in range(len(batch)):
        parts = [
            method.encoders[m](batch.inputs[m][[i]])[0] if batch.present[i, column] else torch.zeros(width)
            for column, (m, width) in enumerate(zip(method.task.modalities, [4, 6, 3], strict=True))
        ]
        joint.append(-method.head(torch.cat(parts)).log_softmax(dim=0)[batch.label[i]])
        own.append(
            [-method.heads[m](h).log_softmax(dim=0)[batch.label[i]] for m, h in zip(batch.inputs, parts, strict=True)]
        )
    columns = []
    for column in range(3):
        here = [own[i][column] for i in range(len(batch)) if batch.present[i, column]]
        columns.append(torch.stack(here).mean() if here else None)
    return torch.stack(joint).mean(), columns


def test_step_by_hand() -> None:
    method = build(gamma=1.3)
    batch = make_batch(method.task, 12, missing=0.4)
    assert not batch.present.all()
    joint, own = losses(method, batch)
    total = joint + sum(loss for loss in own if loss is not None)
    expected: dict[str, Array] = {}
    conflicts = 0
    for modality, loss in zip(method.task.modalities, own, strict=True):
        assert loss is not None
        names = [name for name, _ in method.named_parameters() if name.startswith(f"encoders.{modality}.")]
        members = [method.get_parameter(name) for name in names]
        a, b = (
            [gradient.double().numpy() for gradient in torch.autograd.grad(part, members, retain_graph=True)]
            for part in (joint, loss)
        )
        conflicts += sum(float((x * y).sum()) for x, y in zip(a, b, strict=True)) < 0
        expected |= dict(zip(names, by_hand(a, b, 1.3), strict=True))
    assert 0 < conflicts < 3
    heads = [name for name, _ in method.named_parameters() if name.startswith("head")]
    plain = torch.autograd.grad(total, [method.get_parameter(name) for name in heads], retain_graph=True)
    expected |= {name: gradient.double().numpy() for name, gradient in zip(heads, plain, strict=True)}

    before = parameters(method)
    logged = method.training_step(batch, sgd(method, lr=0.1))["loss"]
    torch.testing.assert_close(logged, total.detach())
    assert set(expected) == {name for name, _ in method.named_parameters()}
    for name, gradient in expected.items():
        actual = (before[name] - method.get_parameter(name).detach()) / 0.1
        np.testing.assert_allclose(actual, gradient, rtol=1e-3, atol=1e-5, err_msg=name)


def test_absent_modality_leaves_its_encoder_and_head_alone() -> None:
    method = build(normalise=True)
    before = parameters(method)
    method.training_step(only(make_batch(method.task, 12), 0, 2), adam(method))
    assert all(parameter.grad is None for parameter in method.encoders["image"].parameters())
    assert all(parameter.grad is None for parameter in method.heads["image"].parameters())
    after = parameters(method)
    for key in before:
        still = "encoders.image" in key or "heads.image" in key
        assert torch.equal(after[key], before[key]) == still, key


@pytest.mark.parametrize("frozen", [["image"], ["audio", "image", "text"]])
def test_frozen_encoders_stay_frozen(frozen: list[str]) -> None:
    method = build()
    for modality in frozen:
        method.encoders[modality].requires_grad_(False)
    before = parameters(method)
    method.training_step(make_batch(method.task, 12), sgd(method))
    for key, value in method.state_dict().items():
        still = any(f"encoders.{modality}." in key for modality in frozen)
        assert torch.equal(value, before[key]) == still, key

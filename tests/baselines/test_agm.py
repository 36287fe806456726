"""Shapley values against orders of arrival, modulations against the published formulas, gradients against hooks."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.agm import AGM
from mlabench.method import Batch, Progress
from mlabench.testing import build_method, make_batch, make_task, only, sgd

Array = NDArray[np.float64]
WIDTHS = [4, 6, 3, 5]


def build(modalities: int = 3, **options: object) -> AGM:
    method = build_method(AGM, make_task(modalities), widths=WIDTHS[:modalities], **options)
    assert isinstance(method, AGM)
    return method


def value_of(method: AGM, embedding: dict[str, Tensor], players: tuple[int, ...], sample: int) -> Array:
    """The head's logits for one sample with the modalities ``players`` only; nothing from nobody."""
    if not players:
        return np.zeros(3)
    parts = [h[sample] if m in players else torch.zeros_like(h[sample]) for m, h in enumerate(embedding.values())]
    with torch.no_grad():
        result: Array = method.head(torch.cat(parts)).double().numpy()
    return result


@pytest.mark.parametrize("modalities", [2, 3, 4])
@pytest.mark.parametrize("hidden", [(), (8,)])
def test_shapley_values_are_means_over_orders_of_arrival(modalities: int, hidden: tuple[int, ...]) -> None:
    method = build(modalities, hidden=hidden)
    batch = make_batch(method.task, 8, missing=0.4)
    assert not batch.present.all()
    with torch.no_grad():
        embedding = method.encode(batch)
        actual = method.shapley_values(embedding, batch.present).double().numpy()
    for i in range(8):
        players = batch.present[i].nonzero().squeeze(1).tolist()
        expected = np.zeros((modalities, 3))
        orders = list(permutations(players))
        for order in orders:
            for place, player in enumerate(order):
                gain = value_of(method, embedding, order[: place + 1], i) - value_of(
                    method, embedding, order[:place], i
                )
                expected[player] += gain / len(orders)
        np.testing.assert_allclose(actual[:, i], expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(actual[:, i].sum(axis=0), value_of(method, embedding, tuple(players), i), atol=1e-6)


def test_published_splits_of_two_and_three() -> None:
    two, three = build(2, hidden=(8,)), build(3, hidden=(8,))
    with torch.no_grad():
        batch = make_batch(two.task, 4)
        embedding = two.encode(batch)
        f = {s: np.stack([value_of(two, embedding, s, i) for i in range(4)]) for s in [(0,), (1,), (0, 1)]}
        phi = two.shapley_values(embedding, batch.present).numpy()
        np.testing.assert_allclose(phi[0], (f[0, 1] - f[1,] + f[0,]) / 2, rtol=1e-4, atol=1e-6)
        batch = make_batch(three.task, 4)
        embedding = three.encode(batch)
        subsets = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
        f = {s: np.stack([value_of(three, embedding, s, i) for i in range(4)]) for s in subsets}
        phi = three.shapley_values(embedding, batch.present).numpy()
    expected = (f[0, 1, 2] - f[0, 1] + f[2,]) / 3 + (f[0, 2] - f[0,] + f[1, 2] - f[1,]) / 6
    np.testing.assert_allclose(phi[2], expected, rtol=1e-4, atol=1e-6)


def test_linear_head_gives_each_modality_its_block() -> None:
    method = build()
    batch = make_batch(method.task, 8, missing=0.4)
    layer = method.head[0]
    assert isinstance(layer, torch.nn.Linear)
    with torch.no_grad():
        embedding = method.encode(batch)
        phi = method.shapley_values(embedding, batch.present)
        prediction = method.predict(batch)
        for m, block in enumerate(layer.weight.split(WIDTHS[:3], dim=1)):
            modality = method.task.modalities[m]
            rows = batch.present[:, m]
            part = embedding[modality] @ block.T
            share = layer.bias / batch.present.sum(dim=1, keepdim=True)
            torch.testing.assert_close(phi[m][rows], (part + share)[rows])
            torch.testing.assert_close(prediction.unimodal[modality][rows], (part + layer.bias)[rows])
    torch.testing.assert_close(prediction.fused, phi.sum(dim=0))


def losses_of(phi: Tensor, batch: Batch) -> list[float | None]:
    result: list[float | None] = []
    for m in range(len(phi)):
        terms = [
            -math.log(max(1e-8, math.exp(z[label]) / sum(math.exp(value) for value in z)))
            for z, label, here in zip(phi[m].tolist(), batch.label.tolist(), batch.present[:, m].tolist(), strict=True)
            if here
        ]
        result.append(sum(terms) / len(terms) if terms else None)
    return result


@pytest.mark.parametrize(("modalities", "factor"), [(2, 2.0), (3, 1.5)])
def test_modulation_is_the_published_one(modalities: int, factor: float) -> None:
    """r_m = exp(factor (mean_j s_j - s_m)); for two modalities that is exp(s_other - s_m)."""
    method = build(modalities, alpha=0.8)
    past: list[list[float]] = []
    random = np.random.default_rng(0)
    for seed in range(4):
        batch = make_batch(method.task, 6, seed=seed)
        phi = torch.tensor(random.normal(size=(modalities, 6, 3)) * 3, dtype=torch.float32)
        now = [loss for loss in losses_of(phi, batch) if loss is not None]
        kappa = method.observe(phi, batch)
        if past:
            mean = np.mean(past, axis=0)
            r = [math.exp(factor * (np.mean(now) - s)) for s in now]
            tau = [math.exp(factor * (np.mean(mean) - s)) for s in mean]
            expected = [math.exp(0.8 * min(t - x, 10)) for t, x in zip(tau, r, strict=True)]
            np.testing.assert_allclose(kappa, expected, rtol=1e-4)
        else:
            assert kappa.tolist() == [1.0] * modalities
        past.append(now)
    np.testing.assert_allclose(method.history, np.mean(past, axis=0), rtol=1e-5)
    assert method.batches.tolist() == [4] * modalities


def test_modulation_is_capped() -> None:
    method = build(2, cap=0.5)
    batch = make_batch(method.task, 6)
    right = torch.nn.functional.one_hot(batch.label, 3) * 10.0
    method.observe(torch.stack([right, -right]), batch)
    kappa = method.observe(torch.stack([-right, right]), batch)
    assert kappa[0].item() == pytest.approx(math.exp(0.5))
    assert kappa[1].item() == 0  # exp(-exp(18)): it was far behind, and leads by far


def test_absent_modalities_are_neither_compared_nor_counted() -> None:
    method = build(3)
    full = make_batch(method.task, 6)
    random = np.random.default_rng(0)
    first, second, third = torch.tensor(random.normal(size=(3, 3, 6, 3)), dtype=torch.float32)
    two = only(full, 0, 2)
    method.observe(first, two)
    assert method.batches.tolist() == [1, 0, 1]
    kappa = method.observe(second, full)  # image has no history yet
    old, new = losses_of(first, two), losses_of(second, full)
    assert old[0] is not None and old[2] is not None and new[0] is not None and new[2] is not None
    expected = math.exp(math.exp(old[2] - old[0]) - math.exp(new[2] - new[0]))
    assert kappa[0].item() == pytest.approx(expected, rel=1e-4)
    assert kappa[1] == 1
    history = method.history.clone()
    alone = only(full, 1)
    assert method.observe(third, alone).tolist() == [1.0, 1.0, 1.0]
    assert torch.equal(method.history[[0, 2]], history[[0, 2]])
    last = losses_of(third, alone)[1]
    assert last is not None and new[1] is not None
    assert method.history[1].item() == pytest.approx((new[1] + last) / 2, rel=1e-5)


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_gradient_equals_that_of_a_hook(hidden: tuple[int, ...]) -> None:
    """The authors multiply the gradient at phi_m in a backward hook."""
    method = build(3, hidden=hidden)
    batches = [make_batch(method.task, 12, missing=0.3, seed=seed) for seed in range(2)]
    steps = sgd(method, lr=0.0)
    method.training_step(batches[0], steps)
    history = {key: value.clone() for key, value in method.state_dict().items()}

    embedding = method.encode(batches[1])
    phi = method.shapley_values(embedding, batches[1].present)
    kappa = method.observe(phi.detach(), batches[1])
    assert (kappa != 1).all()
    parts = list(phi.unbind())
    for part, factor in zip(parts, kappa, strict=True):
        part.register_hook(lambda gradient, factor=factor: factor * gradient)
    loss = torch.nn.functional.cross_entropy(torch.stack(parts).sum(dim=0), batches[1].label)
    expected = torch.autograd.grad(loss, list(method.parameters()))

    method.load_state_dict(history)
    logged = method.training_step(batches[1], steps)["loss"]
    torch.testing.assert_close(logged, loss.detach())
    for (name, parameter), gradient in zip(method.named_parameters(), expected, strict=True):
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_gradients_stay_after_the_last_modulated_epoch() -> None:
    gradients = []
    for until, epoch in ((1.0, 3), (0.3, 3), (0.3, 2)):
        method = build(2, until=until)
        steps = sgd(method, lr=0.0)
        for seed in range(2):
            steps.progress = Progress(epoch, 10, seed, 2)
            method.training_step(make_batch(method.task, 12, seed=seed), steps)
        gradients.append(torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None]))
        if (until, epoch) == (0.3, 3):
            method.zero_grad()
            batch = make_batch(method.task, 12, seed=1)
            torch.nn.functional.cross_entropy(method.predict(batch).fused, batch.label).backward()
            plain = torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])
    torch.testing.assert_close(gradients[1], plain, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradients[0], gradients[2])
    assert not torch.allclose(gradients[0], gradients[1], rtol=1e-2)

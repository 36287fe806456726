"""Confidences, history, ranking targets and the stopped gradient, all by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from baselines.qmf import QMF, confidence
from mlabench.method import Batch
from mlabench.testing import build_method, fit, make_batch, make_task, take

Array = NDArray[np.float64]


def build(modalities: int = 2, **options: Any) -> QMF:
    method = build_method("qmf", make_task(modalities), **options)
    assert isinstance(method, QMF)
    return method


def logits_of(method: QMF, batch: Batch) -> Array:
    """``[M, B, C]``"""
    with torch.no_grad():
        return np.stack([method.heads[m](method.encoders[m](x)).double().numpy() for m, x in batch.inputs.items()])


def cross_entropy(z: Array, label: int) -> float:
    return float(np.log(np.exp(z).sum()) - z[label])


def omega(z: Array) -> float:
    return float(np.log(np.exp(z).sum()) / 10)


def rank_by_hand(weights: list[float], past: list[float], margin: str) -> float:
    """The ranking loss of samples with scaled histories ``past``, pair by pair."""
    terms = []
    for i in range(len(weights)):
        j = (i + 1) % len(weights)
        gap = abs(past[i] - past[j])
        shift = gap if margin == "paper" else -gap
        if past[i] > past[j]:  # i was harder: it should be the less confident one
            terms.append(max(0.0, weights[i] - weights[j] + shift))
        elif past[i] < past[j]:
            terms.append(max(0.0, weights[j] - weights[i] + shift))
        else:
            terms.append(0.0)
    return float(np.mean(terms))


def loss_by_hand(z: Array, batch: Batch, history: Array, method: QMF) -> float:
    """The whole loss of logits ``z [M, B, C]``; adds the losses to ``history [M, samples]`` in place."""
    total = 0.0
    for m in range(len(z)):
        rows = [i for i in range(len(batch)) if batch.present[i, m]]
        if not rows:
            continue
        losses = [cross_entropy(z[m, i], int(batch.label[i])) for i in rows]
        for i, value in zip(rows, losses, strict=True):
            history[m, batch.index[i]] += value
        low, high = history[m].min(), history[m].max()
        past = [float((history[m, batch.index[i]] - low) / (high - low)) for i in rows]
        weights = [omega(z[m, i]) for i in rows]
        total += float(np.mean(losses))
        total += method.config.rank_weight * rank_by_hand(weights, past, method.config.margin)
    fused = []
    for i in range(len(batch)):
        rows = [m for m in range(len(z)) if batch.present[i, m]]
        fused.append(cross_entropy(sum((omega(z[m, i]) * z[m, i] for m in rows), np.zeros(3)), int(batch.label[i])))
    return float(total + np.mean(fused) * method.config.fused_loss)


def test_confidence_of_known_logits() -> None:
    # exp(log 1 + log 3) sums: log(1 + 3) / 10; and no overflow where log(sum(exp)) has one.
    assert confidence(torch.tensor([0.0, math.log(3.0)])).item() == pytest.approx(math.log(4.0) / 10)
    torch.testing.assert_close(confidence(torch.tensor([[1000.0, 0.0]])), torch.tensor([100.0]))


@pytest.mark.parametrize(("margin", "pairs"), [("official", [0.1, 0.0, 0.0]), ("paper", [0.7, 1.0, 0.3])])
def test_ranking_targets_of_three_samples(margin: str, pairs: list[float]) -> None:
    """Histories 3, 0, 10 of a range of 10; confidences 0.6, 0.2, 0.2.

    Pair (0, 1): sample 0 was harder by 0.3 and is surer by 0.4: 0.4 -/+ 0.3.
    Pair (1, 2): sample 2 was harder by 1.0 and is as sure:      0.0 -/+ 1.0.
    Pair (2, 0): sample 2 was harder by 0.7 and is less sure:   -0.4 -/+ 0.7.
    """
    method = build(margin=margin)
    history = torch.tensor([5.0, 3.0, 0.0, 10.0])
    logits = torch.tensor([[6.0, -torch.inf], [2.0, -torch.inf], [2.0, -torch.inf]])
    assert method._rank_loss(logits, history, torch.tensor([1, 2, 3])).item() == pytest.approx(np.mean(pairs))
    assert rank_by_hand([0.6, 0.2, 0.2], [0.3, 0.0, 1.0], margin) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("margin", ["official", "paper"])
def test_equal_histories_rank_nothing(margin: str) -> None:
    method = build(margin=margin)
    logits = torch.randn(4, 3, requires_grad=True)
    loss = method._rank_loss(logits, torch.full((6,), 0.3), torch.arange(4))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("margin", ["official", "paper"])
@pytest.mark.parametrize("missing", [0.0, 0.5])
@pytest.mark.parametrize("fused_loss", [True, False])
def test_loss_and_history_by_hand(margin: str, missing: float, fused_loss: bool) -> None:
    method = build(3, margin=margin, rank_weight=0.7, fused_loss=fused_loss, samples=20)
    history = np.zeros((3, 20))
    # Every sample has its place in the history, whatever its place in the batch; each is seen twice.
    batches = [make_batch(method.task, 20, missing=missing, seed=1)] * 2
    random = np.random.default_rng(0)
    for full in batches:
        for rows in np.split(random.permutation(20), [7, 19]):
            batch = take(full, torch.tensor(rows))
            expected = loss_by_hand(logits_of(method, batch), batch, history, method)
            assert method.loss(batch).item() == pytest.approx(expected, rel=1e-4)
            np.testing.assert_allclose(method.history, history, rtol=1e-4)
    assert ((history > 0) == batches[0].present.numpy().T).all()


def test_gradient_stops_at_the_fusion_weights() -> None:
    """Finite differences of the loss, with the fusion weights held, against the gradient of the head's bias."""
    method = build(2, margin="paper", rank_weight=0.5, samples=12)
    batch = make_batch(method.task, 12, missing=0.3)
    fit(method, [batch], 3)
    z = logits_of(method, batch)
    frozen = np.vectorize(omega, signature="(c)->()")(z)
    method.zero_grad()
    method.loss(batch).backward()
    history = method.history.double().numpy()  # data as well: no gradient passes through it

    def loss(shifted: Array) -> float:
        value = 0.0
        for m in range(2):
            rows = [i for i in range(12) if batch.present[i, m]]
            low, high = history[m].min(), history[m].max()
            past = [float((history[m, i] - low) / (high - low)) for i in rows]
            value += float(np.mean([cross_entropy(shifted[m, i], int(batch.label[i])) for i in rows]))
            value += 0.5 * rank_by_hand([omega(shifted[m, i]) for i in rows], past, "paper")
        for i in range(12):
            fused = sum((frozen[m, i] * shifted[m, i] for m in range(2) if batch.present[i, m]), np.zeros(3))
            value += cross_entropy(fused, int(batch.label[i])) / 12
        return value

    for m, modality in enumerate(method.task.modalities):
        bias = method.heads.get_parameter(f"{modality}.bias")
        assert bias.grad is not None
        for c in range(3):
            step = np.zeros_like(z)
            step[m, :, c] = 1e-5
            expected = (loss(z + step) - loss(z - step)) / 2e-5
            assert float(bias.grad[c]) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_prediction_by_hand() -> None:
    method = build(3)
    batch = make_batch(method.task, 10, missing=0.4)
    fit(method, [batch], 5)
    method.eval()
    with torch.no_grad():
        prediction = method.predict(batch)
    z = logits_of(method, batch)
    assert prediction.weight is not None
    for i in range(10):
        rows = [m for m in range(3) if batch.present[i, m]]
        weights = np.array([omega(z[m, i]) for m in rows])
        np.testing.assert_allclose(prediction.fused[i], weights @ z[rows, i], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(prediction.weight[i, rows], np.abs(weights) / np.abs(weights).sum(), rtol=1e-4)


def test_negative_confidence_keeps_its_sign_in_the_logits_only() -> None:
    method = build(2)
    for modality in method.task.modalities:
        torch.nn.init.constant_(method.heads.get_parameter(f"{modality}.bias"), -8.0)
    batch = make_batch(method.task, 5)
    with torch.no_grad():
        prediction = method.eval().predict(batch)
    assert (prediction.fused > 0).all()  # negative weights times negative logits
    assert prediction.weight is not None
    assert (prediction.weight > 0).all()

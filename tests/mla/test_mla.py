"""MLA's training step and prediction against independent computations in NumPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mlabench.method import Batch, Optimization, Progress
from mlabench.mla.method import MLA
from tests.methods import Steps, adam, build_method, fit, make_batch, make_task, only, parameters, sgd, take

Array = NDArray[np.float64]
RATE = 0.1


def build(modalities: int = 2, **options: Any) -> MLA:
    method = build_method("mla", make_task(modalities), **options)
    assert isinstance(method, MLA)
    return method


def features_of(method: MLA, batch: Batch, modality: str) -> tuple[Array, NDArray[np.int64]]:
    """Features and labels of the samples that have the modality."""
    rows = batch.present[:, method.task.modalities.index(modality)]
    with torch.no_grad():
        features = method.encoders[modality](batch.inputs[modality][rows])
    return features.double().numpy(), batch.label[rows].numpy()


def cross_entropy(weight: Array, bias: Array, features: Array, labels: NDArray[np.int64]) -> tuple[float, Array, Array]:
    """Mean cross-entropy of a linear head, and its gradients."""
    logits = features @ weight.T + bias
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    delta = (probabilities - np.eye(len(bias))[labels]) / len(labels)
    return float(loss), delta.T @ features, delta.sum(axis=0)


def by_hand(
    method: MLA, batch: Batch, p: Array, alpha: float, order: tuple[str, ...], *, projector: str | None
) -> tuple[dict[str, float], Array, Array, Array]:
    """One mini-batch of plain SGD on the head: losses, and the new weight, bias and P."""
    weight, bias = (value.detach().double().numpy().copy() for value in (method.head.weight, method.head.bias))
    losses = {}
    for modality in order:
        features, labels = features_of(method, batch, modality)
        losses[modality], weight_gradient, bias_gradient = cross_entropy(weight, bias, features, labels)
        h = features.mean(axis=0)
        new_p = p - np.outer(p @ h, p @ h) / (alpha + h @ p @ h)
        if projector is not None:
            weight_gradient = weight_gradient @ (new_p if projector == "current" else p)
        p = new_p
        weight -= RATE * weight_gradient
        bias -= RATE * bias_gradient
    return losses, weight, bias, p


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("projector", ["current", "previous", None])
def test_two_steps_of_the_head_by_hand(projector: str | None, missing: float) -> None:
    options = {"gradient_modification": False} if projector is None else {"projector": projector}
    method = build(3, alpha=0.3, **options)
    p = np.eye(6)
    steps = sgd(method, RATE)
    for seed in range(2):
        batch = make_batch(method.task, 12, missing=missing, seed=seed)
        losses, weight, bias, p = by_hand(method, batch, p, 0.3, method.task.modalities, projector=projector)
        logs = method.training_step(batch, steps)
        for modality, loss in losses.items():
            assert float(logs[f"loss/{modality}"]) == pytest.approx(loss, rel=1e-5)
        assert float(logs["loss"]) == pytest.approx(np.mean(list(losses.values())), rel=1e-5)
        np.testing.assert_allclose(method.head.weight.detach(), weight, rtol=0, atol=1e-6)
        np.testing.assert_allclose(method.head.bias.detach(), bias, rtol=0, atol=1e-6)
        if method.gradient_modification is not None:
            np.testing.assert_allclose(method.gradient_modification.projector, p, rtol=0, atol=1e-6)
        assert logs["loss"].requires_grad is False


def test_one_update_per_modality_in_turn_each_on_its_own_encoder() -> None:
    method = build(3)
    batch = make_batch(method.task)
    seen = []

    class Spy(Steps):
        def update(self, loss: torch.Tensor, before_step: Any = None) -> None:
            before = parameters(method)
            super().update(loss, before_step)
            moved = {key for key, value in parameters(method).items() if not torch.equal(value, before[key])}
            seen.append(sorted({key.split(".")[1] for key in moved if key.startswith("encoders.")}))
            assert {"head.weight", "head.bias"} <= moved

    method.training_step(batch, Spy(adam(method).optimizer))
    method.training_step(batch, Spy(adam(method).optimizer))
    assert seen == [["audio"], ["image"], ["text"]] * 2


def test_encoder_gradients_are_not_modified() -> None:
    """The encoder descends on the gradient through the unmodified head."""
    results = []
    for modify in (True, False):
        method = build(gradient_modification=modify)
        batch = only(make_batch(method.task), 0)
        method.training_step(batch, sgd(method))
        results.append(parameters(method))
    for key in (key for key in results[0] if key.startswith(("encoders", "head.bias"))):
        torch.testing.assert_close(results[0][key], results[1][key])
    assert not torch.allclose(results[0]["head.weight"], results[1]["head.weight"])


def test_alpha_within_an_epoch() -> None:
    method = build(alpha=0.1, alpha_schedule="within_epoch")
    batch = make_batch(method.task)
    p = np.eye(6)
    for step, alpha in enumerate([0.1, 0.1**1.25, 0.1**1.5, 0.1**1.75]):
        _, weight, _, p = by_hand(method, batch, p, alpha, method.task.modalities, projector="current")
        steps = sgd(method, RATE)
        steps.progress = Progress(2, 5, step, 4)
        method.training_step(batch, steps)
        np.testing.assert_allclose(method.head.weight.detach(), weight, rtol=0, atol=1e-6)


def test_modality_that_no_sample_has_is_skipped() -> None:
    method = build(3)
    steps = Steps(torch.optim.SGD(method.parameters(), 0.1, momentum=0.9, weight_decay=0.1))
    full = make_batch(method.task)
    method.training_step(full, steps)
    before = parameters(method)
    logs = method.training_step(only(full, 0, 2), steps)
    assert set(logs) == {"loss", "loss/audio", "loss/text"}
    assert float(logs["loss"]) == pytest.approx(float(logs["loss/audio"] + logs["loss/text"]) / 2)
    # Neither momentum nor weight decay moves the encoder that had no turn.
    after = parameters(method)
    for key, value in before.items():
        assert torch.equal(after[key], value) == key.startswith("encoders.image."), key


def test_modified_gradient_is_nearly_orthogonal_to_the_mean_features() -> None:
    method = build(alpha=1e-6)
    batch = only(make_batch(method.task), 0)
    features, _ = features_of(method, batch, "audio")
    before = method.head.weight.detach().clone()
    method.training_step(batch, sgd(method))
    step = (method.head.weight.detach() - before).double().numpy()
    assert np.abs(step @ features.mean(axis=0)).max() < 1e-5
    assert np.abs(step @ features.T).max() > 1e-3


@dataclasses.dataclass
class Order:
    """Notes the order in which modalities are encoded."""

    seen: list[str]

    def watch(self, method: MLA) -> None:
        for modality in method.task.modalities:
            method.encoders[modality].register_forward_hook(lambda *_, name=modality: self.seen.append(name))


def order_of_next_step(method: MLA, optimization: Optimization) -> list[str]:
    order = Order([])
    order.watch(method)
    method.training_step(make_batch(method.task), optimization)
    return order.seen


def test_order_given_by_name() -> None:
    method = build(3, order=("text", "audio", "image"))
    assert order_of_next_step(method, sgd(method)) == ["text", "audio", "image"]
    method.on_epoch_end({"loss": 1.0, "loss/audio": 5.0, "loss/image": 1.0, "loss/text": 2.0})
    assert order_of_next_step(method, sgd(method))[:3] == ["text", "audio", "image"]


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        ({"loss/audio": 0.3, "loss/image": 0.9, "loss/text": 0.5}, ["image", "text", "audio"]),
        ({"loss/audio": 0.3, "loss/text": 0.5}, ["text", "audio", "image"]),  # nobody had an image
    ],
)
def test_weak_to_strong_puts_the_largest_loss_first(logs: Mapping[str, float], expected: list[str]) -> None:
    method = build(3, order="weak_to_strong")
    assert list(method.order) == ["audio", "image", "text"]
    method.on_epoch_end({"loss": 0.5, **logs})
    assert order_of_next_step(method, sgd(method)) == expected


def test_given_order_does_not_change() -> None:
    method = build(3)
    method.on_epoch_end({"loss": 0.5, "loss/audio": 0.3, "loss/image": 0.9, "loss/text": 0.5})
    assert order_of_next_step(method, sgd(method)) == ["audio", "image", "text"]


@pytest.mark.parametrize(
    "order", [("audio",), ("audio", "image", "audio"), ("audio", "image", "text"), ("audio", "smell")]
)
def test_order_must_name_each_modality_once(order: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="order must name each of"):
        build(order=order)


def test_unequal_widths_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"equal width.*'audio': 6.*'image': 8"):
        build(widths=[6, 8])


@pytest.mark.parametrize("dynamic", [True, False])
def test_prediction_by_hand(dynamic: bool) -> None:
    method = build(3, dynamic_fusion=dynamic)
    batch = make_batch(method.task, 10, missing=0.4)
    fit(method, [batch], 5)
    method.eval()
    with torch.no_grad():
        prediction = method.predict(batch)
    weight, bias = method.head.weight.detach().double().numpy(), method.head.bias.detach().double().numpy()
    for sample in range(len(batch)):
        logits, scores = [], []
        for column, modality in enumerate(method.task.modalities):
            if batch.present[sample, column]:
                features, _ = features_of(method, take(batch, [sample]), modality)
                z = (features @ weight.T + bias)[0]
                p = np.exp(z) / np.exp(z).sum()
                logits.append(z)
                scores.append(np.exp((p * np.log(p)).sum()) if dynamic else 1.0)
                np.testing.assert_allclose(prediction.unimodal[modality][sample], z, rtol=1e-4, atol=1e-6)
                np.testing.assert_allclose(prediction.embedding[modality][sample], features[0], rtol=1e-4, atol=1e-6)
        share = np.array(scores) / np.sum(scores)
        assert prediction.weight is not None
        np.testing.assert_allclose(prediction.weight[sample, batch.present[sample]], share, rtol=1e-4)
        np.testing.assert_allclose(prediction.fused[sample], share @ np.array(logits), rtol=1e-4, atol=1e-6)

"""Scores, coefficients, edited gradients and noise, all against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from baselines.ogm_ge import OGMGE
from mlabench.method import Batch, Progress
from mlabench.testing import build_method, fit, make_batch, make_task, only, sgd

Array = NDArray[np.float64]
Gradients = dict[str, Tensor]


class Recorder:
    """An optimisation that keeps the edited gradients and takes no step."""

    def __init__(self, method: OGMGE, progress: Progress) -> None:
        self.method, self.progress = method, progress
        self.gradients: Gradients = {}

    def update(self, loss: Tensor, before_step: Callable[[], None] | None = None) -> None:
        self.method.zero_grad()
        loss.backward()
        if before_step is not None:
            before_step()
        self.gradients = gradients_of(self.method)

    def restart(self) -> None:
        raise AssertionError


def gradients_of(method: OGMGE) -> Gradients:
    return {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


def build(modalities: int, widths: list[int] | None = None, **options: Any) -> OGMGE:
    method = build_method("ogm_ge", make_task(modalities), widths=widths or [4, 6, 3, 5][:modalities], **options)
    assert isinstance(method, OGMGE)
    return method


def plain(method: OGMGE, batch: Batch) -> Gradients:
    """The gradients of the cross-entropy of concatenated features."""
    method.zero_grad()
    F.cross_entropy(method.predict(batch).fused, batch.label).backward()
    return gradients_of(method)


def edited(method: OGMGE, batch: Batch, progress: Progress) -> tuple[Gradients, dict[str, float]]:
    recorder = Recorder(method, progress)
    logs = method.training_step(batch, recorder)
    return recorder.gradients, {name: float(value) for name, value in logs.items()}


def coefficients_by_hand(method: OGMGE, batch: Batch, alpha: float) -> list[float]:
    """From the definition: mean scores over the samples that have the modality, against the mean of the others'."""
    scores = []
    weight, bias = (value.detach().double().numpy() for value in (method.head.weight, method.head.bias))
    start = 0
    for here, (modality, values) in zip(batch.present.numpy().T, batch.inputs.items(), strict=True):
        label = batch.label.numpy()[here]
        with torch.no_grad():
            h = method.encoders[modality](values).double().numpy()[here]
        z = h @ weight[:, start : start + h.shape[1]].T + bias / len(batch.inputs)
        start += h.shape[1]
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        scores.append(p[np.arange(len(label)), label].mean() if len(label) > 0 else None)
    result = []
    for m, score in enumerate(scores):
        others = [other for j, other in enumerate(scores) if j != m and other is not None]
        ratio = score / np.mean(others) if score is not None and others else 0.0
        result.append(float(1 - np.tanh(alpha * ratio)) if ratio > 1 else 1.0)
    return result


@pytest.mark.parametrize("min_ndim", [1, 2, 3])
@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_edited_gradients_by_hand(modalities: int, min_ndim: int) -> None:
    method = build(modalities, alpha=0.4, noise=False, min_ndim=min_ndim)
    batch = make_batch(method.task, 24, missing=0.2)
    assert not batch.present.all()
    expected = plain(method, batch)
    k = dict(zip(method.task.modalities, coefficients_by_hand(method, batch, 0.4), strict=True))
    assert min(k.values()) < 0.7  # 1 - tanh(0.4) = 0.62
    assert max(k.values()) == 1
    actual, logs = edited(method, batch, Progress(0, 10, 0, 1))
    for modality, value in k.items():
        assert logs[f"coefficient/{modality}"] == pytest.approx(value, rel=1e-5)
    assert list(actual) == list(expected)
    for name, gradient in actual.items():
        modality = name.split(".")[1]
        modulated = name.startswith("encoders.") and gradient.ndim >= min_ndim
        factor = k[modality] if modulated else 1.0
        torch.testing.assert_close(gradient, factor * expected[name], rtol=1e-5, atol=1e-8)


def test_published_coefficients() -> None:
    """1 - tanh(0.1 rho) at rho = 3 and 1.5 (the score of the others is 1), and 1 for those who do not lead."""
    method = build(2, [3, 3], alpha=0.1)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.zero_()
    batch = make_batch(method.task, 1)
    for probability, coefficient in ((0.75, 0.709), (0.375, 0.851)):
        # The head turns audio's first feature, 1, into this probability of the label; image says 1/4 to 3/4.
        logit = np.log(probability / (1 - probability) * 2)
        with torch.no_grad():
            method.head.weight.zero_()
            method.head.weight[batch.label[0], 0] = logit
            method.head.weight[batch.label[0], 3] = np.log(0.25 / 0.75 * 2)
        features = {"audio": torch.tensor([[1.0, 0, 0]]), "image": torch.tensor([[1.0, 0, 0]])}
        k = method._coefficients(features, batch)
        assert float(k["audio"]) == pytest.approx(coefficient, abs=5e-4)
        assert float(k["image"]) == 1


@pytest.mark.parametrize("noise", [True, False])
def test_noise_has_the_spread_of_the_unmodulated_gradient(noise: bool) -> None:
    method = build(2, [3000, 2000], alpha=0.5, noise=noise)
    batch = make_batch(method.task, 24)
    expected = plain(method, batch)
    k = dict(zip(method.task.modalities, coefficients_by_hand(method, batch, 0.5), strict=True))
    assert sorted(value < 1 for value in k.values()) == [False, True]  # noise goes to both
    torch.manual_seed(0)
    actual, _ = edited(method, batch, Progress(0, 10, 0, 1))
    drawn = []
    for name, gradient in expected.items():
        if not name.endswith("layers.0.weight"):
            torch.testing.assert_close(actual[name], gradient)
            continue
        rest = (actual[name] - k[name.split(".")[1]] * gradient).double().numpy().ravel()
        spread = np.std(gradient.double().numpy(), ddof=1)
        if not noise:
            np.testing.assert_allclose(rest, 0, atol=1e-5 * spread)
            continue
        # More than 10,000 draws: their mean and deviation are known to about one per cent.
        assert abs(np.mean(rest) / spread) < 0.04
        assert np.std(rest) / spread == pytest.approx(1, abs=0.03)
        drawn.append(rest[:14000] / spread)
    if noise:
        assert abs(np.corrcoef(drawn)[0, 1]) < 0.04  # drawn for each encoder


def test_a_single_number_gets_no_noise() -> None:
    method = build(2, [1, 1], min_ndim=1)
    batch = make_batch(method.task, 6)
    expected = plain(method, batch)
    k = coefficients_by_hand(method, batch, 0.3)
    actual, _ = edited(method, batch, Progress(0, 10, 0, 1))
    for modality, value in zip(method.task.modalities, k, strict=True):
        name = f"encoders.{modality}.layers.0.bias"
        torch.testing.assert_close(actual[name], value * expected[name])


@pytest.mark.parametrize(("epochs", "share", "last"), [(100, 0.5, 50), (20, 0.5, 10), (3, 0.5, 1), (4, 1.0, 3)])
def test_modulation_ends_in_time(epochs: int, share: float, last: int) -> None:
    method = build(2, share=share)
    batch = make_batch(method.task, 6)
    modulated = []
    for epoch in range(epochs):
        actual, logs = edited(method, batch, Progress(epoch, epochs, 0, 1))
        modulated.append("coefficient/audio" in logs)
        if not modulated[-1]:
            for name, gradient in plain(method, batch).items():
                assert torch.equal(actual[name], gradient)
    assert modulated == [epoch <= last for epoch in range(epochs)]


def test_a_batch_without_complete_samples_is_modulated_by_those_that_are_there() -> None:
    method = build(3, alpha=0.4, noise=False)
    batch = only(make_batch(method.task, 8), 0, 2)
    expected = plain(method, batch)
    k = dict(zip(method.task.modalities, coefficients_by_hand(method, batch, 0.4), strict=True))
    assert sorted(value < 1 for value in k.values()) == [False, False, True]
    assert k["image"] == 1  # nobody has it
    actual, _ = edited(method, batch, Progress(0, 10, 0, 1))
    assert not any(name.startswith("encoders.image") for name in actual)
    for name, gradient in expected.items():
        modulated = name.startswith("encoders.") and gradient.ndim >= 2
        torch.testing.assert_close(actual[name], (k[name.split(".")[1]] if modulated else 1.0) * gradient)


def test_a_modality_with_nothing_to_compare_it_with_keeps_its_pace() -> None:
    method = build(3, noise=False)
    batch = only(make_batch(method.task, 8), 1)
    expected = plain(method, batch)
    actual, logs = edited(method, batch, Progress(0, 10, 0, 1))
    assert {logs[f"coefficient/{modality}"] for modality in method.task.modalities} == {1}
    for name, gradient in expected.items():
        assert torch.equal(actual[name], gradient)


def test_frozen_parameters_are_passed_over() -> None:
    method = build(2)
    method.encoders["audio"].requires_grad_(False)
    before = method.encoders["audio"].layers[0].weight.clone()  # type: ignore[index,union-attr]
    fit(method, [make_batch(method.task)], 2, sgd)
    assert torch.equal(method.encoders["audio"].layers[0].weight, before)  # type: ignore[index,union-attr,arg-type]

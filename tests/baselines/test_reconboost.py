"""Phases, the boosting loss and its gradients, and the factor of the ensemble."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.reconboost import ReconBoost
from mlabench.method import Batch, Progress, Stage
from mlabench.testing import Updater, build_method, fill_absent, fit, make_batch, make_task, only, parameters

Array = NDArray[np.float64]


def build(modalities: int = 3, **options: Any) -> ReconBoost:
    method = build_method("reconboost", make_task(modalities), **options)
    assert isinstance(method, ReconBoost)
    return method


class Recorder(Updater):
    """Steps that note what was updated and when the optimiser was made afresh."""

    def __init__(self, method: ReconBoost) -> None:
        super().__init__(torch.optim.SGD(method.parameters(), 0.1, momentum=0.9))
        self.restarts: list[tuple[int, int]] = []

    def restart(self) -> None:
        super().restart()
        self.restarts.append((self.progress.epoch, self.progress.step))


def logits_of(method: ReconBoost, batch: Batch) -> Array:
    """``[M, B, C]``"""
    with torch.no_grad():
        return np.stack([method.head(method.encoders[m](x)).double().numpy() for m, x in batch.inputs.items()])


def softmax(z: Array) -> Array:
    exponential = np.exp(z)
    result: Array = exponential / exponential.sum(axis=-1, keepdims=True)
    return result


def boosting_by_hand(z: Array, others: Array, batch: Batch, k: int, j: int | None, config: Any, rate: float) -> float:
    """The loss of boosting modality ``k`` with logits ``z``, when the ensemble holds the logits ``others``."""
    modalities, size, classes = z.shape
    fit_terms, memory_terms = [], []
    for i in range(size):
        if not batch.present[i, k]:
            continue
        y = int(batch.label[i])
        ensemble = np.zeros(classes)
        for m in range(modalities):
            if m != k and batch.present[i, m]:
                ensemble = ensemble + others[m, i]
        q = softmax(rate * ensemble)
        p = softmax(z[k, i])
        target = np.eye(classes)[y]
        fit_terms += list(-config.weight1 * target * np.log(p) + config.weight2 * target * q * np.log(p))
        if j is not None and batch.present[i, j]:
            memory_terms += list((p - softmax(others[j, i])) ** 2)
    loss = float(np.mean(fit_terms))
    return loss + config.alpha * float(np.mean(memory_terms)) if memory_terms else loss


@pytest.mark.parametrize("previous", [None, 1])
@pytest.mark.parametrize("consolidation", ["paper", "official"])
def test_boosting_loss_and_gradient_by_hand(previous: int | None, consolidation: str) -> None:
    method = build(consolidation=consolidation, weight1=4.0, weight2=1.5, alpha=3.0, hidden=5)
    batch = make_batch(method.task, 14, missing=0.4)
    batch.present[0] = torch.tensor([False, False, True])  # its ensemble is empty
    batch = fill_absent(batch, torch.nan)
    fit(method, [batch], 6)
    method.zero_grad()
    with torch.no_grad():
        method.boost_rate.fill_(1.7)
    z = logits_of(method, batch)
    name = None if previous is None else method.task.modalities[previous]
    loss = method.boosting_loss(batch, "text", name)
    assert loss.item() == pytest.approx(boosting_by_hand(z, z, batch, 2, previous, method.config, 1.7), rel=1e-4)

    loss.backward()
    bias = method.get_parameter("head.2.bias")
    assert bias.grad is not None
    frozen = method.config.model_copy(update={"alpha": 0.0}) if consolidation == "official" else method.config
    for c in range(3):
        step = np.zeros_like(z)
        step[2, :, c] = 1e-5  # the others' logits are data
        by_hand = [boosting_by_hand(z + s * step, z, batch, 2, previous, frozen, 1.7) for s in (1, -1)]
        assert float(bias.grad[c]) == pytest.approx((by_hand[0] - by_hand[1]) / 2e-5, rel=1e-3, abs=1e-5)
    assert all(p.grad is None for m in ("audio", "image") for p in method.encoders[m].parameters())
    assert method.boost_rate.grad is None


def test_summed_over_the_classes_it_is_as_many_times_the_mean() -> None:
    summed, mean = build(over="sum"), build()
    batch = make_batch(mean.task, 12, missing=0.3)
    ratio = summed.boosting_loss(batch, "text", None) / mean.boosting_loss(batch, "text", None)
    assert ratio.item() == pytest.approx(3)


@pytest.mark.parametrize(
    ("epochs", "share", "expected"),
    [
        (900, 0.11, [("pretrain", 99), ("train", 801)]),
        (10, 0.11, [("pretrain", 1), ("train", 9)]),
        (3, 0.99, [("pretrain", 2), ("train", 1)]),
        (1, 0.11, [("pretrain", 1), ("train", 1)]),
        (10, 0.0, [("train", 10)]),
    ],
)
def test_stages_share_the_epochs(epochs: int, share: float, expected: list[tuple[str, int]]) -> None:
    assert [(stage.name, stage.epochs) for stage in build(pretrain_share=share).stages(epochs)] == expected


def test_encoders_are_trained_alone_first() -> None:
    """By the cross-entropy of heads of their own, each by its own samples; what boosting uses stays as it is."""
    method = build()
    batch = fill_absent(make_batch(method.task, 14, missing=0.4), torch.nan)
    method.on_stage_start(Stage("pretrain", 1))
    expected = 0.0
    with torch.no_grad():
        logits = []
        for column, (modality, x) in enumerate(batch.inputs.items()):
            here = batch.present[:, column].numpy()
            z = method.own_heads[modality](method.encoders[modality](x)).double().numpy()
            rows = np.arange(len(batch))[here]
            expected -= float(np.log(softmax(z[here]))[np.arange(len(rows)), batch.label[here]].mean())
            logits.append(np.where(here[:, None], z, 0))
        prediction = method.predict(batch)
    fused = np.sum(logits, axis=0) / batch.present.numpy().sum(axis=1, keepdims=True)
    np.testing.assert_allclose(prediction.fused, fused, rtol=1e-4, atol=1e-5)

    before = parameters(method)
    steps = Recorder(method)
    method.train()
    assert float(method.training_step(batch, steps)["loss"]) == pytest.approx(expected, rel=1e-5)
    for name, value in method.state_dict().items():
        changes = name.startswith(("encoders.", "own_heads."))
        assert torch.equal(value, before[name]) != changes, name
    assert steps.restarts == []

    method.on_stage_start(Stage("train", 1))
    before = parameters(method)
    for epoch in range(6):
        steps.progress = Progress(epoch, 6, 0, 1)
        method.training_step(batch, steps)
    for name, value in method.state_dict().items():
        if name.startswith("own_heads."):
            assert torch.equal(value, before[name]), name


def test_memory_of_nobody_is_zero() -> None:
    method = build()
    batch = only(make_batch(method.task, 8), 2)
    torch.testing.assert_close(method.boosting_loss(batch, "text", "image"), method.boosting_loss(batch, "text", None))


def test_rectification_and_prediction_by_hand() -> None:
    method = build()
    batch = fill_absent(make_batch(method.task, 12, missing=0.4), torch.nan)
    fit(method, [batch], 6)
    method.zero_grad()
    with torch.no_grad():
        method.boost_rate.fill_(0.6)
    z = logits_of(method, batch)
    fused = np.stack([0.6 * sum(z[m, i] for m in range(3) if batch.present[i, m]) for i in range(12)])
    expected = -np.log(softmax(fused))[np.arange(12), batch.label].mean()
    loss = method.rectification_loss(batch)
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    loss.backward()
    assert method.boost_rate.grad is not None
    slope = -((np.eye(3)[batch.label] - softmax(fused)) * fused / 0.6).sum(axis=1).mean()
    assert method.boost_rate.grad.item() == pytest.approx(slope, rel=1e-3)
    assert all(p.grad is not None for p in method.encoders.parameters())
    with torch.no_grad():
        np.testing.assert_allclose(method.eval().predict(batch).fused, fused, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("modalities", "epochs", "configured", "expected"),
    [(2, 800, 4, 4), (3, 24, 4, 4), (3, 20, 4, 3), (3, 10, 4, 1), (2, 1, 4, 1), (2, 100, 1, 1)],
)
def test_length_of_a_phase(modalities: int, epochs: int, configured: int, expected: int) -> None:
    assert build(modalities, epochs_per_stage=configured).phase_epochs(epochs) == expected


def test_phases_take_turns_with_a_fresh_optimiser(monkeypatch: pytest.MonkeyPatch) -> None:
    method = build(epochs_per_stage=2, order=("text", "audio", "image"))
    batch = make_batch(method.task, 12)
    called: list[Any] = []
    boosting, rectification = method.boosting_loss, method.rectification_loss

    def boost(batch: Batch, modality: str, previous: str | None) -> Tensor:
        called.append((modality, previous))
        return boosting(batch, modality, previous)

    def rectify(batch: Batch) -> Tensor:
        called.append("all")
        return rectification(batch)

    monkeypatch.setattr(method, "boosting_loss", boost)
    monkeypatch.setattr(method, "rectification_loss", rectify)
    steps = Recorder(method)
    method.train()
    for epoch in range(16):
        for step in range(2):
            steps.progress = Progress(epoch, 16, step, 2)
            logs = method.training_step(batch, steps)
            assert set(logs) == {"loss", "loss/rectification" if epoch // 2 % 2 else "loss/boosting"}
    turns = [("text", None), "all", ("audio", "text"), "all", ("image", "audio"), "all", ("text", "image"), "all"]
    assert called == [turn for turn in turns for _ in range(4)]
    assert steps.restarts == [(epoch, 0) for epoch in range(0, 16, 2)]


def test_boosting_leaves_the_others_alone() -> None:
    """Their weights, their batch statistics, and the mode of the whole."""
    method = build(normalise=True)
    batch = make_batch(method.task, 12, missing=0.3)
    steps = Recorder(method)
    method.train()
    before = parameters(method)
    for step in range(3):
        steps.progress = Progress(0, 24, step, 3)
        method.training_step(batch, steps)
    assert all(module.training for module in method.modules())
    for name, value in method.state_dict().items():
        if name != "encoders.audio.layers.0.bias":  # the normalisation after it takes its gradient away
            changes = name.startswith(("encoders.audio", "head"))
            assert torch.equal(value, before[name]) != changes, name


def test_batch_without_the_modality_is_spent_on_rectification() -> None:
    method = build()
    batch = only(make_batch(method.task, 12), 1, 2)
    steps = Recorder(method)
    expected = method.rectification_loss(batch).item()
    logs = method.training_step(batch, steps)
    assert float(logs["loss/rectification"]) == pytest.approx(expected)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"equal width.*'audio': 6.*'image': 8"):
        build(2, widths=[6, 8])
    with pytest.raises(ValueError, match="order must name each of the modalities audio, image once"):
        build(2, order=("audio", "text"))

"""Stages, draws, imagination targets and gradients of MMIN."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baselines.mmin import MMIN, Cascade
from mlabench.method import Batch, Stage
from mlabench.testing import adam, build_method, fit, make_batch, make_task, only, parameters

WIDTHS = [4, 6, 3]
IMAGINATION = Stage("imagination", 1)
TEACHER = Stage("teacher", 1)
NEW = ("forward_imagination.", "backward_imagination.", "classifier.")


def build(modalities: int = 3, **options: Any) -> MMIN:
    small: dict[str, Any] = {"widths": WIDTHS[:modalities], "blocks": 2, "autoencoder": (16, 8), "classifier": (10,)}
    method = build_method("mmin", make_task(modalities), **(small | options))
    assert isinstance(method, MMIN)
    return method


def test_published_network() -> None:
    method = build_method("mmin", make_task(3, classes=4), widths=[128, 128, 128])
    assert isinstance(method, MMIN)
    imagined, code = method.forward_imagination(torch.zeros(2, 384))
    assert imagined.shape == (2, 384)
    assert code.shape == (2, 5 * 64)
    # 1.69 million parameters per autoencoder cascade and 0.058 million in the classifier, as published.
    assert round(sum(p.numel() for p in method.forward_imagination.parameters()) / 1e6, 2) == 1.69
    assert round(sum(p.numel() for p in method.classifier.parameters()) / 1e6, 3) == 0.058
    encoder, decoder = method.forward_imagination.encoders[0], method.forward_imagination.decoders[0]
    assert isinstance(encoder, nn.Sequential)
    assert isinstance(decoder, nn.Sequential)
    assert [type(layer) for layer in encoder] == [nn.Linear, nn.LeakyReLU, nn.Linear, nn.LeakyReLU, nn.Linear]
    assert [layer.out_features for layer in encoder if isinstance(layer, nn.Linear)] == [256, 128, 64]
    assert [type(layer) for layer in decoder] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [layer.out_features for layer in decoder if isinstance(layer, nn.Linear)] == [128, 256, 384]
    assert [layer.p for layer in method.teacher_classifier if isinstance(layer, nn.Dropout)] == [0.3, 0.3]
    assert [layer.p for layer in method.classifier if isinstance(layer, nn.Dropout)] == [0.5, 0.5]


def test_cascade_by_hand() -> None:
    torch.manual_seed(0)
    cascade = Cascade(5, (6, 4, 3), 2)
    x = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    with torch.no_grad():
        imagined, code = cascade(torch.tensor(x))

    def linear(layer: Any, values: Any) -> Any:
        return values @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()

    def perceptron(layers: Any, values: Any, slope: float) -> Any:
        for layer in layers[:-1:2]:
            values = linear(layer, values)
            values = np.where(values > 0, values, slope * values)
        return linear(layers[-1], values)

    codes = []
    for encode, decode in zip(cascade.encoders, cascade.decoders, strict=True):
        codes.append(perceptron(encode, x, 0.01))
        x = x + perceptron(decode, codes[-1], 0.0)
    expected = perceptron(cascade.transition, x, 0.0)
    np.testing.assert_allclose(code, np.concatenate(codes, axis=1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(imagined, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("epochs", "share", "expected"),
    [
        (80, 0.25, (20, 60)),
        (30, 0.25, (8, 22)),
        (2, 0.25, (1, 1)),
        (3, 0.9, (2, 1)),
        (4, 0.01, (1, 3)),
        (1, 0.25, (1, 1)),
    ],
)
def test_stages_share_the_epochs(epochs: int, share: float, expected: tuple[int, int]) -> None:
    stages = build(teacher_share=share).stages(epochs)
    assert [stage.name for stage in stages] == ["teacher", "imagination"]
    assert tuple(stage.epochs for stage in stages) == expected


@pytest.mark.parametrize("real", [(0, 1, 2), (0, 2), (1,)])
def test_conditions_are_uniform_over_proper_subsets(real: tuple[int, ...]) -> None:
    method = build()
    torch.manual_seed(0)
    present = torch.zeros(6000, 3, dtype=torch.bool)
    present[:, list(real)] = True
    drawn = Counter(tuple(row.nonzero().squeeze(1).tolist()) for row in method.draw_available(present))
    everything: list[tuple[int, ...]] = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]
    expected = [subset for subset in everything if set(subset) < set(real)] or [real]
    assert sorted(drawn) == sorted(expected)
    share = 1 / len(expected)
    deviation = 4 * np.sqrt(6000 * share * (1 - share))
    assert all(abs(count - 6000 * share) <= deviation for count in drawn.values())


def test_conditions_are_drawn_per_sample_and_anew() -> None:
    method = build(4, widths=[3] * 4)
    present = make_batch(method.task, 200, missing=0.4).present
    draws = [method.draw_available(present) for _ in range(2)]
    assert not torch.equal(*draws)
    for available in draws:
        assert (available <= present).all()
        assert available.any(dim=1).all()
        assert ((available == present).all(dim=1) == (present.sum(dim=1) == 1)).all()


def embeddings(encoders: nn.Module, batch: Batch, mask: Tensor) -> Tensor:
    """Sample by sample: embeddings of the modalities in ``mask``, zeros elsewhere."""
    rows = []
    for i in range(len(batch)):
        parts = []
        for column, (modality, width) in enumerate(zip(batch.inputs, WIDTHS, strict=False)):
            encoder = encoders.get_submodule(modality)
            here = bool(mask[i, column])
            parts.append(encoder(batch.inputs[modality][[i]])[0] if here else torch.zeros(width))
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def test_loss_and_gradients_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets are the teacher's embeddings where hidden and real, zero where available, and nothing where absent."""
    method = build()
    batch = make_batch(method.task, 12, missing=0.4)
    fit(method, [batch], 4)
    method.eval()  # no dropout; the teacher is in evaluation mode anyway
    available = method.draw_available(batch.present)
    monkeypatch.setattr(method, "draw_available", lambda present: available)
    hidden = batch.present & ~available
    assert hidden.any() and not batch.present.all()
    assert (batch.present.sum(dim=1) == 1).any()  # nothing to imagine: only the class counts

    with torch.no_grad():
        target = embeddings(method.teacher_encoders, batch, hidden)
        recovery_target = embeddings(method.encoders, batch, available)
    feature = embeddings(method.encoders, batch, available)
    imagined, code = method.forward_imagination(feature)
    recovered, _ = method.backward_imagination(imagined)
    forward, cycle, positions = torch.zeros(()), torch.zeros(()), 0
    for i in range(12):
        start = 0
        imagines = bool(hidden[i].any())
        for column, width in enumerate(WIDTHS):
            part = slice(start, start + width)
            if batch.present[i, column] and imagines:
                forward = forward + (imagined[i, part] - target[i, part]).square().sum()
                cycle = cycle + (recovered[i, part] - recovery_target[i, part]).square().sum()
                positions += width
            start += width
    log_probability = method.classifier(code).log_softmax(dim=1)
    expected = -log_probability[torch.arange(12), batch.label].mean() + (4 * forward + 2 * cycle) / positions

    trainable = {name: p for name, p in method.named_parameters() if p.requires_grad}
    loss = method.loss(batch)
    torch.testing.assert_close(loss, expected)
    gradients = torch.autograd.grad(loss, list(trainable.values()))
    for name, actual, by_hand in zip(
        trainable, gradients, torch.autograd.grad(expected, list(trainable.values())), strict=True
    ):
        torch.testing.assert_close(actual, by_hand, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("stage", "trained"),
    [(TEACHER, ("encoders.", "teacher_classifier.")), (IMAGINATION, ("encoders.", *NEW))],
)
def test_each_stage_trains_its_own_parameters(stage: Stage, trained: tuple[str, ...]) -> None:
    method = build()
    batch = make_batch(method.task, 12)
    method.on_stage_start(stage)
    before = parameters(method)
    steps = adam(method)
    method.train()
    for _ in range(4):
        method.training_step(batch, steps)
    for name, parameter in method.named_parameters():
        assert parameter.requires_grad == name.startswith(trained), name
        assert (parameter.grad is not None) == name.startswith(trained), name
        assert torch.equal(parameter, before[name]) != name.startswith(trained), name


def test_encoders_frozen_by_their_owner_stay_frozen() -> None:
    method = build()
    method.encoders["image"].requires_grad_(False)
    for stage in (TEACHER, IMAGINATION):
        method.on_stage_start(stage)
        assert not any(parameter.requires_grad for parameter in method.encoders["image"].parameters())
        assert all(parameter.requires_grad for parameter in method.encoders["audio"].parameters())


def test_second_stage_starts_from_the_teacher_and_keeps_a_frozen_copy() -> None:
    method = build(normalise=True)
    batch = make_batch(method.task, 24)
    method.on_stage_start(TEACHER)
    steps = adam(method)
    method.train()
    for _ in range(3):
        method.training_step(batch, steps)
    teacher = parameters(method.encoders)
    assert not all(torch.equal(teacher[key], value) for key, value in method.teacher_encoders.state_dict().items())
    method.on_stage_start(IMAGINATION)
    steps = adam(method)
    method.train()
    assert method.encoders.training
    assert not any(module.training for module in method.teacher_encoders.modules())
    for _ in range(3):
        method.training_step(batch, steps)
    for key, value in method.teacher_encoders.state_dict().items():
        assert torch.equal(value, teacher[key]), key
    assert not all(torch.equal(teacher[key], value) for key, value in method.encoders.state_dict().items())


def test_first_stage_is_a_plain_classifier() -> None:
    method = build()
    batch = make_batch(method.task, 12, missing=0.4)
    method.on_stage_start(TEACHER)
    method.eval()
    with torch.no_grad():
        logits = method.teacher_classifier(embeddings(method.encoders, batch, batch.present))
        torch.testing.assert_close(method.loss(batch), nn.functional.cross_entropy(logits, batch.label))
        torch.testing.assert_close(method.predict(batch).fused, logits)


def test_prediction_uses_the_forward_codes_only() -> None:
    method = build()
    batch = make_batch(method.task, 12, missing=0.4)
    fit(method, [batch], 4)
    method.eval()
    with torch.no_grad():
        expected = method.predict(batch)
        _, code = method.forward_imagination(embeddings(method.encoders, batch, batch.present))
        torch.testing.assert_close(expected.fused, method.classifier(code))
        unused = (method.backward_imagination, method.teacher_encoders, method.teacher_classifier)
        for module in (*unused, method.forward_imagination.transition):
            for parameter in module.parameters():
                parameter.fill_(torch.nan)
        assert torch.equal(method.predict(batch).fused, expected.fused)


@pytest.mark.parametrize("stage", [TEACHER, IMAGINATION])
def test_unimodal_logits_are_predictions_from_one_modality(stage: Stage) -> None:
    method = build()
    batch = make_batch(method.task, 12)
    method.on_stage_start(stage)
    method.eval()
    with torch.no_grad():
        unimodal = method.predict(batch).unimodal
        for column, modality in enumerate(method.task.modalities):
            torch.testing.assert_close(method.predict(only(batch, column)).fused, unimodal[modality])


def test_the_stage_is_part_of_the_state() -> None:
    method, other = build(), build(seed=1)
    fit(method, [make_batch(method.task)], 2)
    other.load_state_dict(method.state_dict())
    batch = make_batch(method.task, seed=5)
    with torch.no_grad():
        torch.testing.assert_close(other.eval().predict(batch).fused, method.eval().predict(batch).fused)


def test_samples_with_one_modality_learn_without_a_target() -> None:
    method = build()
    method.on_stage_start(IMAGINATION)
    batch = only(make_batch(method.task, 8), 1)
    method.eval()  # no dropout
    loss = method.loss(batch)
    loss.backward()
    torch.testing.assert_close(loss, nn.functional.cross_entropy(method.predict(batch).fused, batch.label))
    assert all(p.grad is None or not p.grad.any() for p in method.backward_imagination.parameters())
    assert all(p.grad is None for p in method.encoders["audio"].parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.encoders["image"].parameters())

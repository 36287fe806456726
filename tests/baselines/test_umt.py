"""Stages of UMT, its two losses, and teachers that stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from baselines.umt import UMT
from mlabench.method import Batch, Stage
from mlabench.testing import adam, build_method, fill_absent, fit, make_batch, make_task, parameters

WIDTHS = [4, 6, 3]
TEACHERS, STUDENT = Stage("teachers", 1), Stage("student", 1)


def build(**options: Any) -> UMT:
    method = build_method("umt", make_task(), **({"widths": WIDTHS} | options))
    assert isinstance(method, UMT)
    return method


def train_teachers(method: UMT, batch: Batch, steps: int = 5) -> None:
    method.on_stage_start(TEACHERS)
    optimization = adam(method)
    method.train()
    for _ in range(steps):
        method.training_step(batch, optimization)


def cross_entropy(z: Any, label: int) -> float:
    return float(np.log(np.exp(z).sum()) - z[label])


@pytest.mark.parametrize(
    ("epochs", "share", "expected"),
    [
        (20, 0.5, (10, 10)),
        (21, 0.5, (10, 11)),
        (20, 0.25, (5, 15)),
        (2, 0.01, (1, 1)),
        (3, 0.99, (2, 1)),
        (1, 0.5, (1, 1)),
    ],
)
def test_budget(epochs: int, share: float, expected: tuple[int, int]) -> None:
    assert tuple(stage.epochs for stage in build(teacher_share=share).stages(epochs)) == expected


def test_losses_by_hand() -> None:
    method = build(weight=7.0)
    batch = fill_absent(make_batch(method.task, 12, missing=0.4), torch.nan)
    features: dict[str, dict[str, Any]] = {"teacher_encoders": {}, "encoders": {}}

    def encode() -> None:
        for name, into in features.items():
            for column, modality in enumerate(method.task.modalities):
                values = np.zeros((12, WIDTHS[column]))
                rows = batch.present[:, column]
                with torch.no_grad():
                    encoder = method.get_submodule(f"{name}.{modality}")
                    values[rows.numpy()] = encoder(batch.inputs[modality][rows]).double().numpy()
                into[modality] = values

    train_teachers(method, batch)
    method.eval()
    encode()
    expected = 0.0
    for column, modality in enumerate(method.task.modalities):
        weight, bias = (p.detach().double().numpy() for p in method.teacher_heads[modality].parameters())
        rows = batch.present[:, column].nonzero().squeeze(1)
        z = features["teacher_encoders"][modality] @ weight.T + bias
        expected += float(np.mean([cross_entropy(z[i], int(batch.label[i])) for i in rows]))
    assert method.loss(batch).item() == pytest.approx(expected, rel=1e-5)

    method.on_stage_start(STUDENT)
    fit_steps = adam(method)
    method.train()
    for _ in range(3):
        method.training_step(batch, fit_steps)
    method.eval()
    encode()
    weight, bias = (value.detach().double().numpy() for value in (method.head.weight, method.head.bias))
    z = np.concatenate(list(features["encoders"].values()), axis=1) @ weight.T + bias
    expected = float(np.mean([cross_entropy(z[i], int(batch.label[i])) for i in range(12)]))
    for column, modality in enumerate(method.task.modalities):
        rows = batch.present[:, column].numpy()
        gap = features["encoders"][modality][rows] - features["teacher_encoders"][modality][rows]
        expected += 7.0 * float(np.mean(gap**2))
    assert method.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_student_starts_from_the_initial_weights_and_teachers_stay() -> None:
    method = build(normalise=True)
    initial = parameters(method)
    batch = make_batch(method.task, 24)
    train_teachers(method, batch)
    taught = parameters(method)
    for name, value in taught.items():
        if name.startswith(("encoders.", "head.")):
            assert torch.equal(value, initial[name]), name
        elif name.startswith("teacher_"):
            assert not torch.equal(value, initial[name]), name
    method.on_stage_start(STUDENT)
    steps = adam(method)
    method.train()
    assert all(module.training for module in method.encoders.modules())
    assert not any(module.training for module in method.teacher_encoders.modules())
    for _ in range(3):
        method.training_step(batch, steps)
    for name, value in method.state_dict().items():
        if name.startswith("teacher_"):
            assert torch.equal(value, taught[name]), name  # weights and batch statistics
        elif name.startswith(("encoders.", "head.")):
            assert not torch.equal(value, taught[name]), name


def test_teachers_equal_separate_trainings() -> None:
    """Side by side or alone, a teacher ends with the same weights."""
    batch = make_batch(make_task(), 20, missing=0.3)
    together = build()
    train_teachers(together, batch)
    for column, modality in enumerate(together.task.modalities):
        alone = build()
        rows = batch.present[:, column]
        encoder, head = alone.teacher_encoders[modality], alone.teacher_heads[modality]
        optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 0.005, weight_decay=1e-4)
        for _ in range(5):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(head(encoder(batch.inputs[modality][rows])), batch.label[rows]).backward()
            optimizer.step()
        for key, value in encoder.state_dict().items():
            torch.testing.assert_close(together.teacher_encoders[modality].state_dict()[key], value)


def test_first_stage_predicts_with_the_teachers_average() -> None:
    method = build()
    batch = make_batch(method.task, 10, missing=0.4)
    train_teachers(method, batch)
    method.eval()
    with torch.no_grad():
        prediction = method.predict(batch)
        for i in range(10):
            logits = [
                method.teacher_heads[m](method.teacher_encoders[m](batch.inputs[m][[i]]))[0].numpy()
                for column, m in enumerate(method.task.modalities)
                if batch.present[i, column]
            ]
            np.testing.assert_allclose(prediction.fused[i], np.mean(logits, axis=0), rtol=1e-4, atol=1e-6)


def test_encoders_frozen_by_their_owner_stay_frozen() -> None:
    method = build()
    for encoders in (method.encoders, method.teacher_encoders):
        encoders["image"].requires_grad_(False)
    for stage in (TEACHERS, STUDENT):
        method.on_stage_start(stage)
        assert not any(parameter.requires_grad for parameter in method.encoders["image"].parameters())
        assert not any(parameter.requires_grad for parameter in method.teacher_encoders["image"].parameters())
        assert all(parameter.requires_grad for parameter in method.encoders["audio"].parameters())


def test_distillation_draws_the_features_to_the_teachers() -> None:
    distances = {}
    for weight in (0.0, 10.0):
        method = build(weight=weight)
        batch = make_batch(method.task, 24)
        fit(method, [batch], 60)
        with torch.no_grad():
            student, teacher = method.encode(batch), method.encode(batch, method.teacher_encoders)
        distances[weight] = sum(float((student[m] - teacher[m]).square().mean()) for m in student)
    assert distances[10.0] < 0.2 * distances[0.0]

"""Independence of the modalities, the four ways to combine them, and joint training."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from baselines.late_fusion import LateFusion
from mlabench.method import Batch, Task
from mlabench.testing import adam, build_method, fit, make_batch, make_task, only, parameters, sgd, take

Array = NDArray[np.float64]


def build(modalities: int = 3, **options: Any) -> LateFusion:
    method = build_method("late_fusion", make_task(modalities), **options)
    assert isinstance(method, LateFusion)
    return method


def fused_by_hand(z: Array, fusion: str, readout: str) -> tuple[Array, Array]:
    """Fused logits ``[C]`` and weights of one sample with logits ``z [m, C]`` of the modalities that it has."""
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    score = np.exp((p * np.log(p)).sum(axis=1)) if fusion == "entropy" else np.ones(len(z))
    weight = score / score.sum()
    return (weight @ z if readout == "logits" else np.log(weight @ p)), weight


def of(modality: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state.items() if f".{modality}." in key}


@pytest.mark.parametrize("optimization", [adam, sgd])
def test_equals_separate_trainings(optimization: Any) -> None:
    """Each modality ends where a training with that modality alone ends, absent samples left out."""
    batches = [make_batch(make_task(), 12, missing=0.4, seed=seed) for seed in range(3)]
    method = build()
    start = parameters(method)
    fit(method, batches, 4, optimization)
    end = parameters(method)
    for column, modality in enumerate(method.task.modalities):
        task = Task((modality,), method.task.classes, {modality: method.task.shapes[modality]})
        alone = build_method("late_fusion", task)
        alone.load_state_dict(of(modality, start))
        parts = []
        for batch in batches:
            part = take(batch, batch.present[:, column].nonzero().squeeze(1))
            present = torch.ones(len(part), 1, dtype=torch.bool)
            parts.append(Batch({modality: part.inputs[modality]}, present, part.label, part.index))
        fit(alone, parts, 4, optimization)
        for key, value in alone.state_dict().items():
            torch.testing.assert_close(end[key], value, rtol=1e-5, atol=1e-6)
            assert not torch.allclose(value, start[key], rtol=1e-3)


@pytest.mark.parametrize("objective", ["separate", "joint"])
def test_absent_modality_is_left_alone_by_momentum_and_decay(objective: str) -> None:
    method = build(objective=objective)
    steps = adam(method)
    method.training_step(make_batch(method.task), steps)
    before = of("image", parameters(method))
    method.training_step(only(make_batch(method.task), 0, 2), steps)
    assert all(torch.equal(value, before[key]) for key, value in of("image", parameters(method)).items())


@pytest.mark.parametrize("readout", ["logits", "probabilities"])
@pytest.mark.parametrize("fusion", ["average", "entropy"])
def test_prediction_by_hand(fusion: str, readout: str) -> None:
    method = build(fusion=fusion, readout=readout)
    batch = make_batch(method.task, 10, missing=0.4)
    fit(method, [batch], 20)
    method.eval()
    with torch.no_grad():
        prediction = method.predict(batch)
    assert prediction.weight is not None
    for sample in range(len(batch)):
        present = [m for column, m in enumerate(method.task.modalities) if batch.present[sample, column]]
        z = np.stack([prediction.unimodal[m][sample].double().numpy() for m in present])
        expected, weight = fused_by_hand(z, fusion, readout)
        np.testing.assert_allclose(prediction.fused[sample], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(prediction.weight[sample, batch.present[sample]], weight, rtol=1e-4)


def test_loss_by_hand() -> None:
    method = build()
    batch = make_batch(method.task, 10, missing=0.4)
    expected = 0.0
    with torch.no_grad():
        unimodal = method.predict(batch).unimodal
        for column, modality in enumerate(method.task.modalities):
            rows = batch.present[:, column].nonzero().squeeze(1).tolist()
            z = unimodal[modality].double().numpy()
            expected += np.mean([np.log(np.exp(z[i]).sum()) - z[i, batch.label[i]] for i in rows])
        assert method.loss(batch).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("readout", ["logits", "probabilities"])
@pytest.mark.parametrize("fusion", ["average", "entropy"])
def test_joint_loss_and_its_gradient_by_hand(fusion: str, readout: str) -> None:
    """The cross-entropy of the fused prediction, and finite differences of it for the heads' biases."""
    method = build(objective="joint", fusion=fusion, readout=readout)
    batch = make_batch(method.task, 10, missing=0.4)
    assert not batch.present.all()
    fit(method, [batch], 5)
    with torch.no_grad():
        unimodal = method.predict(batch).unimodal
    logits = np.stack([z.double().numpy() for z in unimodal.values()], axis=1)  # [B, M, C]

    def loss(shift: Array) -> float:
        losses = []
        for z, present, label in zip(logits + shift, batch.present.numpy(), batch.label, strict=True):
            fused, _ = fused_by_hand(z[present], fusion, readout)
            losses.append(np.log(np.exp(fused).sum()) - fused[label])
        return float(np.mean(losses))

    method.zero_grad()
    actual = method.loss(batch)
    assert actual.item() == pytest.approx(loss(np.zeros((3, 3))), rel=1e-5)
    actual.backward()
    for m, modality in enumerate(method.task.modalities):
        gradient = method.heads.get_parameter(f"{modality}.bias").grad
        assert gradient is not None
        for c in range(3):
            step = np.zeros((3, 3))
            step[m, c] = 1e-5
            expected = (loss(step) - loss(-step)) / 2e-5
            assert float(gradient[c]) == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize("objective", ["separate", "joint"])
def test_only_joint_training_couples_the_modalities(objective: str) -> None:
    batch = make_batch(make_task(), 12)
    shuffled = dataclasses.replace(batch, inputs={**batch.inputs, "image": batch.inputs["image"].flip(0)})
    states = []
    for data in (batch, shuffled):
        method = build(objective=objective)
        fit(method, [data], 5)
        states.append(of("text", parameters(method)))
    same = all(torch.equal(states[1][key], value) for key, value in states[0].items())
    assert same == (objective == "separate")

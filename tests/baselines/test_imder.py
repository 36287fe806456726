"""Diffusion, losses and predictions of IMDer, against the released functions restated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.imder import IMDer, Score, backwards, score_matching
from mlabench.method import Stage
from mlabench.testing import adam, build_method, fit, make_batch, make_task, only, parameters, predict

WIDTHS = [4, 6, 3, 5]


def build(modalities: int = 3, **options: Any) -> IMDer:
    small: dict[str, Any] = {"widths": WIDTHS[:modalities], "width": 8, "steps": 5}
    method = build_method("imder", make_task(modalities), **(small | options))
    assert isinstance(method, IMDer)
    return method


def std_as_released(t: Tensor) -> Tensor:
    """``marginal_prob_std`` of the released ``imder.py``."""
    return torch.sqrt((25.0 ** (2 * t) - 1.0) / 2.0 / np.log(25.0))


def test_sampler_equals_the_released_one() -> None:
    torch.manual_seed(0)
    score, condition, noise = Score(4, 8), torch.randn(6, 4), torch.randn(7, 2, 6, 4)
    with torch.no_grad():
        times = torch.linspace(1.0, 1e-3, 7)
        step_size = times[0] - times[1]
        x = noise[0, 1] * std_as_released(torch.ones(6))[:, None]
        for step, time in enumerate(times):
            batch_time = torch.ones(6) * time
            g = 25.0**batch_time
            given = condition + noise[step, 0] * std_as_released(batch_time)[:, None]
            mean = x + (g**2)[:, None] * score(x, batch_time[:, None], given) * step_size
            if step < 6:
                x = mean + torch.sqrt(step_size) * g[:, None] * noise[step + 1, 1]
    torch.testing.assert_close(backwards(score, condition, noise), mean, rtol=1e-4, atol=1e-4)


def test_score_matching_equals_the_released_loss() -> None:
    torch.manual_seed(0)
    score, x, condition, z = Score(4, 8), torch.randn(6, 4), torch.randn(6, 4), torch.randn(6, 4)
    t = torch.rand(6, 1)
    std = std_as_released(t)
    expected = torch.sum((score(x + z * std, t, condition + z * std) * std + z) ** 2, dim=1)
    torch.testing.assert_close(score_matching(score, x, condition, t, z), expected)


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_only_hidden_features_are_targets(modalities: int) -> None:
    """The loss is the sum over modalities of means over the samples in which one is hidden."""
    method = build(modalities)
    batch = make_batch(method.task, 12, missing=0.3)
    method.on_stage_start(method.stages(2)[1])
    features = method.encode(batch)
    available = batch.present.clone()
    hidden = torch.zeros_like(available)
    rows = available.all(dim=1).nonzero().squeeze(1)[:2]
    available[rows, 0], hidden[rows, 0] = False, True
    torch.manual_seed(3)
    filled, loss = method.fill(features, available, hidden)

    torch.manual_seed(3)
    known = torch.cat([f * available[:, [c]] for c, f in enumerate(features.values())], dim=1)
    first = method.task.modalities[0]
    generated = (~available[:, 0]).nonzero().squeeze(1).tolist()  # hidden or absent
    assert set(generated) > set(rows.tolist())
    condition, target = method.conditions[first](known)[generated], features[first][generated]
    noise = torch.randn(5, 2, *target.shape)
    score = method.scores[first]
    refined = method.refining[first](backwards(score, condition, noise))
    time = torch.rand(len(target), 1) * (1 - 1e-5) + 1e-5
    terms = score_matching(score, target, condition, time, torch.randn_like(target))
    places = [generated.index(row) for row in rows]
    expected = sum((terms[i] + (refined[i] - target[i]).square().mean()) / len(rows) for i in places)
    torch.testing.assert_close(loss, expected)
    for i in range(12):
        wanted = features[first][i] if available[i, 0] else refined[generated.index(i)]
        torch.testing.assert_close(filled[first][i], wanted)


def test_targets_and_conditions_do_not_train_the_encoders() -> None:
    method = build()
    method.on_stage_start(method.stages(2)[1])
    batch = make_batch(method.task, 12)
    available = torch.tensor([[True, False, False]]).expand(12, 3)
    _, loss = method.fill(method.encode(batch), available, ~available)
    torch.autograd.backward(loss)
    assert all(p.grad is None for p in method.encoders.parameters())
    assert all(p.grad is not None for p in method.scores["image"].parameters())
    assert all(p.grad is not None for p in method.conditions["image"].parameters())


def test_stages() -> None:
    method = build()
    assert [(stage.name, stage.epochs) for stage in method.stages(9)] == [("complete", 4), ("diffusion", 5)]
    batch = make_batch(method.task, 12)
    for stage, networks in ((Stage("complete", 1), False), (Stage("diffusion", 1), True)):
        method.on_stage_start(stage)
        before, steps = parameters(method), adam(method)
        method.train()
        for _ in range(5):
            method.training_step(batch, steps)
        moved = {
            name.split(".")[0] for name, value in method.state_dict().items() if not torch.equal(value, before[name])
        }
        assert moved == {"encoders", "classifier"} | ({"conditions", "scores", "refining"} if networks else set())


def test_unimodal_logits_are_predictions_from_one_modality() -> None:
    method = build()
    batch = make_batch(method.task, 12)
    fit(method, [batch], 4)
    unimodal = predict(method, batch).unimodal
    for column, modality in enumerate(method.task.modalities):
        torch.testing.assert_close(predict(method, only(batch, column)).fused, unimodal[modality], rtol=1e-4, atol=1e-4)

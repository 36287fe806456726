"""Pull, scores and prime window of InfoReg, against the released step restated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from baselines.inforeg import InfoReg
from mlabench.method import Batch, Progress
from mlabench.testing import build_method, make_batch, make_task, only, sgd
from mlabench.testing.fitting import Samples

WIDTHS = [4, 6, 3, 5]


def build(modalities: int = 2, **options: Any) -> InfoReg:
    method = build_method("inforeg", make_task(modalities), **({"widths": WIDTHS[:modalities]} | options))
    assert isinstance(method, InfoReg)
    return method


def released_gradients(method: InfoReg, batch: Batch, start: dict[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """Encoder gradients of the released step inside the prime window, and which modality it pulls back."""
    features = {m: method.encoders[m](batch.inputs[m]) for m in method.task.modalities}
    widths, head = [f.shape[1] for f in features.values()], method.head
    blocks = torch.split(head.weight, widths, dim=1)
    outputs = [f @ w.T + head.bias / len(widths) for f, w in zip(features.values(), blocks, strict=True)]
    losses = [F.cross_entropy(o, batch.label) for o in (*outputs, head(torch.cat(list(features.values()), dim=1)))]
    names, values = zip(*method.encoders.named_parameters(), strict=True)
    gradients = dict(zip(names, torch.autograd.grad(torch.stack(losses).sum(), values), strict=True))
    scores = [float(sum(o.detach().softmax(1)[i][batch.label[i]] for i in range(len(batch)))) for o in outputs]
    order = np.argsort(scores)[::-1]
    strength = 0.95 * np.exp(np.tanh(scores[order[0]] - scores[order[1]]))
    leading = method.task.modalities[order[0]]
    for name, value in method.encoders.named_parameters():
        if name.startswith(f"{leading}."):
            gradients[name] = gradients[name] + strength * (value.detach() - start[name])
    return gradients, int(order[0])


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_step_and_trace_equal_the_released_ones(modalities: int) -> None:
    method = build(modalities, other_beta=0.95)  # whichever leads
    batch = make_batch(method.task, 12)
    samples = Samples([batch])
    method.on_epoch_start(Progress(0, 3, 0, 1), samples, samples)
    start = {name: value.detach().clone() for name, value in method.encoders.named_parameters()}
    steps, trace = sgd(method), np.zeros(modalities)
    for _ in range(3):
        before = {name: value.detach().clone() for name, value in method.encoders.named_parameters()}
        expected, _ = released_gradients(method, batch, start)
        method.training_step(batch, steps)
        for name, value in method.encoders.named_parameters():
            torch.testing.assert_close((before[name] - value) / 0.1, expected[name], rtol=1e-3, atol=1e-5)
        for column, modality in enumerate(method.task.modalities):
            trace[column] += sum(
                float(g.square().mean()) for name, g in expected.items() if name.startswith(modality) and g.ndim > 1
            )
    np.testing.assert_allclose(method.fisher, trace, rtol=1e-4)


def test_growth_is_that_of_the_mean_over_ten_epochs() -> None:
    method, history = build(), [0.0] * 10
    for trace in [4.0, 3, 5, 2, 1, 1, 1, 0.5, 0.5, 0.2, 0.1, 0.1]:
        method.fisher.copy_(torch.tensor([trace, 2 * trace]))
        history.append(trace)
        method.on_epoch_end({})
        now, before = sum(history[-10:]) / 10, sum(history[-11:-1]) / 10
        np.testing.assert_allclose(method.growth, [(now - before) / now] * 2, rtol=1e-4, atol=1e-6)
        assert method.fisher.tolist() == [0, 0]


def test_nothing_is_pulled_after_the_prime_window_or_without_another_modality() -> None:
    method = build()
    batch = make_batch(method.task, 12)
    logits = {"audio": 3 * F.one_hot(batch.label, 3).float(), "image": torch.zeros(12, 3)}
    right = np.exp(3) / (np.exp(3) + 2)
    strength = 0.95 * np.exp(np.tanh(12 * (right - 1 / 3)))
    np.testing.assert_allclose(method.pulls(batch, logits), [strength, 0], rtol=1e-5)
    assert method.pulls(only(batch, 0), logits).tolist() == [0, 0]
    method.growth.copy_(torch.tensor([0.04, 1.0]))  # the window is that of the sufficient modality
    assert method.pulls(batch, logits).tolist() == [0, 0]


def test_other_modalities_that_lead_are_pulled_less() -> None:
    method = build()
    batch = make_batch(method.task, 12)
    method.score.copy_(torch.tensor([0.0, 100.0]))
    logits = {"audio": 3 * F.one_hot(batch.label, 3).float(), "image": torch.zeros(12, 3)}
    right = np.exp(3) / (np.exp(3) + 2)
    np.testing.assert_allclose(method.pulls(batch, logits), [0.1 * np.exp(np.tanh(12 * (right - 1 / 3))), 0], rtol=1e-5)


def test_scores_are_over_the_samples_that_have_the_modality() -> None:
    method = build()
    batch = make_batch(method.task, 12, missing=0.4)
    logits = {
        m: torch.randn(12, 3, generator=torch.Generator().manual_seed(i)) for i, m in enumerate(["audio", "image"])
    }
    method.pulls(batch, logits)
    for column, values in enumerate(logits.values()):
        rows = batch.present[:, column]
        right = values.softmax(dim=1)[torch.arange(12), batch.label][rows]
        assert float(method.score[column]) == pytest.approx(12 * float(right.mean()), rel=1e-5)

"""A step against the authors' two backward passes, restated, and what reaches which parameter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from baselines.dgl import DGL
from mlabench.method import Batch
from mlabench.testing import adam, build_method, make_batch, make_task, only, parameters, sgd, take

WIDTHS = [4, 6, 3, 5]


def build(modalities: int = 3, **options: object) -> DGL:
    method = build_method(DGL, make_task(modalities), widths=WIDTHS[:modalities], **options)
    assert isinstance(method, DGL)
    return method


def authors_gradients(method: DGL, batch: Batch, alpha: float) -> dict[str, Tensor]:
    """Unimodal losses first, then the head's gradients are dropped, then the fused loss on detached features.

    Sample by sample, so that absent modalities need no rule: they have no loss and a feature of zero.
    """
    fused_losses: list[Tensor] = []
    own_losses: dict[int, list[Tensor]] = {column: [] for column in range(len(batch.inputs))}
    for i in range(len(batch)):
        row = take(batch, torch.tensor([i]))
        features = [
            method.encoders[m](row.inputs[m]) if row.present[0, column] else torch.zeros(1, WIDTHS[column])
            for column, m in enumerate(batch.inputs)
        ]
        fused_losses.append(F.cross_entropy(method.head(torch.cat(features, dim=1).detach()), row.label))
        for column, feature in enumerate(features):
            if row.present[0, column]:
                others = [feature if j == column else torch.zeros_like(f) for j, f in enumerate(features)]
                own_losses[column].append(F.cross_entropy(method.head(torch.cat(others, dim=1)), row.label))
    method.zero_grad(set_to_none=True)
    means = [torch.stack(losses).mean() for losses in own_losses.values() if losses]
    (torch.stack(means).sum() * alpha).backward()
    for parameter in method.head.parameters():
        parameter.grad = None
    torch.stack(fused_losses).mean().backward()
    return {name: parameter.grad.clone() for name, parameter in method.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("modalities", [2, 3, 4])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_step_is_the_authors(modalities: int, missing: float) -> None:
    method = build(modalities, alpha=3.0)
    batch = make_batch(method.task, 12, missing=missing)
    expected = authors_gradients(method, batch, 3.0)
    assert set(expected) == {name for name, _ in method.named_parameters()}
    before = parameters(method)
    method.training_step(batch, sgd(method, lr=0.1))
    for name, gradient in expected.items():
        actual = (before[name] - method.get_parameter(name).detach()) / 0.1
        torch.testing.assert_close(actual, gradient, rtol=1e-3, atol=1e-5, msg=name)


def gradient_of(loss: Tensor, module: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(module.parameters()), retain_graph=True))


def test_alpha_reaches_the_encoders_only() -> None:
    once, twice = build(alpha=1.0), build(alpha=2.0)
    twice.load_state_dict(once.state_dict())
    batch = make_batch(once.task, 12)
    a, b = once.loss(batch), twice.loss(batch)
    for x, y in zip(gradient_of(a, once.encoders), gradient_of(b, twice.encoders), strict=True):
        torch.testing.assert_close(2 * x, y)
    for x, y in zip(gradient_of(a, once.head), gradient_of(b, twice.head), strict=True):
        torch.testing.assert_close(x, y)


def test_modalities_do_not_reach_each_others_encoders() -> None:
    """The encoders' gradients are those of separate trainings through the same head."""
    method = build()
    batch = make_batch(method.task, 12)
    other = make_batch(method.task, 12, seed=1)
    mixed = Batch({**other.inputs, "text": batch.inputs["text"]}, batch.present, batch.label, batch.index)
    for x, y in zip(
        gradient_of(method.loss(batch), method.encoders["text"]),
        gradient_of(method.loss(mixed), method.encoders["text"]),
        strict=True,
    ):
        torch.testing.assert_close(x, y)


def test_absent_modality_leaves_its_encoder_alone() -> None:
    method = build(normalise=True)
    before = parameters(method)
    method.training_step(only(make_batch(method.task, 12), 0, 2), adam(method))
    for key, value in parameters(method).items():
        assert torch.equal(value, before[key]) == ("encoders.image" in key), key


def test_unimodal_prediction_is_the_head_on_one_modality() -> None:
    method = build().eval()
    batch = make_batch(method.task, 12)
    prediction = method.predict(batch)
    weight, bias = method.head.weight.detach().numpy(), method.head.bias.detach().numpy()
    start = 0
    for modality, width in zip(method.task.modalities, WIDTHS, strict=False):
        feature = prediction.embedding[modality].detach().numpy()
        expected = torch.tensor(feature @ weight[:, start : start + width].T + bias)
        torch.testing.assert_close(prediction.unimodal[modality].detach(), expected, rtol=1e-5, atol=1e-6)
        start += width

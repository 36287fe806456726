"""Fusion helpers that methods share."""

from __future__ import annotations

import numpy as np
import torch

from mlabench.fusion import JointHead, JointHeadMethod, apply_heads, average_weights, linear_heads, weighted_sum
from mlabench.testing import build_method, make_batch, make_task


def test_average_weights() -> None:
    present = torch.tensor([[True, True, True], [True, False, True], [False, True, False]])
    expected = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])
    torch.testing.assert_close(average_weights(present), expected)


def test_weighted_sum() -> None:
    logits = torch.tensor([[[1.0, 2.0], [10.0, 20.0]], [[torch.nan, torch.inf], [3.0, 4.0]]])
    weight = torch.tensor([[0.5, 0.1], [0.0, -2.0]])
    torch.testing.assert_close(weighted_sum(logits, weight), torch.tensor([[1.5, 3.0], [-6.0, -8.0]]))


def test_weighted_sum_passes_gradients_to_weighted_logits_only() -> None:
    logits = torch.randn(2, 2, 3, requires_grad=True)
    weight = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    weighted_sum(logits, weight).sum().backward()
    torch.testing.assert_close(logits.grad, weight.unsqueeze(-1).expand(2, 2, 3))


def test_joint_head_by_hand() -> None:
    widths = {"audio": 2, "image": 4, "text": 1}
    head = JointHead(widths, 3)
    features = {modality: torch.randn(5, width) for modality, width in widths.items()}
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    with torch.no_grad():
        fused, unimodal = head.fused(features), head.unimodal(features)
    np.testing.assert_allclose(fused, np.concatenate(list(features.values()), axis=1) @ weight.T + bias, rtol=1e-5)
    for modality, columns in (("audio", slice(0, 2)), ("image", slice(2, 6)), ("text", slice(6, 7))):
        expected = features[modality].numpy() @ weight[:, columns].T + bias / 3
        np.testing.assert_allclose(unimodal[modality], expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(sum(unimodal.values()), fused)


def test_a_method_on_a_joint_head_needs_nothing_of_its_own() -> None:
    method = build_method(JointHeadMethod, make_task(), widths=[4, 6, 3]).eval()
    batch = make_batch(method.task, missing=0.4)
    assert isinstance(method, JointHeadMethod)
    assert method.head.widths == [4, 6, 3]
    with torch.no_grad():
        prediction, features = method.predict(batch), method.encode(batch)
        torch.testing.assert_close(prediction.fused, method.head(torch.cat(list(features.values()), dim=1)))
        right = prediction.fused.softmax(dim=1)[torch.arange(len(batch)), batch.label]
        torch.testing.assert_close(method.loss(batch), -right.log().mean())
    torch.testing.assert_close(sum(prediction.unimodal.values()), prediction.fused)


def test_heads_of_each_modality_by_hand() -> None:
    method = build_method(JointHeadMethod, make_task(), widths=[4, 6, 3])
    encoders = dict(method.encoders.items())
    heads = linear_heads(method.task, encoders)  # type: ignore[arg-type]
    features = {m: torch.randn(5, width) for m, width in zip(method.task.modalities, [4, 6, 3], strict=True)}
    with torch.no_grad():
        logits = apply_heads(heads, features)
    assert list(logits) == list(method.task.modalities)
    for modality, head in heads.items():
        expected = features[modality] @ head.weight.detach().T + head.bias.detach()
        torch.testing.assert_close(logits[modality], expected)

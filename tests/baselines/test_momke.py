"""Experts, routing and draws of MoMKE, against the released network restated for sequences of one token."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baselines.momke import ExpertLayer, MoMKE
from mlabench.method import Batch, Stage
from mlabench.testing import adam, build_method, fill_absent, fit, make_batch, make_task, only, parameters

WIDTHS = [4, 6, 3, 5]
EXPERTS, ROUTING = Stage("experts", 1), Stage("routing", 1)


def build(modalities: int = 3, **options: Any) -> MoMKE:
    small: dict[str, Any] = {"widths": WIDTHS[:modalities], "width": 8, "depth": 2}
    method = build_method("momke", make_task(modalities), **(small | options))
    assert isinstance(method, MoMKE)
    return method


def attention_as_released(layer: ExpertLayer, x: Tensor, heads: int = 2) -> Tensor:
    """``Attention.forward`` of the released ``Attention_softmoe.py`` with its mask at one, for ``x [n, s, D]``."""
    n, length, width = x.shape
    split = (n, length, heads, width // heads)
    query, key = (nn.Linear(width, width)(x).reshape(split).permute(0, 2, 1, 3) for _ in range(2))
    value = layer.value(x).reshape(split).permute(0, 2, 1, 3)
    scores = query * (width // heads) ** -0.5 @ key.transpose(-2, -1)
    out = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(n, length, width)
    result: Tensor = out + layer.mlp(out)
    return result


def released(method: MoMKE, batch: Batch, available: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits of the second and of the first stage as ``MoMKE.forward`` has them, one sample after another."""
    names, fused, own = method.task.modalities, [], {m: torch.zeros(len(batch), 3) for m in method.task.modalities}
    for i in range(len(batch)):
        parts = []
        for column, modality in enumerate(names):
            if not batch.present[i, column]:
                parts.append(torch.zeros(8))
                continue
            token = method.projections[modality](method.encoders[modality](batch.inputs[modality][[i]]))
            weight = torch.softmax(method.routers[modality](token), dim=-1)[0]
            outputs = []
            for expert in method.experts.values():
                x = token[:, None]
                assert isinstance(expert, nn.Sequential)
                for layer in expert:
                    assert isinstance(layer, ExpertLayer)
                    x = x + attention_as_released(layer, x)
                outputs.append(x[0, 0])
            own[modality][i] = method.expert_heads[modality](outputs[column])
            mixture = sum((w * o for w, o in zip(weight, outputs, strict=True)), torch.zeros(8))
            parts.append(mixture * available[i, column])
        joint = torch.cat(parts)
        fused.append(method.head(torch.relu(method.mixing(joint)) + joint))
    return torch.stack(fused), own


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_both_stages_equal_the_released_network(modalities: int, monkeypatch: pytest.MonkeyPatch) -> None:
    method = build(modalities)
    batch = fill_absent(make_batch(method.task, 12, missing=0.4), torch.nan)
    fit(method, [batch], 4)
    method.eval()
    available = method.draw_available(batch.present)
    monkeypatch.setattr(method, "draw_available", lambda present: available)
    assert not torch.equal(available, batch.present)

    fused, own = released(method, batch, available)
    loss, expected = method.loss(batch), nn.functional.cross_entropy(fused, batch.label)
    torch.testing.assert_close(loss, expected)
    reached = [p for name, p in method.named_parameters() if not name.startswith("expert_heads.")]
    for actual, by_hand in zip(
        torch.autograd.grad(loss, reached), torch.autograd.grad(expected, reached, retain_graph=True), strict=True
    ):
        torch.testing.assert_close(actual, by_hand, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(method.predict(batch).fused, released(method, batch, batch.present)[0])

    method.on_stage_start(EXPERTS)
    by_hand = torch.zeros(())
    for column, modality in enumerate(method.task.modalities):
        rows = batch.present[:, column]
        by_hand = by_hand + nn.functional.cross_entropy(own[modality][rows], batch.label[rows])
    torch.testing.assert_close(method.loss(batch), by_hand)


def test_published_network() -> None:
    method = build_method("momke", make_task(3, classes=4))
    assert isinstance(method, MoMKE)
    assert [projection.out_features for projection in method.projections.values()] == [256] * 3
    assert [len(expert) for expert in method.experts.values()] == [4] * 3  # type: ignore[arg-type]
    assert method.mixing.weight.shape == (768, 768)
    assert method.head.weight.shape == (4, 768)
    assert method.dropout.p == 0.5


@pytest.mark.parametrize(
    ("epochs", "share", "expected"), [(200, 0.5, (100, 100)), (21, 0.5, (10, 11)), (3, 0.9, (2, 1)), (1, 0.5, (1, 1))]
)
def test_stages_share_the_epochs(epochs: int, share: float, expected: tuple[int, int]) -> None:
    stages = build(expert_share=share).stages(epochs)
    assert [stage.name for stage in stages] == ["experts", "routing"]
    assert tuple(stage.epochs for stage in stages) == expected


@pytest.mark.parametrize("real", [(0, 1, 2), (0, 2), (1,)])
def test_what_is_left_is_uniform_over_subsets(real: tuple[int, ...]) -> None:
    method = build()
    torch.manual_seed(0)
    present = torch.zeros(6000, 3, dtype=torch.bool)
    present[:, list(real)] = True
    drawn = Counter(tuple(row.nonzero().squeeze(1).tolist()) for row in method.draw_available(present))
    subsets: list[tuple[int, ...]] = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
    expected = [subset for subset in subsets if set(subset) <= set(real)]
    assert sorted(drawn) == sorted(expected)
    share = 1 / len(expected)
    deviation = 4 * np.sqrt(6000 * share * (1 - share))
    assert all(abs(count - 6000 * share) <= deviation for count in drawn.values())


def test_hiding_nothing() -> None:
    method = build(hide="none", dropout=0.0)
    batch = make_batch(method.task, 12, missing=0.4)
    method.on_stage_start(ROUTING)
    expected = nn.functional.cross_entropy(released(method, batch, batch.present)[0], batch.label)
    torch.testing.assert_close(method.loss(batch), expected)


def test_an_expert_learns_from_its_own_modality_alone_at_first() -> None:
    method = build()
    batch = only(make_batch(method.task, 12), 1)
    method.on_stage_start(EXPERTS)
    before, steps = parameters(method), adam(method)
    method.train()
    for _ in range(3):
        method.training_step(batch, steps)
    moved = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    own = ("encoders.image.", "projections.image.", "experts.image.", "expert_heads.image.")
    assert moved == {name for name in before if name.startswith(own)}


def test_unimodal_logits_are_predictions_from_one_modality() -> None:
    method = build()
    batch = make_batch(method.task, 12)
    for stage in (EXPERTS, ROUTING):
        method.on_stage_start(stage)
        method.eval()
        with torch.no_grad():
            unimodal = method.predict(batch).unimodal
            for column, modality in enumerate(method.task.modalities):
                torch.testing.assert_close(method.predict(only(batch, column)).fused, unimodal[modality])

"""Which modalities are dropped, how often, and what is left to the loss."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

import baselines.modality_dropout
from baselines.modality_dropout import ModalityDropout, drop_modalities
from mlabench.testing import build_method, fit, make_batch, make_task

WIDTHS = [4, 6, 3]


def build(**options: float) -> ModalityDropout:
    method = build_method("modality_dropout", make_task(), widths=WIDTHS, **options)
    assert isinstance(method, ModalityDropout)
    return method


@pytest.mark.parametrize("rate", [0.5, 0.8])
@pytest.mark.parametrize("present", [(True, True, True), (True, False, True)])
def test_subsets_are_independent_drops_given_that_one_is_left(rate: float, present: tuple[bool, ...]) -> None:
    torch.manual_seed(0)
    draws = 20_000
    kept = drop_modalities(torch.tensor([present]).repeat(draws, 1), rate)
    counts = Counter(tuple(row) for row in kept.tolist())
    having = sum(present)
    seen = 0.0
    for code in range(1, 2 ** len(present)):
        subset = tuple(bool(code >> column & 1) for column in range(len(present)))
        if any(s and not p for s, p in zip(subset, present, strict=True)):
            assert subset not in counts
            continue
        size = sum(subset)
        expected = (1 - rate) ** size * rate ** (having - size) / (1 - rate**having)
        assert counts[subset] / draws == pytest.approx(expected, abs=4 * np.sqrt(expected / draws))
        seen += expected
    assert seen == pytest.approx(1)
    assert sum(counts.values()) == draws


def test_sample_with_one_modality_keeps_it() -> None:
    present = torch.eye(3, dtype=torch.bool).repeat(50, 1)
    assert torch.equal(drop_modalities(present, 0.9), present)


def test_loss_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    method = build(rate=0.5)
    batch = make_batch(method.task, 12, missing=0.3)
    fit(method, [batch], 3)
    torch.manual_seed(1)
    kept = drop_modalities(batch.present, 0.5)
    assert (kept <= batch.present).all()
    assert not torch.equal(kept, batch.present)
    monkeypatch.setattr(baselines.modality_dropout, "drop_modalities", lambda present, rate: kept)
    weight, bias = (value.detach().double().numpy() for value in (method.head.weight, method.head.bias))
    total = 0.0
    for i in range(12):
        feature = []
        for column, (modality, width) in enumerate(zip(method.task.modalities, WIDTHS, strict=True)):
            value = method.encoders[modality](batch.inputs[modality][[i]])[0].detach().double().numpy()
            feature.append(value if kept[i, column] else np.zeros(width))
        z = weight @ np.concatenate(feature) + bias
        total += np.log(np.exp(z).sum()) - z[batch.label[i]]
    assert method.loss(batch).item() == pytest.approx(total / 12, rel=1e-5)


def test_nothing_is_dropped_at_rate_zero_or_in_prediction() -> None:
    method = build(rate=0.0)
    batch = make_batch(method.task, 12, missing=0.3)
    method.eval()
    with torch.no_grad():
        fused = method.predict(batch).fused
        assert torch.equal(method.predict(batch).fused, fused)
        torch.testing.assert_close(method.loss(batch), torch.nn.functional.cross_entropy(fused, batch.label))


def test_gradient_reaches_encoders_through_kept_features_only(monkeypatch: pytest.MonkeyPatch) -> None:
    method = build()
    batch = make_batch(method.task, 6)
    kept = torch.zeros(6, 3, dtype=torch.bool)
    kept[:, 0] = True
    kept[2, 1] = True
    monkeypatch.setattr(baselines.modality_dropout, "drop_modalities", lambda present, rate: kept)
    inputs = {modality: values.clone().requires_grad_() for modality, values in batch.inputs.items()}
    loss = method.loss(type(batch)(inputs, batch.present, batch.label, batch.index))
    loss.backward()
    moved = {
        m: [i for i in range(6) if values.grad is not None and values.grad[i].any()] for m, values in inputs.items()
    }
    assert moved == {"audio": list(range(6)), "image": [2], "text": []}

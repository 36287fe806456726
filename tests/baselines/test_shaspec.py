"""Shared and specific features, what stands for missing ones, the losses and the draws of ShaSpec."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import baselines.shaspec
from baselines.shaspec import ShaSpec, draw_subsets, ring_distance
from mlabench.method import Batch
from mlabench.testing import build_method, fill_absent, fit, make_batch, make_task, only

Array = NDArray[np.float64]
WIDTHS = [4, 6, 3, 5]


def build(modalities: int = 3, **options: Any) -> ShaSpec:
    method = build_method("shaspec", make_task(modalities), **({"widths": WIDTHS[:modalities]} | options))
    assert isinstance(method, ShaSpec)
    return method


def linear(layer: Any, values: Array) -> Array:
    result: Array = values @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()
    return result


def features_by_hand(method: ShaSpec, batch: Batch, i: int) -> tuple[dict[int, Array], dict[int, Array]]:
    """Shared and specific features of sample ``i``, by the columns of its modalities."""
    shared, specific = {}, {}
    for column, modality in enumerate(method.task.modalities):
        if batch.present[i, column]:
            with torch.no_grad():
                h = method.encoders[modality](batch.inputs[modality][[i]])[0].double().numpy()
            hidden = np.maximum(linear(method.stems[modality], h), 0)
            shared[column] = linear(method.shared[3], np.maximum(linear(method.shared[1], hidden), 0))
            specific[column] = linear(method.specific[modality], h)
    return shared, specific


def logits_by_hand(
    method: ShaSpec, shared: dict[int, Array], specific: dict[int, Array], available: list[int]
) -> Array:
    """Logits from the modalities in ``available``."""
    there = [shared[m] for m in available]
    substitute = there[0] if method.config.substitute == "first" else np.mean(there, axis=0)
    fused = [
        shared[m] + linear(method.composition, np.concatenate([shared[m], specific[m]]))
        if m in available
        else substitute
        for m in range(len(method.task.modalities))
    ]
    return linear(method.head, np.concatenate(fused))


def cross_entropy(z: Array, label: int) -> float:
    return float(np.log(np.exp(z).sum()) - z[label])


@pytest.mark.parametrize("substitute", ["mean", "first"])
@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_prediction_by_hand(substitute: str, modalities: int) -> None:
    method = build(modalities, substitute=substitute)
    batch = fill_absent(make_batch(method.task, 10, missing=0.5), torch.nan)
    fit(method, [batch], 4)
    method.eval()
    with torch.no_grad():
        prediction = method.predict(batch)
    for i in range(10):
        shared, specific = features_by_hand(method, batch, i)
        expected = logits_by_hand(method, shared, specific, sorted(shared))
        np.testing.assert_allclose(prediction.fused[i], expected, rtol=1e-4, atol=1e-5)
        for m in shared:
            expected = logits_by_hand(method, shared, specific, [m])
            unimodal = prediction.unimodal[method.task.modalities[m]][i]
            np.testing.assert_allclose(unimodal, expected, rtol=1e-4, atol=1e-5)


def test_unimodal_logits_are_predictions_from_one_modality() -> None:
    method = build()
    batch = make_batch(method.task, 12)
    method.eval()
    with torch.no_grad():
        unimodal = method.predict(batch).unimodal
        for column, modality in enumerate(method.task.modalities):
            torch.testing.assert_close(method.predict(only(batch, column)).fused, unimodal[modality])


@pytest.mark.parametrize("dropping", [False, True])
@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_loss_by_hand(modalities: int, dropping: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    method = build(modalities, alpha=0.7, beta=0.3)
    batch = fill_absent(make_batch(method.task, 12, missing=0.3), torch.nan)
    fit(method, [batch], 4)
    torch.manual_seed(0)
    available = draw_subsets(batch.present)
    assert not torch.equal(available, batch.present)
    monkeypatch.setattr(baselines.shaspec, "draw_subsets", lambda present: available)
    method.dropping = dropping
    table = available if dropping else batch.present
    task, telling = [], []
    pairs = {(m, (m + 1) % modalities) for m in range(modalities)} if modalities > 2 else {(0, 1)}
    distances: dict[tuple[int, int], list[Array]] = {pair: [] for pair in pairs}
    for i in range(12):
        shared, specific = features_by_hand(method, batch, i)
        here = table[i].nonzero().squeeze(1).tolist()
        task.append(cross_entropy(logits_by_hand(method, shared, specific, here), int(batch.label[i])))
        telling += [cross_entropy(linear(method.modality_classifier, specific[m]), m) for m in here]
        for first, second in pairs:
            if first in here and second in here:
                distances[first, second].append(np.abs(shared[first] - shared[second]))
    expected = np.mean(task) + 0.3 * np.mean(telling) + 0.7 * sum(float(np.mean(d)) for d in distances.values() if d)
    assert method.loss(batch).item() == pytest.approx(float(expected), rel=1e-4)


def test_published_pairs_of_four_modalities() -> None:
    shared = torch.tensor([0.0, 1.0, 10.0, 100.0]).view(1, 4, 1)
    # |0 - 1| + |1 - 10| + |10 - 100| + |100 - 0|; not |0 - 10|, not |1 - 100|.
    assert ring_distance(shared, torch.ones(1, 4, dtype=torch.bool)).item() == 200.0
    assert ring_distance(shared, torch.tensor([[True, False, True, False]])).item() == 0.0


@pytest.mark.parametrize("present", [(True, True, True, True), (True, False, True, True), (False, False, True, False)])
def test_draws_are_uniform_in_number_then_in_subset(present: tuple[bool, ...]) -> None:
    torch.manual_seed(0)
    draws = 20_000
    counts = Counter(tuple(row) for row in draw_subsets(torch.tensor([present]).repeat(draws, 1)).tolist())
    having = [column for column, here in enumerate(present) if here]
    for size in range(1, len(having) + 1):
        for subset in combinations(having, size):
            key = tuple(column in subset for column in range(4))
            expected = 1 / len(having) / comb(len(having), size)
            assert counts.pop(key) / draws == pytest.approx(expected, abs=4 * np.sqrt(expected / draws))
    assert not counts


@pytest.mark.parametrize(
    ("epochs", "share", "expected"),
    [
        (260, 80 / 260, {"complete": 80, "incomplete": 180}),  # as published, in thousands of steps
        (10, 80 / 260, {"complete": 3, "incomplete": 7}),
        (1, 80 / 260, {"incomplete": 1}),
        (3, 0.0, {"incomplete": 3}),
        (3, 1.0, {"complete": 3}),
    ],
)
def test_budget(epochs: int, share: float, expected: dict[str, int]) -> None:
    assert {stage.name: stage.epochs for stage in build(complete_share=share).stages(epochs)} == expected


def test_modalities_are_dropped_in_the_second_stage_only(monkeypatch: pytest.MonkeyPatch) -> None:
    method = build(complete_share=0.25)
    draws: list[torch.Tensor] = []
    monkeypatch.setattr(baselines.shaspec, "draw_subsets", lambda present: draws.append(present) or present)
    batch = make_batch(method.task, 12, missing=0.3)
    fit(method, [batch], 8)
    assert len(draws) == 6
    assert all(torch.equal(present, batch.present) for present in draws)
    method.eval()
    method.predict(batch)
    assert len(draws) == 6


def test_parts_of_a_modality_that_nobody_has_stay_untouched() -> None:
    method = build()
    method.loss(only(make_batch(method.task, 6), 1)).backward()
    for modality in ("audio", "text"):
        for module in (method.encoders[modality], method.stems[modality], method.specific[modality]):
            assert all(parameter.grad is None for parameter in module.parameters())
    assert all(parameter.grad is not None for parameter in method.shared.parameters())

"""Gates by hand, sample by sample, and what stands in for an absent modality."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from baselines.bigated import BiGated
from mlabench.testing import build_method, fit, make_batch, make_task, only
from tests.baselines.chains import ORDERS, WIDTHS, Array, check_by_hand, features_of, linear


def build(modalities: int, **options: Any) -> BiGated:
    method = build_method("bigated", make_task(modalities), widths=WIDTHS[:modalities], **options)
    assert isinstance(method, BiGated)
    fit(method, [make_batch(method.task, missing=0.3)], 5)
    return method.eval()


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def by_hand(method: BiGated, order: tuple[str, ...], h: dict[str, Array], present: dict[str, bool]) -> Array:
    """The logits ``[C]`` of one sample with features ``h``. Until something is known, ``u`` is None."""
    first, second, *further = order
    u = h[second] if present[second] else None
    for modality in (first, *further):
        value = None if u is None else linear(method.projections[modality], u)
        gate = sigmoid(linear(method.gates[modality], h[modality])) if present[modality] else None
        factors = [factor for factor in (value, gate) if factor is not None]
        u = np.prod(factors, axis=0) if factors else None
    assert u is not None
    return linear(method.head, u)


@pytest.mark.parametrize(("modalities", "order"), ORDERS)
def test_prediction_and_loss_by_hand(modalities: int, order: tuple[str, ...]) -> None:
    check_by_hand(build(modalities, order=order), order, by_hand)


def test_the_factor_of_an_absent_modality_is_one() -> None:
    method = build(3)
    batch = make_batch(method.task)
    features = features_of(method, batch)
    with torch.no_grad():
        text, image = method.predict(only(batch, 2)).fused, method.predict(only(batch, 1)).fused
    gate = sigmoid(linear(method.gates["text"], features["text"]))
    np.testing.assert_allclose(text, linear(method.head, gate), rtol=1e-4, atol=1e-5)
    projected = linear(method.projections["text"], linear(method.projections["audio"], features["image"]))
    np.testing.assert_allclose(image, linear(method.head, projected), rtol=1e-4, atol=1e-5)


def test_the_order_names_every_modality() -> None:
    with pytest.raises(ValueError, match="order must name each of the modalities audio, image once"):
        build_method("bigated", make_task(2), order=("audio", "audio"))

"""Modulation by hand, sample by sample, and what stands in for an absent modality."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from baselines.film import FiLM
from mlabench.testing import build_method, fit, make_batch, make_task, only
from tests.baselines.chains import ORDERS, WIDTHS, Array, check_by_hand, features_of, linear


def build(modalities: int, **options: Any) -> FiLM:
    method = build_method("film", make_task(modalities), widths=WIDTHS[:modalities], **options)
    assert isinstance(method, FiLM)
    fit(method, [make_batch(method.task, missing=0.3)], 5)
    return method.eval()


def by_hand(method: FiLM, order: tuple[str, ...], h: dict[str, Array], present: dict[str, bool]) -> Array:
    """The logits ``[C]`` of one sample with features ``h``."""
    first, second, *further = order
    u = h[second] if present[second] else np.zeros_like(h[second])
    for modality in (first, *further):
        gamma, beta = np.split(linear(method.conditions[modality], h[modality]), 2)
        u = gamma * u + beta if present[modality] else u
    return linear(method.head, u)


@pytest.mark.parametrize(("modalities", "order"), ORDERS)
def test_prediction_and_loss_by_hand(modalities: int, order: tuple[str, ...]) -> None:
    check_by_hand(build(modalities, order=order), order, by_hand)


def test_neutral_elements() -> None:
    """Without the condition the features pass; without the features the shift alone does."""
    method = build(2)
    batch = make_batch(method.task)
    features = features_of(method, batch)
    with torch.no_grad():
        image, audio = method.predict(only(batch, 1)).fused, method.predict(only(batch, 0)).fused
    np.testing.assert_allclose(image, linear(method.head, features["image"]), rtol=1e-4, atol=1e-5)
    shift = linear(method.conditions["audio"], features["audio"])[:, 6:]
    np.testing.assert_allclose(audio, linear(method.head, shift), rtol=1e-4, atol=1e-5)


def test_the_order_names_every_modality() -> None:
    check = FiLM.Config(order=("image", "audio")).check_modalities
    check(("audio", "image"))
    with pytest.raises(ValueError, match="order must name each of the modalities audio, image, text once"):
        check(("audio", "image", "text"))

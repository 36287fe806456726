"""Cosines by hand, and what they do not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.mmcosine import MMCosine
from mlabench.testing import build_method, fit, make_batch, make_task
from tests.baselines.chains import WIDTHS, cross_entropy, features_of


@pytest.fixture(params=[1.0, 10.0])
def method(request: pytest.FixtureRequest) -> MMCosine:
    method = build_method("mmcosine", make_task(), widths=WIDTHS[:3], scale=request.param)
    assert isinstance(method, MMCosine)
    fit(method, [make_batch(method.task, missing=0.3)], 5)
    return method.eval()


def test_prediction_and_loss_by_hand(method: MMCosine) -> None:
    batch = make_batch(method.task, 12, missing=0.4)
    features = features_of(method, batch)
    fused = np.zeros((12, 3))
    with torch.no_grad():
        prediction, loss = method.predict(batch), method.loss(batch).item()
    for column, modality in enumerate(method.task.modalities):
        weight = method.heads.get_parameter(f"{modality}.weight").detach().double().numpy()
        for i in range(12):
            if not batch.present[i, column]:
                continue
            h = features[modality][i]
            z = [method.config.scale * h @ w / np.sqrt((h @ h) * (w @ w)) for w in weight]
            np.testing.assert_allclose(prediction.unimodal[modality][i], z, rtol=1e-4, atol=1e-5)
            fused[i] += z
    np.testing.assert_allclose(prediction.fused, fused, rtol=1e-4, atol=1e-5)
    assert loss == pytest.approx(cross_entropy(fused, batch.label), rel=1e-5)


def test_norms_of_class_weights_do_not_matter(method: MMCosine) -> None:
    batch = make_batch(method.task)
    with torch.no_grad():
        before = method.predict(batch).fused
        method.heads.get_parameter("image.weight").mul_(torch.tensor([[0.1], [7.0], [30.0]]))
        torch.testing.assert_close(method.predict(batch).fused, before)


def test_a_zero_feature_has_no_say(method: MMCosine) -> None:
    logits = method.heads["audio"](torch.zeros(2, 4, requires_grad=True))
    assert (logits == 0).all()
    logits.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())

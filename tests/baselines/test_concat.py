"""The joint head and its unimodal blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.concat import Concat
from mlabench.testing import adam, build_method, fit, make_batch, make_task, only, parameters

WIDTHS = [4, 6, 3]


@pytest.fixture
def method() -> Concat:
    method = build_method("concat", make_task(), widths=WIDTHS)
    assert isinstance(method, Concat)
    fit(method, [make_batch(method.task, missing=0.3)], 5)
    return method.eval()


def test_unimodal_logits_add_up_to_the_fused_ones(method: Concat) -> None:
    with torch.no_grad():
        prediction = method.predict(make_batch(method.task))
    torch.testing.assert_close(torch.stack(list(prediction.unimodal.values())).sum(dim=0), prediction.fused)


def test_prediction_and_loss_by_hand(method: Concat) -> None:
    batch = make_batch(method.task, 12, missing=0.4)
    weight, bias = (value.detach().double().numpy() for value in (method.head.weight, method.head.bias))
    fused = np.tile(bias, (12, 1))
    with torch.no_grad():
        prediction = method.predict(batch)
        for column, modality in enumerate(method.task.modalities):
            start = sum(WIDTHS[:column])
            block = weight[:, start : start + WIDTHS[column]]
            part = method.encoders[modality](batch.inputs[modality]).double().numpy() @ block.T
            present = batch.present[:, column].numpy()
            np.testing.assert_allclose(
                prediction.unimodal[modality][present], (part + bias / 3)[present], rtol=1e-4, atol=1e-6
            )
            fused += part * present[:, None]
        loss = method.loss(batch).item()
    np.testing.assert_allclose(prediction.fused, fused, rtol=1e-4, atol=1e-6)
    log_probability = fused - np.log(np.exp(fused).sum(axis=1, keepdims=True))
    assert loss == pytest.approx(-log_probability[np.arange(12), batch.label].mean(), rel=1e-5)


def test_absent_modality_leaves_its_encoder_alone(method: Concat) -> None:
    before = parameters(method)
    method.training_step(only(make_batch(method.task), 0, 2), adam(method))
    after = parameters(method)
    assert all(torch.equal(after[key], before[key]) for key in before if "image" in key)
    assert not torch.equal(after["head.weight"], before["head.weight"])

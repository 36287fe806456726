"""Both sums by hand, and what each needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from baselines.sum import Sum
from mlabench.testing import adam, build_method, fit, make_batch, make_task, only, parameters

WIDTHS = [4, 6, 3]


def build(**options: Any) -> Sum:
    widths = None if options.get("level") == "features" else WIDTHS
    method = build_method("sum", make_task(), widths=widths, **options)
    assert isinstance(method, Sum)
    fit(method, [make_batch(method.task, missing=0.3)], 5)
    return method.eval()


@pytest.mark.parametrize("level", ["logits", "features"])
def test_prediction_and_loss_by_hand(level: str) -> None:
    method = build(level=level)
    batch = make_batch(method.task, 12, missing=0.4)
    present = batch.present.double().numpy()
    fused = np.zeros((12, 3))
    with torch.no_grad():
        prediction, loss = method.predict(batch), method.loss(batch).item()
        for column, modality in enumerate(method.task.modalities):
            head: Any = method.heads[modality] if level == "logits" else method.head
            weight, bias = head.weight.double().numpy(), head.bias.double().numpy()
            part = method.encoders[modality](batch.inputs[modality]).double().numpy() @ weight.T
            here = batch.present[:, column].numpy()
            alone = (part + bias)[here]
            np.testing.assert_allclose(prediction.unimodal[modality][here], alone, rtol=1e-4, atol=1e-6)
            fused += (part + (bias if level == "logits" else 0)) * present[:, [column]]
    if level == "features":
        fused += bias
    np.testing.assert_allclose(prediction.fused, fused, rtol=1e-4, atol=1e-6)
    log_probability = fused - np.log(np.exp(fused).sum(axis=1, keepdims=True))
    assert loss == pytest.approx(-log_probability[np.arange(12), batch.label].mean(), rel=1e-5)


@pytest.mark.parametrize("level", ["logits", "features"])
def test_one_modality_alone_is_its_unimodal_prediction(level: str) -> None:
    method = build(level=level)
    with torch.no_grad():
        prediction = method.predict(only(make_batch(method.task), 1))
    torch.testing.assert_close(prediction.fused, prediction.unimodal["image"])


def test_what_nobody_has_stays_as_it_is() -> None:
    method = build()
    steps = adam(method)
    method.training_step(make_batch(method.task), steps)
    before = parameters(method)
    method.training_step(only(make_batch(method.task), 0, 2), steps)
    for key, value in parameters(method).items():
        assert torch.equal(value, before[key]) == ("image" in key), key


def test_a_sum_of_features_needs_equal_widths() -> None:
    with pytest.raises(ValueError, match=r"equal width.*'image': 6"):
        build_method("sum", make_task(), widths=WIDTHS, level="features")

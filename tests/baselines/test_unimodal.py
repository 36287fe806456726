"""The chosen modality decides; without it the class prior does; and it learns as it would alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from baselines.unimodal import Unimodal
from mlabench.method import Batch, Progress
from mlabench.testing import Samples, build_method, fit, make_batch, make_task, only, parameters
from tests.baselines.chains import cross_entropy


def build(**options: Any) -> Unimodal:
    method = build_method("unimodal", make_task(), widths=[4, 6, 3], **options)
    assert isinstance(method, Unimodal)
    return method


@pytest.mark.parametrize(("modality", "column"), [("", 0), ("audio", 0), ("text", 2)])
def test_the_chosen_modality_decides(modality: str, column: int) -> None:
    method = build(modality=modality)
    batch = make_batch(method.task, 20, missing=0.4)
    batch = dataclasses.replace(batch, label=torch.tensor([0] * 12 + [2] * 8))  # class 1 never occurs
    fit(method, [batch], 5)
    method.eval()
    with torch.no_grad():
        prediction = method.predict(batch)
    here = batch.present[:, column]
    assert here.any()
    assert not here.all()
    chosen = method.task.modalities[column]
    assert torch.equal(prediction.fused[here], prediction.unimodal[chosen][here])
    prior = np.log([12 / 21, 1 / 21, 8 / 21])
    np.testing.assert_allclose(prediction.fused[~here], np.tile(prior, (int((~here).sum()), 1)), rtol=1e-5)


def test_the_prior_comes_from_all_training_batches_and_not_from_validation() -> None:
    method = build()
    first, second = (make_batch(method.task, 10, seed=seed) for seed in (0, 1))
    train = Samples([first, second])
    other = dataclasses.replace(first, label=torch.zeros_like(first.label))
    method.on_epoch_start(Progress(0, 3, 0, 2), train, Samples([other]))
    label = np.concatenate([first.label, second.label])
    shares = [np.mean(label == c) for c in range(3)]
    np.testing.assert_allclose(method.prior.exp(), shares, rtol=1e-6)
    method.on_epoch_start(Progress(1, 3, 0, 2), Samples([other]), Samples([other]))
    np.testing.assert_allclose(method.prior.exp(), shares, rtol=1e-6)


def test_loss_by_hand() -> None:
    method = build()
    batch = make_batch(method.task, 10, missing=0.4)
    with torch.no_grad():
        unimodal = method.predict(batch).unimodal
        expected = 0.0
        for column, modality in enumerate(method.task.modalities):
            rows = batch.present[:, column]
            expected += cross_entropy(unimodal[modality][rows].double().numpy(), batch.label[rows])
        assert method.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_other_modalities_do_not_change_its_training() -> None:
    batch = make_batch(make_task(), 12, missing=0.2)
    others: list[Batch] = [
        batch,
        dataclasses.replace(batch, inputs={**batch.inputs, "image": batch.inputs["image"].flip(0)}),
    ]
    states = []
    for data in others:
        method = build()
        fit(method, [data, only(data, 0)], 5)
        states.append(parameters(method))
    for key, value in states[0].items():
        assert torch.equal(states[1][key], value) == (".image." not in key), key


def test_a_modality_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="no modality 'video'; there are audio, image"):
        Unimodal.Config(modality="video").check_modalities(("audio", "image"))

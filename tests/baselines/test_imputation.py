"""What fills an absent input, and that the filling trains and disturbs no encoder."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.imputation import Imputation
from mlabench.method import Batch, Progress
from mlabench.testing import Samples, adam, build_method, fill_absent, fit, make_batch, make_task, only, parameters

WIDTHS = [4, 6, 3]
FIRST = Progress(0, 5, 0, 1)


def build(**options: Any) -> Imputation:
    method = build_method("imputation", make_task(), **({"widths": WIDTHS} | options))
    assert isinstance(method, Imputation)
    return method


def gather(method: Imputation, batch: Batch) -> None:
    samples = Samples([batch])
    method.on_epoch_start(FIRST, samples, samples)


def filling(method: Imputation, modality: str) -> Tensor:
    return method.get_buffer(f"filling_{modality}")


def test_mean_of_present_training_inputs() -> None:
    method = build(fill="mean")
    batches = [fill_absent(make_batch(method.task, 20, missing=0.5, seed=seed), torch.nan) for seed in (0, 1)]
    train, validation = Samples(batches), Samples([make_batch(method.task, seed=2)])
    method.on_epoch_start(FIRST, train, validation)
    for column, modality in enumerate(method.task.modalities):
        rows = np.concatenate([b.inputs[modality].numpy()[b.present[:, column].numpy()] for b in batches])
        np.testing.assert_allclose(
            filling(method, modality), rows.astype(np.float64).mean(axis=0), rtol=1e-5, atol=1e-7
        )
    before = parameters(method)
    method.on_epoch_start(Progress(1, 5, 0, 1), validation, validation)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_zero_looks_at_no_data() -> None:
    method = build(fill="zero")
    gather(method, make_batch(method.task))
    assert all((filling(method, modality) == 0).all() for modality in method.task.modalities)


def test_modality_that_nobody_has_is_filled_with_zeros() -> None:
    method = build(fill="mean")
    gather(method, fill_absent(only(make_batch(method.task), 0, 2), torch.nan))
    assert (filling(method, "image") == 0).all()
    assert (filling(method, "audio") != 0).any()


def test_bytes_have_no_mean() -> None:
    method = build(fill="mean")
    batch = make_batch(method.task)
    pictures = torch.zeros(batch.inputs["image"].shape, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"fill: mean needs floating-point inputs.*'image'.*uint8.*use fill: zero"):
        gather(method, dataclasses.replace(batch, inputs={**batch.inputs, "image": pictures}))


@pytest.mark.parametrize("fill", ["zero", "mean"])
def test_loss_and_prediction_by_hand(fill: str) -> None:
    method = build(fill=fill)
    batch = fill_absent(make_batch(method.task, 12, missing=0.4), torch.nan)
    fit(method, [batch], 3)
    method.eval()
    weight, bias = (value.detach().double().numpy() for value in (method.head.weight, method.head.bias))
    fused = np.tile(bias, (12, 1))
    with torch.no_grad():
        prediction = method.predict(batch)
        loss = method.loss(batch).item()
        for column, modality in enumerate(method.task.modalities):
            here = batch.present[:, column].numpy()
            values = batch.inputs[modality].numpy().copy()
            values[~here] = 0 if fill == "zero" else values[here].mean(axis=0)
            feature = method.encoders[modality](torch.tensor(values)).double().numpy()
            start = sum(WIDTHS[:column])
            part = feature @ weight[:, start : start + WIDTHS[column]].T
            fused += part
            np.testing.assert_allclose(
                prediction.unimodal[modality][here], (part + bias / 3)[here], rtol=1e-4, atol=1e-5
            )
    np.testing.assert_allclose(prediction.fused, fused, rtol=1e-4, atol=1e-5)
    log_probability = fused - np.log(np.exp(fused).sum(axis=1, keepdims=True))
    assert loss == pytest.approx(-log_probability[np.arange(12), batch.label].mean(), rel=1e-5)


@pytest.mark.parametrize("fill", ["zero", "mean"])
def test_filling_neither_trains_nor_disturbs_the_encoder(fill: str) -> None:
    """With batch statistics: the same encoder update as if absent rows had been taken out of the batch."""
    method = build(fill=fill, normalise=True)
    batch = fill_absent(make_batch(method.task, 16, missing=0.5), torch.nan)
    gather(method, batch)
    method.train()
    statistics = parameters(method)
    method.loss(batch).backward()
    assert all(module.training for module in method.modules())
    for column, modality in enumerate(method.task.modalities):
        real = batch.inputs[modality][batch.present[:, column]]
        encoder = method.encoders[modality]
        layers = encoder.layers
        assert isinstance(layers, torch.nn.Sequential)
        with torch.no_grad():
            linear = layers[0](real)
        expected = 0.9 * statistics[f"encoders.{modality}.layers.1.running_mean"] + 0.1 * linear.mean(dim=0)
        torch.testing.assert_close(method.state_dict()[f"encoders.{modality}.layers.1.running_mean"], expected)
    absent = only(batch, 0)
    before = parameters(method)
    method.training_step(absent, adam(method))
    after = parameters(method)
    assert all(
        torch.equal(after[key], before[key]) for key in before if key.startswith(("encoders.image", "encoders.text"))
    )
    blocks = torch.split((after["head.weight"] - before["head.weight"]).abs(), WIDTHS, dim=1)
    assert all(block.any() for block in blocks)


def test_integers_are_filled_with_zeros_of_their_kind() -> None:
    method = build(fill="zero")
    batch = make_batch(method.task, 8, missing=0.5)
    seen: list[torch.dtype] = []
    encoder = method.encoders["image"]
    forward = encoder.forward

    def spy(values: Tensor) -> Any:
        seen.append(values.dtype)
        return forward(values.float())

    encoder.forward = spy  # type: ignore[method-assign]
    tokens = (batch.inputs["image"] * 10).to(torch.uint8)
    method.predict(dataclasses.replace(batch, inputs={**batch.inputs, "image": tokens}))
    assert seen == [torch.uint8, torch.uint8]

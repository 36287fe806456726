"""What every registered method must do, whoever wrote it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mlabench import registry
from mlabench.method import Batch, Method, Prediction
from tests.methods import adam, build_method, fill_absent, fit, make_batch, make_task, only, parameters, take

NAMES = list(registry.entries("methods"))
#: Smaller networks where the defaults would make the tests slow.
OPTIONS: dict[str, dict[str, Any]] = {"mmin": {"blocks": 2, "autoencoder": (16, 8), "classifier": (16,)}}

pytestmark = pytest.mark.parametrize("name", NAMES)


def build(name: str, modalities: int = 3, **options: Any) -> Method:
    return build_method(name, make_task(modalities), **OPTIONS.get(name, {}), **options)


def predict(method: Method, batch: Batch) -> Prediction:
    method.eval()
    with torch.inference_mode():
        return method.predict(batch)


def assert_same_prediction(actual: Prediction, expected: Prediction, present: torch.Tensor, **tolerance: Any) -> None:
    """Compares all that may be read: rows of absent modalities may hold anything."""
    torch.testing.assert_close(actual.fused, expected.fused, **tolerance)
    for column, modality in enumerate(expected.unimodal):
        rows = present[:, column]
        torch.testing.assert_close(actual.unimodal[modality][rows], expected.unimodal[modality][rows], **tolerance)
        torch.testing.assert_close(actual.embedding[modality][rows], expected.embedding[modality][rows], **tolerance)
    assert (actual.weight is None) == (expected.weight is None)
    if actual.weight is not None and expected.weight is not None:
        torch.testing.assert_close(actual.weight[present], expected.weight[present], **tolerance)


def assert_finite(method: Method, prediction: Prediction, present: torch.Tensor) -> None:
    assert all(value.isfinite().all() for value in method.state_dict().values())
    assert prediction.fused.isfinite().all()
    for column, modality in enumerate(method.task.modalities):
        assert prediction.unimodal[modality][present[:, column]].isfinite().all()


def test_description(name: str) -> None:
    entry = registry.get("methods", name)
    kind = entry.load()
    assert entry.title == kind.title
    assert entry.paper == kind.paper
    assert entry.version == kind.version >= 1
    assert entry.paper.startswith("https://")
    assert entry.summary.endswith(".")
    assert "Unimodal logits:" in entry.doc
    assert "Absent modality:" in entry.doc
    assert entry.config.model_json_schema() == kind.Config.model_json_schema()
    assert all(field.description for field in kind.Config.model_fields.values())


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_learns_a_small_batch(name: str, modalities: int) -> None:
    method = build(name, modalities)
    batch = make_batch(method.task, 16, missing=0.4)
    assert (predict(method, batch).fused.argmax(dim=1) != batch.label).any()
    fit(method, [batch], 200)
    prediction = predict(method, batch)
    assert (prediction.fused.argmax(dim=1) == batch.label).all()


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_prediction_has_the_promised_form(name: str, modalities: int) -> None:
    method = build(name, modalities)
    batch = make_batch(method.task, 10, missing=0.5)
    fit(method, [batch], 2)
    prediction = predict(method, batch)
    assert prediction.fused.shape == (10, 3)
    assert prediction.fused.dtype == torch.float32
    assert list(prediction.unimodal) == list(prediction.embedding) == list(method.task.modalities)
    for modality in method.task.modalities:
        assert prediction.unimodal[modality].shape == (10, 3)
        assert prediction.unimodal[modality].dtype == torch.float32
        assert prediction.embedding[modality].shape == (10, 6)
    if prediction.weight is not None:
        assert prediction.weight.shape == (10, modalities)
        torch.testing.assert_close(prediction.weight.sum(dim=1), torch.ones(10))
        assert (prediction.weight[~batch.present] == 0).all()
        assert (prediction.weight >= 0).all()


def test_absent_inputs_have_no_influence(name: str) -> None:
    batch = make_batch(make_task(), 30, missing=0.4)
    assert not batch.present.all()
    results = []
    for value in (0.0, torch.nan):
        method = build(name, normalise=True)
        filled = fill_absent(batch, value)
        logs = fit(method, [filled], 4)
        results.append((logs, parameters(method), predict(method, filled)))
    (logs, state, prediction), (poisoned_logs, poisoned_state, poisoned_prediction) = results
    assert logs == poisoned_logs
    for key, expected in state.items():
        assert torch.equal(poisoned_state[key], expected), key
    assert_same_prediction(poisoned_prediction, prediction, batch.present, rtol=0.0, atol=0.0)
    assert prediction.fused.isfinite().all()


def test_prediction_follows_the_sample_not_the_batch(name: str) -> None:
    method = build(name, normalise=True)
    batch = make_batch(method.task, 30, missing=0.4)
    fit(method, [batch], 4)
    whole = predict(method, batch)
    orders = [torch.randperm(30), *torch.arange(12).split(1), torch.arange(5)]
    for rows in orders:
        weight = None if whole.weight is None else whole.weight[rows]
        unimodal = {modality: values[rows] for modality, values in whole.unimodal.items()}
        embedding = {modality: values[rows] for modality, values in whole.embedding.items()}
        expected = Prediction(whole.fused[rows], unimodal, embedding, weight)
        part = take(batch, rows)
        assert_same_prediction(predict(method, part), expected, part.present, rtol=1e-4, atol=1e-5)


def test_prediction_ignores_the_label_and_changes_nothing(name: str) -> None:
    method = build(name)
    batch = make_batch(method.task, 12, missing=0.4)
    fit(method, [batch], 4)
    before = parameters(method)
    hidden = dataclasses.replace(batch, label=torch.full_like(batch.label, -1), index=batch.index + 10**6)
    assert_same_prediction(predict(method, hidden), predict(method, batch), batch.present, rtol=0.0, atol=0.0)
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


def test_unimodal_logits_depend_on_their_modality_only(name: str) -> None:
    method = build(name)
    batch = make_batch(method.task, 12)
    fit(method, [batch], 4)
    expected = predict(method, batch)
    other = make_batch(method.task, 12, seed=1)
    for modality in method.task.modalities:
        inputs = {**other.inputs, modality: batch.inputs[modality]}
        mixed = predict(method, dataclasses.replace(batch, inputs=inputs))
        torch.testing.assert_close(mixed.unimodal[modality], expected.unimodal[modality])
        assert not torch.allclose(mixed.fused, expected.fused)


@pytest.mark.parametrize("column", [0, 1, 2])
def test_batch_of_one_modality(name: str, column: int) -> None:
    method = build(name, normalise=True)
    batch = fill_absent(only(make_batch(method.task, 8), column), torch.nan)
    fit(method, [make_batch(method.task, 8)], 4)
    before = parameters(method)
    steps = adam(method)
    method.train()
    for _ in range(3):
        logs = method.training_step(batch, steps)
    assert all(value.isfinite() for value in logs.values())
    assert_finite(method, predict(method, batch), batch.present)
    for other, modality in enumerate(method.task.modalities):
        encoder = f"encoders.{modality}."
        moved = {key: not torch.equal(before[key], value) for key, value in method.state_dict().items()}
        assert any(moved[key] for key in moved if key.startswith(encoder)) == (other == column)


def test_batch_of_one_sample(name: str) -> None:
    method = build(name)
    batch = take(make_batch(method.task, 8, missing=0.4), [3])
    logs = fit(method, [batch], 4)
    assert all(torch.tensor(value).isfinite() for row in logs for value in row.values())
    assert_finite(method, predict(method, batch), batch.present)


def test_same_seed_same_result(name: str) -> None:
    states = []
    for _ in range(2):
        method = build(name)
        batches = [make_batch(method.task, 8, missing=0.3, seed=seed) for seed in range(3)]
        fit(method, batches, 3)
        states.append(parameters(method))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_reloaded_weights_predict_the_same(name: str, tmp_path: Path) -> None:
    method = build(name)
    batch = make_batch(method.task, 12, missing=0.4)
    for stage in method.stages(4):
        method.on_stage_start(stage)
        steps = adam(method)
        method.train()
        for _ in range(3):
            method.training_step(batch, steps)
        save_file(method.state_dict(), tmp_path / "weights.safetensors")
        reloaded = build(name, seed=1)
        reloaded.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        expected = predict(method, batch)
        assert_same_prediction(predict(reloaded, batch), expected, batch.present, rtol=0.0, atol=0.0)


def test_bfloat16_autocast(name: str) -> None:
    method = build(name)
    batch = fill_absent(make_batch(method.task, 16, missing=0.4), torch.nan)
    with torch.autocast("cpu", torch.bfloat16):
        logs = fit(method, [batch], 8)
        prediction = predict(method, batch)
    assert all(torch.tensor(value).isfinite() for row in logs for value in row.values())
    assert all(value.dtype != torch.bfloat16 for value in method.state_dict().values())
    assert prediction.fused.dtype == torch.float32
    assert_finite(method, prediction, batch.present)
    exact = predict(method, batch)
    torch.testing.assert_close(prediction.fused, exact.fused, rtol=0.1, atol=0.1)

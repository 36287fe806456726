"""Splits as tensors: what a method is shown, and what is made of its answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlabench.datasets import ModalityInputs, Split, StoredRows, Task
from mlabench.hyperparameters import Hyperparameters
from mlabench.media import Text
from mlabench.method import Batch, Method, Prediction
from mlabench.store.cache import open_array
from mlabench.training import tensors
from mlabench.training.devices import resident
from mlabench.training.devices.fabric import make_fabric
from mlabench.training.tensors import (
    HIDDEN_LABEL,
    SplitTensors,
    accuracies,
    mean_accuracies,
    predict,
    prediction_batch,
)

TASK = Task(("audio", "text"), ("a", "b"), {"audio": (2,), "text": (2,)})
#: Logits of five samples, so that the accuracies can be counted by hand.
AUDIO = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 0]], np.float32)
TEXT = np.array([[0, 2], [2, 0], [0, 2], [2, 0], [0, 2]], np.float32)
LABELS = np.array([0, 0, 1, 1, 1])
PRESENT = np.array([[1, 1], [0, 1], [1, 0], [1, 1], [0, 1]], bool)


class Echo(Method):
    """Its inputs are its logits; the sum is the fused one."""

    def __init__(self) -> None:
        super().__init__(TASK, {}, Hyperparameters(), 5)
        self.seen: list[Batch] = []

    def predict(self, batch: Batch) -> Prediction:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        self.seen.append(batch)
        inputs: dict[str, Tensor] = dict(batch.inputs)
        weight = batch.present / batch.present.sum(dim=1, keepdim=True)
        return Prediction(inputs["audio"] + inputs["text"], inputs, inputs, weight)


def _on_disk(values: NDArray[np.float32], path: Path) -> StoredRows:
    """The same rows from a file that holds others, too, and these in reverse order."""
    np.save(path, np.concatenate([values[::-1], np.full((3, 2), np.nan, np.float32)]))
    return StoredRows(open_array(path), np.arange(4, -1, -1))


@pytest.fixture(params=["memory", "disk", "both", "resident"])
def split(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SplitTensors:
    """Two samples per batch when predicting."""
    monkeypatch.setattr(tensors, "PREDICTION_BATCH", 2)
    names = tuple("vwxyz")
    inputs: dict[str, ModalityInputs] = {"audio": AUDIO, "text": TEXT}
    if request.param != "memory":
        inputs["audio"] = _on_disk(AUDIO, tmp_path / "audio.npy")
    if request.param == "resident":  # as on a GPU
        monkeypatch.setattr(resident, "free_bytes", lambda device: 2**20)
    if request.param in ("disk", "resident"):
        inputs["text"] = _on_disk(TEXT, tmp_path / "text.npy")
    return SplitTensors(Split(names, LABELS, inputs, names), TASK.modalities, PRESENT, torch.device("cpu"))


def test_absent_inputs_are_zero_and_the_dataset_stays_as_it_is(split: SplitTensors) -> None:
    (batch,) = split.training_batches(torch.arange(5), batch_size=5)
    assert np.array_equal(batch.inputs["audio"], AUDIO * PRESENT[:, [0]])
    assert np.array_equal(batch.inputs["text"], TEXT * PRESENT[:, [1]])
    assert AUDIO[1].any()
    assert TEXT[2].any()


def test_training_batches_have_the_rows_asked_for(split: SplitTensors) -> None:
    first, second = split.training_batches(torch.tensor([4, 0, 2]), batch_size=2)
    assert first.label.tolist() == [1, 0]
    assert first.index.tolist() == [4, 0]
    assert first.present.tolist() == [[False, True], [True, True]]
    assert first.inputs["text"].tolist() == [[0, 2], [0, 2]]
    assert second.index.tolist() == [2]
    assert second.inputs["audio"].tolist() == [[0, 1]]


def test_batches_know_the_rows_of_each_modality(split: SplitTensors) -> None:
    batches = list(split.training_batches(torch.tensor([0, 3, 1, 4, 2]), batch_size=2))
    rows = [[None if part is None else part.tolist() for part in map(batch.rows, (0, 1))] for batch in batches]
    assert rows == [[None, None], [[], None], [None, []]]


def test_rows_are_those_of_the_pattern_that_a_batch_is_given(split: SplitTensors) -> None:
    (batch,) = split.training_batches(torch.arange(5), batch_size=5)
    present = torch.tensor([[1, 0], [1, 0], [1, 1], [1, 0], [1, 1]], dtype=torch.bool)
    changed = dataclasses.replace(batch, present=present)
    assert batch.rows(0) is not None
    assert changed.rows(0) is None
    assert changed.rows(1).tolist() == [2, 4]
    assert dataclasses.replace(changed, present=batch.present).rows(1).tolist() == [0, 1, 3, 4]


def test_raw_inputs_are_refused() -> None:
    raw = Split(("v",), LABELS[:1], {"audio": (Text("a word"),), "text": TEXT[:1]}, ("v",))
    with pytest.raises(TypeError, match="'audio' are not decoded"):
        SplitTensors(raw, TASK.modalities, PRESENT[:1], torch.device("cpu"))


def test_prediction_batches_are_smaller_for_larger_inputs() -> None:
    assert prediction_batch([(1280,), (128,)]) == 4096
    assert prediction_batch([(3, 224, 224)]) == 2**25 // (3 * 224 * 224)
    assert prediction_batch([(3, 3, 224, 224), (1024, 128)]) == 2**25 // (9 * 224 * 224 + 1024 * 128)
    assert prediction_batch([(2**26,)]) == 1


def test_a_predicting_method_never_sees_a_label(split: SplitTensors) -> None:
    for ask in (predict, accuracies):
        method = Echo()
        ask(method, split, make_fabric("cpu", "32"))
        assert [len(batch) for batch in method.seen] == [2, 2, 1]
        assert torch.cat([batch.label for batch in method.seen]).tolist() == [HIDDEN_LABEL] * 5
        assert torch.cat([batch.index for batch in method.seen]).tolist() == [0, 1, 2, 3, 4]
        assert np.array_equal(torch.cat([batch.present for batch in method.seen]), PRESENT)
    assert np.array_equal(split.label, LABELS)


def test_predictions_are_joined_in_order(split: SplitTensors) -> None:
    outputs = predict(Echo(), split, make_fabric("cpu", "32"))
    audio, text = AUDIO * PRESENT[:, [0]], TEXT * PRESENT[:, [1]]
    assert np.array_equal(outputs.fused, audio + text)
    assert np.array_equal(outputs.unimodal["text"], text)
    assert np.array_equal(outputs.embedding["audio"], audio)
    assert outputs.weight is not None
    assert np.array_equal(outputs.weight, PRESENT / PRESENT.sum(axis=1, keepdims=True))
    assert outputs.fused.dtype == np.float32


def test_accuracies_by_hand(split: SplitTensors) -> None:
    # Fused: b a b a b against a a b b b. Audio of samples 0, 2, 3: a b b. Text of samples 0, 1, 3, 4: b a a b.
    expected = {"multimodal": 3 / 5, "audio": 3 / 3, "text": 2 / 4}
    assert accuracies(Echo(), split, make_fabric("cpu", "32")) == pytest.approx(expected)


def test_a_modality_that_no_sample_has_gets_no_accuracy(split: SplitTensors) -> None:
    split.present[:, 0] = False
    assert set(accuracies(Echo(), split, make_fabric("cpu", "32"))) == {"multimodal", "text"}


def test_the_mean_over_patterns_by_hand(split: SplitTensors) -> None:
    """Of audio alone and text alone: a modality counts where it is there."""
    audio, text = (SplitTensors(_as_split(), TASK.modalities, np.tile(row, (5, 1)), torch.device("cpu"))
                   for row in (np.array([True, False]), np.array([False, True])))  # fmt: skip
    fabric = make_fabric("cpu", "32")
    right = {name: np.mean(values.argmax(axis=1) == LABELS) for name, values in (("audio", AUDIO), ("text", TEXT))}
    expected = {"multimodal": (right["audio"] + right["text"]) / 2, **right}
    assert mean_accuracies(Echo(), [audio, text], fabric) == pytest.approx(expected)
    assert mean_accuracies(Echo(), [split], fabric) == accuracies(Echo(), split, fabric)


def _as_split() -> Split:
    names = tuple("vwxyz")
    return Split(names, LABELS, {"audio": AUDIO, "text": TEXT}, names)

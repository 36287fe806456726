"""From a trial to what its method learns from: decoding and frozen networks in the runner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlabench import registry
from mlabench.datasets import Data, StoredRows, open_dataset
from mlabench.encoders.backbone import BackboneEncoder
from mlabench.missing import Missing
from mlabench.record import Record
from mlabench.store.records import RECORD, Store
from mlabench.suite import Overrides, Plan, load_inputs
from mlabench.suite.expansion import with_content, with_fingerprint
from mlabench.suite.plan import PlannedTrial
from mlabench.training import inputs
from mlabench.training.frozen_features import drop_frozen_networks
from mlabench.training.inputs import build_encoders, load_data, prepare
from mlabench.training.job import Job, RunOptions
from mlabench.training.one_trial import run_trial
from mlabench.trial import Adam, Component, Training, Trial
from tests.datasets.published import mvsa_tree

CPU = torch.device("cpu")
FROZEN = "{name: 'timm:resnet10t', pretrained: false, frozen: true, size: 32, project: 16}"
TUNED = "{name: 'timm:resnet10t', pretrained: false, size: 32}"
TEXT = "{name: text_cnn, width: 16, length: 16}"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLABENCH_CACHE", str(tmp_path / "cache"))
    inputs._load.cache_clear()
    inputs._divide.cache_clear()
    inputs._decode.cache_clear()
    return mvsa_tree.make_tree(tmp_path)


def make_trial(tree: Path, image: str, seed: int = 0, limit: int | None = None) -> Trial:
    settings = (f'dataset.root="{tree}"', f"encoders.image={image}", f"encoders.text={TEXT}")
    dataset, encoders = load_inputs("mvsa", Overrides(settings=settings))
    return Trial(
        dataset=with_fingerprint(dataset, open_dataset(dataset)),
        encoders=with_content(encoders),
        method=Component(name="late_fusion", config=registry.get("methods", "late_fusion").config().model_dump()),
        training=Training(epochs=2, batch_size=8, optimizer=Adam(lr=1e-3)),
        seed=seed,
        limit=limit,
    )


def read(data: Data, modality: str) -> np.ndarray[Any, Any]:
    stored = data.train.inputs[modality]
    assert isinstance(stored, StoredRows)
    return stored.read(np.arange(len(data.train)))


def test_inputs_are_what_the_encoder_asks_for(tree: Path) -> None:
    data = load_data(make_trial(tree, TUNED))
    assert data.task.shapes == {"text": (16,), "image": (3, 32, 32)}
    text = "".join(chr(byte) for byte in read(data, "text")[0] if byte >= 0)
    assert text.strip()
    assert read(data, "image").dtype == np.uint8


def test_the_limit_is_applied_before_decoding(tree: Path, tmp_path: Path) -> None:
    data = load_data(make_trial(tree, TUNED, limit=3))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [3, 3, 3]
    stored = data.train.inputs["image"]
    assert isinstance(stored, StoredRows)
    assert len(stored.array) == 9


def test_a_frozen_network_runs_once_and_what_it_says_is_cached(tree: Path) -> None:
    trial = make_trial(tree, FROZEN)
    data = load_data(trial)
    encoders = build_encoders(trial, data.task)
    image = encoders["image"]
    assert isinstance(image, BackboneEncoder)
    with torch.inference_mode():
        expected = image.eval().represent(torch.from_numpy(read(data, "image")))
    dropped = drop_frozen_networks(data, encoders, CPU)
    features = dropped.train.inputs["image"]
    assert isinstance(features, np.ndarray)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    assert dropped.task.shapes == {"text": (16,), "image": (512,)}
    assert [name for name, _ in image.named_parameters()] == ["projection.weight", "projection.bias"]
    assert image(torch.from_numpy(features)).shape == (len(data.train), 16)
    # Again, with a network that would give something else if it were asked.
    again = build_encoders(trial, data.task)
    network = again["image"]
    assert isinstance(network, BackboneEncoder)
    network.represent = None  # type: ignore[assignment,method-assign]
    same = drop_frozen_networks(data, again, CPU)
    assert np.array_equal(same.train.inputs["image"], features)  # type: ignore[arg-type]


def test_other_weights_are_other_representations(tree: Path) -> None:
    found = []
    for seed in (0, 1):
        trial = make_trial(tree, FROZEN, seed=seed)
        data = load_data(trial)
        found.append(drop_frozen_networks(data, build_encoders(trial, data.task), CPU).train.inputs["image"])
    assert not np.allclose(found[0], found[1])  # type: ignore[arg-type]


def test_what_is_prepared_no_trial_makes_again(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = make_trial(tree, FROZEN)
    stages: dict[str, int] = {}
    prepare(
        [trial, trial.model_copy(update={"seed": 0})], CPU, 1, lambda stage, done, total: stages.update({stage: done})
    )
    count = len(load_data(trial).train) + len(load_data(trial).validation) + len(load_data(trial).test)
    assert stages == {"text": count, "image": count, "image, frozen": count}
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    store = Store(tmp_path / "results")
    record = run_trial(Job(trial, (Missing(),)), store, RunOptions("cpu"))
    assert record.failure is None, record.failure.traceback
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")} == made
    # Late fusion: a head for 16 features each, the text network, and the layer on the frozen one.
    text = 257 * 32 + sum(4 * (32 * window + 1) for window in (2, 3, 4, 5))
    assert record.parameters == 2 * (16 * 3 + 3) + text + 512 * 16 + 16


def test_results_are_the_same_whether_representations_were_cached_or_not(tree: Path, tmp_path: Path) -> None:
    trial = make_trial(tree, FROZEN)
    first, second = Store(tmp_path / "first"), Store(tmp_path / "second")
    run_trial(Job(trial, (Missing(),)), first, RunOptions("cpu"))
    run_trial(Job(trial, (Missing(),)), second, RunOptions("cpu"))
    one, two = first.read(trial.id), second.read(trial.id)
    assert one is not None
    assert two is not None
    assert one.curves == two.curves


def test_locations_are_not_part_of_a_trial(tree: Path, tmp_path: Path) -> None:
    trial = make_trial(tree, TUNED)
    moved = tmp_path / "moved here"
    tree.rename(moved)
    other = make_trial(moved, TUNED)
    assert other.id == trial.id
    assert other.configuration == trial.configuration
    assert other.dataset.location == {"root": str(moved)}
    assert other.portable() == trial.portable()
    assert str(tmp_path) not in json.dumps(other.portable().model_dump(mode="json"))
    assert Trial.model_validate_json(other.model_dump_json()) == other, "a worker reads what the planner knows"


def test_what_is_stored_names_no_location(tree: Path, tmp_path: Path) -> None:
    trial, store = make_trial(tree, TUNED), Store(tmp_path / "results")
    store.write(Record(trial=trial, status="ok"))
    store.write_plan(Plan(name="plan", modalities=(), cells=(PlannedTrial(label="a", trial=trial, tests=()),)))
    assert trial.dataset.location
    for path in (store.folder(trial.id) / RECORD, store.root / "plans" / "plan.json"):
        text = path.read_text(encoding="utf-8")
        assert str(tmp_path) not in text
        assert "location" not in text


def test_a_file_with_weights_counts_by_its_content(tree: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    ids = []
    for content in (b"one", b"two", b"one"):
        weights.write_bytes(content + b" " * len(ids))
        image = f"{{name: 'timm:resnet10t', pretrained: '{weights}'}}"
        ids.append(make_trial(tree, image).id)
    assert len(set(ids)) == 3
    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes(weights.read_bytes())
    assert make_trial(tree, f"{{name: 'timm:resnet10t', pretrained: '{copy}'}}").id == ids[-1]


def test_changed_files_are_noticed(tree: Path) -> None:
    trial = make_trial(tree, TUNED)
    inputs._load.cache_clear()
    inputs._divide.cache_clear()
    inputs._decode.cache_clear()
    next((tree / "data").glob("*.txt")).write_text("another text, of another length")
    with pytest.raises(RuntimeError, match="have changed since the trial was planned"):
        load_data(trial)

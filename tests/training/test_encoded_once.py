"""A split that is predicted under many patterns is encoded once, and the predictions are those of encoding anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from baselines.concat import Concat
from mlabench import registry
from mlabench.datasets import Split, StoredRows
from mlabench.method import Batch, Method, Prediction, Task
from mlabench.store.cache import open_array
from mlabench.testing import build_method, make_task
from mlabench.training import tensors
from mlabench.training.devices.fabric import make_fabric
from mlabench.training.tensors import ManyPatterns, Outputs, SplitTensors, accuracies, mean_accuracies, predict
from tests.test_method_contract import OPTIONS

CPU = torch.device("cpu")
SAMPLES = 50
Pattern = NDArray[np.bool_]


def a_split(task: Task, folder: Path | None = None) -> Split:
    """Random inputs; the first modality lies in a file if there is a folder for it."""
    random = np.random.default_rng(0)
    inputs: dict[str, Any] = {m: random.normal(size=(SAMPLES, 7)).astype(np.float32) for m in task.modalities}
    if folder is not None:
        first = task.modalities[0]
        np.save(folder / "first.npy", inputs[first])
        inputs[first] = StoredRows(open_array(folder / "first.npy"), np.arange(SAMPLES))
    names = tuple(f"sample{row}" for row in range(SAMPLES))
    return Split(names, random.integers(3, size=SAMPLES), inputs, names)


def some_patterns(count: int) -> list[Pattern]:
    random = np.random.default_rng(1)
    half = random.random((SAMPLES, count)) < 0.5
    half[np.arange(SAMPLES), random.integers(count, size=SAMPLES)] = True
    return [half, np.ones_like(half), *(np.tile(row, (SAMPLES, 1)) for row in np.eye(count, dtype=bool))]


def each_anew(method: Method, split: Split, patterns: Sequence[Pattern]) -> list[Outputs]:
    fabric = make_fabric("cpu", "32")
    return [predict(method, SplitTensors(split, method.task.modalities, present, CPU), fabric) for present in patterns]


def encoded_once(method: Method, split: Split, patterns: Sequence[Pattern]) -> list[Outputs]:
    many, fabric = ManyPatterns(split, method.task.modalities, patterns, CPU), make_fabric("cpu", "32")
    return [predict(method, each, fabric) for each in many.under_each(method, fabric)]


def counting(method: Method) -> Counter[str]:
    """How many samples each encoder sees from now on."""
    seen: Counter[str] = Counter()
    for modality, encoder in method.encoders.items():
        encoder.register_forward_hook(lambda _, given, __, m=modality: seen.update({m: len(given[0])}))
    return seen


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A split takes several batches, the last a short one."""
    monkeypatch.setattr(tensors, "PREDICTION_BATCH", 16)


@pytest.mark.parametrize("name", registry.entries("methods"))
def test_every_method_predicts_the_same(name: str, tmp_path: Path) -> None:
    kind = registry.get("methods", name).load()
    count = 2 if "more than two modalities" in kind.limits else 3
    method = build_method(kind, make_task(count), normalise=True, **OPTIONS.get(name, {}))
    for stage in method.stages(4):  # what is predicted after a training is predicted in its last stage
        method.on_stage_start(stage)
    split = a_split(method.task, tmp_path)
    patterns = [p for p in some_patterns(count) if p.all() or "missing at test" not in kind.limits]
    patterns = patterns if len(patterns) > 1 else patterns * 2
    expected = each_anew(method, split, patterns)
    seen = counting(method)
    actual = encoded_once(method, split, patterns)
    fillings = {m: count for m, count in seen.items() if count != SAMPLES}
    assert not fillings or name == "imputation"  # which also encodes what stands for an absent input
    for present, one, other in zip(patterns, actual, expected, strict=True):
        assert np.allclose(one.fused, other.fused, rtol=1e-4, atol=1e-5)
        assert np.array_equal(one.fused.argmax(1), other.fused.argmax(1))
        for column, modality in enumerate(method.task.modalities):
            here = present[:, column]
            assert np.allclose(one.unimodal[modality][here], other.unimodal[modality][here], rtol=1e-4, atol=1e-5)
            assert np.allclose(one.embedding[modality][here], other.embedding[modality][here], rtol=1e-4, atol=1e-5)
        assert (one.weight is None) == (other.weight is None)
        if one.weight is not None and other.weight is not None:
            assert np.allclose(one.weight, other.weight, rtol=1e-4, atol=1e-5)


def test_what_is_absent_under_all_patterns_is_not_encoded() -> None:
    method = build_method(Concat, make_task(3))
    half, _, first, second, _ = some_patterns(3)
    seen = counting(method)
    encoded_once(method, a_split(method.task), [first, second])
    assert seen == {"audio": SAMPLES, "image": SAMPLES}
    seen.clear()
    encoded_once(method, a_split(method.task), [half, first])
    assert seen == {"audio": SAMPLES, "image": half[:, 1].sum(), "text": half[:, 2].sum()}


def test_one_pattern_is_predicted_as_ever() -> None:
    method, (half, *_) = build_method(Concat, make_task(3)), some_patterns(3)
    seen = counting(method)
    (actual,), (expected,) = (how(method, a_split(method.task), [half]) for how in (encoded_once, each_anew))
    assert np.array_equal(actual.fused, expected.fused)
    assert seen == {m: 2 * half[:, column].sum() for column, m in enumerate(method.task.modalities)}


class EncodesAnew(Concat):
    """Its contract says that features may differ from pattern to pattern."""

    encodes_per_sample = False


def test_a_method_that_says_so_is_encoded_under_each_pattern() -> None:
    method, patterns = build_method(EncodesAnew, make_task(3)), some_patterns(3)
    seen = counting(method)
    encoded_once(method, a_split(method.task), patterns)
    assert seen == {m: sum(p[:, column].sum() for p in patterns) for column, m in enumerate(method.task.modalities)}


class Looks(Concat):
    """Writes down the inputs that it is shown."""

    shown: list[Batch]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.shown = []

    def predict(self, batch: Batch) -> Prediction:
        self.shown.append(batch)
        return super().predict(batch)


def test_inputs_are_there_for_who_asks_without_the_absent(tmp_path: Path) -> None:
    method = cast(Looks, build_method(Looks, make_task(3)))
    split, patterns = a_split(method.task, tmp_path), some_patterns(3)
    encoded_once(method, split, patterns)
    for at, present in enumerate(patterns):
        batches = method.shown[4 * at : 4 * at + 4]
        assert [len(batch) for batch in batches] == [16, 16, 16, 2]
        assert {int(label) for batch in batches for label in batch.label} == {tensors.HIDDEN_LABEL}
        for column, modality in enumerate(method.task.modalities):
            stored: Any = split.inputs[modality]
            whole = stored.read(np.arange(SAMPLES)) if isinstance(stored, StoredRows) else stored
            shown = np.concatenate([batch.inputs[modality] for batch in batches])
            assert np.array_equal(shown, whole * present[:, [column]])
    with pytest.raises(KeyError):
        batches[0].inputs["smell"]
    assert dict(batches[0].inputs).keys() == set(method.task.modalities)


def test_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method, read = build_method(Concat, make_task(3)), list[int]()
    once = StoredRows.read

    def counted(self: StoredRows, rows: NDArray[np.int64]) -> NDArray[Any]:
        read.extend(rows.tolist())
        return once(self, rows)

    monkeypatch.setattr(StoredRows, "read", counted)
    encoded_once(method, a_split(method.task, tmp_path), some_patterns(3))
    assert read == list(range(SAMPLES))


def test_accuracies_are_those_of_each_pattern() -> None:
    method, patterns = build_method(Concat, make_task(3)), some_patterns(3)
    split, fabric = a_split(method.task), make_fabric("cpu", "32")
    many = ManyPatterns(split, method.task.modalities, patterns, CPU)
    expected = [
        accuracies(method, SplitTensors(split, method.task.modalities, present, CPU), fabric) for present in patterns
    ]
    assert [accuracies(method, each, fabric) for each in many.under_each(method, fabric)] == expected
    mean = mean_accuracies(method, many.under_each(method, fabric), fabric)
    assert mean["multimodal"] == pytest.approx(np.mean([one["multimodal"] for one in expected]))

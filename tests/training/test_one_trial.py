"""One trial from data to record, on a few of the embedded samples."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mlabench import __version__, registry
from mlabench.datasets import Data, Split, StoredRows
from mlabench.errors import UserError
from mlabench.missing import Missing
from mlabench.record import Epoch, Record
from mlabench.running.inline import keeping_torch_settings
from mlabench.store.outcomes import OUTCOMES
from mlabench.store.records import MODEL, PREDICTIONS, RECORD, Store
from mlabench.training import inputs
from mlabench.training import one_trial as runner
from mlabench.training.decoded_inputs import with_splits
from mlabench.training.inputs import build_encoders, load_data
from mlabench.training.job import Job, RunOptions
from mlabench.training.one_trial import build_method, run_trial
from mlabench.training.stopping import SuspendedError
from mlabench.training.tensors import HIDDEN_LABEL, SplitTensors
from mlabench.trial import Adam, Component, DatasetComponent, Training, Trial
from tests.command_line import lasting
from tests.records import make_record, make_trial
from tests.spies import Spy
from tests.test_method_contract import OPTIONS

METHODS = list(registry.entries("methods"))
HALF = Missing.at("balanced", 0.5)
AUDIO = Missing(protocol="subset", keep=("audio",))
CPU = RunOptions("cpu")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def spies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the classes of ``spies.py`` beside the others."""
    known = registry.entries
    names = {"spy": "Spy", "failing": "Failing", "diverging": "Diverging"}

    def entries(kind: registry.Kind) -> dict[str, registry.Entry]:
        extra = names if kind == "methods" else {}
        odd = {name: registry.Entry(kind, name, "tests.spies", attribute, "tests") for name, attribute in extra.items()}
        return {**known(kind), **odd}

    monkeypatch.setattr(registry, "entries", entries)
    monkeypatch.setattr(Spy, "trained", [])
    monkeypatch.setattr(Spy, "predicted", [])


def small_trial(method: str = "concat", *, seed: int = 0, limit: int | None = 60, **training: Any) -> Trial:
    dataset = registry.get("datasets", "stamps").load()
    options = dataset.Config()
    encoder = registry.get("encoders", "mlp").config(hidden=(16,), width=8)  # type: ignore[call-arg]
    config = registry.get("methods", method).config(**OPTIONS.get(method, {}))
    return Trial(
        dataset=DatasetComponent(
            name="stamps", config=options.model_dump(mode="json"), fingerprint=dataset(options).fingerprint()
        ),
        encoders={m: Component(name="mlp", config=encoder.model_dump(mode="json")) for m in options.modalities},
        method=Component(name=method, config=config.model_dump(mode="json")),
        missing=HALF,
        seed=seed,
        training=Training(**{"epochs": 2, "batch_size": 16, **training}),
        limit=limit,
    )


def run(trial: Trial, store: Store, *tests: Missing, options: RunOptions = CPU, **job: Any) -> Record:
    record = run_trial(Job(trial, tests or (HALF,), **job), store, options)
    assert record.failure is None, record.failure.traceback
    return record


# -- from the same start --------------------------------------------------------------------------


def encoder_weights(trial: Trial) -> dict[str, torch.Tensor]:
    torch.rand(3)  # what was drawn before does not matter
    data = load_data(trial)
    return build_method(trial, data, build_encoders(trial, data.task)).encoders.state_dict()


def test_all_methods_of_a_seed_start_from_the_same_encoders() -> None:
    expected = encoder_weights(small_trial(METHODS[0]))
    assert {name.split(".")[0] for name in expected} == {"audio", "image", "text"}
    for method in METHODS[1:]:
        weights = encoder_weights(small_trial(method))
        assert all(torch.equal(weights[name], value) for name, value in expected.items())


def test_another_seed_starts_elsewhere() -> None:
    first, second = (encoder_weights(small_trial(seed=seed)) for seed in (0, 1))
    assert not any(torch.equal(first[name], second[name]) for name in first)


def test_modalities_of_one_shape_start_differently() -> None:
    data = load_data(small_trial())
    task = dataclasses.replace(data.task, shapes=dict.fromkeys(data.task.modalities, (5,)))
    encoders = build_encoders(small_trial(), task)
    first, second = (encoders[modality].state_dict() for modality in ("audio", "image"))
    assert not any(torch.equal(first[name], second[name]) for name in first)


def test_the_same_trial_gives_the_same_record(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    for target in (store, other):
        torch.rand(3)
        run(small_trial("mla"), target)
    assert lasting(store.root) == lasting(other.root)


# -- numbers --------------------------------------------------------------------------------------


def macro_f1(predicted: NDArray[Any], labels: NDArray[Any]) -> float:
    scores = []
    for name in set(predicted) | set(labels):
        right = np.sum((predicted == name) & (labels == name))
        wrong = np.sum((predicted == name) != (labels == name))
        scores.append(right / (right + wrong / 2))
    return float(np.mean(scores))


@pytest.mark.parametrize("method", ["concat", "mla"])
def test_scores_follow_from_the_stored_predictions(method: str, store: Store) -> None:
    trial = small_trial(method, epochs=4)
    record = run(trial, store, HALF, Missing(), AUDIO)
    arrays = store.predictions(trial.id)
    assert arrays is not None
    test = load_data(trial).test
    assert tuple(arrays["ids"]) == test.ids
    assert np.array_equal(arrays["labels"], test.labels)
    assert list(record.evaluations) == ["balanced-0.5", "complete", "subset-audio"]
    for key, evaluation in record.evaluations.items():
        present, predicted = arrays[f"{key}/present"], arrays[f"{key}/fused"].argmax(axis=1)
        logits = [arrays[f"{key}/{target}"] for target in ("audio", "image", "text", "fused")]
        right = np.array([np.argmax(own, axis=1) == test.labels for own in logits])
        assert np.array_equal(arrays[f"{key}/correct"], right.T)
        assert evaluation.missing_rate == pytest.approx(1 - present.mean())
        assert evaluation.multimodal.n == len(test)
        assert evaluation.multimodal.accuracy == pytest.approx(np.mean(predicted == test.labels))
        assert evaluation.multimodal.macro_f1 == pytest.approx(macro_f1(predicted, test.labels))
        for column, modality in enumerate(("audio", "image", "text")):
            scores, here = evaluation.unimodal[modality], present[:, column]
            if not here.any():
                assert scores is None
                continue
            own, truth = arrays[f"{key}/{modality}"][here].argmax(axis=1), test.labels[here]
            assert scores is not None
            assert scores.n == here.sum()
            assert scores.accuracy == pytest.approx(np.mean(own == truth))
            assert scores.macro_f1 == pytest.approx(macro_f1(own, truth))
    assert np.array_equal(arrays["balanced-0.5/present"], HALF.pattern("stamps", test.ids, ("audio", "image", "text")))
    assert not arrays["subset-audio/present"][:, 1:].any()


@pytest.mark.parametrize("selection", ["best_val", "last", "best_test"])
def test_the_evaluated_model_is_that_of_the_selected_epoch(selection: str, store: Store) -> None:
    record = run(small_trial(epochs=5, selection=selection), store, HALF, Missing())
    assert [epoch.epoch for epoch in record.curves] == [1, 2, 3, 4, 5]
    assert record.selected_epoch is not None
    validation = [epoch.validation["multimodal"] for epoch in record.curves]
    curve = [epoch.test["balanced-0.5"] for epoch in record.curves]
    best = {"best_val": np.argmax(validation), "last": 4, "best_test": np.argmax(curve)}[selection]
    assert record.selected_epoch == best + 1
    chosen = record.curves[best]
    assert set(chosen.test) == {"balanced-0.5"}
    assert len(set(curve)) > 1
    assert chosen.test["balanced-0.5"] == pytest.approx(
        record.evaluations["balanced-0.5"].multimodal.accuracy, abs=1e-6
    )
    assert record.oracle_gap("balanced-0.5") == pytest.approx(max(curve) - curve[best], abs=1e-6)


def synthetic_trial(*validation: Missing, selection: str = "best_val") -> Trial:
    dataset = registry.get("datasets", "synthetic").load()
    options = dataset.Config(samples=(120, 80, 50), noise=0.2)  # type: ignore[call-arg]
    component = DatasetComponent(
        name="synthetic", config=options.model_dump(mode="json"), fingerprint=dataset(options).fingerprint()
    )
    return small_trial(epochs=12, optimizer=Adam(lr=0.02), selection=selection).model_copy(
        update={
            "dataset": component,
            "encoders": {m: small_trial().encoders["audio"] for m in options.modalities},  # type: ignore[attr-defined]
            "missing": Missing(),
            "validation": validation,
            "limit": None,
        }
    )


def test_the_epoch_is_selected_by_the_mean_over_the_patterns_of_the_validation_split(store: Store) -> None:
    """The training is the same whatever it is validated under; only which epoch is kept differs."""
    weak = Missing(protocol="per_modality", rates={"strong": 0.9})
    complete, incomplete, both = (
        run(synthetic_trial(*validation), store, weak) for validation in ((), (weak,), (Missing(), weak))
    )
    curves = [[epoch.validation for epoch in record.curves] for record in (complete, incomplete, both)]
    for name in ("multimodal", "strong", "weak"):
        first, second, mean = ([point[name] for point in curve] for curve in curves)
        assert (first == second) == (name == "weak")  # which is always there
        assert mean == pytest.approx([(a + b) / 2 for a, b in zip(first, second, strict=True)])
    assert [epoch.logs for epoch in complete.curves] == [epoch.logs for epoch in both.curves]
    best = [1 + int(np.argmax([point["multimodal"] for point in curve])) for curve in curves]
    assert [record.selected_epoch for record in (complete, incomplete, both)] == best
    assert best[0] != best[1]
    assert complete.evaluations != incomplete.evaluations
    assert complete.last == incomplete.last


LATER = {"epochs": 6, "optimizer": Adam(lr=0.02)}


@pytest.mark.parametrize("method", ["concat", "mla", "mmin"])
@pytest.mark.parametrize("tests", [(HALF, AUDIO), (Missing(),)], ids=["own", "other"])
def test_the_last_epoch_is_evaluated_beside_the_selected_one(
    method: str, tests: tuple[Missing, ...], store: Store
) -> None:
    """As the training that selects it would evaluate it, under the pattern of the training."""
    record = run(small_trial(method, **LATER), store, *tests)
    assert (record.selected_epoch == record.last_epoch) == (method == "mla")
    if method != "mmin":  # whose second stage begins at the selected epoch of the first
        (expected,) = run(small_trial(method, **LATER, selection="last"), store, HALF).evaluations.values()
        assert record.last == expected
    assert record.last is not None
    assert record.last.missing == HALF
    assert record.last.multimodal.accuracy == pytest.approx(record.curves[-1].test[HALF.key], abs=1e-6)


def test_it_is_another_evaluation_only_where_it_is_another_epoch(store: Store) -> None:
    found = {}
    for epochs in range(1, 7):
        record = run(small_trial(epochs=epochs, optimizer=Adam(lr=0.02)).model_copy(update={"missing": Missing()}),
                     store, Missing())  # fmt: skip
        evaluation = record.evaluations["complete"].model_copy(update={"probe": None})
        found[record.selected_epoch == record.last_epoch] = evaluation == record.last
    assert found == {True: True, False: False}


def test_the_last_epoch_with_patience_is_the_last_that_ran(store: Store) -> None:
    record = run(small_trial(epochs=30, patience=2, optimizer=Adam(lr=0.02)), store)
    assert record.last_epoch is not None
    assert record.selected_epoch == record.last_epoch - 2
    (expected,) = run(
        small_trial(epochs=record.last_epoch, selection="last", optimizer=Adam(lr=0.02)), store
    ).evaluations.values()
    assert record.last == expected


def test_the_last_epoch_is_evaluated_after_an_interruption(store: Store, tmp_path: Path) -> None:
    trial, unbroken = small_trial("mmin", **LATER), Store(tmp_path / "unbroken")
    epochs = iter(epoch for epoch in range(1, 7) for _ in range(2))  # asked twice after each
    with pytest.raises(SuspendedError):
        run_trial(
            Job(trial, (HALF,)), store, RunOptions("cpu", checkpoint_every=1), should_stop=lambda: next(epochs) == 3
        )
    assert run(trial, store).last == run(trial, unbroken).last
    assert lasting(store.root) == lasting(unbroken.root)


def test_what_is_known_of_the_last_epoch_stays(store: Store) -> None:
    """When patterns are added to kept weights, which are those of the selected epoch."""
    trial = small_trial(**LATER)
    first = run(trial, store)
    assert first.selected_epoch != first.last_epoch
    assert run(trial, store, AUDIO).last == first.last
    arrays, weights = store.predictions(trial.id), (store.folder(trial.id) / MODEL).read_bytes()
    older = first.model_copy(update={"last": None, "schema_version": 4})
    store.write(older, arrays, weights, store.outcomes(trial.id))
    assert run(trial, store, AUDIO).last is None


@pytest.mark.parametrize("selection", ["last", "best_test"])
def test_other_selections_have_no_last_epoch_of_their_own(selection: str, store: Store) -> None:
    assert run(small_trial(selection=selection), store).last is None


def test_who_never_sees_the_test_split_evaluates_no_epoch_on_it(store: Store) -> None:
    record = run_trial(Job(small_trial(**LATER), ()), store, CPU)
    assert (record.status, record.last) == ("ok", None)


@pytest.mark.parametrize(("seed", "selection", "watched"), [(1, "best_val", False), (1, "best_test", True)])
def test_other_seeds_watch_the_test_split_only_to_select_by_it(
    seed: int, selection: str, watched: bool, store: Store
) -> None:
    record = run(small_trial(seed=seed, selection=selection), store)
    assert [bool(epoch.test) for epoch in record.curves] == [watched, watched]
    assert (record.oracle_gap("balanced-0.5") is not None) == watched


def test_oracle_gap_by_hand() -> None:
    """The best test accuracy of the last stage less that of the selected epoch; earlier stages do not count."""

    def epoch(stage: str, number: int, accuracy: float) -> Epoch:
        return Epoch(stage=stage, epoch=number, logs={}, validation={}, test={"balanced-0.5": accuracy})

    curves = [epoch("teacher", 1, 0.9), epoch("final", 1, 0.4), epoch("final", 2, 0.7), epoch("final", 3, 0.5)]
    record = make_record(make_trial(rate=0.5), 0.55).model_copy(update={"curves": curves, "selected_epoch": 3})
    assert record.oracle_gap("balanced-0.5") == pytest.approx(0.7 - 0.5)
    assert record.oracle_gap("complete") is None
    assert make_record(make_trial(), 0.5).oracle_gap("complete") is None


def test_a_test_split_that_is_watched_now_and_then(tmp_path: Path) -> None:
    """The training is the same; an epoch that was selected unwatched counts by its evaluation."""
    settings = {"epochs": 6, "optimizer": Adam(lr=0.02)}
    every, third = (
        run(small_trial(**settings, **watch), Store(tmp_path / name))
        for name, watch in (("every", {}), ("third", {"watch_every": 3}))
    )
    test = [epoch.test[HALF.key] for epoch in every.curves]
    assert [epoch.test for epoch in third.curves] == [
        {HALF.key: accuracy} if number in (3, 6) else {} for number, accuracy in enumerate(test, start=1)
    ]
    assert third.evaluations == every.evaluations
    selected = third.selected_epoch
    assert selected is not None
    assert selected % 3 != 0
    own = third.evaluations[HALF.key].multimodal.accuracy
    assert third.oracle_gap(HALF.key) == pytest.approx(max(test[2], test[5], own) - own, abs=1e-6)
    assert third.model_copy(update={"evaluations": {}}).oracle_gap(HALF.key) is None


def test_how_often_is_by_cost_unless_the_suite_says_so() -> None:
    features = np.zeros((3, 2), np.float32)
    names = ("a", "b", "c")
    on_features = Split(names, np.zeros(3, np.int64), {"audio": features, "text": features}, names)
    with_pictures = dataclasses.replace(
        on_features, inputs={"audio": features, "image": StoredRows(features, np.arange(3))}
    )
    assert [runner._watch_every(on_features, epochs) for epochs in (1, 100)] == [1, 1]
    assert [runner._watch_every(with_pictures, epochs) for epochs in (1, 10, 35, 100)] == [1, 1, 3, 10]
    assert "watch_every" not in Training().model_dump()  # trials of old have the identity they had


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features lie on disk, as what encoders of pictures read does."""

    def stored(_: str, split: Split) -> Split:
        rows = np.arange(len(split))
        return dataclasses.replace(split, inputs={m: StoredRows(v, rows) for m, v in split.inputs.items()})  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "load_data", lambda trial: with_splits(load_data(trial), stored))


TWO_THREADS = RunOptions("cpu", threads=2, checkpoint_every=1)


def test_who_trains_on_features_has_one_thread(store: Store) -> None:
    assert run_trial(Job(small_trial(), (HALF,)), store, TWO_THREADS).environment["threads"] == 1


@pytest.mark.usefixtures("on_disk")
def test_who_trains_networks_has_the_threads_that_were_given(store: Store, tmp_path: Path) -> None:
    """The next trial has what was given to it; the same number gives the same results, to the bit."""
    other, job = Store(tmp_path / "other"), Job(small_trial("mla"), (HALF, AUDIO))
    with keeping_torch_settings():
        assert run_trial(job, store, TWO_THREADS).environment["threads"] == 2
        assert run(small_trial(), store).environment["threads"] == 1
        run_trial(job, other, TWO_THREADS)
        run(small_trial(), other)
    assert lasting(store.root) == lasting(other.root)


@pytest.mark.usefixtures("on_disk")
@pytest.mark.parametrize(("threads", "resumed"), [(2, 1), (1, 0)])
def test_a_training_resumes_with_the_threads_it_had(threads: int, resumed: int, store: Store) -> None:
    job = Job(small_trial(epochs=3), (HALF,))
    with keeping_torch_settings():
        with pytest.raises(SuspendedError):
            run_trial(job, store, TWO_THREADS, should_stop=lambda: True)
        record = run_trial(job, store, dataclasses.replace(TWO_THREADS, threads=threads))
    assert record.cost.get("epochs_resumed", 0) == resumed


def test_what_reports_need_is_kept(store: Store) -> None:
    trial = small_trial("mla")
    record = run(trial, store, Missing(), HALF)
    probe = record.evaluations["complete"].probe
    assert probe is not None
    test = load_data(trial).test
    assert {modality: scores.n for modality, scores in probe.items()} == dict.fromkeys(
        ("audio", "image", "text"), len(test)
    )
    assert record.evaluations[HALF.key].probe is None
    assert 0 < record.cost["wall_seconds_probe"] < record.cost["wall_seconds_evaluate"]
    arrays = store.predictions(trial.id)
    assert arrays is not None
    assert tuple(arrays["groups"]) == test.groups
    for key in ("complete", HALF.key):
        weight = arrays[f"{key}/weight"]
        assert weight.shape == (len(test), 3)
        np.testing.assert_allclose((weight * arrays[f"{key}/present"]).sum(axis=1), 1.0, rtol=1e-5)
    assert arrays["complete/projection/audio"].shape == (len(test), 2)
    assert f"{HALF.key}/projection/audio" not in arrays


def test_a_method_without_weights_has_none(store: Store) -> None:
    trial = small_trial("concat")
    run(trial, store, Missing())
    arrays = store.predictions(trial.id)
    assert arrays is not None
    assert "complete/weight" not in arrays


class Poisoned(SplitTensors):
    """Starts from a split whose absent inputs are NaN."""

    def __init__(
        self, split: Split, modalities: tuple[str, ...], present: NDArray[np.bool_], device: torch.device
    ) -> None:
        inputs = {
            modality: np.where(present[:, [column]], split.inputs[modality], np.float32(np.nan))
            for column, modality in enumerate(modalities)
        }
        assert present.all() or any(np.isnan(array).any() for array in inputs.values())
        super().__init__(dataclasses.replace(split, inputs=inputs), modalities, present, device)


@pytest.mark.parametrize("method", METHODS)
def test_absent_inputs_change_nothing(
    method: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, poisoned = small_trial(method), Store(tmp_path / "poisoned")
    run(trial, store, HALF, AUDIO)
    monkeypatch.setattr(runner, "SplitTensors", Poisoned)
    run(trial, poisoned, HALF, AUDIO)
    assert lasting(poisoned.root) == lasting(store.root)


# -- who sees what --------------------------------------------------------------------------------


def test_training_sees_the_training_split_only(spies: None, store: Store) -> None:
    trial = small_trial("spy", epochs=3)
    run(trial, store)
    train = load_data(trial).train
    present = HALF.pattern("stamps", train.ids, ("audio", "image", "text"))
    visits = np.zeros(len(train), int)
    for batch in Spy.trained:
        rows = batch.index.numpy()
        visits[rows] += 1
        assert np.array_equal(batch.label, train.labels[rows])
        assert np.array_equal(batch.present, present[rows])
        for column, (modality, values) in enumerate(batch.inputs.items()):
            assert np.array_equal(values, train.inputs[modality][rows] * present[rows][:, [column]])
    assert (visits == 3).all()
    assert Spy.predicted
    assert all((batch.label == HIDDEN_LABEL).all() for batch in Spy.predicted)


@pytest.mark.parametrize("method", ["concat", "mmin"])
def test_test_labels_reach_neither_the_weights_nor_the_choice_of_the_epoch(
    method: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, other = small_trial(method, epochs=4), Store(tmp_path / "other")
    first = run(trial, store)
    data = load_data(trial)
    shifted = dataclasses.replace(data, test=dataclasses.replace(data.test, labels=(data.test.labels + 1) % 10))
    monkeypatch.setattr(runner, "load_data", lambda trial: shifted)
    second = run(trial, other)
    assert second.evaluations != first.evaluations
    assert second.selected_epoch == first.selected_epoch
    assert [epoch.validation for epoch in second.curves] == [epoch.validation for epoch in first.curves]
    models = [(target.folder(trial.id) / MODEL).read_bytes() for target in (store, other)]
    assert models[0] == models[1]


# -- the record -----------------------------------------------------------------------------------


def test_the_record_tells_cost_and_surroundings(store: Store) -> None:
    trial = small_trial("mla")
    record = run(trial, store)
    assert store.read(trial.id) is not None
    phases = {f"{clock}_seconds_{phase}" for clock in ("wall", "cpu") for phase in ("data", "train", "evaluate")}
    per_step = {f"{clock}_seconds_per_step" for clock in ("wall", "cpu")}
    passes = {f"{way}_passes_{modality}" for way in ("forward", "backward") for modality in ("audio", "image", "text")}
    assert set(record.cost) - {"training_memory_mib"} == {*phases, *per_step, *passes}
    steps = 2 * 4  # epochs of 60 samples in batches of 16
    assert 0 < steps * record.cost["wall_seconds_per_step"] < record.cost["wall_seconds_train"]
    assert {record.cost[name] for name in passes} == {1.0}  # though half of the cells are missing
    assert all(value > 0 for value in record.cost.values())
    environment = record.environment
    assert environment["mlabench"] == __version__
    assert environment["python"] == platform.python_version()
    assert environment["packages"]["numpy"] == np.__version__
    assert torch.__version__.startswith(environment["packages"]["torch"])
    assert environment["device"] == "cpu"
    assert environment["method_source"] == registry.get("methods", "mla").about.source_hash
    assert "stands in for IEMOCAP" in record.notes[0]
    # Per modality an encoder with 16 hidden and 8 output units, and one head for 10 classes.
    inputs = 130 + 128 + 128
    assert record.parameters == (inputs + 3) * 16 + 3 * (16 + 1) * 8 + (8 + 1) * 10


def test_progress_runs_over_all_stages(store: Store) -> None:
    seen: list[tuple[str, int, int]] = []
    job = Job(small_trial("mmin", epochs=4), (HALF,))
    run_trial(job, store, CPU, lambda stage, done, total: seen.append((stage, done, total)))
    assert seen == [("teacher", 1, 4), ("imagination", 2, 4), ("imagination", 3, 4), ("imagination", 4, 4)]


def test_progress_and_cost_know_of_patience(store: Store) -> None:
    seen: list[tuple[str, int, int]] = []
    trial = small_trial("mmin", epochs=40, patience=1, optimizer=Adam(lr=0.1))
    record = run_trial(Job(trial, (HALF,)), store, CPU, lambda stage, done, total: seen.append((stage, done, total)))
    assert [stage for stage, _, _ in seen] == [epoch.stage for epoch in record.curves]
    assert [done for _, done, _ in seen] == list(range(1, len(seen) + 1))
    teacher = sum(stage == "teacher" for stage, _, _ in seen)
    assert teacher < 10  # a quarter of the budget
    assert {total for _, _, total in seen[:teacher]} == {40}
    assert {total for _, _, total in seen[teacher:]} == {teacher + 30}
    assert record.cost["forward_passes_image"] >= 1, "per sample and epoch that there was"


def test_small_models_are_kept_and_large_ones_on_demand(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = small_trial()
    run(trial, store)
    assert (store.folder(trial.id) / MODEL).is_file()
    monkeypatch.setattr(runner, "SMALL_MODEL_MIB", 0.001)
    run(trial, store, retrain=True)
    assert not (store.folder(trial.id) / MODEL).is_file()
    run(trial, store, options=RunOptions("cpu", keep="models"), retrain=True)
    assert (store.folder(trial.id) / MODEL).is_file()


def test_what_reports_need_is_always_kept_and_more_if_it_is_wanted(store: Store) -> None:
    trial = small_trial()
    for keep, more in (("outcomes", set()), ("predictions", {PREDICTIONS})):
        run(trial, store, HALF, AUDIO, options=RunOptions("cpu", keep=keep), retrain=True)
        assert {path.name for path in store.folder(trial.id).iterdir()} == {RECORD, OUTCOMES, *more}
    arrays, found = store.predictions(trial.id), store.outcomes(trial.id)
    assert arrays is not None
    assert found is not None
    assert found.samples.ids.tolist() == arrays["ids"].tolist()
    assert found.samples.groups.tolist() == arrays["groups"].tolist()
    for test, outcome in found.tests.items():
        logits = arrays[f"{test}/fused"].astype(float)
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        distance = ((shares - np.eye(logits.shape[1])[arrays["labels"]]) ** 2).sum(axis=1)
        whole = test.startswith("subset")
        np.testing.assert_allclose(outcome.brier, np.where(whole, np.nan, distance), rtol=1e-3, atol=1e-6)
        assert (outcome.present == arrays[f"{test}/present"]).all()
        assert (outcome.correct[:, -1] == (logits.argmax(axis=1) == arrays["labels"])).all()
    with pytest.raises(UserError, match="'model' is not one of"):
        RunOptions("cpu", keep="model")


@pytest.mark.parametrize(
    ("method", "kind", "place"),
    [
        ("failing", "ArithmeticError", "tests/spies.py"),
        ("diverging", "TrainingDivergedError", "mlabench/training/loop.py"),
    ],
)
def test_a_failure_becomes_a_record(method: str, kind: str, place: str, spies: None, store: Store) -> None:
    trial = small_trial(method)
    record = run_trial(Job(trial, (HALF,)), store, CPU)
    assert store.read(trial.id) == record
    assert record.status == "failed"
    assert record.failure is not None
    assert record.failure.kind == kind
    assert record.failure.message
    assert record.failure.traceback.startswith("Traceback")
    assert str(Path(place)) in record.failure.traceback
    assert record.environment["method_source"]
    assert record.cost["wall_seconds_train"] > 0
    assert not record.evaluations


def test_a_failed_trial_that_runs_again_starts_from_scratch(spies: None, store: Store) -> None:
    trial = small_trial("spy")
    failure = run_trial(Job(small_trial("failing"), (HALF,)), store, CPU).failure
    store.write(Record(trial=trial, status="failed", failure=failure))
    run(trial, store)
    assert Spy.trained
    read = store.read(trial.id)
    assert read is not None
    assert read.status == "ok"


# -- adding evaluations ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_an_evaluation_can_be_added(method: str, store: Store, tmp_path: Path) -> None:
    """The record is the one that asking for both at once would have made."""
    trial, whole = small_trial(method), Store(tmp_path / "whole")
    first = run(trial, store, HALF)
    added = run(trial, store, AUDIO)
    run(trial, whole, HALF, AUDIO)
    assert list(added.evaluations) == ["balanced-0.5", "subset-audio"]
    assert added.cost["wall_seconds_per_step"] == first.cost["wall_seconds_per_step"]
    assert lasting(store.root) == lasting(whole.root)


def test_kept_weights_spare_the_training(spies: None, store: Store) -> None:
    trial = small_trial("spy")
    for tests, retrain, kept, trains in [
        ((HALF,), False, True, True),
        ((AUDIO,), False, True, False),
        ((Missing(),), False, False, True),
        ((HALF,), True, True, True),
    ]:
        Spy.trained.clear()
        if not kept:
            (store.folder(trial.id) / MODEL).unlink()
        record = run(trial, store, *tests, retrain=retrain)
        assert bool(Spy.trained) == trains
    assert list(record.evaluations) == ["balanced-0.5"], "what is trained again forgets what was there"


# -- data -----------------------------------------------------------------------------------------


def test_the_limit_spreads_over_each_split() -> None:
    whole, cut = load_data(small_trial(limit=None)), load_data(small_trial(limit=7))
    for name in ("train", "validation", "test"):
        every, some = getattr(whole, name), getattr(cut, name)
        rows = [int(place * (len(every) - 1) / 6) for place in range(7)]
        assert some.ids == tuple(every.ids[row] for row in rows)
        assert np.array_equal(some.labels, every.labels[rows])
        assert all(np.array_equal(array, every.inputs[m][rows]) for m, array in some.inputs.items())
    assert cut.task == whole.task
    assert cut.notes == whole.notes


def test_a_limit_beyond_the_split_changes_nothing() -> None:
    whole, cut = load_data(small_trial(limit=None)), load_data(small_trial(limit=10**6))
    assert cut.train.ids == whole.train.ids
    assert cut.test.ids == whole.test.ids


def test_data_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs._load.cache_clear()
    inputs._divide.cache_clear()
    dataset = registry.get("datasets", "stamps").load()
    load: Callable[[Any], Data] = dataset.load
    loads: list[str] = []
    monkeypatch.setattr(dataset, "load", lambda self: loads.append("stamps") or load(self))
    for trial in (small_trial(), small_trial("mla", seed=1), small_trial(limit=5)):
        load_data(trial)
    assert load_data(small_trial(limit=None)) is load_data(small_trial(limit=None))
    assert loads == ["stamps"]


def test_data_that_changed_since_the_plan_are_refused(store: Store) -> None:
    trial = small_trial()
    changed = trial.model_copy(
        update={"dataset": trial.dataset.model_copy(update={"fingerprint": "0123456789ab"}), "limit": None}
    )
    with pytest.raises(RuntimeError, match="'stamps' have changed since the trial was planned"):
        load_data(changed)
    record = run_trial(Job(changed, (HALF,)), store, CPU)
    assert record.status == "failed"
    assert record.failure is not None
    assert "plan it again" in record.failure.message

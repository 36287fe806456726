"""Runs one trial: data, method, training, evaluation under every test pattern, record."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import safetensors.torch
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from mlabench import registry
from mlabench.datasets import Data, Split, best_accuracies
from mlabench.encoders import Encoder
from mlabench.method import Method
from mlabench.missing import Missing
from mlabench.plugins import register
from mlabench.record import Epoch, Evaluation, Failure, Record, Scores
from mlabench.store import MODEL, Arrays, Store, checkpoint_path
from mlabench.training.checkpoint import Checkpoints
from mlabench.training.compilation import compile_encoders
from mlabench.training.cost import Meter
from mlabench.training.data_parallel import share_out
from mlabench.training.environment import describe_environment
from mlabench.training.frozen_features import drop_frozen_networks
from mlabench.training.inputs import build_encoders, load_data
from mlabench.training.job import Job, RunOptions
from mlabench.training.loggers import sending_curves
from mlabench.training.loop import Observers, fit, stable_seed
from mlabench.training.metrics import evaluate, score
from mlabench.training.probe import linear_probe, project
from mlabench.training.ranks import ranks
from mlabench.training.stopping import SuspendedError
from mlabench.training.tensors import SplitTensors, accuracies, predict
from mlabench.trial import Trial

#: Weights up to this size are kept unless the user says otherwise, so that new test patterns need no training.
SMALL_MODEL_MIB = 8.0


#: Called with (stage name, epochs done in all stages, epochs in all stages).
ReportProgress = Callable[[str, int, int], None]


def run_trial(
    job: Job,
    store: Store,
    options: RunOptions,
    report: ReportProgress = lambda *_: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Record:
    """Runs a job's trial, evaluates it under the job's test patterns and writes the record.

    A record that exists and lacks some of them is added to: from the kept weights if there are any,
    else by training again. An exception becomes a record of status ``failed``.

    Args:
        job: The trial and its tests.
        store: Where the record goes.
        options: How it is run.
        report: Told of each epoch.
        should_stop: Whether to stop training at the end of the current epoch.

    Raises:
        SuspendedError: If the training was stopped and saved, to go on later.
        UserError: If not even that can be written.
    """
    trial = job.trial
    clock = Clock()
    try:
        old = None if job.retrain else store.read(trial.id)
        old = old if old and old.status == "ok" else None
        checkpoints = make_checkpoints(trial, store, options, should_stop)
        if job.retrain:
            checkpoints.clear()
        tests = _union(old, job.tests)
        with ranks(options.devices_per_trial, assist, (trial, tests, store, options, old)):
            run = _TrialRun(trial, tests, store, options, report, clock, checkpoints)
            record, predictions, model = run.run(old)
        record = record.model_copy(update={"cost": {**record.cost, **clock.seconds()}})
        store.write(record, predictions, model)
        checkpoints.clear()
    except SuspendedError:
        raise
    except Exception as error:
        environment = describe_environment(trial, options.device)
        record = Record(
            trial=trial,
            status="failed",
            failure=Failure.of(error),
            environment=environment,
            cost=clock.seconds(),
        )
        store.write_failure(record)  # much smaller: even a full disk may take it
    return record


def assist(trial: Trial, tests: Sequence[Missing], store: Store, options: RunOptions, old: Record | None) -> None:
    """What the other processes of a trial on several devices do: the same, but for all that is kept of it."""
    register(options.plugins)
    checkpoints = replace(make_checkpoints(trial, store, options, lambda: False), writes=False)
    _TrialRun(trial, tests, store, replace(options, loggers=()), lambda *_: None, Clock(), checkpoints).run(old)


@dataclass(frozen=True)
class Trained:
    """What a record says of the training."""

    curves: list[Epoch]
    selected_epoch: int | None
    cost: dict[str, float]
    parameters: int | None
    environment: dict[str, Any]


@dataclass
class _TrialRun:
    """One process's work on a trial: data, method, training, evaluation."""

    trial: Trial
    tests: Sequence[Missing]
    store: Store
    options: RunOptions
    report: ReportProgress
    clock: Clock
    checkpoints: Checkpoints
    modalities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.fabric = make_fabric(self.options.device, self.trial.training.precision, self.options.devices_per_trial)

    def run(self, old: Record | None) -> tuple[Record, Arrays | None, bytes]:
        """The record, the arrays and the weights to store; ``old``'s training stands where its weights are kept."""
        with self.clock.phase("data"):
            data, method = self._prepare()
        kept = self.store.folder(self.trial.id) / MODEL
        if old is not None and kept.is_file():
            method.load_state_dict(safetensors.torch.load_file(kept, device=str(self.fabric.device)))
            # What was said of the training stays: these are its weights, not those of today's code.
            trained = Trained(old.curves, old.selected_epoch, old.cost, old.parameters, old.environment)
        else:
            trained = self._train(data, method)
        with self.clock.phase("evaluate"):
            found = evaluate_all(method, data, self.tests, self._tensors, self.fabric) if self.tests else ({}, None)
        evaluations, predictions = found
        record = Record(
            trial=self.trial,
            status="ok",
            evaluations=evaluations,
            notes=[*data.notes, *_left_out(data.skipped)],
            **vars(trained),
        )
        return record, predictions, self._weights_to_keep(method)

    def _prepare(self) -> tuple[Data, Method]:
        data = load_data(self.trial)
        self.modalities = data.task.modalities
        encoders = build_encoders(self.trial, data.task)
        data = drop_frozen_networks(data, encoders, self.fabric.device)
        if not self.tests:
            # What is not evaluated, as in tuning, must not be able to look at the test split.
            data = replace(data, test=data.test.take(np.empty(0, np.int64)))
        method = build_method(self.trial, data, encoders).to(self.fabric.device)
        if self.fabric.world_size > 1:
            share_out(method)
        if self.options.compile:
            compile_encoders(method)
        return data, method

    def _tensors(self, split: Split, missing: Missing) -> SplitTensors:
        present = missing.pattern(self.trial.dataset.name, split.ids, self.modalities)
        return SplitTensors(split, self.modalities, present, self.fabric.device)

    def _train(self, data: Data, method: Method) -> Trained:
        """Trains ``method`` in place."""
        trial, fabric = self.trial, self.fabric
        train, validation = (self._tensors(split, trial.missing) for split in (data.train, data.validation))
        watched = {key.key: self._tensors(data.test, key) for key in (trial.missing, Missing()) if self.tests}
        stages = method.stages(trial.training.epochs)
        offset = {stage.name: sum(other.epochs for other in stages[:place]) for place, stage in enumerate(stages)}
        total = sum(stage.epochs for stage in stages)

        def report_epoch(epoch: Epoch) -> None:
            done = offset[epoch.stage] + epoch.epoch
            self.report(epoch.stage, done, total)
            log(epoch, done)

        meter = Meter(method, fabric.device)
        observers = Observers(
            validate=lambda: accuracies(method, validation, fabric),
            watch_test=lambda: {key: accuracies(method, split, fabric)["multimodal"] for key, split in watched.items()},
            report=report_epoch,
            measure=meter.running,
        )
        with self.clock.phase("train"), sending_curves(self.options.loggers, self.store.root, trial) as log:
            curves, selected = fit(
                method, train, validation, trial.training, trial.seed, fabric, observers, self.checkpoints
            )
        present = dict(zip(self.modalities, train.present.sum(dim=0).tolist(), strict=True))
        passes = total - self.checkpoints.resumed
        steps = passes * math.ceil(len(train) / trial.training.batch_size)
        cost = meter.costs(steps, {modality: passes * count for modality, count in present.items()})
        if self.checkpoints.resumed:
            cost["epochs_resumed"] = self.checkpoints.resumed
        parameters = sum(parameter.numel() for parameter in method.parameters() if parameter.requires_grad)
        environment = describe_environment(trial, str(fabric.device))
        environment |= {"devices": fabric.world_size, "compiled": self.options.compile}
        return Trained(curves, selected, cost, parameters, environment)

    def _weights_to_keep(self, method: Method) -> bytes:
        """The weights, if they are small or wanted."""
        state = {name: value.contiguous() for name, value in method.state_dict().items()}
        size = sum(value.numel() * value.element_size() for value in state.values()) / 2**20
        keep = self.tests and (self.options.keep_models or size <= SMALL_MODEL_MIB)
        return safetensors.torch.save(state) if keep else b""


def make_checkpoints(
    trial: Trial, store: Store, options: RunOptions, should_stop: Callable[[], bool] = lambda: False
) -> Checkpoints:
    """Where snapshots of a trial go; those of other code are of no use to it."""
    identity = {
        "trial": trial.id,
        "method": registry.get("methods", trial.method.name).source_hash,
        "torch": torch.__version__,
        "device": options.device,
        "compiled": options.compile,
    }
    return Checkpoints(checkpoint_path(store, trial.id), identity, options.checkpoint_every, should_stop)


def evaluate_all(
    method: Method,
    data: Data,
    tests: Sequence[Missing],
    tensors: Callable[[Split, Missing], SplitTensors],
    fabric: Fabric,
) -> tuple[dict[str, Evaluation], Arrays]:
    """Evaluates one model under every test pattern. Returns the evaluations and the arrays to store."""
    evaluations = {}
    arrays: Arrays = {"ids": np.array(data.test.ids), "labels": data.test.labels, "groups": np.array(data.test.groups)}
    for missing in tests:
        split = tensors(data.test, missing)
        outputs = predict(method, split, fabric)
        present = split.present.cpu().numpy()
        evaluation = evaluate(
            missing,
            data.task.modalities,
            data.test.labels,
            present,
            outputs.fused,
            outputs.unimodal,
            outputs.embedding,
            outputs.weight,
        )
        arrays[f"{missing.key}/present"] = present
        arrays[f"{missing.key}/fused"] = outputs.fused
        for modality, logits in outputs.unimodal.items():
            arrays[f"{missing.key}/{modality}"] = logits
        predicted = [*(outputs.unimodal[modality] for modality in data.task.modalities), outputs.fused]
        right = [logits.argmax(axis=1) == data.test.labels for logits in predicted]
        arrays[f"{missing.key}/correct"] = np.stack(right, axis=1)
        if outputs.weight is not None:
            arrays[f"{missing.key}/weight"] = outputs.weight
        if data.bayes:
            best = best_accuracies(data.bayes, data.task.modalities, present)
            evaluation = evaluation.model_copy(update={"bayes": best})
        if missing == Missing():
            probe = probe_encoders(method, data, outputs.embedding, tensors, fabric)
            evaluation = evaluation.model_copy(update={"probe": probe})
            if len({embedding.shape[1] for embedding in outputs.embedding.values()}) == 1:
                for modality, points in project(outputs.embedding).items():
                    arrays[f"{missing.key}/projection/{modality}"] = points
        evaluations[missing.key] = evaluation
    return evaluations, arrays


def probe_encoders(
    method: Method,
    data: Data,
    test: Mapping[str, NDArray[np.float32]],
    tensors: Callable[[Split, Missing], SplitTensors],
    fabric: Fabric,
) -> dict[str, Scores]:
    """Scores of a linear probe on each encoder; ``test`` holds the embeddings ``[N, d]`` of the test split."""
    train = predict(method, tensors(data.train, Missing()), fabric).embedding
    validation = predict(method, tensors(data.validation, Missing()), fabric).embedding
    return {
        modality: score(
            linear_probe(
                (train[modality], data.train.labels),
                (validation[modality], data.validation.labels),
                embedding,
                len(data.task.classes),
            ),
            data.test.labels,
        )
        for modality, embedding in test.items()
    }


def build_method(trial: Trial, data: Data, encoders: Mapping[str, Encoder]) -> Method:
    """The untrained method of a trial, around ``encoders``."""
    method = registry.get("methods", trial.method.name).load()
    torch.manual_seed(stable_seed(trial.seed, "method"))
    built: Method = method(data.task, encoders, method.Config(**trial.method.options), len(data.train))
    return built


def _left_out(skipped: Mapping[str, int]) -> list[str]:
    """What was skipped, as a note."""
    counts = ", ".join(f"{reason} ({count:,})" for reason, count in sorted(skipped.items()))
    return [f"Left out: {counts}."] if counts else []


def make_fabric(device: str, precision: Any, devices: int = 1) -> Fabric:
    """Fabric with one thread and reproducible arithmetic; on several devices, within :func:`ranks`."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    with warnings.catch_warnings():
        # Fabric advises on hardware that was deliberately not chosen.
        warnings.simplefilter("ignore")
        strategy = "ddp" if devices > 1 else "auto"
        fabric = Fabric(accelerator=device, devices=devices, precision=precision, strategy=strategy)
        if devices > 1:
            fabric.launch()
    # Fabric has torch look for a GPU driver in a slow way, which each step of an optimiser does anew if there is none.
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    if fabric.device.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
    return fabric


def _union(old: Record | None, tests: Sequence[Missing]) -> list[Missing]:
    known = {key: evaluation.missing for key, evaluation in old.evaluations.items()} if old else {}
    return list({**known, **{missing.key: missing for missing in tests}}.values())


@dataclass
class Clock:
    """Wall-clock and processor seconds by phase."""

    wall: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the time of the enclosed block to ``name``."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall[name] = self.wall.get(name, 0.0) + time.perf_counter() - wall
            self.cpu[name] = self.cpu.get(name, 0.0) + time.process_time() - cpu

    def seconds(self) -> dict[str, float]:
        """``wall_seconds_PHASE`` and ``cpu_seconds_PHASE``."""
        return {
            **{f"wall_seconds_{name}": seconds for name, seconds in self.wall.items()},
            **{f"cpu_seconds_{name}": seconds for name, seconds in self.cpu.items()},
        }

"""Runs one trial: data, method, training, evaluation under every test pattern, record."""

from __future__ import annotations

import math
import time
import traceback
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
from mlabench.cost import Meter
from mlabench.datasets import Data, Split, best_accuracies
from mlabench.encoders import Encoder
from mlabench.environment import describe_environment
from mlabench.evaluation import evaluate, score
from mlabench.inputs import build_encoders, load_data
from mlabench.launchers import Job, RunOptions
from mlabench.method import Method, Stage
from mlabench.missing import Missing
from mlabench.probe import linear_probe, project
from mlabench.representations import drop_frozen_networks
from mlabench.store import MODEL, Arrays, Store
from mlabench.tensors import SplitTensors, accuracies, predict
from mlabench.training import Observers, fit, stable_seed
from mlabench.trial import Evaluation, Failure, Record, Scores, Trial

#: Weights up to this size are kept unless the user says otherwise, so that new test patterns need no training.
SMALL_MODEL_MIB = 8.0


#: Called with (stage name, epochs done in all stages, epochs in all stages).
ReportProgress = Callable[[str, int, int], None]


def run_trial(job: Job, store: Store, options: RunOptions, report: ReportProgress = lambda *_: None) -> Record:
    """Runs a job's trial, evaluates it under the job's test patterns and writes the record.

    A record that exists and lacks some of them is added to: from the kept weights if there are any,
    else by training again. An exception becomes a record of status ``failed``.
    """
    trial = job.trial
    clock = Clock()
    try:
        old = None if job.afresh else store.read(trial.id)
        old = old if old and old.status == "ok" else None
        record, predictions, model = _run(trial, _union(old, job.tests), store, options, report, clock, old)
    except Exception as error:
        failure = Failure(kind=type(error).__name__, message=str(error), traceback=traceback.format_exc())
        environment = describe_environment(trial, options.device)
        record = Record(trial=trial, status="failed", failure=failure, environment=environment, cost=clock.seconds())
        store.write_failure(record)
        return record
    record = record.model_copy(update={"cost": {**record.cost, **clock.seconds()}})
    store.write(record, predictions, model)
    return record


def _run(
    trial: Trial,
    tests: Sequence[Missing],
    store: Store,
    options: RunOptions,
    report: ReportProgress,
    clock: Clock,
    old: Record | None,
) -> tuple[Record, Arrays, bytes]:
    fabric = make_fabric(options.device, trial.training.precision)
    with clock.phase("data"):
        data = load_data(trial)
        encoders = build_encoders(trial, data.task)
        data = drop_frozen_networks(data, encoders, fabric.device)
        modalities = data.task.modalities

        def tensors(split: Split, missing: Missing) -> SplitTensors:
            present = missing.pattern(trial.dataset.name, split.ids, modalities)
            return SplitTensors(split, modalities, present, fabric.device)

        method = build_method(trial, data, encoders).to(fabric.device)
    kept = store.folder(trial.id) / MODEL
    if old is not None and kept.is_file():
        if not tests:
            # What is not evaluated, as in tuning, must not be able to look at the test split.
            data = replace(data, test=data.test.take(np.empty(0, np.int64)))
        method.load_state_dict(safetensors.torch.load_file(kept, device=str(fabric.device)))
        # What was said of the training stays: these are its weights, not those of today's code.
        curves, selected, cost = old.curves, old.selected_epoch, old.cost
        parameters, environment = old.parameters, old.environment
    else:
        validation = tensors(data.validation, trial.missing)
        watched = {missing.key: tensors(data.test, missing) for missing in (trial.missing, Missing()) if tests}
        stages = method.stages(trial.training.epochs)
        offset = {stage.name: sum(other.epochs for other in stages[:place]) for place, stage in enumerate(stages)}
        total = sum(stage.epochs for stage in stages)

        def report_epoch(stage: Stage, epoch: int) -> None:
            report(stage.name, offset[stage.name] + epoch, total)

        def watch_test() -> dict[str, float]:
            return {key: accuracies(method, split, fabric)["multimodal"] for key, split in watched.items()}

        meter = Meter(method, fabric.device)
        observers = Observers(
            lambda: accuracies(method, validation, fabric), watch_test, report_epoch, measure=meter.running
        )
        train = tensors(data.train, trial.missing)
        with clock.phase("train"):
            curves, selected = fit(method, train, validation, trial.training, trial.seed, fabric, observers)
        present = dict(zip(modalities, train.present.sum(dim=0).tolist(), strict=True))
        steps = total * math.ceil(len(train) / trial.training.batch_size)
        cost = meter.costs(steps, {modality: total * count for modality, count in present.items()})
        parameters = sum(parameter.numel() for parameter in method.parameters() if parameter.requires_grad)
        environment = describe_environment(trial, str(fabric.device))
    with clock.phase("evaluate"):
        evaluations, predictions = evaluate_all(method, data, tests, tensors, fabric) if tests else ({}, None)
    state = {name: value.contiguous() for name, value in method.state_dict().items()}
    size = sum(value.numel() * value.element_size() for value in state.values()) / 2**20
    keep = tests and (options.keep_models or size <= SMALL_MODEL_MIB)
    model = safetensors.torch.save(state) if keep else b""
    record = Record(
        trial=trial,
        status="ok",
        selected_epoch=selected,
        evaluations=evaluations,
        curves=curves,
        parameters=parameters,
        notes=[*data.notes, *_left_out(data.skipped)],
        cost=cost,
        environment=environment,
    )
    return record, predictions, model


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


def make_fabric(device: str, precision: Any) -> Fabric:
    """Fabric on one device, with one thread and reproducible arithmetic."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    with warnings.catch_warnings():
        # Fabric advises on hardware that was deliberately not chosen.
        warnings.simplefilter("ignore")
        fabric = Fabric(accelerator=device, devices=1, precision=precision)
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

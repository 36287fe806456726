"""The story of one trial: load its data, build its method, train it, evaluate it under every test pattern, write it."""

from __future__ import annotations

import math
from bdb import BdbQuit
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from mlabench import registry
from mlabench.datasets import Data, ReportProgress, Split, StoredRows, silent
from mlabench.encoders import Encoder
from mlabench.method import Method
from mlabench.missing import Missing
from mlabench.record import SCHEMA_VERSION, Epoch, Evaluation, Failure, Record
from mlabench.registry import register
from mlabench.store import MODEL, Arrays, Store, TrialOutcomes
from mlabench.training.checkpoint import Checkpoints
from mlabench.training.cost import Clock, Meter
from mlabench.training.devices.arithmetic import chosen_precision, pays_channels_last, use_channels_last
from mlabench.training.devices.compilation import compile_encoders
from mlabench.training.devices.data_parallel import share_out
from mlabench.training.devices.fabric import make_fabric, training_device
from mlabench.training.devices.processes import process_group
from mlabench.training.environment import describe_environment, method_source
from mlabench.training.evaluation import evaluate_all, evaluate_under
from mlabench.training.frozen_features import drop_frozen_networks
from mlabench.training.inputs import build_encoders, load_data, trains_on_raw
from mlabench.training.job import Job, RunOptions
from mlabench.training.loggers import sending_curves
from mlabench.training.loop import Observers, TrainingRun, stable_seed
from mlabench.training.metrics import NotFiniteError
from mlabench.training.stopping import SuspendedError
from mlabench.training.tensors import ManyPatterns, SplitTensors, accuracies, mean_accuracies
from mlabench.trial import Trial

#: Weights up to this size are kept unless the user says otherwise, so that new test patterns need no training.
SMALL_MODEL_MIB = 8.0
#: Trainings with this seed watch the test split, for the oracle gap alone.
WATCHED_SEED = 0
#: How often they do where a look is dear, as it is through encoders of pictures, sounds and texts.
LOOKS = 10


def run_trial(
    job: Job,
    store: Store,
    options: RunOptions,
    report: ReportProgress = silent,
    should_stop: Callable[[], bool] = lambda: False,
) -> Record:
    """Runs a job's trial, evaluates it under the job's test patterns and writes the record.

    A record that exists and lacks some of them is added to: from the kept weights if there are any,
    else by training again. An exception becomes a record of status ``failed``.

    Args:
        job: The trial and its tests.
        store: Where the record goes.
        options: How it is run.
        report: Called after each epoch with its stage's name, the epochs done in all stages, and their number.
        should_stop: Whether to stop training at the end of the current epoch.

    Raises:
        SuspendedError: If the training was stopped and saved, to be resumed later.
        UserError: If not even that can be written.
    """
    trial, clock = job.trial, Clock()
    try:
        checkpoints = _checkpoints(trial, store, options, should_stop)
        old = None
        if job.retrain:
            checkpoints.clear()
        elif (found := store.read(trial.id)) is not None and found.status == "ok":
            old = found
        known = [evaluation.missing for evaluation in old.evaluations.values()] if old else []
        tests = list({missing.key: missing for missing in (*known, *job.tests)}.values())
        with process_group(options.devices_per_trial, _assist, (trial, tests, old, store, options)):
            process = _Process(trial, tests, store, options, clock)
            record, outcomes, arrays, weights = process.run(old, checkpoints, report)
        record = record.model_copy(update={"cost": {**record.cost, **clock.seconds}})
        store.write(record, arrays, weights, outcomes)
        checkpoints.clear()
    except (SuspendedError, BdbQuit):  # BdbQuit: `q` in a debugger ends the run, the trial has not failed
        raise
    except Exception as error:
        environment, cost = describe_environment(trial, options.device), dict(clock.seconds)
        failure = Failure.of(error)
        record = Record(trial=trial, status="failed", failure=failure, environment=environment, cost=cost)
        store.write_failure(record)  # much smaller: even a full disk may take it
    return record


def _assist(trial: Trial, tests: Sequence[Missing], old: Record | None, store: Store, options: RunOptions) -> None:
    """What the other processes of a trial on several devices do: the same, but they keep nothing of it."""
    register(options.plugins)
    checkpoints = replace(_checkpoints(trial, store, options, lambda: False), writes=False)
    process = _Process(trial, tests, store, replace(options, loggers=()), Clock())
    process.run(old, checkpoints, silent)


def _checkpoints(trial: Trial, store: Store, options: RunOptions, should_stop: Callable[[], bool]) -> Checkpoints:
    """Where snapshots of a trial go; those of other code do not fit."""
    identity = {
        "trial": trial.id,
        "method": method_source(trial),
        "torch": str(torch.__version__),
        "device": options.device,
        "compiled": options.compile,
    }
    return Checkpoints(store.checkpoint(trial.id), identity, options.checkpoint_every, should_stop)


@dataclass
class _Process:
    """One process's work on a trial; there are several where a trial runs on several devices."""

    trial: Trial
    tests: Sequence[Missing]
    store: Store
    options: RunOptions
    clock: Clock
    modalities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        with self.clock.phase("data"):
            self.precision = chosen_precision(
                self.trial.training.precision,
                lambda: training_device(self.options.device),
                lambda: trains_on_raw(self.trial),
            )
        self.fabric = make_fabric(self.options.device, self.precision, self.options.devices_per_trial)

    def run(
        self, old: Record | None, checkpoints: Checkpoints, report: ReportProgress
    ) -> tuple[Record, TrialOutcomes | None, Arrays | None, bytes]:
        """What to store. ``old``'s training stands where its weights are kept."""
        with self.clock.phase("data"):
            data, encoders = self._load()
            method = self._build(data, encoders)
            checkpoints = self._take_threads(data, checkpoints)
            if self.trial.training.precision == "auto":
                checkpoints = checkpoints.of(precision=self.precision)
        kept = self.store.folder(self.trial.id) / MODEL
        if old is not None and kept.is_file():
            method.load_state_dict(safetensors.torch.load_file(kept, device=str(self.fabric.device)))
            trained = old  # what it says of the training stays: these are its weights, not those of today's code
        else:
            trained = self._train(data, method, checkpoints, report)
        evaluations, outcomes, arrays = dict[str, Evaluation](), None, None
        if self.tests:
            with self.clock.phase("evaluate"):
                evaluations, outcomes, arrays = evaluate_all(
                    method, data, self.tests, self._under, self.fabric, self.clock
                )
        if self.keeps_last and trained.selected_epoch == trained.last_epoch:
            last = trained.last or evaluations.get(self.trial.missing.key) or self._own_evaluation(method, data)
            trained = trained.model_copy(update={"last": last and last.model_copy(update={"probe": None})})
        notes = [*data.notes, *data.split_notes, *data.damage]
        new = {"schema_version": SCHEMA_VERSION, "trial": self.trial, "evaluations": evaluations, "notes": notes}
        predictions = None if self.options.keep == "outcomes" else arrays
        return trained.model_copy(update=new), outcomes, predictions, self._weights_to_keep(method)

    @property
    def keeps_last(self) -> bool:
        """Whether the last epoch is evaluated beside the selected one."""
        return bool(self.tests) and self.trial.training.selection == "best_val"

    def _own_evaluation(self, method: Method, data: Data) -> Evaluation | None:
        """Under the pattern of the training; None if the predictions are not finite numbers."""
        test = self._tensors(data.test, self.trial.missing)
        try:
            return evaluate_under(self.trial.missing, method, data, test, self.fabric)[0]
        except NotFiniteError:
            return None

    def _load(self) -> tuple[Data, dict[str, Encoder]]:
        data = load_data(self.trial)
        self.modalities = data.task.modalities
        encoders = build_encoders(self.trial, data.task)
        data = drop_frozen_networks(data, encoders, self.fabric.device)
        if not self.tests:
            # What is not evaluated, as in tuning, must not be able to look at the test split.
            data = replace(data, test=data.test.take(np.empty(0, np.int64)))
        return data, encoders

    def _take_threads(self, data: Data, checkpoints: Checkpoints) -> Checkpoints:
        """Takes several threads where networks are trained, but continues no training that had another number."""
        threads = self.options.threads or 1
        if threads == 1 or self.fabric.device.type != "cpu" or not _reads_raw(data.train):
            return checkpoints
        torch.set_num_threads(threads)
        return checkpoints.of(threads=threads)

    def _build(self, data: Data, encoders: Mapping[str, Encoder]) -> Method:
        method = build_method(self.trial, data, encoders).to(self.fabric.device)
        if pays_channels_last(self.fabric.device, self.precision):
            use_channels_last(method)
        if self.fabric.world_size > 1:
            share_out(method)
        if self.options.compile:
            compile_encoders(method)
        return method

    def _train(self, data: Data, method: Method, checkpoints: Checkpoints, report: ReportProgress) -> Record:
        """Trains ``method`` in place. Returns a record without evaluations."""
        trial, fabric = self.trial, self.fabric
        train, own = (self._tensors(split, trial.missing) for split in (data.train, data.validation))
        validated = self._under(data.validation, trial.validated_under)
        is_watched = self.tests and (trial.seed == WATCHED_SEED or trial.training.selection == "best_test")
        watched = {trial.missing.key: self._tensors(data.test, trial.missing)} if is_watched else {}
        stages = method.stages(trial.training.epochs)
        budget = {stage.name: sum(other.epochs for other in stages[place:]) for place, stage in enumerate(stages)}

        def report_epoch(epoch: Epoch) -> None:
            done = len(run.curves)
            report(epoch.stage, done, done + budget[epoch.stage] - epoch.epoch)
            log(epoch, done)

        last: list[Evaluation | None] = []

        def discard() -> None:
            if self.keeps_last:
                last.append(self._own_evaluation(method, data))

        meter = Meter(method, fabric.device)
        observers = Observers(
            validate=lambda: mean_accuracies(method, validated.under_each(method, fabric), fabric),
            watch_test=lambda: {key: accuracies(method, split, fabric)["multimodal"] for key, split in watched.items()},
            report=report_epoch,
            measure=meter.running,
            discard=discard,
            watch_every=trial.training.watch_every or _watch_every(data.test, stages[-1].epochs),
        )
        with self.clock.phase("train"), sending_curves(self.options.loggers, self.store.root, trial) as log:
            seed = trial.training_seed
            run = TrainingRun(method, train, own, trial.training, seed, fabric, observers, checkpoints)
            curves, selected = run.fit()
        passes = len(curves) - checkpoints.resumed
        steps = passes * math.ceil(len(train) / trial.training.batch_size)
        present = zip(self.modalities, train.present.sum(dim=0).tolist(), strict=True)
        cost = meter.costs(steps, {modality: passes * count for modality, count in present})
        if checkpoints.resumed:
            cost["epochs_resumed"] = checkpoints.resumed
        environment = describe_environment(trial, str(fabric.device))
        return Record(
            trial=trial,
            status="ok",
            curves=curves,
            selected_epoch=selected,
            last=last[0] if last else None,
            parameters=sum(parameter.numel() for parameter in method.parameters() if parameter.requires_grad),
            cost=cost,
            environment={
                **environment,
                "devices": fabric.world_size,
                "compiled": self.options.compile,
                "precision": self.precision,
            },
        )

    def _tensors(self, split: Split, missing: Missing) -> SplitTensors:
        return SplitTensors(split, self.modalities, self._pattern(split, missing), self.fabric.device)

    def _under(self, split: Split, recipes: Sequence[Missing]) -> ManyPatterns:
        patterns = [self._pattern(split, missing) for missing in recipes]
        return ManyPatterns(split, self.modalities, patterns, self.fabric.device)

    def _pattern(self, split: Split, missing: Missing) -> NDArray[np.bool_]:
        return missing.pattern(self.trial.dataset.name, split.ids, self.modalities)

    def _weights_to_keep(self, method: Method) -> bytes:
        """The weights, if they are wanted, or small and not unwanted."""
        state = {name: value.contiguous() for name, value in method.state_dict().items()}
        size = sum(value.numel() * value.element_size() for value in state.values()) / 2**20
        keep = self.options.keep == "models" or (self.options.keep == "auto" and size <= SMALL_MODEL_MIB)
        return safetensors.torch.save(state) if keep and self.tests else b""


def _reads_raw(split: Split) -> bool:
    """Whether the method's encoders read pictures, sounds or texts, not only features, also of frozen networks."""
    return any(isinstance(values, StoredRows) for values in split.inputs.values())


def _watch_every(test: Split, epochs: int) -> int:
    """Epochs from one look at the test split to the next, in a last stage of ``epochs``; a matter of cost."""
    return max(1, epochs // LOOKS) if _reads_raw(test) else 1


def build_method(trial: Trial, data: Data, encoders: Mapping[str, Encoder]) -> Method:
    """The untrained method of a trial, around ``encoders``."""
    method = registry.get("methods", trial.method.name).load()
    torch.manual_seed(stable_seed(trial.training_seed, "method"))
    built: Method = method(data.task, encoders, method.Config(**trial.method.options), len(data.train))
    return built

"""A record: the outcome of one trial. Free of torch."""

from __future__ import annotations

import traceback
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mlabench.missing import Missing
from mlabench.trial import Frozen, Trial

#: Version of the record format; readers refuse newer ones. 2: linear probes. 3: best possible accuracies.
#: 4: Brier scores. 5: the last epoch beside the selected one.
SCHEMA_VERSION = 5


Share = Annotated[float, Field(ge=0, le=1)]
#: JSON has no other numbers.
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Scores(Frozen):
    """Quality of one set of predictions.

    Attributes:
        n: Number of samples.
        accuracy: Share of correct predictions, in [0, 1].
        macro_f1: Unweighted mean of the classes' F1.
        uar: Unweighted average recall (balanced accuracy) over the classes that occur.
        ece: Expected calibration error of the soft-max confidence, 15 bins.
        brier: Brier score (Brier, "Verification of forecasts expressed in terms of probability", 1950): mean over
            samples of ``sum_c (p_c - y_c)^2``, 0 to 2, smaller is better. ``p`` is the soft-max, ``y`` 1 for the true
            class and 0 for others. None in older records.
    """

    n: int = Field(ge=0)
    accuracy: Share
    macro_f1: Share
    uar: Share
    ece: Share
    brier: float | None = Field(default=None, ge=0, le=2)


class Evaluation(Frozen):
    """One trained model on the test split under one missing pattern.

    Attributes:
        missing: The recipe of the test pattern.
        missing_rate: The realised share of absent cells.
        pattern_sha256: Hash of the pattern table.
        multimodal: The fused prediction, over all test samples.
        unimodal: Each modality's own prediction, over the samples where it is present (None: nowhere).
        fusion_weight: Mean weight of each modality over the samples where it is present, if the method has weights.
        modality_gap: Distance between the centroids of the L2-normalised embeddings, per pair ``a|b``.
        probe: A linear probe on each frozen encoder (:mod:`mlabench.training.probe`), fitted to the complete training
            split; for the complete test split only.
        bayes: The best accuracy that any method can have under this pattern, of ``multimodal`` and of each modality
            on the samples that have it, in [0, 1]; empty where it is not known, as in all real data.
    """

    missing: Missing
    missing_rate: Share
    pattern_sha256: str
    multimodal: Scores
    unimodal: dict[str, Scores | None]
    fusion_weight: dict[str, Finite] | None = None
    modality_gap: dict[str, Finite] = Field(default_factory=dict)
    probe: dict[str, Scores] | None = None
    bayes: dict[str, Share] = Field(default_factory=dict)


class Epoch(Frozen):
    """One point of the learning curves.

    Attributes:
        stage: Name of the training stage.
        epoch: Counted from 1 within the stage.
        logs: Mean over the epoch of what the training step returned.
        validation: Accuracy on the validation split: ``multimodal`` and each modality. With several patterns
            (:attr:`mlabench.trial.Trial.validation`) the mean over them, a modality's over those that have it.
        test: Fused test accuracy under the pattern of the training, by its key; in trainings with seed 0, in some
            epochs of the last stage (:attr:`mlabench.trial.Training.watch_every`). For the oracle gap only; nothing is
            chosen by it unless ``selection: best_test`` says so, which watches every epoch.
    """

    stage: str
    epoch: int = Field(ge=1)
    logs: dict[str, Finite]
    validation: dict[str, Share]
    test: dict[str, Share]


class Failure(Frozen):
    """Why a trial failed."""

    kind: str
    message: str
    traceback: str = ""

    @classmethod
    def of(cls, error: Exception) -> Self:
        """What an exception says of itself, if it can, with all that JSON cannot hold written out."""
        try:
            message = str(error)
        except Exception:
            message = "(its message cannot be shown)"
        texts = (type(error).__name__, message, "".join(traceback.format_exception(error)))
        kind, message, trace = (text.encode(errors="backslashreplace").decode() for text in texts)
        return cls(kind=kind, message=message, traceback=trace)

    @property
    def summary(self) -> str:
        """Kind and message in one line."""
        return " ".join(f"{self.kind}: {self.message}".split())


class Record(Frozen):
    """The outcome of a trial. ``cost`` and ``environment`` may differ between two runs; nothing else does.

    Attributes:
        trial: The trial.
        status: ``ok`` or ``failed``.
        failure: The reason, if failed.
        selected_epoch: Epoch (from 1, in the last stage) whose weights were evaluated.
        evaluations: By key of the test pattern (:attr:`Missing.key`).
        last: The weights after the last epoch that ran, in place of the selected one's, under the pattern of the
            training; without a linear probe. For ``selection: best_val`` only. None in older records, and where those
            weights predict what is not a finite number.
        curves: One entry per epoch.
        parameters: Number of trainable parameters.
        cost: What it took. ``wall_seconds_PHASE`` and ``cpu_seconds_PHASE``: wall clock and processor by phase; the
            phase ``train`` includes its evaluations after each epoch, and ``evaluate`` the phase ``probe``, which
            encodes the training split. All else is about the training alone, with what the method does between
            epochs: means over its steps, ``wall_seconds_per_step`` and ``cpu_seconds_per_step``; passes through a
            modality's encoder (and copies of it) per sample that has it, ``forward_passes_MODALITY`` and
            ``backward_passes_MODALITY``; ``training_memory_mib``, the highest memory above that before the training,
            of the device on CUDA, else of the process, on Linux only; and ``epochs_resumed``, epochs that were done
            before a crash and are in none of these, if there were any.
        environment: Versions, device, threads, git commit, source hash of the method.
        files: SHA-256 of the files beside the record.
    """

    schema_version: int = Field(default=SCHEMA_VERSION, le=SCHEMA_VERSION)
    trial: Trial
    status: Literal["ok", "failed"]
    failure: Failure | None = None
    selected_epoch: int | None = None
    evaluations: dict[str, Evaluation] = Field(default_factory=dict)
    last: Evaluation | None = None
    curves: list[Epoch] = Field(default_factory=list)
    parameters: int | None = None
    notes: list[str] = Field(default_factory=list)
    cost: dict[str, Finite] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if any(key != evaluation.missing.key for key, evaluation in self.evaluations.items()):
            raise ValueError("an evaluation has the key of another test pattern")
        if self.curves and self.selected_epoch is not None:
            last = [epoch.epoch for epoch in self.curves if epoch.stage == self.curves[-1].stage]
            if last != list(range(1, len(last) + 1)) or self.selected_epoch not in last:
                raise ValueError("the selected epoch is not one of the last stage")
        if self.last is not None and self.last.missing.key != self.trial.missing.key:
            raise ValueError("the evaluation of the last epoch has another pattern than the training")
        return self

    @property
    def last_epoch(self) -> int | None:
        """The last epoch that ran, in the last stage; None if nothing was recorded of the epochs."""
        return self.curves[-1].epoch if self.curves else None

    def oracle_gap(self, key: str) -> float | None:
        """How much choosing the epoch on the test split, among those watched, would have raised the fused accuracy.

        None if it was not watched under the pattern ``key``.
        """
        last_stage = self.curves[-1].stage if self.curves else ""
        watched = {
            epoch.epoch: epoch.test[key] for epoch in self.curves if epoch.stage == last_stage and key in epoch.test
        }
        selected = watched.get(self.selected_epoch or 0)
        if watched and selected is None and key in self.evaluations:
            selected = self.evaluations[key].multimodal.accuracy  # an epoch that was not watched
        return None if selected is None else max(*watched.values(), selected) - selected

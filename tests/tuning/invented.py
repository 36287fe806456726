"""Trials that are not trained: their validation accuracy is a known function of what is tried."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from math import log10
from pathlib import Path
from typing import Any

from rich.console import Console

from mlabench.record import Epoch, Failure, Record
from mlabench.running.session import Session
from mlabench.store.records import Store
from mlabench.suite import Overrides, Suite, load_suite
from mlabench.training.job import Job, RunOptions
from mlabench.trial import Trial
from mlabench.tuning import tries as module
from mlabench.tuning.tries import TuningResult

TEXT = """
dataset: stamps
methods: [concat, qmf]
seeds: [0, 1]
missing: {rates: [0, 0.5]}
training: {epochs: 3, optimizer: {lr: 1.0e-3, weight_decay: 1.0e-4}}
tuning: {tries: 12}
"""


def accuracy(trial: Trial) -> float:
    """Best, 0.9, at a learning rate of 4e-3; each seed adds a hundredth."""
    return 0.9 - 0.1 * abs(log10(trial.training.optimizer.lr / 4e-3)) + 0.01 * trial.seed


def record(trial: Trial) -> Record:
    """A record whose selected epoch is the second of three, and not the best of the earlier stage."""
    curves = [Epoch(stage="before", epoch=1, logs={}, validation={"multimodal": 1.0}, test={})]
    for epoch, reached in enumerate((0.1, accuracy(trial), 0.2), start=1):
        curves.append(Epoch(stage="train", epoch=epoch, logs={}, validation={"multimodal": reached}, test={}))
    return Record(trial=trial, status="ok", selected_epoch=2, curves=curves)


def failure(trial: Trial, kind: str = "TrainingDivergedError") -> Record:
    return Record(trial=trial, status="failed", failure=Failure(kind=kind, message="no number"))


class Invented:
    """Stands in for :func:`mlabench.running.session.run_jobs` and counts what it is given.

    Args:
        make: The record of a trial.
        stop_after: Raise KeyboardInterrupt after so many trials.
        order: Seed of the order in which trials finish.
    """

    def __init__(self, make: Callable[[Trial], Record] = record, stop_after: int | None = None, order: int = 0) -> None:
        self.make, self.stop_after, self.random = make, stop_after, random.Random(order)
        self.jobs: list[Job] = []

    def __call__(self, about: str, jobs: Sequence[Job], reused: int, session: Session) -> int:
        for job in self.random.sample(list(jobs), len(jobs)):
            if self.stop_after is not None and len(self.jobs) == self.stop_after:
                raise KeyboardInterrupt
            self.jobs.append(job)
            session.store.write(self.make(job.trial))
        return 0


def suite_of(tmp_path: Path, text: str = TEXT, **overrides: Any) -> Suite:
    path = tmp_path / "some.yaml"
    path.write_text(text)
    return load_suite(path, Overrides(**overrides))


def tried(suite: Suite, root: Path, runner: Invented, monkeypatch: Any, **options: Any) -> list[TuningResult]:
    monkeypatch.setattr(module, "run_jobs", runner)
    return module.search(suite, Session(Store(root), Console(quiet=True), 1, RunOptions("cpu")), **options)

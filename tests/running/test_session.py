"""What a run does with a plan: where trials stand, what is left, how long it will take."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from mlabench import registry
from mlabench.datasets import Data, Split, Task
from mlabench.missing import Missing
from mlabench.record import Failure, Record
from mlabench.running import devices
from mlabench.running import session as module
from mlabench.running.devices import default_jobs, spare_threads, visible_gpus
from mlabench.running.events import Finished, Tell
from mlabench.running.session import Session, run_plan
from mlabench.running.standing import Overwrite, State, estimate_seconds, jobs_to_run, survey
from mlabench.store.leases import held
from mlabench.store.records import Store
from mlabench.suite.plan import Plan, PlannedTrial
from mlabench.training.job import Job, RunOptions
from mlabench.trial import Training, Trial
from tests.records import make_record, make_trial

COMPLETE, HALF = Missing(), Missing.at("balanced", 0.5)
DONE, INCOMPLETE, FAILED, RUNNING, NEW = (make_trial(seed=seed) for seed in range(5))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One trial in each state; of the incomplete one the pattern ``HALF`` is not evaluated."""
    store = Store(tmp_path / "results")
    for trial in (DONE, INCOMPLETE, RUNNING):
        store.write(record(trial))
    store.write(failure(FAILED))
    return store


def record(trial: Trial, **cost: float) -> Record:
    source = registry.get("methods", trial.method.name).about.source_hash
    return make_record(trial).model_copy(update={"environment": {"method_source": source}, "cost": cost})


def failure(trial: Trial) -> Record:
    return Record(trial=trial, status="failed", failure=Failure(kind="E", message="m"))


def plan(*trials: Trial) -> Plan:
    tests = {INCOMPLETE.id: (COMPLETE, HALF)}
    cells = [PlannedTrial(label="Concat", trial=trial, tests=tests.get(trial.id, (COMPLETE,))) for trial in trials]
    return Plan(name="some", modalities=("audio",), cells=tuple(cells))


EVERYTHING = plan(DONE, INCOMPLETE, FAILED, RUNNING, NEW, DONE)


# -- where trials stand ---------------------------------------------------------------------------


def test_survey(store: Store) -> None:
    store.write(record(DONE, wall_seconds_train=60.0))
    with held(store.root, RUNNING.id):
        standings = survey(EVERYTHING, store)
    assert [(entry.trial, entry.state) for entry in standings] == [
        (DONE, State.DONE),
        (INCOMPLETE, State.INCOMPLETE),
        (FAILED, State.FAILED),
        (RUNNING, State.RUNNING),
        (NEW, State.MISSING),
    ]
    assert standings[1].tests == (COMPLETE, HALF)
    assert [entry.failure for entry in standings] == [None, None, failure(FAILED).failure, None, None]
    assert [entry.epoch_seconds for entry in standings] == [60.0 / DONE.training.epochs, None, None, None, None]
    assert not any(entry.stale for entry in standings)


def test_a_trial_without_its_process_is_not_running(store: Store) -> None:
    (standing,) = survey(plan(RUNNING), store)
    assert standing.state == State.DONE


def test_stale_is_what_another_source_made(store: Store) -> None:
    other = record(DONE).model_copy(update={"environment": {"method_source": "0123456789ab"}})
    store.write(other)
    store.write(make_record(INCOMPLETE))  # does not say
    assert [entry.stale for entry in survey(EVERYTHING, store)] == [True, True, False, False, False]
    assert survey(plan(DONE), store)[0].state == State.DONE, "it is reported, not run again"


# -- what is left ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overwrite", "left"),
    [
        (Overwrite.NEVER, [RUNNING, NEW]),
        (Overwrite.ONLY_MISSING, [INCOMPLETE, RUNNING, NEW]),
        (Overwrite.FAILED, [INCOMPLETE, FAILED, RUNNING, NEW]),
        (Overwrite.ALWAYS, [DONE, INCOMPLETE, FAILED, RUNNING, NEW]),
    ],
)
def test_what_is_left_to_run(overwrite: Overwrite, left: list[Trial], store: Store) -> None:
    """A trial that another process runs is waited for whatever the strategy."""
    with held(store.root, RUNNING.id):
        jobs = jobs_to_run(survey(EVERYTHING, store), overwrite)
    assert [job.trial for job in jobs] == left
    assert {job.retrain for job in jobs} == {overwrite == Overwrite.ALWAYS}
    assert all(job.tests == ((COMPLETE, HALF) if job.trial == INCOMPLETE else (COMPLETE,)) for job in jobs)


def test_a_shared_trial_is_trained_once_for_all_plans(run: Callable[..., tuple[int, str]], pool: FakePool) -> None:
    later = PlannedTrial(label="Concat", trial=NEW, tests=(HALF, COMPLETE))
    elsewhere = PlannedTrial(label="Concat", trial=make_trial(seed=10), tests=(HALF,))
    others = Plan(name="other", modalities=("audio",), cells=(later, elsewhere))
    run(plan(NEW), plans=(plan(NEW), others))
    assert [(job.trial, job.tests) for job in pool.jobs] == [(NEW, (COMPLETE, HALF))]


# -- how long it will take ------------------------------------------------------------------------


def timed(method: str, seed: int, epochs: int, seconds: float) -> Record:
    trial = make_trial(method, seed).model_copy(update={"training": Training(epochs=epochs)})
    return record(trial, wall_seconds_train=seconds)


def test_an_estimate_by_hand(tmp_path: Path) -> None:
    """The median time per epoch of the same method on the same samples; of all methods where it has not run."""
    store = Store(tmp_path)
    jobs = [
        Job(make_trial(method).model_copy(update={"training": Training(epochs=10)}), (COMPLETE,))
        for method in ("mla", "mla", "qmf")
    ]
    assert estimate_seconds(jobs, [], store, 1) is None
    store.write(failure(make_trial("mla", 9)))
    store.write(record(make_trial("mla", 8)))
    assert estimate_seconds(jobs, [], store, 1) is None, "neither tells a time"
    for seed, epochs, seconds in [(0, 10, 10.0), (1, 10, 20.0), (2, 5, 500.0)]:  # 1, 2 and 100 seconds an epoch
        store.write(timed("mla", seed, epochs, seconds))
    store.write(timed("concat", 0, 10, 40.0))  # 4 seconds an epoch
    total = 2 * 10 * 2 + 10 * (2 + 4) / 2
    assert estimate_seconds(jobs, [], store, 1) == pytest.approx(total)
    assert estimate_seconds(jobs, [], store, 4) == pytest.approx(total / 4)
    known = survey(plan(timed("concat", 0, 10, 40.0).trial), store)
    assert estimate_seconds(jobs, known, store, 1) == pytest.approx(total), "what is known already counts once"
    assert estimate_seconds([], [], store, 2) == 0
    limited = [Job(job.trial.model_copy(update={"limit": 9}), job.tests) for job in jobs]
    assert estimate_seconds(limited, [], store, 1) is None, "fewer samples tell nothing about all of them"


def test_default_jobs_are_the_cores_that_may_be_used() -> None:
    assert 1 <= default_jobs("cpu") <= (os.cpu_count() or 1)
    assert default_jobs("cuda") == 1, "workers would share the GPU"
    assert default_jobs("auto", ("0", "1"), 3) == 6


@pytest.mark.parametrize(
    ("workers", "trials", "per_trial", "threads"),
    [
        (8, 20, 1, 1),
        (8, 2, 1, 4),
        (8, 3, 1, 2),
        (1, 20, 1, 8),
        (0, 20, 1, 8),
        (2, 20, 2, 2),
        (16, 20, 1, 1),
        (8, 0, 1, 8),
    ],
)
def test_cores_that_workers_leave_over_are_shared_out(
    workers: int, trials: int, per_trial: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "usable_cores", lambda: 8)
    assert spare_threads(workers, trials, per_trial) == threads


def test_gpus_are_found_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus("auto") == ()
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 0\necho 1\n")
    program.chmod(0o755)
    assert visible_gpus("auto") == visible_gpus("cuda") == ("0", "1")
    assert visible_gpus("cpu") == ()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-7")
    assert visible_gpus("auto") == ("3", "GPU-7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus("auto") == ()
    program.write_text("#!/bin/sh\nexit 9\n")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus("auto") == ()


# -- running a plan -------------------------------------------------------------------------------


class FakePool:
    """Finishes every job at once; those with an odd seed fail."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.workers = 0

    @property
    def launched(self) -> list[Trial]:
        return [job.trial for job in self.jobs]

    def __call__(
        self,
        jobs: Sequence[Job],
        store: Store,
        options: RunOptions,
        tell: Tell,
        should_stop: Callable[[], bool],
        workers: int,
    ) -> None:
        self.workers = workers
        for job in jobs:
            self.jobs.append(job)
            tell(Finished(job.trial.id, "too odd" if job.trial.seed % 2 else "", 1.0))


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> FakePool:
    pool = FakePool()
    monkeypatch.setattr(module, "run_in_workers", pool)
    return pool


@pytest.fixture
def run(store: Store, pool: FakePool) -> Callable[..., tuple[int, str]]:
    """Runs a plan; returns the number of failures and what was shown."""

    def run(plan: Plan, overwrite: Overwrite = Overwrite.ONLY_MISSING, **options: Any) -> tuple[int, str]:
        written = io.StringIO()
        console = Console(file=written, width=200, highlight=False, _environ={})
        session = Session(store, console, options.pop("workers", 1), RunOptions("cpu"), **options)
        failed = run_plan(plan, overwrite, session)
        return failed, written.getvalue()

    return run


def test_a_plan_is_kept_beside_its_results(run: Callable[..., tuple[int, str]], store: Store) -> None:
    run(EVERYTHING)
    assert store.plans() == [EVERYTHING]


def test_nothing_to_run(run: Callable[..., tuple[int, str]], pool: FakePool) -> None:
    failed, text = run(plan(DONE))
    assert failed == 0
    assert pool.launched == []
    assert "nothing to run" in text


def test_failures_of_now_and_before_are_counted(run: Callable[..., tuple[int, str]], pool: FakePool) -> None:
    seeds = [make_trial(seed=seed) for seed in (10, 11, 12, 13)]
    failed, text = run(plan(DONE, FAILED, *seeds))
    assert pool.launched == seeds
    assert failed == 3
    assert text.count("too odd") == 2
    assert "--overwrite failed" in text
    failed, text = run(plan(DONE, FAILED), Overwrite.FAILED)
    assert pool.launched[4:] == [FAILED]
    assert failed == 0
    assert "--overwrite failed" not in text


def test_a_run_ends_with_what_was_left_out(
    run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    none = Split((), np.empty(0, np.int64), {}, ())
    data = Data(Task((), (), {}), none, none, none, skipped={"image: unreadable picture": 3}, complaints={"image": 1})
    monkeypatch.setattr(module, "prepare_inputs", lambda *_: [data, data])
    _, text = run(plan(NEW))
    *_, ended, left_out, doubtful = text.splitlines()
    assert "1 trial in" in ended
    assert left_out == "some: Left out: image: unreadable picture (3)."
    assert doubtful == "some: Decoded, but with complaints of the decoder: image (1)."


def test_no_more_workers_than_jobs(run: Callable[..., tuple[int, str]], pool: FakePool) -> None:
    run(plan(NEW, make_trial(seed=10)), workers=5)
    assert pool.workers == 2
    run(plan(*(make_trial(seed=seed) for seed in range(10, 20))), workers=5)
    assert pool.workers == 5

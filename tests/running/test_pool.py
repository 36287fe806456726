"""The pool of worker processes, with workers that only pretend to train."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from multiprocessing import active_children
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from mlabench.running import pool
from mlabench.running.events import Event, Finished, Progressed, Started, Suspended, Waiting
from mlabench.running.pool import run_in_workers
from mlabench.store.records import Store
from mlabench.training.job import Job, RunOptions
from mlabench.training.stopping import TERMINATED, TIME_IS_UP, StopRequest
from tests.records import make_trial

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
CPU = RunOptions("cpu")
#: Seeds whose trials end badly, last until their worker is asked to stop, or belong to another process.
EXITS, KILLED, DIES_IDLE, SLOW, STOPPED_EARLY, STAYS, TAKEN = 1, 2, 3, 4, 10, 11, 12


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture(autouse=True)
def pretence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "work", pretend)


def pretend(connection: Connection, root: Path, options: RunOptions) -> None:
    """A worker: says which process it is, and how many threads its libraries may have."""
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        if job.trial.seed == STOPPED_EARLY and not root.exists():
            root.mkdir()
            os.kill(os.getpid(), signal.SIGTERM)
        if job.trial.seed == TAKEN and not root.exists():
            connection.send(Waiting(job.trial.id))
            continue
        connection.send(Started(job.trial.id))
        if job.trial.seed == STAYS:
            stay(connection, job.trial.id)
            return
        connection.send(Progressed(job.trial.id, f"{os.getpid()} on {os.environ.get('CUDA_VISIBLE_DEVICES')}", 0, 1))
        if job.trial.seed == EXITS:
            os._exit(3)
        if job.trial.seed == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        if job.trial.seed % 100 == SLOW:
            time.sleep(2.0)
        connection.send(Finished(job.trial.id, ",".join(os.environ.get(name, "?") for name in THREADS), 0.0))
        if job.trial.seed == DIES_IDLE:
            os._exit(3)


def stay(connection: Connection, trial_id: str) -> None:
    """Does nothing until asked to stop."""
    with StopRequest() as stop:
        connection.send(Progressed(trial_id, "ready", 0, 1))
        while not stop():
            time.sleep(0.01)
    connection.send(Suspended(trial_id))


def events_of(
    jobs: list[Job],
    store: Store,
    workers: int = 1,
    options: RunOptions = CPU,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Event]:
    events: list[Event] = []
    run_in_workers(jobs, store, options, events.append, should_stop, workers)
    return events


def jobs(*seeds: int) -> list[Job]:
    trials = [make_trial(seed=seed) for seed in seeds]
    return [Job(trial, (trial.missing,)) for trial in trials]


def test_one_worker_takes_the_jobs_in_order(store: Store) -> None:
    wanted = jobs(7, 5, 6)
    events = events_of(wanted, store)
    started = [event for event in events if isinstance(event, Progressed)]
    assert [event.trial_id for event in started] == [job.trial.id for job in wanted]
    assert len({event.stage for event in started}) == 1, "the worker is kept"
    assert int(started[0].stage.split()[0]) != os.getpid()
    assert [event.trial_id for event in events if isinstance(event, Finished)] == [job.trial.id for job in wanted]


def test_workers_have_one_thread_and_their_parent_keeps_its_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    for name in THREADS[1:]:
        monkeypatch.delenv(name, raising=False)
    finished = [event for event in events_of(jobs(5), store) if isinstance(event, Finished)]
    assert [event.problem for event in finished] == ["1,1,1,1"]
    assert [os.environ.get(name) for name in THREADS] == ["7", None, None, None]


def test_no_more_workers_than_jobs(store: Store) -> None:
    events = events_of(jobs(5, 6), store, workers=8)
    assert len({event.stage for event in events if isinstance(event, Progressed)}) <= 2
    assert len([event for event in events if isinstance(event, Finished)]) == 2
    assert events_of([], store, workers=8) == []


@pytest.mark.parametrize(
    ("seed", "problem"),
    [
        (EXITS, "the worker process exited with code 3"),
        (KILLED, "the worker process was killed by signal SIGKILL; the machine may have run out of memory"),
    ],
)
def test_a_worker_that_dies_costs_one_trial(seed: int, problem: str, store: Store) -> None:
    wanted = jobs(5, seed, 6)
    events = events_of(wanted, store)
    finished = [event for event in events if isinstance(event, Finished)]
    assert [event.trial_id for event in finished] == [job.trial.id for job in wanted]
    assert finished[1].problem == problem
    record = store.read(wanted[1].trial.id)
    assert record is not None
    assert record.status == "failed"
    assert record.failure is not None
    assert (record.failure.kind, record.failure.message) == ("WorkerDied", problem)
    first, _, last = [event.stage for event in events if isinstance(event, Progressed)]
    assert first != last, "another worker takes over"


@pytest.mark.parametrize("others", [[SLOW], [SLOW, 5, 6]], ids=["nothing left to do", "more to do"])
def test_a_worker_that_dies_between_jobs_stops_nothing(others: list[int], store: Store) -> None:
    events = events_of(jobs(DIES_IDLE, *others), store, workers=2)
    finished = {event.trial_id for event in events if isinstance(event, Finished)}
    assert finished == {job.trial.id for job in jobs(DIES_IDLE, *others)}


def test_an_exception_ends_the_workers(store: Store) -> None:
    def interrupt(_: Event) -> None:
        assert active_children()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_workers(jobs(5, 6, 7), store, CPU, interrupt, lambda: False, 2)
    assert not active_children()


def test_failing_fast_ends_the_workers_at_the_first_failure(store: Store) -> None:
    events = events_of(jobs(EXITS, 5, 6), store, options=RunOptions("cpu", fail_fast=True))
    assert [type(event) for event in events] == [Started, Progressed, Finished]
    assert store.ids() == [jobs(EXITS)[0].trial.id]
    assert not active_children()


def test_a_trial_that_hangs_fails_and_the_rest_continue(store: Store) -> None:
    wanted = jobs(SLOW, 5)
    options = RunOptions("cpu", trial_timeout=0.4)
    finished = {event.trial_id: event for event in events_of(wanted, store, 1, options) if isinstance(event, Finished)}
    assert finished[wanted[0].trial.id].problem == "it took longer than 0 s"
    assert 0.4 <= finished[wanted[0].trial.id].seconds < 2.0
    assert "1,1" in finished[wanted[1].trial.id].problem, "the pretended worker's normal answer"
    record = store.read(wanted[0].trial.id)
    assert record is not None
    assert record.failure is not None
    assert record.failure.kind == "TimedOut"


def test_workers_are_spread_over_the_gpus(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "untouched")
    options = RunOptions("cuda", gpus=("0", "GPU-7"))
    events = events_of(jobs(SLOW, SLOW + 100, SLOW + 200, SLOW + 300), store, 4, options)
    places = {event.stage for event in events if isinstance(event, Progressed)}
    assert sorted(place.partition(" on ")[2] for place in places) == ["0", "0", "GPU-7", "GPU-7"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "untouched"


def test_asked_to_stop_it_begins_nothing(store: Store) -> None:
    assert events_of(jobs(5, 6), store, 2, should_stop=lambda: True) == []
    assert store.ids() == []


def test_asked_to_stop_it_suspends_what_is_under_way_and_nothing_has_failed(store: Store) -> None:
    events: list[Event] = []

    def should_stop() -> bool:
        return any(isinstance(event, Progressed) for event in events)

    run_in_workers(jobs(STAYS, 5, 6), store, CPU, events.append, should_stop, 1)
    assert [type(event) for event in events] == [Started, Progressed, Suspended]
    assert store.ids() == []
    assert not active_children()


def test_a_worker_that_something_else_stops_costs_nothing(store: Store) -> None:
    events = events_of(jobs(STOPPED_EARLY, 5), store)
    assert [event.trial_id for event in events if isinstance(event, Finished)] == [
        job.trial.id for job in jobs(STOPPED_EARLY, 5)
    ]
    assert store.ids() == []


def test_trials_of_others_can_be_left_to_them(store: Store) -> None:
    options = RunOptions("cpu", wait_for_others=False)
    events = events_of(jobs(TAKEN, 5), store, 1, options)
    assert [event.trial_id for event in events if isinstance(event, Waiting)] == [jobs(TAKEN)[0].trial.id]
    assert [event.trial_id for event in events if isinstance(event, Finished)] == [jobs(5)[0].trial.id]


def test_signals_and_time_say_when_to_stop() -> None:
    before = signal.getsignal(signal.SIGUSR2)
    with StopRequest() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGUSR2)
        assert stop()
        assert stop.exit_code == TIME_IS_UP
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.exit_code == TERMINATED
    assert signal.getsignal(signal.SIGUSR2) is before
    assert StopRequest(0.0)()
    assert StopRequest(0.0).exit_code == TIME_IS_UP
    assert not StopRequest(60.0)()

"""The launcher of worker processes, with workers that only pretend to train."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import active_children
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from mlabench.running import pool as local
from mlabench.running.events import Finished, Left, Progressed, Started, Waiting
from mlabench.running.pool import launch
from mlabench.store.records import Store
from mlabench.training.job import Job, RunOptions
from mlabench.training.stopping import TERMINATED, TIME_IS_UP, StopRequest
from tests.records import make_trial

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
CPU = RunOptions("cpu")
#: Seeds whose trials end badly, last until their worker is told to leave, or are somebody else's.
EXITS, KILLED, DIES_IDLE, SLOW, TOLD_EARLY, STAYS, TAKEN = 1, 2, 3, 4, 10, 11, 12


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture(autouse=True)
def pretence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "work", pretend)


def pretend(connection: Connection, root: Path, options: RunOptions) -> None:
    """A worker: says which process it is, and how many threads its libraries may have."""
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        if job.trial.seed == TOLD_EARLY and not root.exists():
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
    """Does nothing until told to leave."""
    with StopRequest() as stop:
        connection.send(Progressed(trial_id, "ready", 0, 1))
        while not stop():
            time.sleep(0.01)
    connection.send(Left(trial_id))


def jobs(*seeds: int) -> list[Job]:
    trials = [make_trial(seed=seed) for seed in seeds]
    return [Job(trial, (trial.missing,)) for trial in trials]


def test_one_worker_takes_the_jobs_in_order(store: Store) -> None:
    wanted = jobs(7, 5, 6)
    events = list(launch(wanted, store, CPU, workers=1))
    started = [event for event in events if isinstance(event, Progressed)]
    assert [event.trial_id for event in started] == [job.trial.id for job in wanted]
    assert len({event.stage for event in started}) == 1, "the worker is kept"
    assert int(started[0].stage.split()[0]) != os.getpid()
    assert [event.trial_id for event in events if isinstance(event, Finished)] == [job.trial.id for job in wanted]


def test_workers_have_one_thread_and_their_parent_keeps_its_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    for name in THREADS[1:]:
        monkeypatch.delenv(name, raising=False)
    finished = [event for event in launch(jobs(5), store, CPU, 1) if isinstance(event, Finished)]
    assert [event.problem for event in finished] == ["1,1,1,1"]
    assert [os.environ.get(name) for name in THREADS] == ["7", None, None, None]


def test_no_more_workers_than_jobs(store: Store) -> None:
    events = list(launch(jobs(5, 6), store, CPU, workers=8))
    assert len({event.stage for event in events if isinstance(event, Progressed)}) <= 2
    assert len([event for event in events if isinstance(event, Finished)]) == 2
    assert list(launch([], store, CPU, workers=8)) == []


@pytest.mark.parametrize(
    ("seed", "problem"),
    [
        (EXITS, "the worker process exited with code 3"),
        (KILLED, "the worker process was killed by signal SIGKILL; the machine may have run out of memory"),
    ],
)
def test_a_worker_that_dies_costs_one_trial(seed: int, problem: str, store: Store) -> None:
    wanted = jobs(5, seed, 6)
    events = list(launch(wanted, store, CPU, workers=1))
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
    events = list(launch(jobs(DIES_IDLE, *others), store, CPU, workers=2))
    finished = {event.trial_id for event in events if isinstance(event, Finished)}
    assert finished == {job.trial.id for job in jobs(DIES_IDLE, *others)}


def test_closing_it_ends_the_workers(store: Store) -> None:
    events = launch(jobs(5, 6, 7), store, CPU, workers=2)
    next(events)
    assert active_children()
    events.close()
    assert not active_children()


def test_a_trial_that_hangs_has_failed_and_the_rest_go_on(store: Store) -> None:
    wanted = jobs(SLOW, 5)
    options = RunOptions("cpu", trial_timeout=0.4)
    finished = {event.trial_id: event for event in launch(wanted, store, options, 1) if isinstance(event, Finished)}
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
    events = launch(jobs(SLOW, SLOW + 100, SLOW + 200, SLOW + 300), store, options, workers=4)
    places = {event.stage for event in events if isinstance(event, Progressed)}
    assert sorted(place.partition(" on ")[2] for place in places) == ["0", "0", "GPU-7", "GPU-7"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "untouched"


def test_told_to_leave_it_begins_nothing(store: Store) -> None:
    assert list(launch(jobs(5, 6), store, CPU, 2, lambda: True)) == []
    assert store.ids() == []


def test_told_to_leave_it_leaves_what_is_under_way_and_nothing_has_failed(store: Store) -> None:
    told: list[bool] = []
    events = []
    for event in launch(jobs(STAYS, 5, 6), store, CPU, 1, lambda: bool(told)):
        events.append(event)
        if isinstance(event, Progressed):
            told.append(True)
    assert [type(event) for event in events] == [Started, Progressed, Left]
    assert store.ids() == []
    assert not active_children()


def test_a_worker_that_is_told_to_leave_by_somebody_else_costs_nothing(store: Store) -> None:
    events = list(launch(jobs(TOLD_EARLY, 5), store, CPU, workers=1))
    assert [event.trial_id for event in events if isinstance(event, Finished)] == [
        job.trial.id for job in jobs(TOLD_EARLY, 5)
    ]
    assert store.ids() == []


def test_trials_of_others_can_be_left_to_them(store: Store) -> None:
    options = RunOptions("cpu", wait_for_others=False)
    events = list(launch(jobs(TAKEN, 5), store, options, workers=1))
    assert [event.trial_id for event in events if isinstance(event, Waiting)] == [jobs(TAKEN)[0].trial.id]
    assert [event.trial_id for event in events if isinstance(event, Finished)] == [jobs(5)[0].trial.id]


def test_signals_and_time_say_when_to_leave() -> None:
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

"""Jobs in this process: the same records as from workers, and the process stays as it was."""

from __future__ import annotations

import os
import shutil
import sys
from bdb import BdbQuit
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from mlabench.errors import UserError
from mlabench.running import Session
from mlabench.running import inline as module
from mlabench.running.events import Event, Finished, Progressed, Started, Suspended, Waiting
from mlabench.running.inline import run_inline
from mlabench.store.leases import claim, holders
from mlabench.store.records import Store
from mlabench.training import SuspendedError
from mlabench.training.job import Job, RunOptions
from mlabench.trial import Trial
from tests.command_line import SMALL, invoke, lasting
from tests.training.test_one_trial import small_trial

CPU = RunOptions("cpu", checkpoint_every=1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def job(seed: int = 0, epochs: int = 2) -> Job:
    trial = small_trial(seed=seed, epochs=epochs)
    return Job(trial, (trial.missing,))


def events_of(
    jobs: list[Job], store: Store, options: RunOptions = CPU, should_stop: Callable[[], bool] = lambda: False
) -> list[Event]:
    events: list[Event] = []
    run_inline(jobs, store, options, events.append, should_stop)
    return events


def kinds(events: list[Event]) -> list[type[Event]]:
    return [type(event) for event in events]


def test_it_needs_no_workers_and_leaves_what_is_printed_alone(tmp_path: Path, small_results: Path) -> None:
    """That workers give the same records, test_command says."""
    suite, results = tmp_path / "small suite.yaml", tmp_path / "results"
    suite.write_text(SMALL)
    done = invoke("run", suite, "--results", results, "--jobs", "0", "--seeds", "0", "--rates", "0")
    assert done.returncode == 0, done.stderr
    assert "2 trials to run, 0 reused, in this process." in done.stdout
    assert not (results / "logs").exists()
    assert not list((results / "leases").iterdir())
    assert lasting(results).items() <= lasting(small_results).items()


def test_events_come_as_things_happen(store: Store) -> None:
    seen_at: list[int] = []

    def tell(event: Event) -> None:
        events.append(event)
        if isinstance(event, Progressed):
            seen_at.append(len(store.ids()))

    events: list[Event] = []
    run_inline([job(0), job(1)], store, CPU, tell, lambda: False)
    assert kinds(events) == [Started, Progressed, Progressed, Finished] * 2
    assert [event.done for event in events if isinstance(event, Progressed)] == [1, 2, 1, 2]
    assert seen_at == [0, 0, 1, 1]


def test_the_process_stays_as_it_was(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    threads, before = torch.get_num_threads(), dict(os.environ)
    torch.set_num_threads(2)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    inside: list[object] = []

    def tell(event: Event) -> None:
        inside.append((torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]))

    try:
        run_inline([job()], store, CPU, tell, lambda: False)
        assert set(inside) == {(1, "1")}
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.rand(3), expected)
        assert sys.float_info.min / 2 > 0, "subnormal numbers are not flushed to zero"
        assert dict(os.environ) == before
        torch.set_flush_denormal(True)
        events_of([job()], store)
        assert sys.float_info.min / 2 == 0
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)


def test_what_goes_wrong_is_a_failed_record(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlabench.training import one_trial

    original = one_trial.load_data

    def misbehave(trial: Trial) -> object:
        if trial.seed == 1:
            raise ArithmeticError("nothing adds up")
        if trial.seed == 2:
            sys.exit(3)
        return original(trial)

    monkeypatch.setattr(one_trial, "load_data", misbehave)
    wanted = [job(1), job(2), job(0)]
    problems = [event.problem for event in events_of(wanted, store) if isinstance(event, Finished)]
    assert problems == ["ArithmeticError: nothing adds up", "the trial exited with code 3", ""]
    assert [record.status for one in wanted if (record := store.read(one.trial.id))] == ["failed", "failed", "ok"]
    fast = Store(store.root.with_name("fast"))
    events = events_of(wanted, fast, RunOptions("cpu", fail_fast=True))
    assert kinds(events) == [Started, Finished]
    assert len(fast.ids()) == 1


def test_quitting_the_debugger_ends_the_run_and_no_trial_has_failed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlabench.training import one_trial

    def quit_debugger(trial: Trial) -> object:
        raise BdbQuit

    monkeypatch.setattr(one_trial, "load_data", quit_debugger)
    with pytest.raises(BdbQuit):
        events_of([job()], store)
    assert store.ids() == []
    assert not list((store.root / "leases").iterdir())


def test_asked_to_stop_it_saves_the_trial_and_resumes_to_the_same_result(store: Store) -> None:
    wanted = job(epochs=4)
    straight = Store(store.root.with_name("straight"))
    events_of([wanted], straight)
    events: list[Event] = []
    stop_after = Progressed(wanted.trial.id, "train", 2, 4)
    run_inline([wanted, job(1)], store, CPU, events.append, lambda: stop_after in events)
    assert kinds(events) == [Started, Progressed, Progressed, Suspended]
    assert store.ids() == []
    assert events_of([wanted], store, should_stop=lambda: True) == []
    resumed = [event.done for event in events_of([wanted], store) if isinstance(event, Progressed)]
    assert resumed == [4], "the third epoch was under way when the second was reported"
    assert lasting(store.root) == lasting(straight.root)


def test_a_session_that_is_stopped_says_so(store: Store) -> None:
    told: list[bool] = []

    def should_stop() -> bool:
        told.append(True)
        return len(told) > 2

    session = Session(store, Console(quiet=True), 0, CPU, should_stop)
    from mlabench.running import run_jobs

    with pytest.raises(SuspendedError):
        run_jobs("some", [job(), job(1)], 0, session)


def test_interrupted_it_holds_no_lease(store: Store) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Progressed):
            assert list(holders(store.root)) == [event.trial_id]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_inline([job()], store, CPU, interrupt, lambda: False)
    assert not list((store.root / "leases").iterdir())
    assert store.ids() == []


def test_a_trial_that_another_process_is_on_comes_last(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = job(0), job(1)
    lease = claim(store.root, first.trial.id)
    assert lease is not None
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    events: list[Event] = []

    def tell(event: Event) -> None:
        events.append(event)
        if isinstance(event, Finished) and event.trial_id == second.trial.id:
            lease.release()

    run_inline([first, second], store, CPU, tell, lambda: False)
    assert [event.trial_id for event in events if isinstance(event, Finished)] == [second.trial.id, first.trial.id]
    assert events[0] == Waiting(first.trial.id)
    lease = claim(store.root, first.trial.id)
    assert lease is not None
    assert kinds(events_of([first], store, RunOptions("cpu", wait_for_others=False))) == [Waiting]
    lease.release()


def test_what_another_process_has_done_meanwhile_is_taken(store: Store, tmp_path: Path) -> None:
    wanted = job()
    events_of([wanted], store)
    (event,) = events_of([wanted], store)
    assert isinstance(event, Finished)
    assert event.by_another
    shutil.rmtree(store.folder(wanted.trial.id))
    assert kinds(events_of([wanted], store))[-1] == Finished


def test_a_timeout_needs_a_worker(tmp_path: Path) -> None:
    suite = tmp_path / "small suite.yaml"
    suite.write_text(SMALL)
    results = tmp_path / "results"
    done = invoke("run", suite, "--results", results, "--jobs", "0", "--trial-timeout", "5")
    assert done.returncode == 2
    assert "--trial-timeout: a trial that runs in this process" in done.stderr
    assert not results.exists()
    with pytest.raises(UserError, match="--trial-timeout"):
        Session(Store(results), Console(quiet=True), 0, RunOptions("cpu", trial_timeout=5.0))

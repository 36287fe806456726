"""Running suites through the real entry point: parallel, interrupted, killed, failing, resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlabench.store.leases import holders
from mlabench.store.records import MODEL, RECORD, Store
from tests.command_line import SMALL, alive, lasting, mlabench, start

TRIALS = 8


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "small suite.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder made in one go, by one worker."""
    folder = tmp_path_factory.mktemp("unbroken")
    path = folder / "small suite.yaml"
    path.write_text(SMALL)
    done = mlabench("run", path, "--results", folder / "results", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert len(Store(folder / "results").ids()) == TRIALS
    return folder / "results"


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "the run ended too soon"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def running(results: Path) -> list[int]:
    """Process ids of the workers that are on a trial."""
    pids = []
    for path in (results / "leases").glob("*.json"):
        try:
            pids.append(json.loads(path.read_text())["pid"])
        except (OSError, ValueError):
            continue
    return pids


def test_two_workers_give_the_same_records_as_one(suite: Path, tmp_path: Path, unbroken: Path):
    done = mlabench("run", suite, "--results", tmp_path / "two", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert lasting(tmp_path / "two") == lasting(unbroken)


def test_a_second_run_does_nothing_and_says_so(suite: Path, unbroken: Path):
    before = {path: path.stat().st_mtime_ns for path in unbroken.rglob(RECORD)}
    done = mlabench("run", suite, "--results", unbroken)
    assert done.returncode == 0
    assert "all 8 trials are done, nothing to run" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in unbroken.rglob(RECORD)}


def test_killed_and_resumed_gives_the_same_records(suite: Path, tmp_path: Path, unbroken: Path):
    results = tmp_path / "results"
    process = start("run", suite, "--results", results, "--jobs", "2")
    wait_for(lambda: len(Store(results).ids()) >= 2 and bool(running(results)), process)
    workers = running(results)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(Store(results).ids()) < TRIALS
    for pid in workers:  # orphaned workers notice that nobody listens, and leave
        deadline = time.monotonic() + 60
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
    done = mlabench("run", suite, "--results", results, "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert lasting(results) == lasting(unbroken)


def test_progress_can_be_watched_from_elsewhere(suite: Path, tmp_path: Path):
    results = tmp_path / "results"
    only = ("--method", "mla", "--seeds", "0", "--rates", "0.5", "--set", "training.epochs=300")
    process = start("run", suite, "--results", results, "--quiet", "--logger", "tensorboard", *only)

    def watched() -> bool:
        return any(holder.done for holder in holders(results).values())

    wait_for(watched, process)
    (status,) = json.loads(mlabench("status", suite, "--results", results, "--json").stdout)
    assert status["missing"] == TRIALS, "the suite itself asks for other trials"
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == "interrupted; run the same command again to resume\n"
    (log,) = (results / "events").glob("*.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events[:3]] == ["run", "started", "progressed"]
    assert events[2]["total"] == 300
    assert len(list((results / "curves" / "tensorboard").glob("*seed0*/events*"))) == 1


def test_interrupted_stops_cleanly_and_resumes(suite: Path, tmp_path: Path, unbroken: Path):
    results = tmp_path / "results"
    process = start("run", suite, "--results", results, "--jobs", "2")
    wait_for(lambda: bool(Store(results).ids()) and bool(running(results)), process)
    workers = running(results)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "resume" in output
    assert "Traceback" not in output
    assert not any(alive(pid) for pid in workers)
    assert not running(results), "its markers would pass for live trials once the process ids are used again"
    assert mlabench("run", suite, "--results", results).returncode == 0
    assert lasting(results) == lasting(unbroken)


def test_a_killed_worker_costs_one_trial_only(suite: Path, tmp_path: Path):
    results = tmp_path / "results"
    process = start("run", suite, "--results", results, "--jobs", "1")
    wait_for(lambda: bool(running(results)), process)
    os.kill(running(results)[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 1, output
    records = list(Store(results).records())
    assert len(records) == TRIALS
    (failed,) = [record for record in records if record.status == "failed"]
    assert failed.failure is not None
    assert "SIGKILL" in failed.failure.message
    assert mlabench("run", suite, "--results", results).returncode == 1, "a failed trial stays failed until asked for"
    assert mlabench("run", suite, "--results", results, "--overwrite", "failed").returncode == 0


def test_a_failing_method_is_recorded_and_the_rest_go_on(suite: Path, tmp_path: Path):
    results = tmp_path / "results"
    unequal = "encoders={audio: {name: mlp, width: 16}, image: mlp, text: mlp}"
    done = mlabench("run", suite, "--results", results, "--set", unequal)
    assert done.returncode == 1
    records = list(Store(results).records())
    assert {record.trial.method.name: record.status for record in records} == {"concat": "ok", "mla": "failed"}
    failure = next(record.failure for record in records if record.failure)
    assert failure.kind == "ValueError"
    assert "equal width" in failure.message
    assert "mla" in failure.traceback
    assert "failed" in done.stdout


def test_fail_fast_stops_at_the_first_failure(suite: Path, tmp_path: Path):
    results = tmp_path / "results"
    unequal = "encoders={audio: {name: mlp, width: 16}, image: mlp, text: mlp}"
    done = mlabench("run", suite, "--results", results, "--set", unequal, "--fail-fast", "--jobs", "1")
    assert done.returncode == 1
    assert sum(record.status == "failed" for record in Store(results).records()) == 1


def test_a_corrupt_record_is_set_aside_and_run_again(suite: Path, tmp_path: Path, unbroken: Path):
    results = tmp_path / "results"
    assert mlabench("run", suite, "--results", results).returncode == 0
    victim = Store(results).ids()[0]
    path = results / "trials" / victim / RECORD
    path.write_bytes(path.read_bytes()[:200])
    done = mlabench("run", suite, "--results", results)
    assert done.returncode == 0
    assert victim in done.stderr
    assert "1 trial to run, 7 reused" in done.stdout
    assert lasting(results) == lasting(unbroken)


@pytest.mark.parametrize("kept", [True, False], ids=["kept weights", "trained again"])
def test_new_test_patterns_are_added_to_a_record(suite: Path, tmp_path: Path, unbroken: Path, kept: bool):
    results = tmp_path / "results"
    only = ("--method", "mla", "--seeds", "0", "--rates", "0.5")
    assert mlabench("run", suite, "--results", results, *only).returncode == 0
    (trial,) = Store(results).ids()
    before = Store(results).read(trial)
    assert before is not None
    if not kept:
        (results / "trials" / trial / MODEL).unlink()
    both = ("--set", "missing.evaluate=[diagonal, subsets]")
    assert mlabench("run", suite, "--results", results, *only, *both).returncode == 0
    after = Store(results).read(trial)
    assert after is not None
    assert after.curves == before.curves
    assert len(after.evaluations) == 1 + 7
    assert after.evaluations["balanced-0.5"] == before.evaluations["balanced-0.5"]
    complete = next(record for record in Store(unbroken).records() if record.trial.id == trial)
    assert after.evaluations["balanced-0.5"] == complete.evaluations["balanced-0.5"]


def test_status_and_plan_count_from_the_store(suite: Path, unbroken: Path, tmp_path: Path):
    (status,) = json.loads(mlabench("status", suite, "--results", unbroken, "--json").stdout)
    assert status == {
        "suite": str(suite),
        "done": 8,
        "incomplete": 0,
        "failed": 0,
        "running": 0,
        "missing": 0,
        "stale": 0,
        "seconds_left": 0.0,
        "running_trials": [],
        "failed_trials": [],
    }
    rows = json.loads(mlabench("plan", suite, "--results", tmp_path / "nothing", "--json").stdout)
    assert [row["state"] for row in rows] == ["missing"] * TRIALS
    assert "about" in mlabench("plan", suite, "--results", unbroken, "--seeds", "0-3").stdout


def test_show_prints_one_record(unbroken: Path):
    trial = Store(unbroken).ids()[0]
    content = json.loads(mlabench("show", trial, "--results", unbroken).stdout)
    assert content["status"] == "ok"
    assert mlabench("show", "nothing", "--results", unbroken).returncode == 2


def test_report_writes_tables_and_figures(unbroken: Path, tmp_path: Path):
    done = mlabench("report", unbroken, "--out", tmp_path / "report", "--include-limited")
    assert done.returncode == 0, done.stderr
    suffixes = {path.suffix for path in (tmp_path / "report").rglob("*") if path.is_file()}
    assert {".csv", ".md", ".tex", ".png", ".pdf"} <= suffixes


def test_compare_finds_what_two_folders_share_and_where_they_differ(suite: Path, unbroken: Path, tmp_path: Path):
    same = mlabench("report", "--compare", unbroken, unbroken)
    assert same.returncode == 0, same.stderr
    assert "8 trials in both folders, all with the same accuracies to the bit." in same.stdout
    changed = tmp_path / "changed"
    shutil.copytree(unbroken, changed)
    store = Store(changed)
    record = next(iter(store.records()))
    evaluation = next(iter(record.evaluations.values()))
    scores = evaluation.multimodal.model_copy(update={"accuracy": evaluation.multimodal.accuracy - 0.1})
    evaluations = {
        **record.evaluations,
        evaluation.missing.key: evaluation.model_copy(update={"multimodal": scores}),
    }
    store.write(record.model_copy(update={"evaluations": evaluations}), store.predictions(record.trial.id))
    differ = mlabench("report", "--compare", unbroken, changed, "--out", tmp_path / "out")
    assert differ.returncode == 1
    assert "10.00 points" in differ.stdout
    assert record.trial.id in (tmp_path / "out" / "compare.md").read_text()


def test_published_numbers_of_ones_own_stand_in_the_report(unbroken: Path, tmp_path: Path):
    numbers = tmp_path / "mine.csv"
    numbers.write_text("table,dataset,method,metric,accuracy\nMLA-Table2,IEMOCAP,MLA,multi,not a number\n")
    wrong = mlabench("report", unbroken, "--published", numbers, "--out", tmp_path / "out")
    assert wrong.returncode == 2
    assert f"{numbers}:2: accuracy: " in wrong.stderr
    numbers.write_text("table,dataset,method,metric,accuracy\nMLA-Table2,IEMOCAP,MLA,multi,71.25\n")
    right = mlabench("report", unbroken, "--published", numbers, "--out", tmp_path / "out", "--include-limited")
    assert right.returncode == 0, right.stderr
    assert "71.25" in next((tmp_path / "out").rglob("published.csv")).read_text()
    assert "STAND-IN" in right.stdout


def test_the_page_says_by_which_command_it_was_made(suite: Path, unbroken: Path, tmp_path: Path):
    done = mlabench("run", suite, "--results", unbroken, "--jobs", "2")
    assert done.returncode == 0
    assert mlabench("report", unbroken, "--out", tmp_path / "report", "--include-limited").returncode == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert f"mlabench run &#x27;{suite}&#x27; --results {unbroken} --jobs 2" in page


def test_two_runs_at_once_share_the_work(suite: Path, tmp_path: Path, unbroken: Path):
    results = tmp_path / "results"
    both = [start("run", suite, "--results", results, "--jobs", "1") for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert lasting(results) == lasting(unbroken)
    trained = [line for output in outputs for line in output.splitlines() if " left" in line and "/" in line]
    assert len({line.split()[1] for line in trained}) == len(trained) == TRIALS, "no trial is run twice"
    assert not list((results / "leases").iterdir())


def test_a_trial_that_another_machine_is_on_comes_last(suite: Path, tmp_path: Path, unbroken: Path):
    results = tmp_path / "results"
    first = Store(unbroken).ids()[0]
    lease = results / "leases" / f"{first}.json"
    lease.parent.mkdir(parents=True)
    lease.write_text(json.dumps({"host": "elsewhere/1", "pid": 1, "born": 0.0, "token": "t", "began": 0.0}))
    process = start("run", suite, "--results", results, "--jobs", "1")
    wait_for(lambda: len(Store(results).ids()) == TRIALS - 1 and not running(results)[1:], process)
    time.sleep(2.0)
    assert process.poll() is None
    os.utime(lease, (time.time() - 3600,) * 2)  # it has fallen silent
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert f"another process is working on {first}" in output
    assert lasting(results) == lasting(unbroken)


def test_a_crash_between_two_renames_loses_nothing(suite: Path, tmp_path: Path, unbroken: Path):
    results = tmp_path / "results"
    shutil.copytree(unbroken, results)
    store, victim = Store(results), Store(results).ids()[0]
    store.folder(victim).rename(store.trials / f".{victim}.old")
    (store.trials / f".{victim}.abc.tmp").mkdir()
    done = mlabench("run", suite, "--results", results)
    assert done.returncode == 0, done.stderr
    assert lasting(results) == lasting(unbroken)
    assert sorted(path.name for path in store.trials.iterdir()) == Store(unbroken).ids()


@pytest.mark.parametrize("how", ["killed", "told to leave"])
def test_a_trial_stopped_in_the_middle_goes_on_from_its_last_epochs(suite: Path, tmp_path: Path, how: str):
    long = (
        "--method",
        "mla",
        "--seeds",
        "0",
        "--rates",
        "0.5",
        "--set",
        "training.epochs=40",
        "--checkpoint-every",
        "1",
    )
    straight, results = tmp_path / "straight", tmp_path / "results"
    assert mlabench("run", suite, "--results", straight, *long).returncode == 0
    process = start("run", suite, "--results", results, "--jobs", "1", *long)
    wait_for(lambda: any((results / "checkpoints").glob("stamps-*seed0-*")) and bool(running(results)), process)
    if how == "killed":
        os.kill(running(results)[0], signal.SIGKILL)
        output, _ = process.communicate(timeout=60)
        assert "SIGKILL" in output
    else:
        os.kill(process.pid, signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM, output
        assert "stopped by signal or time budget; run the same command to resume" in output
        assert not Store(results).ids(), "nothing has failed"
        assert mlabench("run", suite, "--results", results, *long, "--time-budget", "0").returncode == 75
    assert mlabench("run", suite, "--results", results, *long, "--retry-failed").returncode == 0
    assert lasting(results) == lasting(straight)
    (record,) = Store(results).records()
    assert 1 <= record.cost["epochs_resumed"] < 40
    assert not list((results / "checkpoints").iterdir())


def test_trials_that_take_too_long_fail_and_can_be_tried_again(suite: Path, tmp_path: Path, unbroken: Path):
    results = tmp_path / "results"
    only = ("--method", "mla", "--seeds", "0", "--results", results, "--jobs", "1")
    done = mlabench("run", suite, *only, "--trial-timeout", "0.05")
    assert done.returncode == 1
    assert {record.failure.kind for record in Store(results).records() if record.failure} == {"TimedOut"}
    assert "it took longer than" in done.stdout
    assert mlabench("run", suite, *only, "--retry-failed").returncode == 0
    assert all(content == lasting(unbroken)[trial] for trial, content in lasting(results).items())

"""Running suites by the command: in parallel, interrupted, killed, failing, resumed."""

from __future__ import annotations

import html
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlabench.store.leases import holders
from mlabench.store.records import MODEL, RECORD, Store
from tests.command_line import SMALL, alive, invoke, lasting, start

TRIALS = 8
UNEQUAL = ("--set", "encoders={audio: {name: mlp, width: 16}, image: mlp, text: mlp}")
#: One trial of the suite, and one that is long enough to be stopped in the middle.
ONE = ("--method", "mla", "--seeds", "0", "--rates", "0.5")
LONG = (*ONE, "--set", "training.epochs=40", "--checkpoint-every", "1")


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "small suite.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def long_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The long trial, run in one go."""
    folder = tmp_path_factory.mktemp("long")
    (folder / "small suite.yaml").write_text(SMALL)
    done = invoke("run", folder / "small suite.yaml", "--results", folder / "results", "--jobs", "0", *LONG)
    assert done.returncode == 0, done.stderr
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


def test_two_workers_give_the_same_records_as_none(suite: Path, tmp_path: Path, small_results: Path):
    done = invoke("run", suite, "--results", tmp_path / "two", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert lasting(tmp_path / "two") == lasting(small_results)


def test_a_second_run_does_nothing_and_says_so(suite: Path, small_copy: Path):
    before = {path: path.stat().st_mtime_ns for path in small_copy.rglob(RECORD)}
    done = invoke("run", suite, "--results", small_copy)
    assert done.returncode == 0
    assert "all 8 trials are done, nothing to run" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in small_copy.rglob(RECORD)}


def test_killed_and_resumed_gives_the_same_records(suite: Path, tmp_path: Path, small_results: Path):
    results = tmp_path / "results"
    process = start("run", suite, "--results", results, "--jobs", "1")
    wait_for(lambda: len(Store(results).ids()) >= 2 and bool(running(results)), process)
    workers = running(results)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(Store(results).ids()) < TRIALS
    for pid in workers:  # orphaned workers notice that their parent is gone, and end
        deadline = time.monotonic() + 60
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
    done = invoke("run", suite, "--results", results, "--jobs", "0")
    assert done.returncode == 0, done.stderr
    assert lasting(results) == lasting(small_results)


def test_progress_can_be_watched_from_elsewhere(suite: Path, tmp_path: Path):
    results = tmp_path / "results"
    more = ("--set", "training.epochs=5000", "--jobs", "0", "--quiet", "--logger", "tensorboard")
    process = start("run", suite, "--results", results, *ONE, *more)

    def watched() -> bool:
        return any(holder.done for holder in holders(results).values())

    wait_for(watched, process)
    (status,) = json.loads(invoke("status", suite, "--results", results, "--json").stdout)
    assert status["missing"] == TRIALS, "the suite itself asks for other trials"
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == "interrupted; run the same command again to resume\n"
    (log,) = (results / "events").glob("*.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events[:3]] == ["run", "started", "progressed"]
    assert events[2]["total"] == 5000
    assert len(list((results / "curves" / "tensorboard").glob("*seed0*/events*"))) == 1


@pytest.mark.slow
def test_interrupted_stops_cleanly_and_resumes(suite: Path, tmp_path: Path, small_results: Path):
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
    assert invoke("run", suite, "--results", results, "--jobs", "0").returncode == 0
    assert lasting(results) == lasting(small_results)


def test_a_killed_worker_costs_one_trial_only(suite: Path, tmp_path: Path):
    results = tmp_path / "results"
    some = ("--results", results, "--seeds", "0", "--rates", "0.5")
    process = start("run", suite, "--jobs", "1", *some)
    wait_for(lambda: bool(running(results)), process)
    os.kill(running(results)[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 1, output
    records = list(Store(results).records())
    assert len(records) == 2
    (failed,) = [record for record in records if record.status == "failed"]
    assert failed.failure is not None
    assert "SIGKILL" in failed.failure.message
    assert invoke("run", suite, *some).returncode == 1, "a failed trial stays failed until asked for"
    assert invoke("run", suite, *some, "--jobs", "0", "--overwrite", "failed").returncode == 0


def test_a_failing_method_is_recorded_and_the_rest_continue(suite: Path, tmp_path: Path):
    results = tmp_path / "results"
    done = invoke("run", suite, "--results", results, *UNEQUAL, "--jobs", "0", "--seeds", "0", "--rates", "0.5")
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
    done = invoke("run", suite, "--results", results, *UNEQUAL, "--fail-fast", "--jobs", "0", "--method", "mla")
    assert done.returncode == 1
    assert sum(record.status == "failed" for record in Store(results).records()) == 1


def test_a_corrupt_record_is_set_aside_and_run_again(suite: Path, small_copy: Path, small_results: Path):
    results = small_copy
    victim = Store(results).ids()[0]
    path = results / "trials" / victim / RECORD
    path.write_bytes(path.read_bytes()[:200])
    done = invoke("run", suite, "--results", results, "--jobs", "0")
    assert done.returncode == 0
    assert victim in done.stderr
    assert "1 trial to run, 7 reused" in done.stdout
    assert lasting(results) == lasting(small_results)


@pytest.mark.parametrize("kept", [True, False], ids=["kept weights", "trained again"])
def test_new_test_patterns_are_added_to_a_record(suite: Path, small_copy: Path, tmp_path: Path, kept: bool):
    store = Store(small_copy)
    before = next(record for record in store.records() if record.trial.id.startswith("stamps-mla-balanced-0.5-seed0"))
    if not kept:
        (store.folder(before.trial.id) / MODEL).unlink()
    both = ("--set", "missing.evaluate=[diagonal, subsets]")
    assert invoke("run", suite, "--results", small_copy, "--jobs", "0", *ONE, *both).returncode == 0
    after = store.read(before.trial.id)
    assert after is not None
    assert after.curves == before.curves
    assert len(after.evaluations) == 1 + 7
    assert after.evaluations["balanced-0.5"] == before.evaluations["balanced-0.5"]
    unbroken = tmp_path / "unbroken"  # asked for all patterns from the start
    assert invoke("run", suite, "--results", unbroken, "--jobs", "0", *ONE, *both).returncode == 0
    assert lasting(unbroken) == {before.trial.id: lasting(small_copy)[before.trial.id]}


def test_status_and_plan_count_from_the_store(suite: Path, small_results: Path, tmp_path: Path):
    (status,) = json.loads(invoke("status", suite, "--results", small_results, "--json").stdout)
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
    rows = json.loads(invoke("plan", suite, "--results", tmp_path / "nothing", "--json").stdout)
    assert [row["state"] for row in rows] == ["missing"] * TRIALS
    assert "about" in invoke("plan", suite, "--results", small_results, "--seeds", "0-3").stdout


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--until-width", "99"), "Until all intervals are within ±99 points: about 2 seeds: 8 trials, 0 to run"),
        (("--until-width", "0.01"), "it may well take more than the 10 seeds that are allowed."),
        (("--until-width", "0.01", "--max-repeats", "3"), "more than the 3 seeds that are allowed."),
        (("--until-width", "5", "--seeds", "7"), "at most 10 seeds; a better estimate takes two or more seeds"),
    ],
)
def test_plan_foresees_how_many_seeds_make_intervals_narrow(
    suite: Path, small_results: Path, asked: tuple[str, ...], said: str
) -> None:
    shown = " ".join(invoke("plan", suite, "--results", small_results, *asked).stdout.split())
    assert said in shown


@pytest.mark.parametrize(
    "asked", [("--until-width", "0"), ("--max-repeats", "0"), ("--until-width", "100"), ("--keep", "model")]
)
def test_options_that_make_no_sense(suite: Path, asked: tuple[str, str]) -> None:
    refused = invoke("run", suite, *asked)
    assert refused.returncode == 2
    assert asked[0] in refused.stderr


def test_show_prints_one_record(small_results: Path):
    trial = Store(small_results).ids()[0]
    content = json.loads(invoke("show", trial, "--results", small_results).stdout)
    assert content["status"] == "ok"
    assert invoke("show", "nothing", "--results", small_results).returncode == 2


def test_report_writes_tables_and_figures(small_results: Path, tmp_path: Path):
    done = invoke("report", small_results, "--out", tmp_path / "report", "--include-limited")
    assert done.returncode == 0, done.stderr
    suffixes = {path.suffix for path in (tmp_path / "report").rglob("*") if path.is_file()}
    assert {".csv", ".md", ".tex", ".png", ".pdf"} <= suffixes


def test_compare_finds_what_two_folders_share_and_where_they_differ(suite: Path, small_results: Path, tmp_path: Path):
    same = invoke("report", "--compare", small_results, small_results)
    assert same.returncode == 0, same.stderr
    assert "8 trials in both folders, all with the same accuracies to the bit." in same.stdout
    changed = tmp_path / "changed"
    shutil.copytree(small_results, changed)
    store = Store(changed)
    record = next(iter(store.records()))
    evaluation = next(iter(record.evaluations.values()))
    scores = evaluation.multimodal.model_copy(update={"accuracy": evaluation.multimodal.accuracy - 0.1})
    evaluations = {
        **record.evaluations,
        evaluation.missing.key: evaluation.model_copy(update={"multimodal": scores}),
    }
    store.write(record.model_copy(update={"evaluations": evaluations}), store.predictions(record.trial.id))
    differ = invoke("report", "--compare", small_results, changed, "--out", tmp_path / "out")
    assert differ.returncode == 1
    assert "10.00 points" in differ.stdout
    assert record.trial.id in (tmp_path / "out" / "compare.md").read_text()


def test_published_numbers_of_ones_own_stand_in_the_report(small_results: Path, tmp_path: Path):
    numbers = tmp_path / "mine.csv"
    numbers.write_text("table,dataset,method,metric,accuracy\nMLA-Table2,IEMOCAP,MLA,multi,not a number\n")
    wrong = invoke("report", small_results, "--published", numbers, "--out", tmp_path / "out")
    assert wrong.returncode == 2
    assert f"{numbers}:2: accuracy: " in wrong.stderr
    numbers.write_text("table,dataset,method,metric,accuracy\nMLA-Table2,IEMOCAP,MLA,multi,71.25\n")
    right = invoke(
        "report", "--full", small_results, "--published", numbers, "--out", tmp_path / "out", "--include-limited"
    )
    assert right.returncode == 0, right.stderr
    assert "71.25" in next((tmp_path / "out").rglob("published.csv")).read_text()
    assert "STAND-IN" in right.stdout


def test_the_page_says_by_which_command_it_was_made(suite: Path, small_copy: Path, tmp_path: Path):
    done = invoke("run", suite, "--results", small_copy, "--jobs", "2")
    assert done.returncode == 0
    assert invoke("report", small_copy, "--out", tmp_path / "report", "--include-limited").returncode == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert f"mlabench run '{suite}' --results '{small_copy}' --jobs 2" in html.unescape(page)


@pytest.mark.slow
def test_two_runs_at_once_share_the_work(suite: Path, tmp_path: Path, small_results: Path):
    results = tmp_path / "results"
    both = [start("run", suite, "--results", results, "--jobs", "0") for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert lasting(results) == lasting(small_results)
    trained = [line for output in outputs for line in output.splitlines() if " left" in line and "/" in line]
    assert len({line.split()[1] for line in trained}) == len(trained) == TRIALS, "no trial is run twice"
    assert not list((results / "leases").iterdir())


def test_a_trial_that_another_machine_is_on_comes_last(suite: Path, small_copy: Path, small_results: Path):
    first, second = Store(small_copy).ids()[:2]
    for trial in (first, second):
        shutil.rmtree(small_copy / "trials" / trial)
    lease = small_copy / "leases" / f"{first}.json"
    lease.parent.mkdir(exist_ok=True)
    lease.write_text(json.dumps({"host": "elsewhere/1", "pid": 1, "born": 0.0, "token": "t", "began": 0.0}))

    def fall_silent() -> None:
        while second not in Store(small_copy).ids():
            time.sleep(0.02)
        time.sleep(1.5)
        assert first not in Store(small_copy).ids()
        os.utime(lease, (time.time() - 3600,) * 2)

    other = threading.Thread(target=fall_silent, daemon=True)
    other.start()
    done = invoke("run", suite, "--results", small_copy, "--jobs", "0")
    assert done.returncode == 0, done.stderr
    assert f"another process is working on {first}" in done.stdout
    finished = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(("1/2 ", "2/2 "))]
    assert finished == [second, first]
    assert lasting(small_copy) == lasting(small_results)


def test_a_crash_between_two_renames_loses_nothing(suite: Path, small_copy: Path, small_results: Path):
    results, store, victim = small_copy, Store(small_copy), Store(small_copy).ids()[0]
    store.folder(victim).rename(store.trials / f".{victim}.old")
    (store.trials / f".{victim}.abc.tmp").mkdir()
    done = invoke("run", suite, "--results", results)
    assert done.returncode == 0, done.stderr
    assert lasting(results) == lasting(small_results)
    assert sorted(path.name for path in store.trials.iterdir()) == Store(small_results).ids()


@pytest.mark.parametrize("how", ["killed", pytest.param("stopped", marks=pytest.mark.slow), "stopped inline"])
def test_a_trial_stopped_in_the_middle_resumes_from_its_last_epochs(
    suite: Path, tmp_path: Path, long_results: Path, how: str
):
    results = tmp_path / "results"
    process = start("run", suite, "--results", results, "--jobs", "0" if how == "stopped inline" else "1", *LONG)
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
        budget = invoke("run", suite, "--results", results, "--jobs", "0", *LONG, "--time-budget", "0")
        assert budget.returncode == 75
    assert invoke("run", suite, "--results", results, "--jobs", "0", *LONG, "--retry-failed").returncode == 0
    assert lasting(results) == lasting(long_results)
    (record,) = Store(results).records()
    assert 1 <= record.cost["epochs_resumed"] < 40
    assert not list((results / "checkpoints").iterdir())


@pytest.mark.slow  # the pool's own test of a trial that hangs is quick
def test_trials_that_take_too_long_fail_and_can_be_tried_again(suite: Path, tmp_path: Path, small_results: Path):
    results = tmp_path / "results"
    done = invoke("run", suite, *ONE, "--results", results, "--jobs", "1", "--trial-timeout", "0.05")
    assert done.returncode == 1
    assert {record.failure.kind for record in Store(results).records() if record.failure} == {"TimedOut"}
    assert "it took longer than" in done.stdout
    assert invoke("run", suite, *ONE, "--results", results, "--jobs", "0", "--retry-failed").returncode == 0
    assert lasting(results).items() <= lasting(small_results).items()

"""Trials that go wrong in every way we could think of: each is one failed record with its reason, the rest continue."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mlabench.errors import UserError
from mlabench.missing import Missing
from mlabench.store.leases import claim
from mlabench.store.records import Store
from mlabench.suite.plan import Plan, PlannedTrial
from mlabench.training.checkpoint import Checkpoints
from tests.command_line import invoke, lasting
from tests.records import make_record, make_trial
from tests.training.test_checkpoint import snapshot

PLUGIN = Path(__file__).with_name("misbehaving.py")
SUITE = """
dataset: stamps
encoders: mlp
methods: [{methods}]
seeds: {seeds}
limit: 60
training: {{epochs: 1, batch_size: 32}}
"""
#: What the method's record says.
REASONS = {
    "raising": "ArithmeticError: nothing adds up nor ever did",
    "unspeakable": r"OSError: no such file: caf\udce9.png",
    "exhausting": "MemoryError:",
    "allocating": "RuntimeError: ",
    "diverging": "TrainingDivergedError: the loss is {'loss': nan} in epoch 1 of stage 'train'",
    "babbling": "NotFiniteError: the fused prediction is not a finite number for some test samples",
    "quitting": "WorkerDied: the worker process exited with code 3",
    "hanging": "TimedOut: it took longer than 12 s",
}


def write_suite(folder: Path, *methods: str, seeds: str = "[0]") -> Path:
    path = folder / "wrong.yaml"
    path.write_text(SUITE.format(methods=", ".join(methods), seeds=seeds))
    return path


def test_whatever_goes_wrong_is_one_failed_record_with_its_reason(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "concat", *REASONS, "late_fusion")
    arguments = ("run", suite, "--results", tmp_path / "results", "--plugin", PLUGIN)
    harmless = [name for name in ("concat", *REASONS) if name not in ("quitting", "hanging")]
    inline = invoke(*arguments, "--jobs", "0", *(word for name in harmless for word in ("--method", name)))
    done = invoke(*arguments, "--jobs", "1", "--trial-timeout", "12")
    assert (inline.returncode, done.returncode) == (1, 1), inline.stderr + done.stderr
    assert "Traceback" not in inline.stdout + inline.stderr + done.stdout + done.stderr
    store = Store(tmp_path / "results")
    records = {record.trial.method.name: record for record in store.records()}
    assert records.keys() == {"concat", "late_fusion", *REASONS}
    assert {name for name, record in records.items() if record.status == "ok"} == {"concat", "late_fusion"}
    lines = (inline.stdout + done.stdout).splitlines()
    for name, reason in REASONS.items():
        failure = records[name].failure
        assert failure is not None
        assert failure.summary.startswith(reason), name
        (line,) = [line for line in lines if line.startswith(f"failed {records[name].trial.id}: ")]
        assert line.partition(": ")[2].startswith(reason.removeprefix("WorkerDied: ").removeprefix("TimedOut: "))
    assert store.set_aside == []
    assert not list((tmp_path / "results" / "leases").iterdir())

    again = invoke(*arguments)
    assert again.returncode == 1
    assert f"{len(REASONS)} trials failed earlier" in again.stdout
    some = ("--method", "raising", "--method", "hanging", "--jobs", "1")
    better = invoke(*arguments, *some, "--retry-failed", MLABENCH_TEST_BEHAVE="1")
    assert better.returncode == 0, better.stdout + better.stderr
    assert {store.read(records[name].trial.id).status for name in ("raising", "hanging")} == {"ok"}  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_worker_that_leaks_is_replaced_and_costs_no_trial(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "leaking", seeds="[0, 1, 2]")
    results = tmp_path / "results"
    done = invoke("run", suite, "--results", results, "--plugin", PLUGIN, "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    processes = [path.read_text() for path in sorted((results / "logs").iterdir())]
    assert len(processes) == 3
    assert len(set(processes)) == 2, "two trials are enough to see it"


# -- places that take nothing ---------------------------------------------------------------------


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """A disk in memory."""
    folder.mkdir(parents=True)
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "none", folder], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may mount a disk, and not everywhere")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder: Path, *options: str) -> None:
    subprocess.run(["mount", "-o", ",".join(["remount", *options]), folder], check=True)


needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None, reason="only root may mount"
)


@needs_root
@pytest.mark.parametrize("jobs", ["0", pytest.param("1", marks=pytest.mark.slow)])
def test_a_full_disk_is_one_error_and_with_more_room_the_rest_is_run(tmp_path: Path, jobs: str) -> None:
    suite = write_suite(tmp_path, "concat", "late_fusion", seeds="[0, 1]")
    assert invoke("run", suite, "--results", tmp_path / "roomy", "--jobs", "0").returncode == 0
    used = sum(path.stat().st_size for path in (tmp_path / "roomy" / "trials").rglob("*"))
    full = tmp_path / "full"
    with mounted(full, f"size={used // 2}"):
        arguments = ("run", suite, "--results", full / "results", "--retry-failed")
        done = invoke(*arguments, "--jobs", jobs)
        assert done.returncode in (1, 2), "a failure's record may find room where the trial's did not"
        assert "No space left on device" in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert all(record.status == "failed" or record.evaluations for record in Store(full / "results").records())
        remount(full, "size=100m")
        done = invoke(*arguments, "--jobs", "0")
        assert done.returncode == 0, done.stdout + done.stderr
        assert lasting(full / "results") == lasting(tmp_path / "roomy")
        assert not [path for path in (full / "results" / "trials").iterdir() if path.name.startswith(".")]
        assert not list((full / "results" / "leases").iterdir())


@needs_root
def test_a_folder_that_is_only_read_can_be_read_and_not_written(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, "concat")
    folder = tmp_path / "disk"
    with mounted(folder, "size=50m"):
        assert invoke("run", suite, "--results", folder / "results", "--jobs", "0").returncode == 0
        remount(folder, "ro")
        for arguments in (("plan", suite), ("status", suite), ("report", "--out", tmp_path / "report")):
            done = invoke(*arguments, "--results", folder / "results")
            assert done.returncode == 0, done.stderr
        for arguments in (("run", suite), ("report",)):
            done = invoke(*arguments, "--results", folder / "results")
            assert done.returncode == 2
            assert "Read-only file system" in done.stderr
            assert len(done.stderr.splitlines()) == 1


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may become larger than that, as on a disk that is nearly full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_cannot_be_written_in_full_is_not_there_at_all(tmp_path: Path) -> None:
    store, trial = Store(tmp_path), make_trial()
    noise = np.random.default_rng(0).random(10_000)
    plan = Plan(name="one", modalities=("audio",), cells=(PlannedTrial(label="a", trial=trial, tests=(Missing(),)),))
    checkpoints = Checkpoints(tmp_path / "checkpoints" / trial.id, {})
    for size in (0, 1, 1000, 5000):
        with file_size_limit(size):
            with pytest.raises(UserError, match="File too large"):
                store.write(make_record(trial), {"noise": noise})
            with pytest.raises(UserError, match="File too large"):
                store.write_plan(plan.model_copy(update={"title": "x" * 5000}))
            if size < 1000:
                with pytest.raises(UserError, match="File too large"):
                    checkpoints.save(snapshot())
            if size < 100:
                with pytest.raises(UserError, match="File too large"):
                    claim(tmp_path, trial.id)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list(store.trials.iterdir()) == []

"""``mlabench tune`` as a command."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from mlabench.store.records import Store
from mlabench.suite import load_suite
from mlabench.suite.expansion import expand
from tests.command_line import invoke, start

#: Two methods, six tries, in two generations.
SMALL = """
dataset: stamps
encoders: mlp
methods: [concat, qmf]
missing: {rates: [0, 0.5]}
seeds: [0, 1]
limit: 100
training: {epochs: 1, batch_size: 50}
tuning: {tries: 6}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    """What is found in one go: the listing, the tuned suite, the results folder."""
    folder = tmp_path_factory.mktemp("unbroken")
    (folder / "small.yaml").write_text(SMALL)
    done = invoke("tune", folder / "small.yaml", "--results", folder / "tries", "--jobs", "0", "--json")
    assert done.returncode == 0, done.stderr
    return done.stdout, (folder / "small_tuned.yaml").read_text(), folder / "tries"


def test_no_try_has_anything_to_do_with_the_test_split(unbroken: tuple[str, str, Path]):
    store = Store(unbroken[2])
    assert len(store.ids()) == 2 * 6
    for record in store.records():
        assert (record.trial.seed, record.trial.missing.rate) == (0, 0.0)
        assert record.evaluations == {}
        assert [epoch.test for epoch in record.curves] == [{}]
        assert record.files == {}, "neither predictions nor weights"


def test_the_listing_says_what_was_found(unbroken: tuple[str, str, Path]):
    rows = json.loads(unbroken[0])
    assert [row["method"] for row in rows] == ["Concat", "QMF"]
    scores = [record.curves[-1].validation["multimodal"] for record in Store(unbroken[2]).records()]
    for row in rows:
        assert row["tries"] == 6
        assert row["default"] <= row["tuned"]
        assert {row["default"], row["tuned"]} <= set(scores)
        assert row["values"].keys() >= {"training.optimizer.lr", "training.optimizer.weight_decay"}
    assert max(scores) == max(row["tuned"] for row in rows)


@pytest.mark.slow
def test_interrupted_on_two_workers_and_resumed_it_finds_the_same(suite: Path, unbroken: tuple[str, str, Path]):
    results = suite.parent / "tries"
    command = ("tune", suite, "--results", results, "--json")
    process = start(*command, "--jobs", "2")
    deadline = time.monotonic() + 120
    while not Store(results).ids():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "resume" in output
    assert len(Store(results).ids()) < 2 * 6
    done = invoke(*command, "--jobs", "0")
    assert done.returncode == 0, done.stderr
    assert done.stdout == unbroken[0]
    assert suite.with_name("small_tuned.yaml").read_text() == unbroken[1]


def test_the_tuned_suite_runs(suite: Path, unbroken: tuple[str, str, Path]):
    tuned = suite.with_name("small_tuned.yaml")
    tuned.write_text(unbroken[1])
    plan = expand(load_suite(tuned))
    assert plan.tuned_labels() == plan.labels == ("Concat", "QMF")
    assert {(cell.trial.seed, cell.trial.missing.rate) for cell in plan.cells} == {(0, 0), (0, 0.5), (1, 0), (1, 0.5)}
    done = invoke("run", tuned, "--results", suite.parent / "results", "--seeds", "0", "--rates", "0", "--jobs", "0")
    assert done.returncode == 0, done.stderr
    assert "Hyper-parameters: tuned, 6 configurations per method" in " ".join(done.stdout.split())


def test_flags_change_what_is_tuned_and_what_is_written(suite: Path):
    out = suite.with_name("mine.yaml")
    flags = ("--method", "concat", "--tries", "1", "--limit", "40", "--seeds", "0-1", "--rates", "0.5", "--jobs", "0")
    done = invoke("tune", suite, "--results", suite.parent / "tries", "--out", out, *flags)
    assert done.returncode == 0, done.stderr
    trials = [record.trial for record in Store(suite.parent / "tries").records()]
    assert sorted((trial.seed, trial.missing.rate, trial.limit) for trial in trials) == [(0, 0.5, 40), (1, 0.5, 40)]
    tuned = load_suite(out)
    assert (tuned.limit, tuned.seeds, tuned.missing.rates) == (40, (0, 1), (0.0, 0.5))
    assert tuned.tuned is not None
    assert (tuned.tuned.tries, tuned.tuned.seeds, tuned.tuned.missing) == (1, (0, 1), ("balanced-0.5",))
    assert expand(tuned).tuned_labels() == ("Concat",)
    again = invoke("tune", out, "--results", suite.parent / "tries")
    assert again.returncode == 2
    assert f"{out}: tuned: is tuned already." in again.stderr


def test_a_suite_of_mlabench_s_own_is_tuned_by_name(tmp_path: Path):
    flags = ("--method", "concat", "--tries", "1", "--set", "tuning.folds=2", "--jobs", "0")
    done = invoke("tune", "verify_missing", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("Tuned suite: verify_missing_tuned.yaml\n")
    text = (tmp_path / "verify_missing_tuned.yaml").read_text()
    assert "extends: verify_missing\n" in text
    assert load_suite(tmp_path / "verify_missing_tuned.yaml").tuned is not None


def test_no_suite_is_written_if_all_tries_of_a_method_fail(suite: Path):
    unequal = "encoders={audio: {name: mlp, width: 16}, image: mlp, text: mlp}"
    flags = ("--set", unequal, "--method", "mla", "--tries", "1", "--jobs", "0")
    done = invoke("tune", suite, "--results", suite.parent / "tries", *flags)
    assert done.returncode == 1
    assert "no try of MLA succeeded" in done.stderr
    assert "Traceback" not in done.stderr
    assert not suite.with_name("small_tuned.yaml").exists()


def test_the_suite_is_not_overwritten(suite: Path):
    done = invoke("tune", suite, "--out", suite)
    assert done.returncode == 2
    assert "would replace" in done.stderr
    assert suite.read_text() == SMALL

"""Runs that are killed, and files that are cut short as by a power cut, at random moments: nothing is lost or doubled.

``MLABENCH_TORTURE=50 pytest tests/faults/test_torture.py`` does it fifty times, ``MLABENCH_TORTURE_SEED`` does others.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from mlabench.store.leases import STALE_SECONDS
from mlabench.store.records import Store
from tests.command_line import invoke, lasting, start

ROUNDS = int(os.environ.get("MLABENCH_TORTURE", "2"))
SEED = int(os.environ.get("MLABENCH_TORTURE_SEED", "0"))
#: 2 methods x 2 seeds, with two test patterns each.
SUITE = """
dataset: stamps
encoders: mlp
methods: [concat, mla]
missing: {rates: [0.5], evaluate: [diagonal, matrix]}
seeds: [0, 1]
limit: 100
training: {epochs: 6, batch_size: 16}
"""
TRIALS = 4


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "tortured.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture(scope="module")
def unbroken(suite: Path) -> Path:
    results = suite.parent / "unbroken"
    done = invoke("run", suite, "--results", results, "--jobs", "0")
    assert done.returncode == 0, done.stderr
    return results


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def ended(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=60)[1]


def kill_at_random(process: subprocess.Popen[str], results: Path, chance: random.Random) -> str:
    """Kills the run, a worker, or all at once, some time after the first trial was begun. Says what it did."""
    deadline = time.monotonic() + 120
    while process.poll() is None and not any((results / "leases").glob("*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pause = chance.uniform(0.0, 2.5)
    time.sleep(pause)
    victim = chance.choice(["run", "worker", "all"])
    children = descendants(process)
    workers = [child for child in children if "spawn_main" in " ".join(_command(child))]
    victims = {"run": [process.pid], "worker": [one.pid for one in workers[:1]]}
    victims["all"] = [process.pid, *(one.pid for one in children)]
    for pid in victims[victim]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert "Traceback" not in output, output
    # What is left notices that its parent is gone.
    assert ended(children)
    return f"{victim} after {pause:.2f} s"


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def cut(results: Path, since: float, chance: random.Random) -> list[str]:
    """Cuts some of the freshly written files short, as a power cut may leave them. Returns their names."""
    fresh = [
        path
        for path in sorted(results.rglob("*"))
        if path.is_file() and path.stat().st_mtime >= since and "set_aside" not in path.parts
    ]
    chosen = chance.sample(fresh, min(len(fresh), chance.randint(1, 4)))
    for path in chosen:
        os.truncate(path, chance.randint(0, max(path.stat().st_size - 1, 0)))
    # A lease that cannot be read ages as one of another machine; that would take a minute here.
    for path in (results / "leases").glob("*.json"):
        os.utime(path, (time.time() - STALE_SECONDS - 1,) * 2)
    return [str(path.relative_to(results)) for path in chosen]


def leftovers(results: Path) -> Iterator[str]:
    """What should not be there once all is done."""
    for folder in ("leases", "checkpoints"):
        yield from (str(path.relative_to(results)) for path in (results / folder).glob("*"))
    yield from (str(path.relative_to(results)) for path in (results / "trials").glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(ROUNDS))
def test_nothing_is_lost_and_nothing_doubled(number: int, suite: Path, unbroken: Path, tmp_path: Path) -> None:
    chance = random.Random(f"{SEED} {number}")
    results = tmp_path / "results"
    arguments = ("run", suite, "--results", results, "--jobs", "2", "--checkpoint-every", "1", "--retry-failed")
    story = []
    for _ in range(chance.choice([1, 1, 2])):
        since = time.time() - 1.0
        story.append(kill_at_random(start(*arguments), results, chance))
        if chance.random() < 0.6:
            story.append(f"cut {', '.join(cut(results, since, chance))}")
    done = invoke(*arguments)
    assert done.returncode == 0, (story, done.stdout, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr, story
    store = Store(results)
    assert store.ids() == Store(unbroken).ids(), story
    assert sorted(path.name for path in store.trials.iterdir()) == store.ids(), story
    assert lasting(results) == lasting(unbroken), story
    assert list(leftovers(results)) == [], story
    assert len(store.ids()) == TRIALS
    print(*story, sep="; ")

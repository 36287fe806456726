"""Leases: exactly one process works on a trial, and a dead one's work is taken over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from mlabench.errors import UserError
from mlabench.store import leases
from mlabench.store.leases import claim, held, holders, is_held, release_of


@pytest.fixture
def dead_process() -> int:
    """The id of a process that has ended."""
    process = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(process, 0)
    return process


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


@pytest.fixture
def lease_file(tmp_path: Path) -> Iterator[Path]:
    """The file of a lease that this process holds."""
    with held(tmp_path, "one"):
        yield tmp_path / "leases" / "one.json"


def test_a_trial_is_held_once(tmp_path: Path) -> None:
    assert not is_held(tmp_path, "one")
    with held(tmp_path, "one") as lease, held(tmp_path, "two") as other:
        assert lease is not None
        assert other is not None
        assert claim(tmp_path, "one") is None
        assert set(holders(tmp_path)) == {"one", "two"}
        assert holders(tmp_path)["one"].pid == os.getpid()
    assert holders(tmp_path) == {}
    assert list((tmp_path / "leases").iterdir()) == []


def test_of_many_who_try_at_once_one_succeeds(tmp_path: Path) -> None:
    for attempt in range(20):
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _, name=str(attempt): claim(tmp_path, name), range(8)))  # type: ignore[misc]
        (lease,) = [lease for lease in found if lease is not None]
        lease.release()


def test_a_dead_process_of_this_machine_loses_its_lease_at_once(
    lease_file: Path, tmp_path: Path, dead_process: int
) -> None:
    change(lease_file, pid=dead_process)
    assert holders(tmp_path) == {}
    with held(tmp_path, "one") as lease:
        assert lease is not None
        assert holders(tmp_path)["one"].token == lease.holder.token


def test_a_process_that_got_the_same_id_later_is_another_one(lease_file: Path, tmp_path: Path) -> None:
    assert is_held(tmp_path, "one")
    change(lease_file, born=json.loads(lease_file.read_text())["born"] - 1000.0)
    assert not is_held(tmp_path, "one")


def test_another_machine_loses_its_lease_when_it_falls_silent(lease_file: Path, tmp_path: Path) -> None:
    change(lease_file, host="elsewhere/1234", pid=1)
    assert holders(tmp_path)["one"].machine == "elsewhere"
    assert claim(tmp_path, "one") is None
    age(lease_file, leases.STALE_SECONDS - 5)
    assert claim(tmp_path, "one") is None
    age(lease_file, leases.STALE_SECONDS + 1)
    with held(tmp_path, "one") as lease:
        assert lease is not None


def test_clocks_of_machines_need_not_agree(lease_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(lease_file, host="elsewhere/1234", began=0.0)
    monkeypatch.setattr(time, "time", lambda: 1e12)
    assert is_held(tmp_path, "one")


def test_a_lease_that_was_never_written_ages_too(tmp_path: Path) -> None:
    path = tmp_path / "leases" / "one.json"
    path.parent.mkdir()
    path.touch()
    assert claim(tmp_path, "one") is None
    age(path, leases.STALE_SECONDS + 1)
    with held(tmp_path, "one") as lease:
        assert lease is not None


def test_who_lost_a_lease_leaves_the_new_one_alone(lease_file: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        lease = stack.enter_context(held(tmp_path, "two"))
        assert lease is not None
        change(lease.path, token="another")
    assert (tmp_path / "leases" / "two.json").exists()


def test_taking_away_puts_back_a_lease_that_is_not_the_dead_ones(lease_file: Path) -> None:
    """Between judging a lease and taking it away, another process may have done so and taken a new one."""
    before = lease_file.read_text()
    leases._take_away(lease_file, leases.Holder("elsewhere", 1, 0.0, "the dead one", 0.0))
    assert lease_file.read_text() == before
    assert list(lease_file.parent.iterdir()) == [lease_file]


def test_heartbeats_say_how_far_the_trial_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.02)
    with held(tmp_path, "one") as lease:
        assert lease is not None
        lease.report("train", 3, 10)
        deadline = time.monotonic() + 10
        while holders(tmp_path)["one"].done != 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        age(lease.path, 1000.0)
        while time.time() - lease.path.stat().st_mtime > 500:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_parent_removes_the_lease_of_its_dead_worker_only(lease_file: Path, tmp_path: Path) -> None:
    release_of(tmp_path, "one", os.getpid() + 1)
    assert lease_file.exists()
    release_of(tmp_path, "one", os.getpid())
    assert not lease_file.exists()
    release_of(tmp_path, "nothing", 1)


def test_a_killed_process_leaves_a_lease_that_is_taken_over(tmp_path: Path) -> None:
    program = "import sys, time; from pathlib import Path; from mlabench.store.leases import claim\n"
    program += "claim(Path(sys.argv[1]), 'one'); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert claim(tmp_path, "one") is None
        process.kill()
    with held(tmp_path, "one") as lease:
        assert lease is not None


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "leases").write_text("")
    with pytest.raises(UserError, match="cannot write a lease"):
        claim(tmp_path, "one")

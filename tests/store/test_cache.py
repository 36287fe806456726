"""The cache: made once, whatever happens on the way."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from mlabench.errors import UserError
from mlabench.store import cache
from mlabench.store.cache import CachedArray, Draft, cache_folder, cached_array

FLOAT = np.dtype(np.float32)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLABENCH_CACHE", str(tmp_path / "cache of mine"))
    return tmp_path / "cache of mine"


class Maker:
    """Writes ``10 * row`` to each row, two at a time; row 3 cannot be made."""

    def __init__(self, stop_after: int = 99) -> None:
        self.made: list[int] = []
        self.stop_after = stop_after

    def __call__(self, draft: Draft) -> None:
        todo = draft.todo
        for start in range(0, len(todo), 2):
            if len(self.made) >= self.stop_after:
                raise KeyboardInterrupt
            rows = todo[start : start + 2]
            draft.values[rows] = 10 * rows[:, None]
            self.made += rows.tolist()
            draft.finish(rows, {3: "broken"} if 3 in rows else {})


def make(maker: Maker, **key: object) -> CachedArray:
    return cached_array("some", {"what": 1, **key}, (6, 2), FLOAT, maker)


def test_a_second_time_is_instant() -> None:
    first, again = Maker(), Maker()
    array, same = make(first), make(again)
    assert first.made == [0, 1, 2, 3, 4, 5]
    assert again.made == []
    assert array.folder == same.folder
    assert same.failures == {3: "broken"}
    assert np.array_equal(same.values, 10 * np.arange(6)[:, None] * np.ones(2))
    assert same.values.dtype == FLOAT
    with pytest.raises(ValueError, match="read-only"):
        same.values[0] = 1


def test_an_interrupted_one_resumes_where_it_stopped() -> None:
    first, again = Maker(stop_after=4), Maker()
    with pytest.raises(KeyboardInterrupt):
        make(first)
    array = make(again)
    assert first.made == [0, 1, 2, 3]
    assert again.made == [4, 5]
    assert array.failures == {3: "broken"}
    assert np.array_equal(array.values[:, 0], 10 * np.arange(6))


def _die(draft: Draft) -> None:
    draft.values[:2] = 7
    draft.finish([0, 1], {})
    draft.values[2:4] = 8
    os.kill(os.getpid(), signal.SIGKILL)


def _make_and_die() -> None:
    cached_array("some", {"what": 1}, (6, 2), FLOAT, _die)


def test_a_killed_one_resumes_and_its_lock_is_gone() -> None:
    process = multiprocessing.get_context("spawn").Process(target=_make_and_die)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    maker = Maker()
    array = make(maker)
    assert maker.made == [2, 3, 4, 5]
    assert array.values[:, 0].tolist() == [7, 7, 20, 30, 40, 50]


def test_whatever_decides_the_values_makes_another_array(folder: Path) -> None:
    make(Maker())
    maker = Maker()
    make(maker, size=2)
    assert maker.made
    other = Maker()
    cached_array("some", {"what": 1}, (6, 3), FLOAT, other)
    assert other.made
    assert len([path for path in folder.iterdir() if not path.name.startswith(".")]) == 3


def test_unmade_rows_are_noticed() -> None:
    with pytest.raises(RuntimeError, match=r"6 rows of some-.* were not made"):
        cached_array("some", {}, (6, 2), FLOAT, lambda draft: None)


def test_a_damaged_array_is_refused() -> None:
    array = make(Maker())
    path = array.folder / cache.VALUES
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match=r"is damaged .* Delete its folder"):
        make(Maker())


def test_a_full_disk_is_noticed_before_the_work_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: _Usage)
    with pytest.raises(UserError, match=r"need 0\.0 GiB, and 0\.0 GiB are free\. Make room"):
        make(Maker())


class _Usage:
    free = 10


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLABENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot write the cache \(MLABENCH_CACHE says where it is\)"):
        make(Maker())


def test_the_cache_is_at_home_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLABENCH_CACHE")
    monkeypatch.setenv("HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/.cache/mlabench")

"""Work that several processes share."""

from __future__ import annotations

import os
import time

import pytest

from mlabench.errors import UserError
from mlabench.report.parallel import side_by_side


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many cores there are."""
    monkeypatch.setattr("mlabench.report.parallel.default_jobs", lambda device: 2)


def die_elsewhere(here: int) -> None:
    """Ends the process, unless it is ``here``."""
    if os.getpid() != here:
        os._exit(1)
    time.sleep(0.2)


@pytest.mark.usefixtures("two_processes")
def test_a_process_that_dies_is_one_clear_error() -> None:
    with pytest.raises(UserError, match="has died"), side_by_side(worth_it=True) as apply:
        list(apply(die_elsewhere, [os.getpid()] * 4))


def square_slowly(number: int) -> tuple[int, int]:
    """The square, and who computed it."""
    time.sleep(0.2)
    return number**2, os.getpid()


@pytest.mark.usefixtures("two_processes")
def test_this_process_and_others_share_the_work() -> None:
    with side_by_side(worth_it=True) as apply:
        list(apply(square_slowly, range(2)))  # the other one has started
        squares, processes = zip(*apply(square_slowly, range(12)), strict=True)
    assert squares == tuple(number**2 for number in range(12))
    assert os.getpid() in processes
    assert len(set(processes)) == 2


@pytest.mark.usefixtures("two_processes")
def test_a_mistake_in_shared_work_is_raised() -> None:
    with pytest.raises(ZeroDivisionError), side_by_side(worth_it=True) as apply:
        list(apply(divmod, [1] * 8, [1, 1, 1, 1, 1, 1, 1, 0]))
    with pytest.raises(ZeroDivisionError), side_by_side(worth_it=True) as apply:
        list(apply(divmod, [1] * 8, [0, 1, 1, 1, 1, 1, 1, 1]))


def test_what_is_not_worth_it_is_done_here() -> None:
    with side_by_side(worth_it=False) as apply:
        assert apply is map

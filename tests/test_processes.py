"""Work shared by several processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path

import pytest

from mlabench.errors import UserError
from mlabench.processes import in_processes, usable_cores

BROKEN = UserError("a process has died.")


def square(number: int) -> tuple[int, int]:
    """The square, and who computed it."""
    return number**2, os.getpid()


def die(number: int) -> None:
    """Ends the process without a word."""
    if number:
        os._exit(1)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


@pytest.mark.parametrize("processes", [1, 2])
def test_every_result_comes_with_its_place(processes: int) -> None:
    found = dict(in_processes(square, [(number,) for number in range(6)], processes, broken=BROKEN))
    assert [found[place][0] for place in range(6)] == [0, 1, 4, 9, 16, 25]
    assert (os.getpid() in {process for _, process in found.values()}) == (processes == 1)


def test_a_process_that_dies_is_one_clear_error() -> None:
    with pytest.raises(UserError, match="has died"):
        list(in_processes(die, [(number,) for number in range(4)], 2, broken=BROKEN))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_mistake_is_raised(processes: int) -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_processes(divmod, [(1, number) for number in range(3)], processes, broken=BROKEN))


def test_who_stops_early_does_not_wait() -> None:
    before, start = set(active_children()), time.perf_counter()
    found = in_processes(sleep, [(0.0,), (60.0,), (60.0,)], 2, broken=BROKEN)
    assert next(found) == (0, None)
    with pytest.raises(KeyboardInterrupt):
        found.throw(KeyboardInterrupt)
    assert time.perf_counter() - start < 30
    assert set(active_children()) <= before


_SCRIPT = """
import os
from mlabench.errors import UserError
from mlabench.processes import in_processes

# What a library sees that this script imports; each process imports the script before it does anything else.
at_start = os.environ.get("OMP_NUM_THREADS")


def seen(_):
    return at_start


if __name__ == "__main__":
    calls = [(0,), (1,), (2,)]
    print(at_start, {said for _, said in in_processes(seen, calls, 2, broken=UserError("died"))})
    print(os.environ.get("OMP_NUM_THREADS"))
"""


def test_processes_of_a_script_have_one_thread_from_the_start(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "None {'1'}\nNone\n"


def test_usable_cores_are_those_of_this_process() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)

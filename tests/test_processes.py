"""Work shared by several processes."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path

import pytest

from mlabench.errors import UserError
from mlabench.processes import KEEP_FREED_MEMORY, in_processes, usable_cores

BROKEN = UserError("a process has died.")
#: Takes 64 MB a second time and prints the page faults that this costs; then gives all back and prints the gain in KiB.
TAKE_AGAIN = """
import resource
from pathlib import Path
from mlabench.processes import give_back_memory

def resident():
    return next(int(l.split()[1]) for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmRSS"))

bytearray(2**26)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytearray(2**26)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
kept = resident()
give_back_memory()
print(kept - resident())
"""


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps memory on demand")
@pytest.mark.parametrize("keep", [True, False])
def test_freed_memory_is_kept_on_demand_until_it_is_given_back(keep: bool) -> None:
    environment = {**os.environ, **(KEEP_FREED_MEMORY if keep else {})}
    command = [sys.executable, "-c", TAKE_AGAIN]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    faults, gain = map(int, done.stdout.split())
    pages = 2**26 // os.sysconf("SC_PAGE_SIZE")
    assert (faults < pages // 100) == keep
    assert (gain > 2**15) == keep

"""Work shared by several processes of this machine, on its cores."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from typing import Any

from mlabench.errors import UserError

#: For the environment of a process: libraries that compute then start with one thread. They read it when imported.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")

#: For the environment of a process that trains: glibc then keeps memory that is freed, since the next step asks for as
#: much. Fetching it from the system again takes a quarter of a step of ResNet-18 on large pictures, and nearly half of
#: one of a small network. Other C libraries do not know the names.
KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_TOP_PAD_": str(2**26),
}


def give_back_memory() -> None:
    """Gives memory that was freed back to the system, which the C library may not do by itself (glibc only)."""
    if sys.platform != "win32" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(
    function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], processes: int, *, broken: UserError
) -> Iterator[tuple[int, Any]]:
    """Calls a function with each tuple of arguments, in other processes.

    Yields (place of the call, result) as calls end; ``dict(...)`` or ``sorted(...)`` brings them into order. Where
    one call fails or the caller stops early (Ctrl-C), the processes are killed; where one of them dies, ``broken`` is
    raised. They are spawned, not forked, since the threads of torch and FFmpeg do not survive a fork: function,
    arguments and results must be picklable. With one process, the calls are made here. Each has one thread, and does
    not share its sums out over more where the caller does: results are the same everywhere.
    """
    if min(processes, len(calls)) < 2:
        yield from ((place, function(*call)) for place, call in enumerate(calls))
        return
    others = set(active_children())
    with ProcessPoolExecutor(min(processes, len(calls)), get_context("spawn"), _begin) as pool:
        places: dict[Future[Any], int] = {}
        try:
            with environment(ONE_THREAD):  # from the start, as the caller's script may import torch there once more
                for place, call in enumerate(calls):
                    places[pool.submit(function, *call)] = place
            for future in as_completed(places):
                yield places.pop(future), future.result()
        except BaseException as error:
            for process in set(active_children()) - others:
                process.kill()
            if isinstance(error, BrokenProcessPool):
                raise broken from error
            raise


def _begin() -> None:
    """What each process does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's business


@contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for the length of a block; processes inherit them when they are spawned."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def one_thread() -> Iterator[None]:
    """Has torch use one thread: sums are taken in the same order on every machine, and tiny networks are quicker."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

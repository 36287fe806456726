"""Making a large report in several processes."""

from __future__ import annotations

import atexit
import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.reduction import ForkingPickler
from typing import Any

from mlabench.errors import UserError
from mlabench.running import default_jobs

#: More processes than this, this one among them, would find too little to do.
_PROCESSES = 8

#: Thresholds of Python's garbage collector. Objects of a report live until its end: with the usual ones, a tenth of the
#: time goes into looking for garbage among them.
_SELDOM = (50_000, 50, 100)


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Has Python look for garbage less often; also a decorator."""
    usual = gc.get_threshold()
    gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


@contextmanager
def side_by_side(*, worth_it: bool) -> Iterator[Callable[..., Iterable[Any]]]:
    """A :func:`map` that begins at once, and in which other processes help this one.

    Args:
        worth_it: Whether there is so much to do that it pays to start them; if not, it is the usual one.

    Raises:
        UserError: If one of them dies.
    """
    count = min(default_jobs("cpu"), _PROCESSES) - 1
    if not count or not worth_it:
        yield map
        return
    others = ProcessPoolExecutor(count, get_context("spawn"), _begin)
    try:
        with ThreadPoolExecutor(count) as threads:
            yield partial(_shared_out, others, threads, count)
    except BrokenProcessPool as error:
        raise UserError(
            "a process that was making the report has died; the machine may have run out of memory.",
            remedy="Report on fewer suites at a time: `mlabench report SUITE`.",
        ) from error
    finally:
        others.shutdown(wait=False)


def _begin() -> None:
    """What another process does first."""
    gc.set_threshold(*_SELDOM)
    atexit.register(gc.freeze)  # as in mlabench.cli.app.main


def _shared_out(
    others: Executor, threads: Executor, count: int, function: Callable[..., Any], *arguments: Iterable[Any]
) -> Iterator[Any]:
    """A :func:`map` by ``count`` other processes and, once results are asked for, by this one, too.

    Each of the others has a thread here that hands it one call after the other: to submit all of them and to cancel
    those that this process makes confuses Python's pool should a process die. Calls are packed before anything
    begins: what is packed must not change meanwhile, as objects with cached properties do when they are used.
    """
    calls = deque((place, call, _pack((function, call))) for place, call in enumerate(zip(*arguments, strict=True)))
    results: dict[int, Any] = {}

    def work(make: Callable[[tuple[Any, ...], bytes], Any]) -> None:
        try:
            while calls:
                try:
                    place, call, packed = calls.popleft()
                except IndexError:  # somebody else was quicker
                    return
                results[place] = make(call, packed)
        except BaseException:
            calls.clear()  # nobody needs the rest
            raise

    def in_order() -> Iterator[Any]:
        work(lambda call, _: function(*call))
        for helper in helpers:
            helper.result()
        yield from (results[place] for place in sorted(results))

    helpers = [threads.submit(work, lambda _, packed: others.submit(_make, packed).result()) for _ in range(count)]
    return in_order()


def _pack(call: tuple[Callable[..., Any], tuple[Any, ...]]) -> bytes:
    """As processes that this one has started, and no others, understand it."""
    return bytes(ForkingPickler.dumps(call))


def _make(packed: bytes) -> Any:
    """Makes a packed call, in another process."""
    function, arguments = ForkingPickler.loads(packed)
    return function(*arguments)

"""Who is working on which trial, without a server: one lease file per trial. Free of torch.

    RESULTS/leases/<trial id>.json

A lease is created atomically, so that of several processes on one or many machines exactly one gets it, and is
kept alive by a heartbeat (the file's time). A lease whose process is gone is reclaimed: at once on the same machine,
where that can be seen, after :data:`STALE_SECONDS` without a heartbeat elsewhere. Ages are differences of two times
taken by the same file system, so clocks of several machines need not agree.

Should a process lose its lease all the same (suspended for minutes, say), a trial is run twice. That does no harm:
records are replaced as a whole and do not depend on who made them.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import psutil
from pydantic import ConfigDict, TypeAdapter, ValidationError

from mlabench.errors import cannot_write
from mlabench.store.atomic import remove_file, write_atomically

HEARTBEAT_SECONDS = 5.0
#: A process on another machine that has given no sign of life for so long is taken to be gone.
STALE_SECONDS = 60.0
#: The start of a process, as computed from the boot time, moves a little when the clock is set.
_SAME_START_SECONDS = 5.0


@dataclass(frozen=True)
class Holder:
    """Who works on a trial, and how far it is.

    Attributes:
        host: Name of the machine, and an id of its current boot where there is one.
        pid: The process.
        born: When that process started, in seconds since the epoch: process ids are used again.
        token: Differs between any two leases.
        began: When the lease was taken, in seconds since the epoch by the holder's clock.
        stage: Training stage that has been reached.
        done: Epochs done in all stages.
        total: Epochs in all stages; 0 while unknown.
    """

    __pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False)  # any program may have written a lease

    host: str
    pid: int
    born: float
    token: str
    began: float
    stage: str = ""
    done: int = 0
    total: int = 0

    @property
    def machine(self) -> str:
        """The machine's name for people."""
        return self.host.partition("/")[0]


@dataclass
class Lease:
    """A trial that this process works on. While it is held, a thread gives signs of life."""

    path: Path
    holder: Holder
    _ended: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._beat, args=(self.holder,), daemon=True)
        self._thread.start()

    def report(self, stage: str, done: int, total: int) -> None:
        """Notes how far the trial is; others see it with the next heartbeat."""
        self.holder = replace(self.holder, stage=stage, done=done, total=total)

    def release(self) -> None:
        """Ends the lease, unless another process has taken it over."""
        self._ended.set()
        self._thread.join()
        if _token(self.path) == self.holder.token:
            remove_file(self.path)

    def _beat(self, told: Holder) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS) and _token(self.path) == self.holder.token:
            # A heartbeat that cannot be given (a full disk, a file server that is away) is tried again.
            with suppress(OSError):
                os.utime(self.path)
                if (holder := self.holder) != told:
                    write_atomically(self.path, _HOLDER.dump_json(holder))
                    told = holder


@contextmanager
def held(root: Path, trial_id: str) -> Iterator[Lease | None]:
    """Holds a trial's lease in the results folder ``root`` during a block; gives None if another process has it."""
    lease = claim(root, trial_id)
    try:
        yield lease
    finally:
        if lease is not None:
            lease.release()


def claim(root: Path, trial_id: str) -> Lease | None:
    """Takes the lease of a trial, or returns None if a live process has it."""
    path = _path(root, trial_id)
    holder = Holder(_host(), os.getpid(), _born(os.getpid()), uuid.uuid4().hex, time.time())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while not _create(path, holder):
            other = _read(path)
            if other is None and not path.exists():
                continue  # released just now
            if _alive(path, other):
                return None
            _take_away(path, other)
        return Lease(path, holder)
    except OSError as error:
        raise cannot_write("a lease", path.parent, error) from error


def release_of(root: Path, trial_id: str, pid: int) -> None:
    """Removes the lease that a process of this machine, now dead, had on a trial."""
    path = _path(root, trial_id)
    other = _read(path)
    if other is not None and (other.host, other.pid) == (_host(), pid):
        with suppress(OSError):
            _take_away(path, other)


def holders(root: Path) -> dict[str, Holder]:
    """The live holders of all leases, by trial id."""
    found = ((path, _read(path)) for path in (root / "leases").glob("*.json"))
    return {path.stem: holder for path, holder in found if holder is not None and _alive(path, holder)}


def is_held(root: Path, trial_id: str) -> bool:
    """Whether a live process works on a trial."""
    path = _path(root, trial_id)
    return path.exists() and _alive(path, _read(path))


# -- files ---------------------------------------------------------------------------------------

_HOLDER = TypeAdapter(Holder)


def _path(root: Path, trial_id: str) -> Path:
    return root / "leases" / f"{trial_id}.json"


def _create(path: Path, holder: Holder) -> bool:
    """Creates a lease; False if there is one. Exclusive creation is atomic on network file systems, too."""
    try:
        file = path.open("xb")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(_HOLDER.dump_json(holder))
    except OSError:  # a full disk: what was written of it would keep others waiting
        path.unlink(missing_ok=True)
        raise
    return True


def _read(path: Path) -> Holder | None:
    try:
        return _HOLDER.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _token(path: Path) -> str | None:
    holder = _read(path)
    return holder.token if holder else None


def _take_away(path: Path, other: Holder | None) -> None:
    """Takes a dead process's lease away. Of several who try, one succeeds; a newer lease is put back."""
    aside = _beside(path)
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if _token(aside) != (other.token if other else None):
        with suppress(OSError):
            os.link(aside, path)
    aside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A name for a short-lived file; :func:`remove_file` removes it with the lease if a killed process left it."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


# -- life ----------------------------------------------------------------------------------------


def _alive(path: Path, holder: Holder | None) -> bool:
    """Whether a lease's process lives, as far as can be known; an unreadable lease ages as one of another machine."""
    if holder is not None and holder.host == _host():
        return abs(_born(holder.pid) - holder.born) < _SAME_START_SECONDS
    try:
        # A time that is far ahead is of a clock that was wrong: a live holder would have corrected it since.
        return abs(_now(path) - path.stat().st_mtime) < STALE_SECONDS
    except FileNotFoundError:
        return False


def _now(path: Path) -> float:
    """The time by the clock of the file system that ``path`` is on; by this machine's, if nothing can be written."""
    probe = _beside(path)
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _born(pid: int) -> float:
    """When a process of this machine started; -1 if there is none."""
    try:
        return psutil.Process(pid).create_time()
    except (psutil.Error, ValueError, OverflowError):  # no process has such an id
        return -1.0


@cache
def _host() -> str:
    """Name and boot of this machine: a machine that was restarted runs none of its former processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()}/{boot}"

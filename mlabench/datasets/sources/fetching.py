"""Carries an order out: transfers, checks, unpacks, and puts every file in its place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Event, Lock
from typing import Protocol

from filelock import FileLock, Timeout

from mlabench.datasets.sources.kaggle import receive_from_kaggle
from mlabench.datasets.sources.ordering import Item, Order
from mlabench.datasets.sources.receipts import KEPT_IN, Receipt, Receipts
from mlabench.datasets.sources.table import Unpack
from mlabench.datasets.sources.transfer import Transfer, cannot_store
from mlabench.datasets.sources.unpacking import Wanted, unpack
from mlabench.errors import UserError

#: Small files that are fetched at the same time.
_AT_ONCE = 8


class Report(Protocol):
    """Told how far things are."""

    def received(self, part: str, done: int, total: int | None) -> None:
        """``done`` of ``total`` bytes of a part are there."""

    def finished(self, part: str, files: int) -> None:
        """A part is complete: so many new files."""

    def trusted(self, path: str, digest: str) -> None:
        """A file has no published checksum: this one is on record from now on."""


def carry_out(order: Order, transfer: Transfer, report: Report, wanted: Callable[[Path], Wanted | None]) -> None:
    """Fetches all that an order names. Whatever stops it, the same order resumes there.

    Args:
        order: What to fetch.
        transfer: Connections.
        report: Told of progress.
        wanted: From the folder of the data, which members of archives the dataset reads; asked where the
            table has ``chosen``, when parts before it are there.

    Raises:
        UserError: If something cannot be had, is not what was published, or cannot be written.
    """
    kept_in = order.root / KEPT_IN
    try:
        kept_in.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(order.root).free
        if order.disk > free:
            raise UserError(
                f"there are {free:,} bytes free, and this takes about {order.disk:,}.",
                remedy="Choose another --root, or fewer parts with --part.",
                file=str(order.root),
            )
        with FileLock(kept_in / "lock", timeout=0):
            for part in order.parts:
                _Part(order, part, Receipts(order.root), transfer, report).fetch(wanted)
    except Timeout as error:
        raise UserError(
            "another process is fetching data to this folder.", remedy="Wait for it to end.", file=str(order.root)
        ) from error
    except OSError as error:
        raise cannot_store(Path(error.filename or order.root), error) from error


class _StoppedError(Exception):
    """Another file of the part cannot be had."""


class _Part:
    """One part of an order, while it is fetched."""

    def __init__(self, order: Order, name: str, receipts: Receipts, transfer: Transfer, report: Report) -> None:
        self._order, self._name, self._receipts = order, name, receipts
        self._transfer, self._report = transfer, report
        self._items = [item for item in order.items if item.part == name]
        sizes = [item.size for item in self._items]
        self._total = sum(size for size in sizes if size is not None) if None not in sizes else None
        self._done, self._new, self._lock, self._stop = 0, 0, Lock(), Event()

    def fetch(self, wanted: Callable[[Path], Wanted | None]) -> None:
        root, kaggle = self._order.root, self._order.kaggle.get(self._name)
        if kaggle:
            placed = receive_from_kaggle(kaggle, root, root / KEPT_IN / "kaggle")
            self._receipts.add(Receipt(kaggle.handle, "", published=False, files=placed))
            self._report.finished(self._name, len(placed))
            return
        plain = [item for item in self._items if item.unpack is None]
        self._fetch_plain(plain)
        archives = [(item, item.unpack) for item in self._items if item.unpack]
        choice = wanted(root) if any(rule.chosen for _, rule in archives) else None
        for item, rule in archives:
            self._fetch_archive(item, rule, choice)
        if self._items:
            self._report.finished(self._name, self._new)

    def _fetch_plain(self, items: Sequence[Item]) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            tasks = [threads.submit(self._fetch_file, item) for item in items]
            try:
                for task in as_completed(tasks):
                    task.result()
            except BaseException:
                self._stop.set()
                threads.shutdown(cancel_futures=True)
                raise

    def _fetch_file(self, item: Item) -> None:
        path, digest = self._receive(item)
        place = self._order.root / item.to
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
        self._put_on_record(item, digest, {item.to: place.stat().st_size})

    def _fetch_archive(self, item: Item, rule: Unpack, wanted: Wanted | None) -> None:
        path, digest = self._receive(item)
        try:
            placed = unpack(path, self._order.root, rule, wanted if rule.chosen else None)
        except UserError:
            path.unlink()
            raise
        self._put_on_record(item, digest, placed)
        path.unlink()

    def _receive(self, item: Item) -> tuple[Path, str]:
        before = self._receipts.get(item.path)
        known = item.hash or (before.hash if before else None)
        folder = self._order.root / KEPT_IN / "downloads"
        received = self._transfer.receive(item.base, item.path, folder, known, item.size, self._count)
        if known is None:
            self._report.trusted(item.path, received.hash)
        return received.path, received.hash

    def _put_on_record(self, item: Item, digest: str, placed: dict[str, int]) -> None:
        self._receipts.add(Receipt(item.path, digest, published=item.hash is not None, files=placed))
        with self._lock:
            self._new += len(placed)

    def _count(self, more: int) -> None:
        if self._stop.is_set():
            raise _StoppedError
        with self._lock:
            self._done += more
            self._report.received(self._name, self._done, self._total)

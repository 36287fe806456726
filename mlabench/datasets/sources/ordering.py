"""What is left to fetch: parts of a source, less what has been received before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mlabench.datasets.sources.receipts import Receipts
from mlabench.datasets.sources.table import Kaggle, Part, Source, SourceFile, Unpack, source_of
from mlabench.datasets.sources.transfer import NotThereError, Transfer
from mlabench.errors import UserError


@dataclass(frozen=True)
class Item:
    """One file to fetch.

    Attributes:
        part: The part that it belongs to.
        path: Its path at the source, by which receipts know it.
        base: The address before the path.
        to: Where it goes below the folder of the data, unless it is unpacked.
        size: Its size in bytes, if known.
        hash: Its published checksum, if any.
        unpack: What becomes of it if it is an archive.
    """

    part: str
    path: str
    base: str
    to: str
    size: int | None
    hash: str | None
    unpack: Unpack | None


@dataclass(frozen=True)
class Order:
    """What to fetch, and where it goes.

    Attributes:
        source: Whose files they are.
        parts: The chosen parts.
        root: The folder of the data.
        items: What is left to fetch over HTTP, in order.
        kaggle: What is left to fetch from Kaggle, by part.
        size: About how many bytes are left to fetch.
        disk: About how many bytes that takes up at most.
        exact: Whether ``size`` is exact.
    """

    source: Source
    parts: tuple[str, ...]
    root: Path
    items: tuple[Item, ...]
    kaggle: dict[str, Kaggle]
    size: int
    disk: int
    exact: bool


def place_order(name: str, parts: Sequence[str], root: Path | None, mirror: str | None, transfer: Transfer) -> Order:
    """What is left to fetch of these parts (by default all) of a dataset.

    Asks Zenodo for sizes and checksums where the table says so; fetches nothing else.

    Raises:
        UserError: If there is no such source or part, if it may not be fetched, or if the mirror cannot serve it.
    """
    source = source_of(name)
    chosen = _chosen(name, source, parts)
    folder = root or source.folder
    receipts = Receipts(folder)
    describe = cache(partial(_described, transfer))
    left = [_left(part, source.parts[part], mirror, receipts, describe) for part in chosen]
    return Order(
        source=source,
        parts=chosen,
        root=folder,
        items=tuple(item for part in left for item in part.items),
        kaggle={name: part.kaggle for name, part in zip(chosen, left, strict=True) if part.kaggle},
        size=sum(part.size for part in left),
        # Archives go one by one, each once it is unpacked.
        disk=sum(part.disk for part in left) + max(part.archive for part in left),
        exact=all(part.exact for part in left),
    )


class _Left(NamedTuple):
    """What is left to fetch of one part; ``archive`` is the size of the largest archive."""

    items: tuple[Item, ...] = ()
    kaggle: Kaggle | None = None
    size: int = 0
    disk: int = 0
    archive: int = 0
    exact: bool = True


def _left(
    name: str,
    part: Part,
    mirror: str | None,
    receipts: Receipts,
    describe: Callable[[str], Mapping[str, SourceFile]],
) -> _Left:
    if part.kaggle:
        if mirror:
            raise UserError(
                f"the part {name!r} comes from Kaggle, of which there is no mirror.",
                remedy="Leave --mirror (MLABENCH_MIRROR) out, or choose other parts with --part.",
                field="--mirror",
            )
        if receipts.holds(part.kaggle.handle, None):
            return _Left()
        return _Left(kaggle=part.kaggle, size=part.size, disk=part.size, archive=part.size, exact=False)
    base = f"{mirror.rstrip('/')}/" if mirror else part.base
    files = part.all_files()
    if part.record:
        known = describe(base + part.record)
        files = tuple(known.get(PurePosixPath(file.path).name, file) for file in files)
    items = tuple(
        Item(name, file.path, base, file.to or PurePosixPath(file.path).name, file.size, file.hash, part.unpack)
        for file in files
        if not receipts.holds(file.path, file.hash)
    )
    if not items:
        return _Left()
    exact = all(item.size is not None for item in items)
    share = len(items) / len(files)
    size = sum(item.size or 0 for item in items) if exact else round(part.size * share)
    archive = max(item.size or size // len(items) for item in items) if part.unpack else 0
    return _Left(items, None, size, round(part.disk * share) or size, archive, exact)


def _chosen(name: str, source: Source, parts: Sequence[str]) -> tuple[str, ...]:
    """The parts in the order of the table."""
    unknown = [part for part in parts if part not in source.parts]
    if unknown:
        raise UserError(
            f"{name} has no part {unknown[0]!r}.", remedy=f"Its parts are {', '.join(source.parts)}.", field="--part"
        )
    chosen = tuple(part for part in source.parts if not parts or part in parts)
    for part in chosen:
        if ask := source.parts[part].ask:
            others = [other for other in source.parts if not source.parts[other].ask]
            own = " and ".join(f"`mlabench data get {name} --part {other}`" for other in others)
            raise UserError(
                f"{source.title}, cannot be fetched: its licence is {source.licence}.",
                remedy=f"{ask} {own} fetches {source.parts[others[0]].about}." if others else ask,
            )
    return chosen


def _described(transfer: Transfer, record: str) -> dict[str, SourceFile]:
    """Files with size and hash by name, as Zenodo describes a record; none where a mirror has no such description."""
    try:
        described = transfer.read_json(record)
    except NotThereError:
        return {}
    folder = f"records/{record.rpartition('/')[2]}/files"
    try:
        return {
            file["key"]: SourceFile(path=f"{folder}/{file['key']}", size=file["size"], hash=file["checksum"])
            for file in described["files"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            "is not the description of a record of Zenodo.",
            remedy="Try again later, or choose another address with --mirror.",
            file=record,
        ) from error

"""Editions: frozen copies of the reference's records, to compare one's own with. Free of torch.

An edition is one archive of what a report needs of a results folder: plans, records, outcomes, samples. Its manifest
has the SHA-256 of each file, and the SHA-256 of the manifest is the edition's *seal*. ``editions.csv`` has the seals of
all published editions, so that an archive may come from anywhere. Taken in, it lies in the user's cache.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import metadata
from os import PathLike
from pathlib import Path
from typing import Annotated
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlabench import __version__
from mlabench.errors import UserError, cannot_write
from mlabench.record import Record
from mlabench.registry import cache_folder, suggest
from mlabench.store.outcomes import OUTCOMES, DamagedOutcomesError
from mlabench.store.records import RECORD, CorruptRecordError, Store, read_record

#: How an edition is written where a results folder is meant: ``edition:2026.12``.
PREFIX = "edition:"
MANIFEST = "edition.json"
#: The table of published editions.
TABLE = Path(__file__).with_name("editions.csv")
_NAME = r"^[0-9]{4}\.[0-9]{2}$"
#: What may be in an edition. Nothing else is written to disk.
_PATH = (
    r"^(plans/[A-Za-z0-9][A-Za-z0-9_.-]*\.json|samples/[0-9a-f]{16}\.npz"
    r"|trials/[A-Za-z0-9_+][A-Za-z0-9_.+-]*/(record\.json|outcomes\.npz))$"
)
#: No file of an edition is larger, in bytes.
_LARGEST = 1 << 26
#: What may come of reading an archive that is damaged, or was not written by us.
_UNREADABLE = (BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError, RuntimeError)

_Path = Annotated[str, Field(pattern=_PATH)]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Edition(BaseModel):
    """The manifest.

    Attributes:
        edition: Year and month, such as ``2026.12``.
        mlabench: The versions of mlabench that made the records.
        suites: The number of trials of each suite; suites may share trials.
        trials: The number of trials in all.
        files: The SHA-256 of each file, by its path.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    edition: Annotated[str, Field(pattern=_NAME)]
    mlabench: tuple[str, ...]
    suites: dict[str, int]
    trials: int
    files: dict[_Path, _Digest]


@dataclass(frozen=True)
class Published:
    """A row of ``editions.csv``: an edition, the version of mlabench whose release has its archive, and its seal."""

    edition: str
    mlabench: str
    seal: str


@cache
def published_editions() -> Mapping[str, Published]:
    """All editions that this version of mlabench knows, oldest first."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {row["edition"]: Published(**row) for row in csv.DictReader(file)}


def kept_editions() -> dict[str, Path]:
    """The editions in the cache, oldest first, and their folders."""
    return {path.parent.name: path.parent for path in sorted(_home().glob(f"*/{MANIFEST}"))}


def edition_archive(edition: str) -> str:
    """What the archive of an edition is called.

    Raises:
        UserError: If this cannot be the name of an edition.
    """
    if not re.fullmatch(_NAME, edition):
        raise UserError(
            f"{edition!r} cannot be an edition.",
            remedy=suggest(edition, list(published_editions()))
            or "Editions are called by year and month, such as 2026.12.",
            field="edition",
        )
    return f"mlabench-results-{edition}.zip"


def edition_address(edition: str) -> str:
    """The address of the folder that holds the archive of a published edition: the release's assets.

    Raises:
        UserError: If this version of mlabench knows no such edition, or not where its own releases are.
    """
    edition_archive(edition)
    if edition not in published_editions():
        known = f"It knows {', '.join(published_editions())}" if published_editions() else "It knows none"
        raise UserError(
            f"mlabench {__version__} knows no edition {edition}.",
            remedy=suggest(edition, list(published_editions()))
            or f"{known}; upgrade it, or give the archive, or where it is, with --from.",
            field="edition",
        )
    urls = metadata("mlabench").get_all("Project-URL") or []
    home = next((url.partition(", ")[2] for url in urls if url.startswith("Repository,")), None)
    if home is None:
        raise UserError(
            f"this build of mlabench does not say where its releases are, which have the edition {edition}.",
            remedy="Give the archive, or where it is, with --from.",
            field="edition",
        )
    return f"{home}/releases/download/v{published_editions()[edition].mlabench}"


def results_folder(place: str | PathLike[str]) -> Path:
    """The folder that is meant by ``edition:2026.12``, or by a path.

    Raises:
        UserError: If the edition is not in the cache, or damaged there.
    """
    text = str(place)
    return open_edition(text.removeprefix(PREFIX))[0] if text.startswith(PREFIX) else Path(place)


def open_edition(edition: str) -> tuple[Path, Edition]:
    """The folder of an edition that is in the cache, every file verified, and its manifest.

    Raises:
        UserError: If it is not there, or not what it was.
    """
    edition_archive(edition)
    folder = _home() / edition
    fetch = f"`mlabench results --edition {edition}` fetches it."
    try:
        manifest = _checked((folder / MANIFEST).read_bytes(), edition, folder)
        for path, digest in manifest.files.items():
            if _digest((folder / path).read_bytes()) != digest:
                raise UserError("this file is not the edition's.", remedy=fetch, file=str(folder / path))
    except FileNotFoundError as error:
        problem = f"the edition {edition} is not here, or not all of it."
        raise UserError(problem, remedy=fetch, file=error.filename) from error
    except OSError as error:
        problem = f"the edition {edition} cannot be read ({error.strerror or error})."
        raise UserError(problem, remedy=fetch, file=error.filename) from error
    return folder, manifest


def take_edition(archive: Path, edition: str) -> tuple[Path, Edition]:
    """Unpacks an edition into the cache, if every file of it is what its manifest says, and nothing if not.

    Args:
        archive: The file.
        edition: Which edition it should be; one of ``editions.csv`` must have the seal that stands there.

    Returns:
        Its folder, and its manifest.

    Raises:
        UserError: If it is not this edition, or cannot be read or written.
    """
    folder = _home() / edition
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            FileLock(folder.parent / f".{edition}.lock"),
            tempfile.TemporaryDirectory(prefix=f".{edition}.", dir=folder.parent) as draft,
        ):
            manifest = _unpack(archive, edition, Path(draft, edition))
            if folder.exists():
                shutil.rmtree(folder)
            Path(draft, edition).rename(folder)
    except OSError as error:
        raise cannot_write("the edition (MLABENCH_CACHE says where to)", folder, error) from error
    return folder, manifest


def freeze_edition(edition: str, results: Path, out: Path) -> tuple[Path, str]:
    """Makes the archive of an edition: the plans of a results folder and all their trials.

    Args:
        edition: Its name, year and month.
        results: The folder, in which each trial of each plan has a good record with outcomes.
        out: The folder to write it to.

    Returns:
        The archive, and the edition's seal: the same for the same records.

    Raises:
        UserError: If a record is missing or damaged, or the edition is published and is not this one.
    """
    name, store = edition_archive(edition), Store(results)
    plans = store.plans()
    if store.unread or not plans:
        raise UserError.of(
            store.unread or [UserError("no results here.", remedy="Give a results folder.", file=str(results))]
        )
    trials = sorted({cell.trial.id for plan in plans for cell in plan.cells})
    versions, samples = set(), set()
    for trial in trials:
        record, key = _frozen(store, trial)
        versions.add(str(record.environment.get("mlabench", "unknown")))
        samples.add(f"samples/{key}.npz")
    paths = [f"plans/{plan.name}.json" for plan in plans] + sorted(samples)
    paths += [f"trials/{trial}/{file}" for trial in trials for file in (RECORD, OUTCOMES)]
    manifest = Edition(
        edition=edition,
        mlabench=tuple(sorted(versions)),
        suites={plan.name: len({cell.trial.id for cell in plan.cells}) for plan in plans},
        trials=len(trials),
        files={path: _digest((results / path).read_bytes()) for path in paths},
    )
    content = manifest.model_dump_json(indent=1).encode()
    seal = _digest(content)
    if edition in published_editions() and published_editions()[edition].seal != seal:
        raise UserError(
            f"these are not the records of the edition {edition}: their seal is {seal}.",
            remedy=f"What is published never changes: choose another name. Until then, correct {TABLE}.",
            file=str(results),
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        with ZipFile(out / name, "w", ZIP_DEFLATED) as packed:
            for path, data in ((MANIFEST, content), *((path, (results / path).read_bytes()) for path in paths)):
                packed.writestr(ZipInfo(path), data, ZIP_DEFLATED)
    except OSError as error:
        raise cannot_write("the edition", out, error) from error
    return out / name, seal


def _home() -> Path:
    return cache_folder() / "editions"


def _frozen(store: Store, trial: str) -> tuple[Record, str]:
    """A good record, and the key of its samples."""
    problem = "the record is not good: the training failed."
    try:
        record, outcomes = read_record(store.folder(trial)), store.outcomes(trial)
        if record.status == "ok" and outcomes is not None:
            return record, outcomes.samples.key
        if outcomes is None:
            problem = "there are no outcomes beside this record."
    except FileNotFoundError:
        problem = "there is no record of this trial."
    except (CorruptRecordError, DamagedOutcomesError) as error:
        problem = f"{error}."
    raise UserError(problem, remedy="An edition is whole: run the suite again.", file=str(store.folder(trial)))


def _unpack(archive: Path, edition: str, folder: Path) -> Edition:
    """Writes the files that the manifest names, each verified before."""
    try:
        whole = io.BytesIO(archive.read_bytes())
    except OSError as error:
        problem = f"this archive cannot be read ({error.strerror or error})."
        raise UserError(problem, remedy="Give another one with --from.", file=str(archive)) from error
    try:
        with ZipFile(whole) as packed:
            manifest = _checked(_member(packed, MANIFEST), edition, archive)
            for path, content in _verified(packed, manifest, archive):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
            (folder / MANIFEST).write_bytes(_member(packed, MANIFEST))
    except _UNREADABLE as error:
        raise _refused(archive, f"this is no archive of an edition, or a damaged one ({error})") from error
    return manifest


def _verified(packed: ZipFile, manifest: Edition, archive: Path) -> Iterator[tuple[str, bytes]]:
    for path, digest in manifest.files.items():
        content = _member(packed, path)
        if _digest(content) != digest:
            raise _refused(archive, f"{path} does not have the checksum that the manifest says")
        yield path, content


def _member(packed: ZipFile, path: str) -> bytes:
    """A file of an archive. What says that it is small, but is not, is damaged."""
    if packed.getinfo(path).file_size > _LARGEST:
        raise BadZipFile(f"{path} is too large")
    return packed.read(path)


def _checked(content: bytes, edition: str, where: Path) -> Edition:
    """The manifest of this edition."""
    if edition in published_editions() and published_editions()[edition].seal != _digest(content):
        raise _refused(where, f"this is not the edition {edition} as it was published: its seal is another one")
    try:
        manifest = Edition.model_validate_json(content)
    except ValidationError as error:
        raise _refused(where, f"{MANIFEST} has {error.error_count()} fields that no edition has") from error
    if manifest.edition != edition:
        raise _refused(where, f"this is the edition {manifest.edition}, not {edition}")
    return manifest


def _refused(where: Path, problem: str) -> UserError:
    return UserError(f"{problem}.", remedy="Get it from where it was published.", file=str(where))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

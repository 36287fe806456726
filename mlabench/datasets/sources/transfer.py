"""One file over HTTP: resumed where it was interrupted, checked, and only then under its own name."""

from __future__ import annotations

import errno
import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import pooch
import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from mlabench.errors import UserError

#: What is read at a time; less than that is lost where a connection breaks.
_BLOCK = 1 << 16
#: Seconds until a connection, and between two blocks.
_TIMEOUT = (15, 60)
#: How often a transfer may break off without a byte received in between.
_TRIES = 4
_BROKEN_OFF = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
_LATER = "Try again later, or choose another address with --mirror."
_AGAIN = "Run the same command again: it resumes, and nothing that is complete is fetched twice."

#: Told how many more bytes there are; fewer, where a transfer starts again.
Count = Callable[[int], None]


class NotThereError(UserError):
    """The address does not exist."""


@dataclass(frozen=True)
class Received:
    """A complete file, and the checksum that it has: the published one, or else its SHA-256."""

    path: Path
    hash: str


class Transfer:
    """Connections to servers, to be closed in the end. Threads may share one.

    Args:
        tries: How often a server is asked that answers that it is busy, and how often a transfer may get stuck.
        pause: Seconds between two tries; more before each further one.
    """

    def __init__(self, tries: int = _TRIES, pause: float = 1.0) -> None:
        self._tries, self._pause = tries, pause
        self._session = requests.Session()
        busy = Retry(tries, connect=0, read=0, backoff_factor=pause, status_forcelist=(429, 500, 502, 503, 504))
        busy.raise_on_status = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=16, max_retries=busy))
        pooch.get_logger().setLevel("WARNING")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def read_json(self, url: str) -> Any:
        """A small document.

        Raises:
            NotThereError: If there is none at this address.
            UserError: If it cannot be had, or is not JSON.
        """
        try:
            response = self._session.get(url, timeout=_TIMEOUT)
            _require_found(response, url)
            return response.json()
        except requests.RequestException as error:
            raise UserError(f"cannot be read ({_reason(error)}).", remedy=_LATER, file=url) from error

    def receive(
        self, base: str, path: str, folder: Path, known: str | None, size: int | None, count: Count
    ) -> Received:
        """Fetches ``base + path`` to the same path below a folder, unless it is there.

        What is there of it after an interruption lies beside it, as ``<name>.part``.

        Args:
            base: The address, with a slash at its end.
            path: The rest of it.
            folder: Where complete files are collected.
            known: ``algorithm:digits``; see the table of sources. None if no checksum is published.
            size: In bytes, if known.
            count: Told of progress.

        Raises:
            UserError: If it cannot be had, is not what is known of it, or cannot be written.
        """

        def download(url: str, output: str, _: object) -> None:
            part = folder / f"{path}.part"
            try:
                self._complete(part, url, size, count, trusted=known is not None)
                if known and known.startswith("git:") and git_id(part) != known.removeprefix("git:"):
                    part.unlink()
                    raise ValueError(f"not the file that Git knows as {known}")
                part.replace(output)
            except requests.RequestException as error:
                raise UserError(f"cannot be fetched ({_reason(error)}).", remedy=_AGAIN, file=url) from error

        url = base + quote(path)
        checked_by_pooch = None if known and known.startswith("git:") else known
        registry = pooch.create(folder, base, registry={path: checked_by_pooch}, urls={path: url})
        try:
            # Pooch makes it, too, but stumbles when several transfers do so at once.
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            file = Path(registry.fetch(path, downloader=download))
        except ValueError as error:
            raise UserError(
                "is not the file that is expected: its checksum is another one. What was received is deleted.",
                remedy="Run the same command again; if it happens twice, the source has changed or a proxy "
                "tampers with it.",
                file=url,
            ) from error
        except OSError as error:
            raise cannot_store(folder / path, error) from error
        return Received(file, known or f"sha256:{pooch.file_hash(str(file))}")

    def _complete(self, part: Path, url: str, size: int | None, count: Count, *, trusted: bool) -> None:
        """Fetches what is missing. Without a checksum, only what the server says has not changed is resumed."""
        stuck = 0
        before = _size(part)
        count(before)
        while True:
            try:
                self._fetch_rest(part, url, size, count, trusted=trusted)
            except _BROKEN_OFF:
                stuck = 0 if _size(part) > before else stuck + 1
                if stuck >= self._tries:
                    raise
                time.sleep(stuck * self._pause)
                before = _size(part)
            else:
                return

    def _fetch_rest(self, part: Path, url: str, size: int | None, count: Count, *, trusted: bool) -> None:
        tag = part.with_name(f"{part.name}.etag")
        etag = tag.read_text(encoding="ascii") if tag.is_file() else ""
        start = _size(part) if etag or trusted else 0
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            headers |= {"If-Range": etag} if etag else {}
        with self._session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            rest = response.headers.get("Content-Range", "")
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                if rest == f"bytes */{start}":
                    tag.unlink(missing_ok=True)
                    return  # it was complete
                count(-start)
                part.unlink()
                raise requests.ConnectionError("the file has changed")
            _require_found(response, url)
            if start and not rest.startswith(f"bytes {start}-"):
                count(-_size(part))
                start = 0
            length = response.headers.get("Content-Length", "")
            total = start + int(length) if length.isdecimal() and "Content-Encoding" not in response.headers else size
            if size is not None and total != size:
                part.unlink(missing_ok=True)
                raise UserError(
                    f"is not the file that is expected: it has {total:,} bytes instead of {size:,}.",
                    remedy="Check the address; the source may have changed.",
                    file=url,
                )
            part.parent.mkdir(parents=True, exist_ok=True)
            tag.write_text(_strong(response.headers.get("ETag", "")), encoding="ascii")
            with part.open("ab" if start else "wb") as file:
                for block in response.iter_content(_BLOCK):
                    file.write(block)
                    count(len(block))
            if total is not None and _size(part) < total:
                raise requests.ConnectionError("the connection was closed early")
        tag.unlink(missing_ok=True)


def git_id(path: Path) -> str:
    """The id that a file has in Git: a SHA-1 over its size and content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def cannot_store(path: Path, error: OSError) -> UserError:
    """The error to raise where the system refuses to write a file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            "the disk is full.", remedy=f"Free some space, or choose another --root. {_AGAIN}", file=str(path)
        )
    reason = f"{error.strerror or error}"
    return UserError(f"cannot be written ({reason}).", remedy="Choose another place with --root.", file=str(path))


def _require_found(response: requests.Response, url: str) -> None:
    """Refuses what is no answer, and an answer that came over a less safe connection than was asked for."""
    if any(urlsplit(url).scheme == "https" != urlsplit(one.url).scheme for one in (*response.history, response)):
        raise UserError("is sent on to an address without encryption.", remedy="Choose another --mirror.", file=url)
    status = response.status_code
    if status == requests.codes.not_found:
        raise NotThereError(
            "is not there (404).",
            remedy="Choose another address with --mirror, or get the file by hand.",
            file=url,
        )
    if not response.ok:
        raise UserError(
            f"the server answers {status} {response.reason}.",
            remedy=_LATER,
            file=url,
        )


def _strong(etag: str) -> str:
    """A tag that changes with every byte; one that may not is worth nothing here."""
    return etag if etag.isascii() and not etag.startswith("W/") else ""


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _reason(error: requests.RequestException) -> str:
    """The innermost reason, without the objects that requests shows."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    return str(cause) or type(cause).__name__

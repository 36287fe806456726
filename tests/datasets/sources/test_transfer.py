"""One file over HTTP, from a server that breaks off, lies, or is not there."""

from __future__ import annotations

import hashlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from mlabench.datasets.sources.transfer import NotThereError, Received, Transfer, _require_found, git_id
from mlabench.errors import UserError
from tests.datasets.sources.server import Server

CONTENT = random.Random(0).randbytes(3_000_000)
KNOWN = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
PATH = "folder/one file.zip"


@pytest.fixture
def transfer() -> Iterator[Transfer]:
    with Transfer(tries=2, pause=0) as one:
        yield one


class Fetch:
    """Fetches the file, and counts."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.base, self.folder, self.counted = server.address, folder, 0

    def __call__(self, transfer: Transfer, known: str | None = KNOWN, size: int | None = len(CONTENT)) -> Received:
        self.counted = 0
        return transfer.receive(self.base, PATH, self.folder, known, size, self.count)

    def count(self, more: int) -> None:
        self.counted += more

    @property
    def part(self) -> Path:
        return self.folder / f"{PATH}.part"


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Fetch:
    server.files[PATH] = CONTENT
    return Fetch(server, tmp_path)


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "known", [KNOWN, f"md5:{hashlib.md5(CONTENT).hexdigest()}", f"sha512:{hashlib.sha512(CONTENT).hexdigest()}"]
)
def test_a_file_is_received_and_checked(known: str, fetch: Fetch, transfer: Transfer) -> None:
    received = fetch(transfer, known)
    assert received == Received(fetch.folder / PATH, known)
    assert received.path.read_bytes() == CONTENT
    assert fetch.counted == len(CONTENT)
    assert names(fetch.folder) == [PATH]


def test_without_a_checksum_it_says_what_it_has(fetch: Fetch, transfer: Transfer) -> None:
    assert fetch(transfer, known=None, size=None).hash == KNOWN


def test_the_id_that_git_gives(tmp_path: Path) -> None:
    """As `git hash-object` prints it."""
    (tmp_path / "one").write_bytes(b"hello\n")
    assert git_id(tmp_path / "one") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_the_id_that_git_gives_is_a_checksum(fetch: Fetch, transfer: Transfer) -> None:
    right = hashlib.sha1(b"blob 3000000\0" + CONTENT).hexdigest()
    with pytest.raises(UserError, match="its checksum is another one"):
        fetch(transfer, f"git:{'0' * 40}")
    assert names(fetch.folder) == []
    assert fetch(transfer, f"git:{right}").path.read_bytes() == CONTENT


# -- interruptions --------------------------------------------------------------------------------


def test_a_connection_that_breaks_is_resumed(fetch: Fetch, transfer: Transfer, server: Server) -> None:
    server.breaks[PATH] = [1_048_576, 524_288]
    assert fetch(transfer).path.read_bytes() == CONTENT
    assert server.asked == [(PATH, None), (PATH, "bytes=1048576-"), (PATH, "bytes=1572864-")]
    assert fetch.counted == len(CONTENT)


def test_what_is_there_survives_and_is_not_fetched_again(fetch: Fetch, transfer: Transfer, server: Server) -> None:
    server.breaks[PATH] = [1_048_576, 0, 0]
    with pytest.raises(UserError, match=r"cannot be fetched .*Run the same command again: it resumes") as caught:
        fetch(transfer)
    assert caught.value.file == f"{server.address}folder/one%20file.zip"
    assert fetch.part.read_bytes() == CONTENT[:1_048_576]
    with Transfer(tries=2, pause=0) as another:
        assert fetch(another).path.read_bytes() == CONTENT
    assert server.sent == len(CONTENT)
    assert fetch.counted == len(CONTENT)


def test_without_a_checksum_it_resumes_what_the_server_says_is_the_same(
    fetch: Fetch, transfer: Transfer, server: Server
) -> None:
    server.etags[PATH] = '"first"'
    server.breaks[PATH] = [1_048_576]
    assert fetch(transfer, known=None).hash == KNOWN
    assert server.sent == len(CONTENT)


@pytest.mark.parametrize("tag", ["", 'W/"weak"', '"other"'])
def test_without_a_checksum_it_mixes_no_two_versions(
    tag: str, fetch: Fetch, transfer: Transfer, server: Server
) -> None:
    """The file has changed during the interruption, and the server says so, or cannot tell."""
    server.files[PATH], server.etags[PATH] = bytes(len(CONTENT)), tag or '"first"'
    if not tag:
        del server.etags[PATH]
    elif tag == '"other"':
        server.etags[PATH] = '"first"'
    server.breaks[PATH] = [1_048_576, 0, 0]
    with pytest.raises(UserError, match="cannot be fetched"):
        fetch(transfer, known=None)
    server.files[PATH] = CONTENT
    if tag == '"other"':
        server.etags[PATH] = tag
    assert fetch(transfer, known=None).path.read_bytes() == CONTENT
    assert fetch.counted == len(CONTENT)


def test_a_server_that_serves_no_parts_sends_it_all_again(fetch: Fetch, transfer: Transfer, server: Server) -> None:
    server.ranges = False
    server.breaks[PATH] = [1_048_576]
    assert fetch(transfer).path.read_bytes() == CONTENT
    assert fetch.counted == len(CONTENT)


def test_what_was_complete_but_not_checked_yet_is_not_fetched_again(
    fetch: Fetch, transfer: Transfer, server: Server
) -> None:
    fetch.part.parent.mkdir()
    fetch.part.write_bytes(CONTENT)
    assert fetch(transfer).path.read_bytes() == CONTENT
    assert server.sent == 0


def test_what_is_too_long_is_fetched_again(fetch: Fetch, transfer: Transfer) -> None:
    fetch.part.parent.mkdir()
    fetch.part.write_bytes(bytes(len(CONTENT) + 1))
    assert fetch(transfer).path.read_bytes() == CONTENT
    assert fetch.counted == len(CONTENT)


# -- refusals -------------------------------------------------------------------------------------


def test_another_content_is_refused_and_deleted(fetch: Fetch, transfer: Transfer, server: Server) -> None:
    server.files[PATH] = CONTENT[:-1] + b"?"
    with pytest.raises(UserError, match=r"its checksum is another one\. What was received is deleted") as caught:
        fetch(transfer)
    assert caught.value.file == f"{server.address}folder/one%20file.zip"
    assert names(fetch.folder) == []
    server.files[PATH] = CONTENT
    assert fetch(transfer).path.read_bytes() == CONTENT


def test_another_size_is_refused_before_it_is_fetched(fetch: Fetch, transfer: Transfer, server: Server) -> None:
    with pytest.raises(UserError, match="it has 3,000,000 bytes instead of 2,000,000"):
        fetch(transfer, size=2_000_000)
    assert names(fetch.folder) == []


def test_an_address_that_does_not_exist(fetch: Fetch, transfer: Transfer, server: Server) -> None:
    del server.files[PATH]
    with pytest.raises(NotThereError, match=r"one%20file.zip: is not there \(404\)\. Choose another address"):
        fetch(transfer)
    assert len(server.asked) == 1


def test_a_server_that_refuses(fetch: Fetch, transfer: Transfer, server: Server) -> None:
    server.statuses[PATH] = [403]
    with pytest.raises(UserError, match="the server answers 403 Forbidden"):
        fetch(transfer)


def test_a_busy_server_is_asked_again(fetch: Fetch, transfer: Transfer, server: Server) -> None:
    server.statuses[PATH] = [503, 429]
    assert fetch(transfer).path.read_bytes() == CONTENT
    server.statuses[PATH] = [503, 503, 503]
    (fetch.folder / PATH).unlink()
    with pytest.raises(UserError, match="the server answers 503"):
        fetch(transfer)


def test_redirects_are_followed(fetch: Fetch, transfer: Transfer, server: Server) -> None:
    server.files["elsewhere"] = server.files.pop(PATH)
    server.redirects[PATH] = f"{server.address}elsewhere"
    server.breaks["elsewhere"] = [1_048_576]
    assert fetch(transfer).path.read_bytes() == CONTENT
    assert ("elsewhere", "bytes=1048576-") in server.asked


def test_redirects_in_a_circle_end(fetch: Fetch, transfer: Transfer, server: Server) -> None:
    server.redirects[PATH] = server.address + "folder/one%20file.zip"
    with pytest.raises(UserError, match=r"cannot be fetched .*redirects"):
        fetch(transfer)


def test_no_redirect_gives_up_encryption() -> None:
    first, last = requests.Response(), requests.Response()
    first.url, last.url, last.history, last.status_code = "https://a.org/x", "http://a.org/x", [first], 200
    with pytest.raises(UserError, match="sent on to an address without encryption"):
        _require_found(last, first.url)
    last.url = "https://b.org/x"
    _require_found(last, first.url)


def test_a_server_that_is_not_there(fetch: Fetch, transfer: Transfer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        fetch.base = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(UserError, match=r"cannot be fetched .*refused"):
            fetch(transfer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk(fetch: Fetch, transfer: Transfer) -> None:
    fetch.part.parent.mkdir()
    fetch.part.symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"one file\.zip: the disk is full\. Free some space.*it resumes"):
        fetch(transfer)


def test_a_place_that_cannot_be_written(fetch: Fetch, transfer: Transfer) -> None:
    (fetch.folder / "folder").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"cannot be written .*--root"):
        fetch(transfer)


def test_json(transfer: Transfer, server: Server) -> None:
    server.files |= {"good": b'{"a": [1]}', "bad": b"<html>"}
    assert transfer.read_json(server.address + "good") == {"a": [1]}
    with pytest.raises(UserError, match="bad: cannot be read"):
        transfer.read_json(server.address + "bad")
    with pytest.raises(NotThereError):
        transfer.read_json(server.address + "nowhere")

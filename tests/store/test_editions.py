"""Editions of the reference: frozen, fetched, compared with; refused where they are not what they were."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

import mlabench
from mlabench.errors import UserError
from mlabench.store import editions
from mlabench.store.editions import Published
from tests.command_line import invoke
from tests.datasets.sources.server import Server, serving

TABLE = editions.published_editions()  # the real one, before tests replace it
NAME = "mlabench-results-2001.02.zip"
LATER = "mlabench-results-2002.01.zip"


@pytest.fixture(scope="module")
def frozen(small_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive that the command makes of the small results."""
    folder = tmp_path_factory.mktemp("frozen")
    done = invoke("results", "--edition", "2001.02", "--freeze", small_results, "--out", folder)
    assert done.returncode == 0, done.stderr
    with ZipFile(folder / NAME) as packed:
        seal = hashlib.sha256(packed.read("edition.json")).hexdigest()
    assert f"editions.csv: 2001.02,{mlabench.__version__},{seal}\n" in done.stdout
    return folder / NAME


@pytest.fixture(autouse=True)
def known(frozen: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The edition is published, with its seal; the cache is empty. Returns the folder of editions in it."""
    with ZipFile(frozen) as packed:
        seal = hashlib.sha256(packed.read("edition.json")).hexdigest()
    one = Published("2001.02", "0.1.0", seal)
    monkeypatch.setattr(editions, "published_editions", lambda: {one.edition: one})
    monkeypatch.setattr("mlabench.store.published_editions", lambda: {one.edition: one})
    monkeypatch.setenv("MLABENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "editions"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as one:
        yield one


def published_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository's address, as an installation's metadata have it."""
    about = {"Project-URL": ["Documentation, https://example.org", f"Repository, {address}"]}
    monkeypatch.setattr(editions, "metadata", lambda _: type("Metadata", (), {"get_all": lambda _, key: about[key]})())


def test_what_was_frozen_is_fetched_and_reproduced(
    frozen: Path, server: Server, small_results: Path, known: Path, monkeypatch: pytest.MonkeyPatch
):
    published_at(server.address.rstrip("/"), monkeypatch)
    server.files[f"releases/download/v0.1.0/{NAME}"] = frozen.read_bytes()
    fetched = invoke("results", "--edition", "2001.02")
    assert fetched.returncode == 0, fetched.stderr
    assert f"2001.02: 8 trials, made with mlabench {mlabench.__version__}" in fetched.stdout
    assert "small_suite.limit150" in fetched.stdout
    assert sorted(path.name for path in known.iterdir() if path.name[0] != ".") == ["2001.02", "downloads"]
    assert not any(path.is_file() for path in (known / "downloads").rglob("*"))
    compared = invoke("report", "--compare", "edition:2001.02", small_results)
    assert compared.returncode == 0, compared.stderr
    assert "Reproduced: 8 trials in both folders, all with the same accuracies to the bit." in compared.stdout
    asked = len(server.asked)
    rows = json.loads(invoke("results", "--edition", "2001.02", "--json").stdout)
    assert rows == [
        {"edition": "2001.02", "suite": "small_suite.limit150", "trials": 8, "folder": str(known / "2001.02")}
    ]
    assert len(server.asked) == asked, "it is here"
    numbers = mlabench.results("edition:2001.02").drop(columns="suite")
    assert numbers.equals(mlabench.results(small_results).drop(columns="suite"))
    (listed,) = json.loads(invoke("results", "--json").stdout)
    assert listed == {"edition": "2001.02", "mlabench": "0.1.0", "folder": str(known / "2001.02")}


def test_the_same_records_give_the_same_bytes(frozen: Path, small_copy: Path, tmp_path: Path):
    for path in [*small_copy.rglob("*.json")]:
        path.touch()
    (small_copy / "logs").mkdir(exist_ok=True)
    (small_copy / "logs" / "x.log").write_text("not part of it", encoding="utf-8")
    assert invoke("results", "--edition", "2001.02", "--freeze", small_copy, "--out", tmp_path).returncode == 0
    assert (tmp_path / NAME).read_bytes() == frozen.read_bytes()
    with ZipFile(frozen) as packed:
        kinds = {Path(name).name if "trials/" in name else name.partition("/")[0] for name in packed.namelist()}
    assert kinds == {"edition.json", "plans", "samples", "record.json", "outcomes.npz"}


@pytest.mark.parametrize("kind", ["file", "folder", "address of a folder", "address of a file"])
def test_it_may_come_from_anywhere(kind: str, frozen: Path, server: Server, known: Path):
    server.files[f"mirror/{NAME}"] = frozen.read_bytes()
    mirror = f"{server.address}mirror"
    places = [frozen, frozen.parent, mirror, f"{mirror}/{NAME}"]
    place = dict(zip(["file", "folder", "address of a folder", "address of a file"], places, strict=True))[kind]
    done = invoke("results", "--edition", "2001.02", "--from", place)
    assert done.returncode == 0, done.stderr
    assert (known / "2001.02" / "edition.json").is_file()
    assert frozen.is_file()


def rewritten(archive: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """A copy of an archive with other content."""
    with ZipFile(archive) as packed:
        content = {name: packed.read(name) for name in packed.namelist()}
    change(content)
    with ZipFile(target, "w") as packed:
        for name, data in content.items():
            packed.writestr(name, data)
    return target


def record_in(content: dict[str, bytes]) -> str:
    return next(name for name in content if name.endswith("record.json"))


def tamper_with_a_record(content: dict[str, bytes]) -> None:
    content[record_in(content)] = content[record_in(content)].replace(b'"accuracy":0.', b'"accuracy":0.9', 1)


def tamper_and_seal(content: dict[str, bytes]) -> None:
    """A forged manifest that agrees with what it is about."""
    tamper_with_a_record(content)
    manifest = json.loads(content["edition.json"])
    manifest["files"][record_in(content)] = hashlib.sha256(content[record_in(content)]).hexdigest()
    content["edition.json"] = json.dumps(manifest).encode()


def remove_a_record(content: dict[str, bytes]) -> None:
    del content[record_in(content)]


def lead_out(content: dict[str, bytes]) -> None:
    manifest = json.loads(content["edition.json"])
    manifest["files"]["trials/../../../escaped"] = hashlib.sha256(b"!").hexdigest()
    content |= {"edition.json": json.dumps(manifest).encode(), "trials/../../../escaped": b"!"}


@pytest.mark.parametrize(
    ("change", "edition", "message"),
    [
        (tamper_with_a_record, "2001.02", "record.json does not have the checksum that the manifest says."),
        (tamper_and_seal, "2001.02", "this is not the edition 2001.02 as it was published: its seal is another one."),
        (remove_a_record, "2001.02", "this is no archive of an edition, or a damaged one"),
        (lead_out, "2002.01", "edition.json has 1 fields that no edition has."),
        (lambda content: content.pop("edition.json"), "2001.02", "this is no archive of an edition, or a damaged one"),
        (lambda content: None, "2002.01", "this is the edition 2001.02, not 2002.01."),
    ],
)
def test_what_is_not_the_edition_is_refused(
    change: Callable[[dict[str, bytes]], None], edition: str, message: str, frozen: Path, known: Path, tmp_path: Path
):
    archive = rewritten(frozen, tmp_path / "other.zip", change)
    done = invoke("results", "--edition", edition, "--from", archive)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {archive}: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not [path for path in tmp_path.rglob("*") if path.name in ("escaped", "record.json")]
    assert archive.is_file()


def test_a_damaged_archive_never_passes_for_the_edition(frozen: Path, known: Path, tmp_path: Path):
    """Whatever is cut off or turned over: it is refused, or nothing that counts was hit."""
    whole, archive = frozen.read_bytes(), tmp_path / "damaged.zip"
    with ZipFile(frozen) as packed:
        content = {name: packed.read(name) for name in packed.namelist()}
    places = np.random.default_rng(0).integers(len(whole), size=20)
    ends = len(whole) - 1 - np.arange(60, step=3)  # the directory of the archive
    damaged = [whole[:place] for place in places]
    damaged += [whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :] for place in (*places, *ends)]
    refused = 0
    for data in damaged:
        archive.write_bytes(data)
        try:
            folder, _ = editions.take_edition(archive, "2001.02")
        except UserError as error:
            assert str(error).startswith(f"{archive}: ")
            refused += 1
        else:
            assert {name: (folder / name).read_bytes() for name in content} == content
    assert refused > len(damaged) // 2
    archive.unlink()
    archive.mkdir()
    with pytest.raises(UserError, match="this archive cannot be read"):
        editions.take_edition(archive, "2001.02")


def test_what_has_no_published_seal_is_taken_with_a_warning(frozen: Path, known: Path, tmp_path: Path):
    def name_otherwise(content: dict[str, bytes]) -> None:
        content["edition.json"] = content["edition.json"].replace(b"2001.02", b"2002.01")

    archive = rewritten(frozen, tmp_path / LATER, name_otherwise)
    done = invoke("results", "--edition", "2002.01", "--from", archive)
    assert done.returncode == 0, done.stderr
    assert "This version of mlabench has no seal of 2002.01" in done.stdout
    assert "2002.01" in invoke("results").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--edition", "2001.0"], "edition: '2001.0' cannot be an edition. Did you mean '2001.02'?"),
        (["--edition", "../x"], "edition: '../x' cannot be an edition. Editions are called by year and month"),
        (["--edition", "2031.07"], "knows no edition 2031.07."),
        (["--edition", "2001.02", "--from", "nowhere"], f"nowhere: no such file. Give the file {NAME}, or its folder."),
        (["--from", "nowhere"], "--from: say which edition. Add --edition 2026.12, for example."),
        (["--edition", "2001.02"], "this build of mlabench does not say where its releases are"),
        (["--edition", "2001.02", "--freeze", "."], ".: no results here. Give a results folder."),
    ],
)
def test_mistakes(arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(editions, "metadata", lambda _: type("None", (), {"get_all": lambda *_: None})())
    done = invoke("results", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_a_network(frozen: Path, server: Server, known: Path, monkeypatch: pytest.MonkeyPatch):
    published_at(f"{server.address}elsewhere", monkeypatch)
    done = invoke("results", "--edition", "2001.02")
    assert done.returncode == 2
    assert f"v0.1.0/{NAME}: is not there (404)." in done.stderr
    closed = "http://127.0.0.1:1"  # nothing listens there
    monkeypatch.setattr("mlabench.datasets.sources.transfer.time.sleep", lambda _: None)
    done = invoke("results", "--edition", "2001.02", "--from", closed)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {closed}/{NAME}: cannot be fetched (")
    assert "with --from." in done.stderr


def test_an_edition_that_is_not_here_or_was_changed(frozen: Path, small_results: Path, known: Path):
    absent = invoke("report", "--compare", "edition:2001.02", small_results)
    assert absent.returncode == 2
    assert "the edition 2001.02 is not here, or not all of it." in absent.stderr
    assert "`mlabench results --edition 2001.02` fetches it." in absent.stderr
    assert invoke("results", "--edition", "2001.02", "--from", frozen).returncode == 0
    record = next((known / "2001.02").rglob("record.json"))
    record.write_text(record.read_text().replace('"accuracy":0.', '"accuracy":0.9', 1))
    changed = invoke("report", "--compare", "edition:2001.02", small_results)
    assert changed.returncode == 2
    assert f"{record}: this file is not the edition's." in changed.stderr
    again = invoke("results", "--edition", "2001.02", "--from", frozen)
    assert again.returncode == 0, again.stderr
    assert invoke("report", "--compare", "edition:2001.02", small_results).returncode == 0


def test_only_what_is_whole_is_frozen(small_copy: Path, tmp_path: Path):
    first, second, *_ = sorted((small_copy / "trials").iterdir())
    (second / "outcomes.npz").unlink()
    command = ("results", "--edition", "2002.01", "--freeze", small_copy, "--out", tmp_path)
    done = invoke(*command)
    assert done.returncode == 2
    assert f"{second}: there are no outcomes beside this record." in done.stderr
    shutil.rmtree(first)
    done = invoke(*command)
    assert done.returncode == 2
    assert f"{first}: there is no record of this trial." in done.stderr
    assert not (tmp_path / LATER).exists()


def test_what_is_published_does_not_change(small_copy: Path, tmp_path: Path):
    plan = next((small_copy / "plans").iterdir())
    plan.write_text(plan.read_text() + "\n")
    done = invoke("results", "--edition", "2001.02", "--freeze", small_copy, "--out", tmp_path)
    assert done.returncode == 2
    assert "these are not the records of the edition 2001.02: their seal is " in done.stderr
    assert not (tmp_path / NAME).exists()


def test_there_may_be_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mlabench.store.published_editions", dict)
    assert "knows no edition of the reference, and none is here" in invoke("results").stdout
    assert invoke("results", "--json").stdout == "[]\n"


def test_the_table_of_editions():
    assert list(TABLE) == sorted(TABLE)
    for name, one in TABLE.items():
        assert editions.edition_archive(name) == f"mlabench-results-{one.edition}.zip"
        assert re.fullmatch(r"\d+\.\d+\.\d+", one.mlabench)
        assert re.fullmatch("[0-9a-f]{64}", one.seal)

"""``mlabench data get`` against a server of one's own."""

from __future__ import annotations

import copy
import hashlib
import json
import pkgutil
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlabench.datasets.sources import table
from tests.command_line import invoke, start
from tests.datasets.published import crema_d_tree, kinetics_sounds_tree, mvsa_tree
from tests.datasets.sources.archives import tarred, zipped
from tests.datasets.sources.server import Server, serving

RECORD = "api/records/3625687"
FILES = "records/3625687/files"
OPENMOJI = "openmoji/-/openmoji-17.0.0.tgz"
Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as one:
        yield one


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Change], None]]:
    """Changes the table: what is served here has other checksums than what is published."""
    changed = copy.deepcopy(table._table())
    table.source_of.cache_clear()
    monkeypatch.setattr(table, "_table", lambda: changed)
    yield lambda by: by(changed)
    table.source_of.cache_clear()


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def get(server: Server, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    done = invoke("data", "get", *arguments, "--mirror", server.address, "--yes")
    assert "Traceback" not in done.stderr
    return done


def content_of(folder: Path) -> dict[str, bytes]:
    """What is there for the reader: all but the receipts."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in files.items() if not name.startswith(".mlabench/")}


# -- OpenMoji: an archive with a published checksum --------------------------------------------------

EMOJI = {
    "package/data/openmoji.csv": b"emoji,hexcode,group\nx,1F600,smileys-emotion\n",
    "package/color/svg/1F600.svg": b"<svg/>",
    "package/black/svg/1F600.svg": b"<svg/>",
    "package/LICENSE.txt": b"Attribution-ShareAlike 4.0 International",
    "package/index.js": b"module.exports = {}",
}


@pytest.fixture
def openmoji(server: Server, change: Callable[[Change], None]) -> bytes:
    tarball = server.files[OPENMOJI] = tarred(EMOJI)

    def by(content: dict[str, Any]) -> None:
        file = content["openmoji"]["parts"]["data"]["files"][0]
        file |= {"size": len(tarball), "hash": f"sha512:{hashlib.sha512(tarball).hexdigest()}"}

    change(by)
    return tarball


def test_openmoji_from_a_mirror(openmoji: bytes, server: Server, tmp_path: Path) -> None:
    done = get(server, "openmoji", "--root", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    assert content_of(tmp_path / "o") == {
        name.removeprefix("package/"): EMOJI[name]
        for name in ("package/data/openmoji.csv", "package/color/svg/1F600.svg", "package/LICENSE.txt")
    }
    assert server.asked == [(OPENMOJI, None)]
    assert "data: 3 files" in done.stdout
    assert not list(tmp_path.rglob("*.tgz")), "the archive is not kept"


def test_licence_source_and_size_come_first(openmoji: bytes, server: Server, tmp_path: Path) -> None:
    done = invoke("data", "get", "openmoji", "--root", tmp_path, MLABENCH_MIRROR=server.address)
    assert done.returncode == 2
    assert "Give it --yes if you agree to the licence and the size" in done.stderr
    for line in (
        r"licence  CC BY-SA 4\.0",
        r"page     https://openmoji\.org",
        rf"from     {re.escape(server.address)}",
        rf"to       {re.escape(str(tmp_path))}",
        rf"size     {len(openmoji)} bytes to fetch",
    ):
        assert re.search(f"^{line}", done.stdout, re.MULTILINE), done.stdout
    assert server.asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("answer", "code", "requests"), [("y", 0, 1), ("n", 1, 0)])
def test_it_asks_at_a_terminal(
    answer: str, code: int, requests: int, openmoji: bytes, server: Server, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import io

    terminal = io.StringIO(f"{answer}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    done = invoke("data", "get", "openmoji", "--root", tmp_path, "--mirror", server.address)
    assert done.returncode == code
    assert "Fetch it? [y/N]" in done.stdout
    assert len(server.asked) == requests


def test_what_is_there_is_not_fetched_again(openmoji: bytes, server: Server, tmp_path: Path) -> None:
    get(server, "openmoji", "--root", tmp_path)
    server.asked.clear()
    done = invoke("data", "get", "openmoji", "--root", tmp_path, "--mirror", server.address)
    assert done.returncode == 0, "there is nothing to ask"
    assert "nothing left to fetch" in done.stdout
    assert server.asked == []
    (tmp_path / "color/svg/1F600.svg").unlink()
    get(server, "openmoji", "--root", tmp_path)
    assert (tmp_path / "color/svg/1F600.svg").read_bytes() == b"<svg/>"


def test_the_published_checksum_is_the_real_one_s(server: Server, tmp_path: Path) -> None:
    """Another tarball than npm's, of whatever size, is refused."""
    server.files[OPENMOJI] = tarred(EMOJI)
    assert "bytes instead of 4,339,458" in get(server, "openmoji", "--root", tmp_path).stderr
    server.files[OPENMOJI] = bytes(4_339_458)
    done = get(server, "openmoji", "--root", tmp_path)
    assert done.returncode == 2
    assert "its checksum is another one" in done.stderr
    assert content_of(tmp_path) == {}


def test_a_mirror_without_it(server: Server, tmp_path: Path) -> None:
    done = get(server, "openmoji", "--root", tmp_path)
    assert done.returncode == 2
    assert f"{server.address}{OPENMOJI}: is not there (404)" in done.stderr


def test_no_room(openmoji: bytes, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    done = get(server, "openmoji", "--root", tmp_path)
    assert done.returncode == 2
    assert "there are 1,000 bytes free" in done.stderr
    assert server.asked == []


def test_a_disk_that_fills_while_it_unpacks(openmoji: bytes, server: Server, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs a device that is always full")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/openmoji.csv.part").symlink_to("/dev/full")
    done = get(server, "openmoji", "--root", tmp_path)
    assert done.returncode == 2
    assert "the disk is full. Free some space" in done.stderr
    (tmp_path / "data/openmoji.csv.part").unlink()
    assert get(server, "openmoji", "--root", tmp_path).returncode == 0
    assert len(server.asked) == 1, "the archive was complete"


def test_an_evil_archive(server: Server, change: Callable[[Change], None], tmp_path: Path) -> None:
    tarball = server.files[OPENMOJI] = tarred(EMOJI | {"package/../../../evil": b"evil"})

    def by(content: dict[str, Any]) -> None:
        content["openmoji"]["parts"]["data"]["files"][0] |= {"size": len(tarball), "hash": sha256(tarball)}

    change(by)
    done = get(server, "openmoji", "--root", tmp_path / "a" / "b")
    assert done.returncode == 2
    assert "holds a path that leads out of it ('package/../../../evil')" in done.stderr
    assert not list(tmp_path.rglob("evil"))


def test_a_place_that_cannot_be_written(openmoji: bytes, server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = get(server, "openmoji", "--root", tmp_path / "file")
    assert done.returncode == 2
    assert re.search(r"file.*: cannot be written .*--root", done.stderr)


def test_two_at_once(openmoji: bytes, server: Server, tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / ".mlabench").mkdir()
    with FileLock(tmp_path / ".mlabench/lock"):
        done = get(server, "openmoji", "--root", tmp_path)
    assert done.returncode == 2
    assert "another process is fetching data to this folder" in done.stderr


# -- GRID: sizes and checksums from Zenodo ----------------------------------------------------------


@pytest.fixture
def grid(server: Server) -> dict[str, bytes]:
    """Two talkers and the alignments, without a description of the record."""
    archives = {
        f"{talker}.zip": zipped({f"{talker}/{clip}.mpg": clip.encode() for clip in ("bbaf2n", "lwie9s")})
        for talker in ("s1", "s2")
    }
    archives["alignments.zip"] = zipped({"alignments/s1/bbaf2n.align": b"0 23750 sil\n"})
    server.files |= {f"{FILES}/{name}": content for name, content in archives.items()}
    return archives


def describe(server: Server, archives: dict[str, bytes]) -> None:
    """Zenodo's description of a record, as far as it is read."""
    files = [
        {"key": name, "size": len(content), "checksum": f"md5:{hashlib.md5(content).hexdigest()}"}
        for name, content in archives.items()
    ]
    server.files[RECORD] = json.dumps({"id": 3625687, "files": files}).encode()


def test_talkers_of_grid(grid: dict[str, bytes], server: Server, tmp_path: Path) -> None:
    describe(server, grid)
    done = get(server, "grid", "--root", tmp_path, "--part", "s1", "--part", "alignments")
    assert done.returncode == 0, done.stderr
    assert content_of(tmp_path) == {
        "s1/bbaf2n.mpg": b"bbaf2n", "s1/lwie9s.mpg": b"lwie9s", "alignments/s1/bbaf2n.align": b"0 23750 sil\n",
    }  # fmt: skip
    size = sum(len(grid[name]) for name in ("s1.zip", "alignments.zip"))
    assert f"size     {size} bytes to fetch" in done.stdout
    assert "no checksum" not in done.stdout
    assert server.asked.count((RECORD, None)) == 1
    assert get(server, "grid", "--root", tmp_path, "--part", "s2").returncode == 0
    assert (tmp_path / "s2/bbaf2n.mpg").read_bytes() == b"bbaf2n"


def test_a_talker_that_is_not_what_zenodo_describes(grid: dict[str, bytes], server: Server, tmp_path: Path) -> None:
    describe(server, grid)
    server.files[f"{FILES}/s1.zip"] = grid["s1.zip"][:-1] + b"?"
    done = get(server, "grid", "--root", tmp_path, "--part", "s1")
    assert done.returncode == 2
    assert "its checksum is another one" in done.stderr
    assert content_of(tmp_path) == {}


@pytest.mark.parametrize("described", [b'{"files": [{"key": "s1.zip"}]}', b"[]", b'{"files": 1}'])
def test_a_description_that_cannot_be_understood(described: bytes, server: Server, tmp_path: Path) -> None:
    server.files[RECORD] = described
    done = get(server, "grid", "--root", tmp_path, "--part", "s1")
    assert done.returncode == 2
    assert "is not the description of a record of Zenodo" in done.stderr


def test_trust_on_first_use(grid: dict[str, bytes], server: Server, tmp_path: Path) -> None:
    """Without a description of the record: the first checksum is on record, and holds for the second time."""
    command = ("grid", "--root", tmp_path, "--part", "s1")
    first = get(server, *command)
    assert first.returncode == 0, first.stderr
    digest = sha256(grid["s1.zip"])
    assert f"{FILES}/s1.zip: no checksum is published; on record from now on: {digest}" in first.stdout
    assert digest in (tmp_path / ".mlabench/received.jsonl").read_text()
    assert "size     about 431.0 MB" in first.stdout
    (tmp_path / "s1/bbaf2n.mpg").unlink()
    server.files[f"{FILES}/s1.zip"] = zipped({"s1/bbaf2n.mpg": b"another"})
    second = get(server, *command)
    assert second.returncode == 2
    assert "its checksum is another one" in second.stderr
    assert not (tmp_path / "s1/bbaf2n.mpg").exists()
    server.files[f"{FILES}/s1.zip"] = grid["s1.zip"]
    assert "no checksum" not in get(server, *command).stdout
    assert (tmp_path / "s1/bbaf2n.mpg").read_bytes() == b"bbaf2n"


def test_an_interrupted_command_is_resumed(server: Server, tmp_path: Path) -> None:
    """With a real interrupt, sent to a real process in the middle of a transfer."""
    content = zipped({"s1/bbaf2n.mpg": bytes(100), "s1/noise.mpg": hashlib.shake_256(b"x").digest(3_000_000)})
    path = f"{FILES}/s1.zip"
    server.files[path], server.etags[path], server.stalls[path] = content, '"v1"', 2_097_152
    command = ("data", "get", "grid", "--part", "s1", "--root", tmp_path, "--mirror", server.address, "--yes")
    process = start(*command)
    try:
        assert server.stalled.wait(60)
        part = tmp_path / ".mlabench/downloads" / f"{path}.part"
        for _ in range(600):
            if part.is_file() and part.stat().st_size >= 2_097_152:
                break
            server.released.wait(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, output
    assert "interrupted; run the same command again to resume" in output
    assert content_of(tmp_path) == {}
    assert get(server, *command[2:-3]).returncode == 0
    assert (path, "bytes=2097152-") in server.asked
    assert len(content_of(tmp_path)["s1/noise.mpg"]) == 3_000_000


# -- what the loaders read --------------------------------------------------------------------------


def test_crema_d(
    server: Server, change: Callable[[Change], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clip by clip, with the lists of MLA and OGM-GE; the loader reads what it has read from a clone."""
    tree = crema_d_tree.write_lists(crema_d_tree.make_tree(tmp_path / "source"))
    clips = {path: path.relative_to(tree).as_posix() for path in [*tree.glob("*/*.wav"), *tree.glob("*/*.flv")]}
    listed = [f"{sha256(path.read_bytes())[7:]} {path.stat().st_size} {name}\n" for path, name in clips.items()]
    (tmp_path / "crema_d.txt").write_text("".join(listed))
    monkeypatch.setattr(table, "FOLDER", tmp_path)
    server.files |= {name: path.read_bytes() for path, name in clips.items()}
    lists = {"data/my_train_cre.txt", "data/my_test_cre.txt", "data/CREMAD/train.csv", "data/CREMAD/test.csv"}
    server.files |= {name: (tree / Path(name).name).read_bytes() for name in lists}

    def by(content: dict[str, Any]) -> None:
        for part in ("mla", "ogm"):
            for file in content["crema_d"]["parts"][part]["files"]:
                data = server.files[file["path"]]
                file |= {"size": len(data), "hash": sha256(data)}

    change(by)
    root = tmp_path / "fetched"
    done = get(server, "crema_d", "--root", root)
    assert done.returncode == 0, done.stderr
    assert "form     https://docs.google.com/forms/" in done.stdout
    assert "Open Database License 1.0" in done.stdout
    assert "audio: 96 files\nvideo: 96 files\n" in done.stdout
    for split in ("speaker", "mla", "ogm"):
        counts = [
            invoke("data", "check", "crema_d", "--root", folder, "--set", f"split={split}").stdout.split("\n", 1)[1]
            for folder in (root, tree)
        ]
        assert counts[0] == counts[1]
        assert "Samples of crema_d" in counts[0]
    server.asked.clear()
    (root / "AudioWAV/1001_DFA_ANG_XX.wav").unlink()
    assert get(server, "crema_d", "--root", root).returncode == 0
    assert [path for path, _ in server.asked] == ["AudioWAV/1001_DFA_ANG_XX.wav"]


def test_one_file_of_many_that_is_not_there(
    server: Server, change: Callable[[Change], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"AudioWAV/{number}.wav" for number in range(30)]
    (tmp_path / "crema_d.txt").write_text("".join(f"{sha256(b'sound')[7:]} 5 {name}\n" for name in names))
    monkeypatch.setattr(table, "FOLDER", tmp_path)
    server.files |= dict.fromkeys(names, b"sound")
    missing = server.files.pop("AudioWAV/17.wav")
    command = ("crema_d", "--part", "audio", "--root", tmp_path / "out")
    done = get(server, *command)
    assert done.returncode == 2
    assert "AudioWAV/17.wav: is not there (404)" in done.stderr
    server.files["AudioWAV/17.wav"] = missing
    assert get(server, *command).returncode == 0
    assert set(content_of(tmp_path / "out")) == set(names)
    assert server.sent == 5 * len(names), "no byte was sent twice"


def test_kinetics_sounds(server: Server, change: Callable[[Change], None], tmp_path: Path) -> None:
    """Of Kinetics' archives, only the clips in the 31 classes are kept."""
    tree = kinetics_sounds_tree.write_lists(kinetics_sounds_tree.make_tree(tmp_path / "source"))
    for part in ("train", "val", "test"):
        clips = {path.name: path.read_bytes() for path in (tree / part).glob("*.mp4")}
        server.files[f"{part}/part_0.tar.gz"] = tarred(clips)
    server.files |= {
        f"annotations/{name}": (tree / "annotations" / name).read_bytes() for name in ("train.csv", "val.csv")
    }
    server.files |= {
        f"data/KineticSound/{name}": (tree / name).read_bytes() for name in ("my_train.txt", "my_test.txt")
    }

    def by(content: dict[str, Any]) -> None:
        parts = content["kinetics_sounds"]["parts"]
        for part in ("train", "val", "test"):
            parts[part] |= {"files": [{"path": f"{part}/part_0.tar.gz"}], "size": 1000, "disk": 1000}
        for file in parts["ogm"]["files"]:
            data = server.files[file["path"]]
            file |= {"size": len(data), "hash": sha256(data)}

    change(by)
    root = tmp_path / "fetched"
    early = get(server, "kinetics_sounds", "--root", root, "--part", "val")
    assert early.returncode == 2
    assert "`mlabench data get kinetics_sounds --part annotations --part ogm`" in early.stderr
    chosen = [f"--part={part}" for part in ("annotations", "ogm", "val", "train", "test")]
    done = get(server, "kinetics_sounds", "--root", root, *chosen)
    assert done.returncode == 0, done.stderr
    assert len(list(root.rglob("*.mp4"))) == 78, "26 clips in each of 3 classes"
    assert not list(root.rglob("air_*"))
    for split in ("kinetics", "ogm"):
        check = invoke("data", "check", "kinetics_sounds", "--root", root, "--set", f"split={split}")
        assert check.returncode == 0, check.stderr
        assert "skipped" not in check.stdout


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kaggle's client, which fetches a small MVSA-Single; the handles that it is asked for."""
    import kagglehub
    from kagglehub import config

    asked = []

    def dataset_download(handle: str) -> str:
        asked.append(handle)
        folder = Path(config.get_cache_folder()) / "datasets" / handle / "versions/1"
        mvsa_tree.make_tree(folder)
        return str(folder)

    monkeypatch.setattr(kagglehub, "dataset_download", dataset_download)
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "kaggle"))
    return asked


def test_mvsa_from_kaggle(kaggle: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    command = ("data", "get", "mvsa", "--part", "data", "--root", tmp_path / "mvsa", "--yes")
    done = invoke(*command)
    assert done.returncode == 0, done.stderr
    assert "from     Kaggle, vincemarcs/mvsasingle" in done.stdout
    assert "not to be passed on" in done.stdout
    assert "secret" not in done.stdout
    assert {path.name for path in (tmp_path / "mvsa").iterdir()} == {".mlabench", "data", "labelResultAll.txt"}
    check = invoke("data", "check", "mvsa", "--root", tmp_path / "mvsa")
    assert f"{tmp_path / 'mvsa'}: 60 samples" in check.stdout
    assert "nothing left to fetch" in invoke(*command).stdout
    assert kaggle == ["vincemarcs/mvsasingle"]


def test_kaggle_needs_credentials(kaggle: list[str], tmp_path: Path) -> None:
    done = invoke("data", "get", "mvsa", "--part", "data", "--root", tmp_path / "mvsa", "--yes")
    assert done.returncode == 2
    assert "https://www.kaggle.com/settings/api" in done.stderr
    assert kaggle == []


def test_kaggle_has_no_mirror(kaggle: list[str], server: Server, tmp_path: Path) -> None:
    done = get(server, "mvsa", "--root", tmp_path)
    assert done.returncode == 2
    assert re.search(r"--mirror: the part 'data' comes from Kaggle.*choose other parts with --part", done.stderr)


def test_a_damaged_file_of_credentials(kaggle: list[str], tmp_path: Path) -> None:
    (tmp_path / "kaggle").mkdir()
    (tmp_path / "kaggle/kaggle.json").write_text("not JSON")
    done = invoke("data", "get", "mvsa", "--part", "data", "--root", tmp_path / "mvsa", "--yes")
    assert done.returncode == 2
    assert "Invalid Kaggle credentials file" in done.stderr
    assert kaggle == []


@pytest.mark.parametrize("error", ["requests.HTTPError", "kagglehub.exceptions.DataCorruptionError"])
def test_what_kaggle_refuses(error: str, kaggle: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import kagglehub

    kind = pkgutil.resolve_name(error)

    def refuse(handle: str) -> str:
        raise kind(f"403 Client Error for {handle}")

    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    monkeypatch.setattr(kagglehub, "dataset_download", refuse)
    done = invoke("data", "get", "mvsa", "--part", "data", "--root", tmp_path, "--yes")
    assert done.returncode == 2
    assert "Kaggle's client failed (403" in done.stderr


# -- what cannot be fetched -------------------------------------------------------------------------


def test_iemocap_says_whom_to_ask() -> None:
    done = invoke("data", "get", "iemocap", "--yes")
    assert done.returncode == 2
    for part in ("https://sail.usc.edu/iemocap/iemocap_release.htm", "not to be passed on", "iemocap --part mla`"):
        assert part in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], r"there is no source for 'nothing'\. There are sources for grid, openmoji, crema_d"),
        (["grid", "--part", "s21"], r"--part: grid has no part 's21'\. Its parts are alignments, s1, s2"),
        (["openmoji", "--mirror", "nonsense", "--yes"], r"nonsense/openmoji.*: cannot be fetched .*URL"),
    ],
)
def test_mistakes(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = invoke("data", "get", *arguments, "--root", tmp_path)
    assert done.returncode == 2
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_missing_data_name_the_command() -> None:
    assert "`mlabench data get crema_d` fetches them" in invoke("data", "check", "crema_d").stderr
    assert "mlabench data get" not in invoke("data", "check", "iemocap").stderr


def test_missing_lists_name_the_command(tmp_path: Path) -> None:
    root = mvsa_tree.make_tree(tmp_path)
    done = invoke("data", "check", "mvsa", "--root", root, "--set", "split=qmf")
    assert f"`mlabench data get mvsa --part qmf --root {root}`" in done.stderr

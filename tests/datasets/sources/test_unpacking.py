"""Archives: what is kept, and that nothing leaves its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mlabench.datasets.sources.table import Unpack, source_of
from mlabench.datasets.sources.unpacking import unpack
from mlabench.errors import UserError
from tests.datasets.sources.archives import tarred, zipped

Pack = Callable[[Mapping[str, bytes]], bytes]
ALL = Unpack(keep="(.*)", to=r"\1")
both = pytest.mark.parametrize("pack", [zipped, tarred])


def write(folder: Path, content: bytes) -> Path:
    path = folder / "archive"
    path.write_bytes(content)
    return path


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@both
def test_members_go_where_the_rule_says(pack: Pack, tmp_path: Path) -> None:
    archive = write(tmp_path, pack({"top/s1/a.mpg": b"a", "top/s1/b.mpg": b"bb", "top/readme": b"c"}))
    placed = unpack(archive, tmp_path / "out", Unpack(keep=r".*/(s\d+)/(.*\.mpg)", to=r"\1/video_\2"), None)
    assert placed == {"s1/video_a.mpg": 1, "s1/video_b.mpg": 2}
    assert content_of(tmp_path / "out") == {"s1/video_a.mpg": b"a", "s1/video_b.mpg": b"bb"}


@both
def test_only_wanted_members_are_written(pack: Pack, tmp_path: Path) -> None:
    archive = write(tmp_path, pack({"x/a.mp4": b"a", "x/b.mp4": b"b"}))
    assert unpack(archive, tmp_path / "out", Unpack(keep="x/(.*)", to=r"t/\1"), "b.mp4".__eq__) == {"t/b.mp4": 1}
    assert unpack(archive, tmp_path / "none", ALL, lambda _: False) == {}


@both
@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/evil", "..", "..\\evil", "a\\..\\..\\evil", "C:\\evil", "C:evil", "\\\\host\\evil"],
)
def test_no_member_leads_out_of_the_archive(name: str, pack: Pack, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    archive = write(tmp_path, pack({name: b"evil"}))
    for rule in (ALL, Unpack(keep=r"(?:.*/)?(\w+\.mpg)", to=r"\1")):
        with pytest.raises(UserError, match="holds a path that leads out of it"):
            unpack(archive, folder, rule, None)
    assert content_of(tmp_path) == {"archive": archive.read_bytes()}


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A link to a folder outside, and a member that would go through it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    links = {"s1": str(outside), "data": "../outside", "one": "/etc/passwd"}
    archive = write(tmp_path, tarred({"s1/evil": b"evil"}, links))
    assert unpack(archive, tmp_path / "out", ALL, None) == {"s1/evil": 4}
    assert content_of(outside) == {}
    assert content_of(tmp_path / "out") == {"s1/evil": b"evil"}


@pytest.mark.parametrize(
    "content",
    [
        b"<html>not an archive</html>",
        b"",
        zipped({"a": bytes(range(256)) * 50})[:-300],
        tarred({"a": bytes(range(256)) * 50})[:-60],
        zipped({"a": b"content"}).replace(b"content", b"c0ntent"),
    ],
)
def test_damaged_archives(content: bytes, tmp_path: Path) -> None:
    if content.startswith(b"PK") and b"a" in content and len(content) < 200:
        content = _with_wrong_checksum()
    with pytest.raises(UserError, match="the archive is damaged"):
        unpack(write(tmp_path, content), tmp_path / "out", ALL, None)
    assert not (tmp_path / "out" / "a").exists()


def _with_wrong_checksum() -> bytes:
    import io
    import zipfile

    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a", b"content")
    return stored.getvalue().replace(b"content", b"c0ntent")


@both
def test_an_archive_of_something_else(pack: Pack, tmp_path: Path) -> None:
    archive = write(tmp_path, pack({"readme": b"moved"}))
    with pytest.raises(UserError, match="holds none of the files that are expected"):
        unpack(archive, tmp_path / "out", Unpack(keep=r"(.*\.mpg)", to=r"\1"), None)


@pytest.mark.parametrize(
    ("name", "part", "member", "place"),
    [
        ("grid", "s3", "s3/bbaf2n.mpg", "s3/bbaf2n.mpg"),
        ("grid", "s3", "video/mpg_vcd/s3/bbaf2n.mpg", "s3/bbaf2n.mpg"),
        ("grid", "s34", "bbaf2n.mpg", "s34/bbaf2n.mpg"),
        ("grid", "s3", "__MACOSX/s3/._bbaf2n.mpg", None),
        ("grid", "alignments", "alignments/s3/bbaf2n.align", "alignments/s3/bbaf2n.align"),
        ("grid", "alignments", "s3/align/bbaf2n.align", "alignments/s3/bbaf2n.align"),
        ("openmoji", "data", "package/data/openmoji.csv", "data/openmoji.csv"),
        ("openmoji", "data", "package/color/svg/1F600.svg", "color/svg/1F600.svg"),
        ("openmoji", "data", "package/LICENSE.txt", "LICENSE.txt"),
        ("openmoji", "data", "package/black/svg/1F600.svg", None),
        ("kinetics_sounds", "train", "-3KDFeTkXUo_000013_000023.mp4", "train/-3KDFeTkXUo_000013_000023.mp4"),
        ("kinetics_sounds", "val", "./-3KDFeTkXUo_000013_000023.mp4", "val/-3KDFeTkXUo_000013_000023.mp4"),
    ],
)
def test_rules_of_the_table(name: str, part: str, member: str, place: str | None) -> None:
    rule = source_of(name).parts[part].unpack
    assert rule
    assert rule.place(member) == place

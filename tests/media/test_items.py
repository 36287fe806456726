"""What identifies an item."""

from pathlib import Path

import pytest

from mlabench.errors import UserError
from mlabench.media import Audio, Image, Text, Video, needed_packages
from mlabench.media.items import identity


def test_an_item_is_the_same_wherever_it_lies(tmp_path: Path) -> None:
    for name in ("here/a.png", "there/b.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"12345")
    here, there = (identity(Image(tmp_path / name)) for name in ("here/a.png", "there/b.png"))
    assert here == there == {"kind": "Image", "bytes": 5}


def test_options_and_kinds_tell_items_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    path.write_bytes(b"12345")
    items = [
        Image(path),
        Audio(path),
        Audio(path, start=1.0),
        Audio(path, end=2.0),
        Audio(path, shortest=2.0),
        Video(path),
        Video(path, start=1.0),
        Video(path, end=2.0),
        Video(path, half="left"),
        Video(path, half="right"),
        Video(path, face=True),
        Video(path, rate=25.0),
        Video(path, mouth=True),
        Video(path, shortest=2.0),
        Text("one"),
        Text("two"),
    ]
    identities = [str(sorted(identity(item).items())) for item in items]
    assert len(set(identities)) == len(items)


def test_items_without_the_later_options_are_what_they_were(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    path.write_bytes(b"12345")
    span = {"start": 0.0, "end": None, "bytes": 5}
    assert identity(Audio(path)) == {"kind": "Audio", **span}
    assert identity(Video(path)) == {"kind": "Video", **span, "half": None, "face": False}


def test_a_folder_of_frames_counts_all_of_them(tmp_path: Path) -> None:
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).write_bytes(b"12345")
    assert identity(Video(tmp_path))["bytes"] == 10


def test_another_size_is_another_item(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"12345")
    before = identity(Image(path))
    path.write_bytes(b"123456")
    assert identity(Image(path)) != before


def test_a_text_is_its_value() -> None:
    assert identity(Text("a cat")) == {"kind": "Text", "value": "a cat"}


def test_a_file_that_has_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.png: cannot be read \(No such file"):
        identity(Image(tmp_path / "gone.png"))


def test_a_missing_package_is_named_with_what_to_install() -> None:
    with (
        pytest.raises(UserError, match=r"^this needs the package 'av', which is not installed\. Run `pip install"),
        needed_packages(),
    ):
        raise ModuleNotFoundError("No module named 'av'", name="av")

"""GRID, on small trees in its published layout."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mlabench.datasets import Data, LeftOutError, fold_names, with_fold
from mlabench.datasets.published.grid import Grid, Word, find_word, label_of, split_talkers
from mlabench.errors import UserError
from mlabench.media import Audio, UnreadableError, Video
from mlabench.media.sound import read_sound
from mlabench.media.video import read_frames
from mlabench.trial import Fold
from tests.datasets.media_files import truncate
from tests.datasets.published.grid_tree import TALKERS, names, write_alignment

NAME = "grid"


def dataset(folder: Path, **options: Any) -> Grid:
    return Grid(Grid.Config(root=folder, **options))


def split_of(data: Data) -> dict[str, str]:
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return {name: split for split, content in splits.items() for name in content.ids}


# -- what a name says -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "command", "colour", "letter", "digit"),
    [
        ("bbaf2n", "bin", "blue", "f", "two"),
        ("lgwaza", "lay", "green", "a", "zero"),
        ("prbx9s", "place", "red", "x", "nine"),
        ("swiz1p", "set", "white", "z", "one"),
        ("pwbv7a", "place", "white", "v", "seven"),
    ],
)
def test_a_name_says_what_is_said(name: str, command: str, colour: str, letter: str, digit: str) -> None:
    words: tuple[Word, ...] = ("command", "colour", "letter", "digit")
    assert [label_of(name, word) for word in words] == [command, colour, letter, digit]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "bbaf2",
        "bbaf2nn",
        "xbaf2n",
        "bxaf2n",
        "bbxf2n",
        "bbaw2n",
        "bbaf0n",
        "bbaf2x",
        "BBAF2N",
        "._bbaf2n",
        "bbaf٢n",
    ],
)
def test_other_names_are_no_sentences(name: str) -> None:
    with pytest.raises(LeftOutError, match=r"^not the name of a sentence$"):
        label_of(name, "digit")


@pytest.mark.parametrize(("labels", "classes"), [("digit", 10), ("letter", 25), ("colour", 4), ("command", 4)])
def test_every_clip_has_the_label_in_its_name(official: Path, labels: Word, classes: int) -> None:
    data = dataset(official, labels=labels).load()
    assert len(data.task.classes) == classes
    assert split_of(data).keys() == {f"{talker}_{name}" for talker in TALKERS for name in names()}
    assert data.skipped == {}
    for split in (data.train, data.validation, data.test):
        said = [data.task.classes[label] for label in split.labels]
        assert said == [label_of(name.split("_")[1], labels) for name in split.ids]


def test_sound_and_pictures_are_of_the_same_file(official: Path) -> None:
    sample = dataset(official, talkers=["s10"]).listing().samples[0]
    path = official / f"s10/{sample.id.removeprefix('s10_')}.mpg"
    assert sample.items == {
        "audio": Audio(path, shortest=2.5),
        "video": Video(path, rate=25.0, mouth=True, shortest=2.5),
    }
    whole = dataset(official, talkers=["s10"], crop="none").listing().samples[0].items
    assert whole["video"] == Video(path, rate=25.0, shortest=2.5)
    assert isinstance(whole["audio"], Audio)
    assert isinstance(whole["video"], Video)
    wave = read_sound(whole["audio"], 16_000)
    assert len(wave) == pytest.approx(3 * 16_000, rel=0.05)
    assert np.abs(np.fft.rfft(wave)).argmax() * 16_000 / len(wave) == pytest.approx(440, abs=1)
    frames = read_frames(whole["video"], count=6)
    # Half a second apart, and one colour per second: red, red, green, green, blue, blue.
    assert [int(frame[24, 4].argmax()) for frame in frames] == [0, 0, 1, 1, 2, 2]


def test_data_may_lie_in_a_folder_of_that_name(official: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(official)
    assert dataset(tmp_path).fingerprint() == dataset(official).fingerprint()
    assert dataset(tmp_path, span="word").fingerprint() == dataset(official, span="word").fingerprint()


# -- talkers, splits and folds --------------------------------------------------------------------


def test_three_talkers_are_in_one_part_each(official: Path) -> None:
    data = dataset(official).load()
    parts = [set(split.groups) for split in (data.train, data.validation, data.test)]
    assert [len(part) for part in parts] == [1, 1, 1]
    assert set.union(*parts) == set(TALKERS)
    assert data.split_notes == ("Split: by talker, our own.",)
    assert data.notes == ()


@given(st.sets(st.integers(1, 34), min_size=3).map(lambda numbers: [f"s{number}" for number in numbers]))
def test_every_talker_has_one_part_whatever_their_order(talkers: list[str]) -> None:
    split = split_talkers(talkers)
    assert split == split_talkers(talkers[::-1])
    assert sorted(split) == sorted(talkers)
    sizes = Counter(split.values())
    assert sizes["test"] == max(1, round(len(talkers) / 5))
    assert sizes["validation"] == max(1, round(len(talkers) / 10))
    assert sizes["train"] >= 1


def test_one_talker_is_split_by_clip_and_class(official: Path) -> None:
    data = dataset(official, talkers=["s2"], labels="command").load()
    assert data.notes == ("One talker (s2): accuracies say nothing about other voices and faces.",)
    assert data.split_notes == (
        "Split: 70 / 10 / 20 % of each talker's clips, by class, our own; a split by talker needs three talkers.",
    )
    # Ten clips of each of two commands.
    for split, size in ((data.train, 7), (data.validation, 1), (data.test, 2)):
        assert np.bincount(split.labels).tolist() == [size, size]
        assert split.groups == split.ids
        assert split.units == {"talker": ("s2",) * len(split)}


def test_one_talkers_split_does_not_depend_on_the_others(official: Path, tmp_path: Path) -> None:
    (tmp_path / "s2").symlink_to(official / "s2")
    alone = dataset(tmp_path, labels="command")
    assert alone.fingerprint() == dataset(official, labels="command", talkers=["s2"]).fingerprint()


def test_two_talkers_are_in_all_parts_and_the_report_says_so(official: Path) -> None:
    data = dataset(official, talkers=["s2", "s1"], labels="command").load()
    for split, size in ((data.train, 7), (data.validation, 1), (data.test, 2)):
        assert Counter(split.groups) == {"s1": 2 * size, "s2": 2 * size}
    assert data.split_notes[1].startswith("2 of the 2 groups (speakers")


def test_folds_are_talkers_where_there_are_several(official: Path) -> None:
    tree = dataset(official)
    assert sorted(fold_names(tree, "talker", None)) == sorted(TALKERS)
    for name in TALKERS:
        folded = with_fold(tree.load(), Fold(by="talker", count=None, name=name), seed=0)
        assert set(folded.test.groups) == {name}
        assert name not in {*folded.train.groups, *folded.validation.groups}


def test_folds_are_clips_where_there_is_one_talker(official: Path) -> None:
    tree = dataset(official, talkers=["s1"], labels="command")
    tested: list[str] = []
    for name in fold_names(tree, "", 5):
        folded = with_fold(tree.load(), Fold(by="", count=5, name=name), seed=3)
        assert np.bincount(folded.test.labels).tolist() == [2, 2]
        assert not {*folded.test.ids} & {*folded.train.ids, *folded.validation.ids}
        tested += folded.test.ids
    assert sorted(tested) == sorted(f"s1_{name}" for name in names())


def test_a_talker_who_is_not_there_is_named(official: Path) -> None:
    with pytest.raises(UserError, match=r"dataset\.talkers: s3, s20 not found in .*The talkers there: s1, s2, s10\."):
        dataset(official, talkers=["s20", "s1", "s3"]).load()


@pytest.mark.parametrize("talkers", [[], ["s35"], ["s0"], ["1"], ["s1\n"], ["../s1"]])
def test_other_names_are_no_talkers(talkers: list[str]) -> None:
    with pytest.raises(ValidationError, match="talkers"):
        Grid.Config(talkers=talkers)


# -- alignments -----------------------------------------------------------------------------------


def test_a_word_can_be_cut_out(official: Path) -> None:
    for labels, start, end in (("command", 0.9, 1.1), ("letter", 1.4, 1.5), ("digit", 1.5, 1.8)):
        for sample in dataset(official, labels=labels, span="word").listing().samples:
            assert isinstance(sample.items["audio"], Audio)
            assert isinstance(sample.items["video"], Video)
            for item in (sample.items["audio"], sample.items["video"]):
                assert (item.start, item.end) == pytest.approx((start, end))


def test_short_pauses_within_a_sentence_are_no_words(tmp_path: Path) -> None:
    path = write_alignment(tmp_path / "bbaf2n.align", "bbaf2n")
    lines = path.read_text().splitlines()
    path.write_text("\r\n".join([*lines[:3], "30000 30100 sp", *lines[3:]]))
    assert find_word(path, "digit", "two") == pytest.approx((1.5, 1.8))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no alignment"),
        ("0 1 bin", "alignment differs from the name"),
        ("0 1 bin\n1 2 blue\n2 3 at\n3 4 f\n4 5 three\n5 6 now", "alignment differs from the name"),
        ("0 1 bin\n1 2 blue\n2 3 at\n3 4 f\n5 4 two\n5 6 now", "alignment differs from the name"),
        ("0 1 bin\n1 2 blue\n2 3 at\n3 4 f\n4 two\n5 6 now", "unreadable alignment"),
        ("0 1 bin\n1 2 blue\n2 3 at\n3 4 f\n4 x two\n5 6 now", "unreadable alignment"),
        ("", "alignment differs from the name"),
    ],
)
def test_alignments_that_say_nothing_are_counted(tree: Path, content: str | None, reason: str) -> None:
    name = next(name for name in names() if name[4] == "2")
    path = tree / f"alignments/s1/{name}.align"
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert dataset(tree, span="word").load().skipped == {reason: 1}
    assert dataset(tree).load().skipped == {}


@given(st.binary(max_size=100) | st.text("0123456789 \nbinsltwo.-", max_size=60).map(str.encode))
def test_any_alignment_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.align"
    path.write_bytes(data)
    with pytest.raises(LeftOutError):
        find_word(path, "digit", "two")


# -- what is skipped ------------------------------------------------------------------------------


def test_every_skip_is_counted_by_reason(tree: Path) -> None:
    first, second, *_ = names()
    (tree / f"s1/{first}.mpg").write_bytes(b"")
    (tree / f"s1/{second}.mpg").unlink()
    (tree / f"s1/{second}.mpg").symlink_to(tree / "nowhere.mpg")
    for name in ("._bbaf2n", "notes"):
        (tree / f"s2/{name}.mpg").write_bytes(b"x")
    (tree / "s2/Thumbs.db").write_bytes(b"x")
    (tree / "s35").mkdir()
    shutil.copy(tree / f"s2/{first}.mpg", tree / "s35")
    data = dataset(tree).load()
    assert data.skipped == {"empty file": 1, "unreadable file": 1, "not the name of a sentence": 2}
    assert len(split_of(data)) == 3 * len(names()) - 2
    inventory = dataset(tree).check()
    assert sum(inventory.samples.values()) == 3 * len(names()) - 2
    assert inventory.skipped == data.skipped


@pytest.mark.parametrize("span", ["sentence", "word"])
def test_a_clip_that_is_cut_off_cannot_be_decoded(tree: Path, span: str) -> None:
    path = truncate(tree / f"s1/{min(names())}.mpg", 0.7)
    items = dataset(tree, talkers=["s1"], crop="none", span=span).listing().samples[0].items
    assert isinstance(items["audio"], Audio)
    assert isinstance(items["video"], Video)
    assert items["video"].path == path
    for read in (lambda: read_frames(items["video"]), lambda: read_sound(items["audio"], 16_000)):
        with pytest.raises(UnreadableError, match=r"^recording cut off$"):
            read()

"""Kinetics-Sounds, on small trees in the layout of Kinetics-400."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlabench.datasets.published.kinetics_sounds import (
    CLASSES,
    KineticsSounds,
    find_videos,
)
from mlabench.errors import UserError
from mlabench.media import Audio, Video
from mlabench.media.sound import read_sound
from mlabench.media.video import read_frames
from tests.datasets.media_files import write_video
from tests.datasets.published.kinetics_sounds_tree import COUNTS, LABELS, clip_name, youtube_id

HEADER = "label,youtube_id,time_start,time_end,split,is_cc"


NAME = "kinetics_sounds"


def dataset(folder: Path | None, **options: Any) -> KineticsSounds:
    return KineticsSounds(KineticsSounds.Config(root=folder, **options))


def ogm(folder: Path) -> KineticsSounds:
    return dataset(folder, split="ogm", lists=folder.parent / "lists")


def names(part: str) -> set[str]:
    return {clip_name(label, part, number) for label in LABELS for number in range(COUNTS[part])}


def test_the_classes_are_31_in_the_order_of_the_alphabet() -> None:
    assert len(set(CLASSES)) == 31
    assert sorted(CLASSES) == list(CLASSES)


@pytest.mark.parametrize(("split", "part"), [("kinetics", "val"), ("ogm", "test")])
def test_every_clip_is_listed_with_its_class(official: Path, split: str, part: str) -> None:
    data = dataset(official, split=split, lists=official.parent / "lists").load()
    assert data.task.modalities == ("audio", "video")
    assert data.task.classes == CLASSES
    assert set(data.test.ids) == names(part)
    assert set(data.train.ids) | set(data.validation.ids) == names("train")
    assert len(data.train) + len(data.validation) == 60
    assert data.skipped == {}
    for content, folder in ((data.train, "train"), (data.validation, "train"), (data.test, part)):
        assert content.labels.tolist() == [int(name[1:3]) for name in content.ids]
        assert content.groups == tuple(name[:11] for name in content.ids)
        files = [official / folder / f"{name}.mp4" for name in content.ids]
        assert content.inputs["audio"] == tuple(map(Audio, files))
        assert content.inputs["video"] == tuple(map(Video, files))
    # A tenth of the 20 training clips of each class.
    assert np.unique(data.validation.labels, return_counts=True)[1].tolist() == [2, 2, 2]


def test_sound_and_pictures_come_from_one_file(official: Path) -> None:
    sample = dataset(official).listing().samples[0]
    audio, video = sample.items["audio"], sample.items["video"]
    assert isinstance(audio, Audio)
    assert isinstance(video, Video)
    wave = read_sound(audio, 16_000)
    pitch = np.abs(np.fft.rfft(wave)).argmax() * 16_000 / len(wave)
    assert pitch == pytest.approx(200 * LABELS[sample.label], abs=5)
    assert [frame.shape for frame in read_frames(video)] == [(48, 64, 3)]


def test_notes_name_the_split(official: Path) -> None:
    assert dataset(official).load().split_notes == (
        "Split: Kinetics-400's own training videos, less 10 % for validation, and its validation videos for test; "
        "not the paper's, whose lists were never published.",
    )
    assert re.match(r"Split: OGM-GE's published lists, less 10 %", ogm(official).load().split_notes[0])


@pytest.mark.parametrize("arrangement", ["videos/{part}/{label}", "{label}", "{part}/{folder}", "."])
def test_videos_are_found_however_they_are_arranged(tree: Path, arrangement: str) -> None:
    expected = dataset(tree).fingerprint()
    for part in COUNTS:
        for path in sorted((tree / part).glob("*.mp4")):
            label = next((label for label, index in LABELS.items() if path.name[1:3] == f"{index:02d}"), "air drumming")
            folder = tree / arrangement.format(part=part, label=label, folder=label.replace(" ", "_"))
            folder.mkdir(parents=True, exist_ok=True)
            path.rename(folder / path.name)
    for path in (tree / "annotations").iterdir():
        path.rename(tree / path.name)
    assert dataset(tree).fingerprint() == expected


def test_the_replacement_of_a_damaged_video_is_taken(tree: Path) -> None:
    name = clip_name("tickling", "train", 0)
    (tree / "train" / f"{name}.mp4").write_bytes(b"")
    good = write_video(tree / f"replacement/replacement_for_corrupted_k400/{name}.mp4", seconds=1, rate=5)
    data = dataset(tree).load()
    assert data.skipped == {}
    assert Video(good) in {*data.train.inputs["video"], *data.validation.inputs["video"]}


def test_test_clips_may_be_called_as_in_the_lists(tree: Path) -> None:
    expected = ogm(tree).fingerprint()
    for path in (tree / "test").glob("-*.mp4"):
        path.rename(path.with_stem(f"{path.stem[:11]}_{int(path.stem[12:18])}"))
    assert {path.stem for path in (tree / "test").glob("-30*")} == {f"-30_test-{n:02d}_{n}" for n in range(3)}
    assert ogm(tree).fingerprint() == expected


def test_every_skip_is_counted_by_reason(tree: Path) -> None:
    (tree / "train" / f"{clip_name('tickling', 'train', 0)}.mp4").unlink()
    (tree / "train" / f"{clip_name('tickling', 'train', 1)}.mp4").unlink()
    (tree / "train" / f"{clip_name('tickling', 'train', 1)}.mp4").symlink_to(tree / "nowhere.mp4")
    (tree / "train" / f"{clip_name('tickling', 'train', 2)}.mp4").rename(tree / "train" / "unfinished.mp4.part")
    (tree / "val" / f"{clip_name('tickling', 'val', 0)}.mp4").write_bytes(b"")
    with (tree / "annotations/val.csv").open("a") as file:
        file.write(f"tickling,{youtube_id('tickling', 'train', 5)},5,15,val,0\n")
        file.write("tickling,#NAME?,5,15,val,0\n")
    data = dataset(tree).load()
    assert data.skipped == {"listed but not on disk": 4, "empty file": 1, "annotated twice": 1}
    assert len(data.train) + len(data.validation) == 57
    assert len(data.test) == 8


def test_the_validation_clips_do_not_depend_on_what_is_there(tree: Path) -> None:
    before = dataset(tree).load()
    for path in (tree / "train").glob("*_train1?_*.mp4"):
        path.unlink()
    after = dataset(tree).load()
    assert len(after.train) + len(after.validation) == 30
    assert set(after.validation.ids) <= set(before.validation.ids)
    assert set(after.train.ids) <= set(before.train.ids)


def test_classes_of_the_lists_are_compared_with_the_annotations(tree: Path) -> None:
    path = tree.parent / "lists/my_train.txt"
    path.write_text(path.read_text().replace(",10,30\n", ",10,29\n", 2))
    data = ogm(tree).load()
    assert data.skipped == {"class differs from Kinetics' annotation": 2}
    shutil.rmtree(tree / "annotations")
    assert ogm(tree).load().skipped == {}


def test_missing_annotations_are_named(tree: Path) -> None:
    (tree / "annotations/val.csv").unlink()
    with pytest.raises(UserError, match=r"annotations/val\.csv not found in "):
        dataset(tree).load()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("4,--4-0ihtnBU_000058_000068", "is not a name, its seconds and the index of one of 31 classes"),
        ("--4-0ihtnBU_000058_000068,10,31", "is not a name, its seconds"),
        ("--4-0ihtnBU_000058_000068,10,tickling", "is not a name, its seconds"),
        ("--4-0ihtnBU,10,4", "is not a name, its seconds"),
        ("--4-0ihtnBU_58_68_78,10,4", "is not a name, its seconds"),
        ("-30_test-00_0,10,30", "the clip of -30_test-00 at 0 s is listed twice"),
        ("-30_train00_000000_000010,10,30", "the clip of -30_train00 at 0 s is listed twice"),
    ],
)
def test_a_faulty_line_of_a_list_is_named(tree: Path, line: str, problem: str) -> None:
    path = tree.parent / "lists/my_test.txt"
    path.write_text(f"{path.read_text()}\n{line}\n")
    with pytest.raises(UserError) as caught:
        ogm(tree).load()
    assert problem in caught.value.problem
    assert (caught.value.file, caught.value.line) == (str(path), 9 + 2)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "the column 'label' is missing"),
        ("youtube_id,time_start,time_end,split\nx,1,11,test\n", 1, "the column 'label' is missing"),
        (f"{HEADER}\ntickling,--4-0ihtnBU,58,68,train,0\ntickling,--4-0ihtnBU,one,68,train,0\n", 3, "'one' to '68'"),
        (f"{HEADER}\ntickling,--4-0ihtnBU\n", 2, "'' to '' are not two times"),
        (f'{HEADER}\n"tickling,--4-0ihtnBU,58,68,train,0\n', 2, "is not a table of comma-separated values"),
    ],
)
def test_a_faulty_annotation_is_named(tree: Path, text: str, line: int, problem: str) -> None:
    path = tree / "annotations/train.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=re.escape(problem)) as caught:
        dataset(tree).load()
    assert (caught.value.file, caught.value.line) == (str(path), line)


def test_line_ends_blanks_and_byte_order_marks_do_not_matter(tree: Path) -> None:
    before = dataset(tree).fingerprint(), ogm(tree).fingerprint()
    for path in [*(tree / "annotations").iterdir(), *(tree.parent / "lists").iterdir()]:
        path.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(path.read_text().splitlines()).encode())
    assert (dataset(tree).fingerprint(), ogm(tree).fingerprint()) == before


def test_links_in_a_circle_are_no_trap(tree: Path) -> None:
    expected = find_videos(tree)
    (tree / "train/again").symlink_to(tree, target_is_directory=True)
    (tree / "train/itself").symlink_to(tree / "train/itself")
    assert {key: path.resolve() for key, path in find_videos(tree).items()} == expected


def test_the_fingerprint_follows_the_videos(tree: Path) -> None:
    before = dataset(tree).fingerprint()
    write_video(tree / "train" / f"{clip_name('tickling', 'train', 0)}.mp4", seconds=2, rate=5)
    assert dataset(tree).fingerprint() != before


def test_the_inventory_counts_what_is_there(tree: Path) -> None:
    (tree / "val" / f"{clip_name('tickling', 'val', 0)}.mp4").unlink()
    inventory = dataset(tree).check()
    assert inventory.samples == {"train": 54, "validation": 6, "test": 8}
    assert inventory.skipped == {"listed but not on disk": 1}

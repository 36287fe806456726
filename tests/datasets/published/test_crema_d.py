"""CREMA-D, on small trees in the layout of its official repository."""

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlabench.datasets import Data, fold_names, with_fold
from mlabench.datasets.published.crema_d import PUBLISHED, CremaD, split_speakers
from mlabench.errors import UserError
from mlabench.media import Audio, Video
from mlabench.media.sound import read_sound
from mlabench.media.video import read_frames
from mlabench.trial import Fold
from tests.datasets.media_files import write_wav
from tests.datasets.published.crema_d_tree import (
    CODES,
    POINTER,
    SPEAKERS,
    clip_names,
    write_frames,
)

NAME = "crema_d"


def dataset(folder: Path | None, **options: Any) -> CremaD:
    return CremaD(CremaD.Config(root=folder, **options))


def split_of(data: Data) -> dict[str, str]:
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return {name: split for split, content in splits.items() for name in content.ids}


def test_every_clip_is_listed_with_its_speaker_and_emotion(official: Path) -> None:
    data = dataset(official).load()
    assert data.task.modalities == ("audio", "video")
    assert data.task.classes == ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad")
    assert split_of(data).keys() == set(clip_names())
    assert data.skipped == {}
    for split in (data.train, data.validation, data.test):
        assert split.labels.tolist() == [CODES.index(name[9:12]) for name in split.ids]
        assert split.groups == tuple(name[:4] for name in split.ids)
        assert split.units == {"actor": split.groups}
        assert split.inputs["audio"] == tuple(Audio(official / f"AudioWAV/{name}.wav") for name in split.ids)
        assert split.inputs["video"] == tuple(Video(official / f"VideoFlash/{name}.flv") for name in split.ids)


def test_the_files_are_what_the_items_say(official: Path) -> None:
    sample = dataset(official).listing().samples[0]
    audio, video = sample.items["audio"], sample.items["video"]
    assert isinstance(audio, Audio)
    assert isinstance(video, Video)
    wave = read_sound(audio, 16_000)
    assert np.abs(np.fft.rfft(wave)).argmax() * 16_000 / len(wave) == pytest.approx(200, abs=1)
    assert [frame.shape for frame in read_frames(video)] == [(48, 64, 3)] * 2


def test_speakers_are_in_one_split_only(official: Path) -> None:
    data = dataset(official).load()
    expected = {speaker: split for split, speakers in SPEAKERS.items() for speaker in speakers}
    assert all(split == expected[name[:4]] for name, split in split_of(data).items())
    assert data.split_notes == ("Split: by speaker, our own; not the paper's.",)


def test_folds_deal_whole_actors(official: Path) -> None:
    tree = dataset(official)
    tested = [
        set(with_fold(tree.load(), Fold(by="actor", count=2, name=name), seed=5).test.groups)
        for name in fold_names(tree, "actor", 2)
    ]
    assert set.union(*tested) == {speaker for speakers in SPEAKERS.values() for speaker in speakers}
    assert not set.intersection(*tested)


def test_the_speaker_split_covers_all_actors() -> None:
    split = split_speakers()
    assert Counter(split.values()) == {"train": 64, "validation": 9, "test": 18}
    assert sorted(split) == [str(1000 + number) for number in range(1, 92)]


def test_the_speaker_split_does_not_depend_on_what_is_there(tree: Path) -> None:
    before = split_of(dataset(tree).load())
    for path in {*tree.glob("*/1002_*"), *tree.glob("*/*_ANG_*")}:
        path.unlink()
    after = split_of(dataset(tree).load())
    assert len(after) == 60
    assert after.items() <= before.items()


@pytest.mark.parametrize(
    ("split", "sentence", "note"),
    [
        ("mla", "IOM", r"MLA's published lists.*random over clips"),
        ("ogm", "TIE", r"OGM-GE's.*71 of its 744 test clips"),
    ],
)
def test_a_published_split_is_taken_from_the_users_lists(official: Path, split: str, sentence: str, note: str) -> None:
    data = dataset(official, split=split, lists=official.parent / "lists").load()
    assert set(data.test.ids) == {name for name in clip_names() if name[5:8] == sentence}
    assert set(data.train.ids) | set(data.validation.ids) == {name for name in clip_names() if name[5:8] != sentence}
    # Of each class 12 clips are for training, so that one is taken from each.
    assert np.bincount(data.validation.labels).tolist() == [1] * 6
    assert len(data.split_notes) == 2
    assert re.search(note, data.split_notes[0])
    assert data.split_notes[1].startswith("4 of the 4 groups (speakers")


def test_the_published_validation_clips_do_not_depend_on_what_is_there(tree: Path) -> None:
    lists = tree.parent / "lists"
    before = split_of(dataset(tree, split="ogm", lists=lists).load())
    for path in tree.glob("AudioWAV/1001_DFA_*"):
        path.unlink()
    data = dataset(tree, split="ogm", lists=lists).load()
    assert split_of(data).items() <= before.items()
    assert data.skipped == {"no sound file": 6}


def test_every_skip_is_counted_by_reason(tree: Path) -> None:
    sounds, videos = tree / "AudioWAV", tree / "VideoFlash"
    (sounds / "1001_DFA_ANG_XX.wav").unlink()
    (videos / "1001_DFA_DIS_XX.flv").unlink()
    (sounds / "1001_DFA_FEA_XX.wav").write_bytes(b"")
    (videos / "1001_DFA_HAP_XX.flv").write_bytes(b"")
    (sounds / "1001_DFA_SAD_XX.wav").unlink()
    (sounds / "1001_DFA_SAD_XX.wav").symlink_to(tree / "nowhere.wav")
    for name in ("1001_DFA_XXX_XX", "._1001_DFA_ANG_XX", "2001_DFA_ANG_XX", "notes"):
        write_wav(sounds / f"{name}.wav", seconds=0.1)
    (tree / "VideoFlash" / "Thumbs.db").write_bytes(b"x")
    data = dataset(tree).load()
    assert data.skipped == {
        "no sound file": 1,
        "no video file": 1,
        "empty file": 2,
        "unreadable file": 1,
        "label outside the classes": 1,
        "not the name of a clip": 3,
    }
    assert len(split_of(data)) == len(clip_names()) - 5


def test_lists_and_disk_need_not_agree(tree: Path) -> None:
    lists = tree.parent / "lists"
    kept = [line for line in (lists / "my_test_cre.txt").read_text().splitlines() if not line.startswith("1001_IOM")]
    (lists / "my_test_cre.txt").write_text("\n".join(["1091_IOM_ANG_XX.flv Anger", *kept]))
    data = dataset(tree, split="mla", lists=lists).load()
    assert data.skipped == {"not in the published lists": 6, "listed but not on disk": 1}
    assert len(data.test) == 18


def test_the_one_odd_file_name_is_found(tree: Path) -> None:
    """The official repository has ``1040_ITH_SAD_X.wav`` where lists say ``1040_ITH_SAD_XX``."""
    write_wav(tree / "AudioWAV/1040_ITH_SAD_X.wav")
    shutil.copyfile(tree / "VideoFlash/1001_DFA_SAD_XX.flv", tree / "VideoFlash/1040_ITH_SAD_XX.flv")
    lists = tree.parent / "lists"
    with (lists / "test.csv").open("a") as file:
        file.write("1040_ITH_SAD_X,SAD\n")
    data = dataset(tree, split="ogm", lists=lists).load()
    row = data.test.ids.index("1040_ITH_SAD_XX")
    assert data.test.inputs["audio"][row] == Audio(tree / "AudioWAV/1040_ITH_SAD_X.wav")
    assert data.skipped == {}


def test_pictures_can_come_from_extracted_frames(tree: Path) -> None:
    write_frames(tree)
    shutil.rmtree(tree / "VideoFlash")
    shutil.rmtree(tree / "Image-01-FPS/1001_DFA_ANG_XX")
    shutil.rmtree(tree / "Image-01-FPS/1001_DFA_DIS_XX")
    (tree / "Image-01-FPS/1001_DFA_DIS_XX").mkdir()
    data = dataset(tree, frames="extracted").load()
    assert data.skipped == {"no video file": 1, "folder without frames": 1}
    video = data.test.inputs["video"][0]
    assert video == Video(tree / f"Image-01-FPS/{data.test.ids[0]}")
    assert len(read_frames(video)) == 2


@pytest.mark.parametrize("place", ["AudioWAV/1012_TIE_SAD_XX.wav", "VideoFlash/1001_DFA_ANG_XX.flv"])
def test_pointers_of_git_lfs_come_with_the_command_to_run(tree: Path, place: str) -> None:
    (tree / place).write_text(POINTER)
    with pytest.raises(UserError, match=rf"{place}: is a pointer of Git LFS.*`git lfs install && git lfs pull`"):
        dataset(tree).load()


def test_a_tiny_file_that_is_no_pointer_is_left_to_the_decoder(tree: Path) -> None:
    (tree / "AudioWAV/1001_DFA_ANG_XX.wav").write_bytes(b"RIFF")
    assert "1001_DFA_ANG_XX" in dataset(tree).load().train.ids


def test_missing_frames_are_named(tree: Path) -> None:
    with pytest.raises(UserError, match=r"Image-01-FPS/<clip>/\*\.jpg not found in"):
        dataset(tree, frames="extracted").load()


@pytest.mark.parametrize(
    ("split", "line", "problem"),
    [
        ("mla", "1001_DFA_ANG_XX.flv", "is not a clip and its class, as in '1001_DFA_ANG_XX.flv Anger'"),
        ("mla", "1001_DFA_ANG_XX.wav Anger", "is not a clip and its class"),
        ("mla", "1001_DFA_ANG_XX.flv Anger twice", "is not a clip and its class"),
        ("mla", "1001_DFA_QQQ_XX.flv Anger", "is not a clip and its class"),
        ("mla", "1001_DFA_ANG_XX.flv Sad", "is listed as 'Sad', but its name says Anger"),
        ("mla", "1001_DFA_ANG_XX.flv Wrath", "is listed as 'Wrath', but its name says Anger"),
        ("mla", "1012_TIE_HAP_XX.flv Happy", "1012_TIE_HAP_XX is listed twice"),
        ("mla", "1001_IOM_HAP_XX.flv Happy", "1001_IOM_HAP_XX is listed twice"),
        ("ogm", "1001_DFA_ANG_XX,7", "is listed as '7', but its name says Anger"),
        ("ogm", "1001_DFA_ANG_XX;ANG", "is not a clip and its class"),
        ("ogm", "version https://git-lfs.github.com/spec/v1", "is not a clip and its class"),
    ],
)
def test_a_faulty_line_of_a_list_is_named(tree: Path, split: str, line: str, problem: str) -> None:
    path = tree.parent / "lists" / PUBLISHED[split].test
    before = path.read_text().splitlines()
    path.write_text("\n".join([*before, "", line, ""]))
    with pytest.raises(UserError) as caught:
        dataset(tree, split=split, lists=path.parent).load()
    assert problem in caught.value.problem
    assert (caught.value.file, caught.value.line) == (str(path), len(before) + 2)


def test_every_split_has_a_fingerprint_of_its_own(official: Path) -> None:
    prints = {dataset(official, split=split, lists=official.parent / "lists").fingerprint() for split in PUBLISHED}
    assert len({dataset(official).fingerprint(), *prints}) == 3


def test_the_fingerprint_follows_the_recordings(tree: Path) -> None:
    before = dataset(tree).fingerprint()
    write_wav(tree / "AudioWAV/1001_DFA_ANG_XX.wav", seconds=1.1)
    assert dataset(tree).fingerprint() != before


def test_the_inventory_counts_what_is_there(tree: Path) -> None:
    (tree / "AudioWAV/1012_TIE_SAD_XX.wav").write_bytes(b"")
    inventory = dataset(tree).check()
    assert inventory.samples == {"train": 48, "validation": 24, "test": 23}
    assert inventory.skipped == {"empty file": 1}

"""A small copy of CREMA-D in the layout of its official repository."""

import shutil
from pathlib import Path

from tests.datasets.media_files import write_picture, write_video, write_wav

#: Speakers by their split, as of :func:`mlabench.datasets.published.crema_d.split_speakers`.
SPEAKERS = {"train": ("1001", "1002"), "validation": ("1007",), "test": ("1012",)}
CODES = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
SENTENCES = ("DFA", "IEO", "IOM", "TIE")
#: What Git leaves in place of a file that Git LFS has not fetched.
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "10dc3fd1" * 8 + "\nsize 265922\n"


def make_tree(root: Path) -> Path:
    """Writes 96 clips of four speakers below ``root``, and returns the folder of the repository."""
    folder = root / "CREMA-D"
    for number, code in enumerate(CODES):
        sound = write_wav(folder / f"AudioWAV/1001_DFA_{code}_XX.wav", pitch=200.0 * (number + 1))
        video = write_video(folder / f"VideoFlash/1001_DFA_{code}_XX.flv", seconds=2, rate=5)
        for name in clip_names():
            if name[9:12] == code and name != sound.stem:
                shutil.copyfile(sound, sound.with_stem(name))
                shutil.copyfile(video, video.with_stem(name))
    (folder / "SentenceFilenames.csv").write_text('"Stimulus_Number","Filename"\n1,"1001_DFA_ANG_XX"\n')
    (folder / "AudioMP3").mkdir()
    return folder


def clip_names() -> list[str]:
    """The names of all clips; one sentence is spoken with a level."""
    return [
        f"{speaker}_{sentence}_{code}_{'HI' if sentence == 'IEO' and code != 'NEU' else 'XX'}"
        for speakers in SPEAKERS.values()
        for speaker in speakers
        for sentence in SENTENCES
        for code in CODES
    ]


def write_lists(folder: Path) -> Path:
    """Writes MLA's lists, with one sentence for test, and OGM-GE's, with another one, in their formats."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = dict(zip(CODES, ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad"), strict=True))
    mla = {name: f"{name}.flv {labels[name[9:12]]}\n" for name in clip_names()}
    ogm = {name: f"{name},{name[9:12]}\r\n" for name in clip_names()}
    for lines, sentence, train, test in (
        (mla, "IOM", "my_train_cre.txt", "my_test_cre.txt"),
        (ogm, "TIE", "train.csv", "test.csv"),
    ):
        (folder / train).write_bytes("".join(lines[name] for name in lines if name[5:8] != sentence).encode())
        (folder / test).write_bytes("".join(lines[name] for name in lines if name[5:8] == sentence).encode())
    return folder


def write_frames(folder: Path) -> None:
    """Writes two frames of each clip into ``Image-01-FPS``, as OGM-GE and MLA extract them."""
    for name in clip_names():
        for number in range(2):
            write_picture(folder / f"Image-01-FPS/{name}/{number:05d}.jpg", size=(16, 12))

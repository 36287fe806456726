"""The dataset ``crema_d``: CREMA-D from the files of its official repository."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from mlabench.datasets.listing import LeftOutError, Listing, RawSample, SplitName
from mlabench.datasets.options import FileOptions
from mlabench.datasets.published.base import RawDataset, carve_validation, parse_lines
from mlabench.datasets.splits import split_groups
from mlabench.errors import UserError
from mlabench.media import Audio, Item, Video, read_text

#: Class by the code in a clip's name.
EMOTIONS = {"ANG": "Anger", "DIS": "Disgust", "FEA": "Fear", "HAP": "Happy", "NEU": "Neutral", "SAD": "Sad"}
ACTORS = tuple(str(number) for number in range(1001, 1092))

#: Actor, sentence, emotion, level.
_CLIP = re.compile(r"(\d{4})_[A-Z]{3}_([A-Z]{3})_[A-Z]{1,2}", re.ASCII)


@dataclass(frozen=True)
class PublishedSplit:
    """Two lists, of training and of test clips; their lines are the name of a clip and its class."""

    train: str
    test: str
    line: re.Pattern[str]
    example: str
    where: str
    note: str


PUBLISHED = {
    "mla": PublishedSplit(
        train="my_train_cre.txt",
        test="my_test_cre.txt",
        line=re.compile(r"(\S+)\.flv\s+(\S+)"),
        example="1001_DFA_ANG_XX.flv Anger",
        where="https://github.com/Cecile-hi/Multimodal-Learning-with-Alternating-Unimodal-Adaptation (folder data)",
        note="Split: MLA's published lists, which are random over clips, less 10 % of the training clips for "
        "validation.",
    ),
    "ogm": PublishedSplit(
        train="train.csv",
        test="test.csv",
        line=re.compile(r"([^\s,]+)\s*,\s*([^\s,]+)"),
        example="1001_DFA_ANG_XX,ANG",
        where="https://github.com/GeWu-Lab/OGM-GE_CVPR2022 (folder data/CREMAD)",
        note="Split: OGM-GE's published lists, which are random over clips, less 10 % of the training clips for "
        "validation. Only 71 of its 744 test clips are test clips of MLA's lists, too.",
    ),
}

#: What the file is that Git leaves where Git LFS has not fetched the real one; it is shorter than any clip.
_POINTER, _POINTER_SIZE = b"version https://git-lfs", 1024


class CremaD(RawDataset):
    """CREMA-D: 7,442 clips of 91 actors who say 12 sentences in 6 emotions, heard and seen.

    From the official repository (Cao et al. 2014). The label is the emotion that the actor was asked for, read from the
    clip's name, as is usual in this literature; what raters perceived is in the repository, and ignored.

    ``speaker`` is our own split, whatever part of the data is there. ``mla`` is what the MLA paper used and ``ogm``
    what OGM-GE and the methods after it used; both are random over clips, so that all 91 speakers are in training and
    test, and they differ: of 744 test clips they share 71. Files, lists and reasons to skip:
    ``mlabench/datasets/README.md``.

    The MLA paper: the sound as a 1024 x 128 filter bank, 3 of the frames at one per second, two ResNet-18 from scratch;
    accuracy of the test split of its lists.
    """

    class Config(FileOptions):
        """Options of ``crema_d``."""

        root: Path | None = Field(
            default=None, description="Folder of the official repository; it holds AudioWAV and VideoFlash."
        )
        split: Literal["speaker", "mla", "ogm"] = Field(
            default="speaker",
            description="Our split by speaker, or the published lists of MLA or of OGM-GE (both leak speakers).",
        )
        frames: Literal["flash", "extracted"] = Field(
            default="flash",
            description="Take pictures from the videos (VideoFlash), or frames extracted before (Image-01-FPS).",
        )

    config: Config
    source = "CREMA-D (Cao et al. 2014), github.com/CheyneyComputerScience/CREMA-D, ODbL 1.0 and DbCL 1.0."
    obtain = (
        "Clone https://github.com/CheyneyComputerScience/CREMA-D with Git LFS installed "
        "(7.6 GB; Open Database License 1.0; its authors ask you to fill in a form)."
    )
    stand_in = "--dataset stamps --set 'dataset.modalities=[audio, image]'"

    modalities = ("audio", "video")
    classes = tuple(EMOTIONS.values())

    def listing(self) -> Listing[RawSample]:
        """Lists the clips by name."""
        extracted = self.config.frames == "extracted"
        looked_for = "AudioWAV/*.wav and " + ("Image-01-FPS/<clip>/*.jpg" if extracted else "VideoFlash/*.flv")
        root = self.config.root
        sounds = _by_clip(root, "AudioWAV/*.wav")
        videos = _by_clip(root, "Image-01-FPS/*/" if extracted else "VideoFlash/*.flv")
        if root is None or not sounds or not videos:
            raise self.not_found(root, looked_for)
        published = PUBLISHED.get(self.config.split)
        split_of = self._read_published(published, root) if published else None
        by_speaker = split_speakers()
        listing = Listing[RawSample](
            split_notes=[published.note if published else "Split: by speaker, our own; not the paper's."]
        )
        found = sounds.keys() | videos.keys()
        for name in sorted(found):
            with listing.counting():
                match = _CLIP.fullmatch(name)
                if not match or match[1] not in by_speaker:
                    raise LeftOutError("not the name of a clip")
                actor, code = match.groups()
                split = by_speaker[actor] if split_of is None else split_of.get(name)
                if code not in EMOTIONS:
                    raise LeftOutError("label outside the classes")
                if split is None:
                    raise LeftOutError("not in the published lists")
                sound, video = _usable(sounds.get(name), "sound"), _usable(videos.get(name), "video")
                items: dict[str, Item] = {"audio": Audio(sound), "video": Video(video)}
                listing.samples.append(RawSample(name, EMOTIONS[code], split, items, actor, {"actor": actor}))
        if missing := len((split_of or {}).keys() - found):
            listing.skipped["listed but not on disk"] = missing
        return listing

    def _read_published(self, published: PublishedSplit, root: Path) -> dict[str, SplitName]:
        first, second = self.find_lists(root, (published.train, published.test), published.where)
        train = read_list(first, published)
        test = read_list(second, published, taken=train.keys())
        split_of: dict[str, SplitName] = dict.fromkeys(train, "train")
        return split_of | dict.fromkeys(carve_validation(train), "validation") | dict.fromkeys(test, "test")


def split_speakers() -> dict[str, SplitName]:
    """The split of each of the 91 actors, so that it does not depend on the clips that are there."""
    shares: dict[SplitName, float] = {"test": 0.2, "validation": 0.1, "train": 0.7}
    # They all act all emotions, so that there is nothing to stratify by.
    return split_groups(ACTORS, ["actor"] * len(ACTORS), shares)


def read_list(path: Path, published: PublishedSplit, taken: Iterable[str] = ()) -> dict[str, str]:
    """The class of each clip of a published list, by the clip's name; none of them may be ``taken`` by another list."""
    labels: dict[str, str] = {}
    taken = set(taken)

    def parse(line: str) -> None:
        match = published.line.fullmatch(line)
        name = _canonical(match[1]) if match else ""
        clip = _CLIP.fullmatch(name)
        if not match or not clip or clip[2] not in EMOTIONS:
            raise ValueError(f"{line[:60]!r} is not a clip and its class, as in {published.example!r}.")
        if EMOTIONS.get(match[2], match[2]) != EMOTIONS[clip[2]]:
            raise ValueError(f"{name} is listed as {match[2][:60]!r}, but its name says {EMOTIONS[clip[2]]}.")
        if name in labels or name in taken:
            raise ValueError(f"{name} is listed twice, counting both lists.")
        labels[name] = EMOTIONS[clip[2]]

    parse_lines(path, read_text(path).split("\n"), published.where, parse)
    return labels


def _by_clip(root: Path | None, pattern: str) -> dict[str, Path]:
    return {_canonical(path.stem): path for path in sorted(root.glob(pattern))} if root else {}


def _canonical(name: str) -> str:
    """The name of a clip with a level of two letters: a single file is called ``1040_ITH_SAD_X.wav``."""
    return f"{name}X" if name.endswith("_X") else name


def _usable(path: Path | None, kind: str) -> Path:
    """A file, or a folder of frames, that can be used as far as one sees from outside."""
    if path is None:
        raise LeftOutError(f"no {kind} file")
    try:
        if path.is_dir():
            if not any(path.iterdir()):
                raise LeftOutError("folder without frames")
            return path
        size = path.stat().st_size
        if size == 0:
            raise LeftOutError("empty file")
        if size < _POINTER_SIZE and path.read_bytes().startswith(_POINTER):
            raise UserError(
                "is a pointer of Git LFS and not the file itself.",
                remedy="Run `git lfs install && git lfs pull` in a clone of the repository; a zip holds pointers only.",
                file=str(path),
            )
    except OSError as error:
        raise LeftOutError("unreadable file") from error
    return path

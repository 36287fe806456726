"""The dataset ``kinetics_sounds``: the 31 classes of Kinetics-400 that one can hear."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from mlabench.datasets.listing import LeftOutError, Listing, RawSample, SplitName
from mlabench.datasets.options import FileOptions
from mlabench.datasets.published.base import RawDataset, carve_validation, parse_lines
from mlabench.errors import UserError
from mlabench.media import Audio, Item, Video, one_line, read_text

#: Arandjelovic and Zisserman (ICCV 2017) chose 34 classes of an unpublished version of Kinetics. These are the 31 that
#: the published Kinetics-400 still has, some renamed ("blowing out" became "blowing out candles"); without
#: a successor are "fingerpicking", "patting" and "typing". Authors of CrissCross list them, and "strumming guitar" for
#: the first (github.com/pritamqu/CrissCross, issue 4). OGM-GE's lists have 31 indices without names. That they are
#: in the order of the alphabet was checked for 4 and 13 only; :meth:`KineticsSounds.listing` checks all where it can.
CLASSES = (
    *("blowing nose", "blowing out candles", "bowling", "chopping wood", "dribbling basketball", "laughing"),
    *("mowing lawn", "playing accordion", "playing bagpipes", "playing bass guitar", "playing clarinet"),
    *("playing drums", "playing guitar", "playing harmonica", "playing keyboard", "playing organ", "playing piano"),
    *("playing saxophone", "playing trombone", "playing trumpet", "playing violin", "playing xylophone"),
    *("ripping paper", "shoveling snow", "shuffling cards", "singing", "stomping grapes", "tap dancing"),
    *("tapping guitar", "tapping pen", "tickling"),
)

COLUMNS = ("label", "youtube_id", "time_start", "time_end")
#: For training and for test.
ANNOTATIONS = ("train.csv", "val.csv")
LISTS = ("my_train.txt", "my_test.txt")
LISTS_FROM = "https://github.com/GeWu-Lab/OGM-GE_CVPR2022 (folder data/KineticSound)"
_NOTES = {
    "kinetics": "Split: Kinetics-400's own training videos, less 10 % for validation, and its validation videos for "
    "test; not the paper's, whose lists were never published.",
    "ogm": "Split: OGM-GE's published lists, less 10 % of the training clips for validation; the paper's own "
    "lists were never published.",
}

_YOUTUBE_ID = re.compile(r"[\w-]{11}", re.ASCII)
_SECONDS = re.compile(r"\d{1,6}", re.ASCII)
#: Id on YouTube, start and end in seconds; the end is missing from OGM-GE's names of test clips.
_NAME = re.compile(rf"({_YOUTUBE_ID.pattern})_({_SECONDS.pattern})(?:_({_SECONDS.pattern}))?", re.ASCII)
_FILE = re.compile(rf"{_NAME.pattern}\.(?:mp4|mkv|webm)", re.ASCII)
#: Name, seconds and index of the class.
_LINE = re.compile(rf"{_NAME.pattern},({_SECONDS.pattern}),(\d{{1,2}})", re.ASCII)
#: Videos lie this many folders below the root at most, as in ``videos/train/<class>``.
_DEPTH = 3

#: What tells a clip from others: its id on YouTube, and where it starts in seconds.
Key = tuple[str, int]


@dataclass(frozen=True)
class Clip:
    """One clip, as a list or an annotation has it: where it starts and ends in a video, in seconds, and its class."""

    youtube_id: str
    start: int
    end: int
    label: str

    @property
    def key(self) -> Key:
        """What files are found by."""
        return self.youtube_id, self.start

    @property
    def id(self) -> str:
        """The name of its file as Kinetics has it, e.g. ``--4-0ihtnBU_000058_000068``."""
        return f"{self.youtube_id}_{self.start:06d}_{self.end:06d}"


class KineticsSounds(RawDataset):
    """Kinetics-Sounds: clips of 10 seconds from YouTube in 31 classes of actions that can be seen and heard.

    The videos of 31 of the 400 classes of Kinetics-400, as CVDF distributes them. The sound is taken from the same
    file; the group is the video on YouTube. Videos vanish from there, so no two copies are equal: compare counts before
    numbers. OGM-GE's lists give classes by index; where ``train.csv`` is there, they are compared with it. Files,
    splits and reasons to skip: ``mlabench/datasets/README.md``.

    The MLA paper: sound as a 1024 x 128 filter bank, 3 frames, two ResNet-18 from scratch. Its lists were never
    published, so its numbers cannot be reproduced exactly; ``ogm`` comes closest.
    """

    class Config(FileOptions):
        """Options of ``kinetics_sounds``."""

        root: Path | None = Field(
            default=None, description="Folder of Kinetics-400, or of its clips of the 31 classes; see the data card."
        )
        split: Literal["kinetics", "ogm"] = Field(
            default="kinetics", description="Kinetics-400's training and validation videos, or OGM-GE's lists."
        )

    config: Config
    source = (
        "Kinetics-Sounds (Arandjelovic and Zisserman 2017), 31 classes of Kinetics-400 (github.com/cvdfoundation/"
        "kinetics-dataset); annotations CC BY 4.0, videos under YouTube's terms."
    )
    obtain = (
        "Run k400_downloader.sh and k400_extractor.sh of https://github.com/cvdfoundation/kinetics-dataset "
        "(annotations CC BY 4.0; videos under YouTube's terms; of the 400 classes 31 are read)."
    )
    stand_in = "--dataset stamps --set 'dataset.modalities=[audio, image]'"

    modalities = ("audio", "video")
    classes = CLASSES

    def listing(self) -> Listing[RawSample]:
        """Lists the training clips, then those of the test split, in the order of the lists."""
        root = self.config.root
        videos = find_videos(root) if root else {}
        if root is None or not videos:
            raise self.not_found(root, "videos <youtube id>_<start>_<end>.mp4")
        kinetics = self.config.split == "kinetics"
        train, test = self._read_kinetics(root) if kinetics else self._read_ogm(root)
        annotated = {} if kinetics else _annotated_classes(root)
        validation = carve_validation({clip.id: clip.label for clip in train})
        split_of: dict[str, SplitName] = {clip.id: "validation" if clip.id in validation else "train" for clip in train}
        listing = Listing[RawSample](split_notes=[_NOTES[self.config.split]])
        seen: set[Key] = set()
        for clip in (*train, *test):
            with listing.counting():
                if clip.key in seen:
                    raise LeftOutError("annotated twice")
                seen.add(clip.key)
                if annotated.get(clip.key, clip.label) != clip.label:
                    raise LeftOutError("class differs from Kinetics' annotation")
                video = _usable(videos.get(clip.key))
                items: dict[str, Item] = {"audio": Audio(video), "video": Video(video)}
                split = split_of.get(clip.id, "test")
                listing.samples.append(RawSample(clip.id, clip.label, split, items, group=clip.youtube_id))
        return listing

    @classmethod
    def wanted(cls, root: Path) -> Callable[[str], bool]:
        """The clips in the 31 classes by Kinetics' annotations, and those on OGM-GE's lists."""
        annotations = [path for name in ANNOTATIONS if (path := _find_annotations(root, name))]
        lists = [root / name for name in LISTS if (root / name).is_file()]
        if not annotations and not lists:
            raise UserError(
                "which clips are in the 31 classes is not known: there are neither annotations nor lists.",
                remedy="Fetch them first: `mlabench data get kinetics_sounds --part annotations --part ogm`.",
                file=str(root),
            )
        clips = [clip for path in annotations for clip in read_annotations(path)]
        keys = {clip.key for clip in (*clips, *(clip for path in lists for clip in read_list(path)))}

        def is_listed(name: str) -> bool:
            match = _FILE.fullmatch(name)
            return match is not None and (match[1], int(match[2])) in keys

        return is_listed

    def _read_kinetics(self, root: Path) -> tuple[list[Clip], list[Clip]]:
        found = {name: _find_annotations(root, name) for name in ANNOTATIONS}
        if missing := [f"annotations/{name}" for name, path in found.items() if path is None]:
            raise self.not_found(root, " and ".join(missing))
        train, test = (read_annotations(path) for path in found.values() if path)
        return train, test

    def _read_ogm(self, root: Path) -> tuple[list[Clip], list[Clip]]:
        first, second = self.find_lists(root, LISTS, LISTS_FROM)
        train = read_list(first)
        return train, read_list(second, taken=[clip.key for clip in train])


def find_videos(root: Path) -> dict[Key, Path]:
    """The videos in ``root`` and at most three folders below it, however they are arranged.

    Where Kinetics offers a replacement of a damaged video, it is that one.
    """
    videos: dict[Key, Path] = {}
    for folder, subfolders, names in os.walk(root, followlinks=True):
        parent = Path(folder)
        subfolders[:] = sorted(subfolders) if len(parent.relative_to(root).parts) < _DEPTH else []
        for name in sorted(names):
            match = _FILE.fullmatch(name)
            if match:
                key = match[1], int(match[2])
                if key not in videos or parent.name.startswith("replacement"):
                    videos[key] = parent / name
    return videos


def read_annotations(path: Path) -> list[Clip]:
    """Reads the clips of the 31 classes from a file of Kinetics' annotations."""

    def refuse(problem: str, line: int) -> UserError:
        remedy = f"Get it again from https://s3.amazonaws.com/kinetics/400/annotations/{path.name}."
        return UserError(problem, remedy=remedy, file=str(path), line=line)

    clips = []
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise refuse(f"the column {missing[0]!r} is missing.", 1)
        for row in reader:
            label = one_line((row["label"] or "").replace("_", " "))
            if label not in CLASSES:
                continue
            start, end = row["time_start"] or "", row["time_end"] or ""
            if not (_SECONDS.fullmatch(start) and _SECONDS.fullmatch(end)):
                raise refuse(f"{start[:20]!r} to {end[:20]!r} are not two times in whole seconds.", reader.line_num)
            clips.append(Clip(row["youtube_id"] or "", int(start), int(end), label))
    except csv.Error as error:
        raise refuse(f"is not a table of comma-separated values ({error}).", reader.line_num + 1) from error
    return clips


def read_list(path: Path, taken: Iterable[Key] = ()) -> list[Clip]:
    """The clips of one of OGM-GE's lists; none of them may be ``taken`` by the other list.

    A line is the name of a clip, its seconds and the index of its class.
    """
    clips: dict[Key, Clip] = {}
    taken = set(taken)

    def parse(line: str) -> None:
        match = _LINE.fullmatch(line)
        if not match or int(match[5]) >= len(CLASSES):
            raise ValueError(
                f"{line[:60]!r} is not a name, its seconds and the index of one of {len(CLASSES)} classes, "
                "as in '--4-0ihtnBU_000058_000068,10,4'."
            )
        key = match[1], int(match[2])
        if key in clips or key in taken:
            raise ValueError(f"the clip of {match[1]} at {key[1]} s is listed twice, counting both lists.")
        end = int(match[3]) if match[3] else key[1] + int(match[4])
        clips[key] = Clip(*key, end, CLASSES[int(match[5])])

    parse_lines(path, read_text(path).split("\n"), LISTS_FROM, parse)
    return list(clips.values())


def _usable(path: Path | None) -> Path:
    try:
        if path is not None and path.stat().st_size:
            return path
    except OSError:  # the end of a broken link
        path = None
    raise LeftOutError("empty file" if path else "listed but not on disk")


def _find_annotations(root: Path, name: str) -> Path | None:
    return next((folder / name for folder in (root / "annotations", root) if (folder / name).is_file()), None)


def _annotated_classes(root: Path) -> dict[Key, str]:
    """Kinetics' classes of its training clips, where its annotations are there."""
    path = _find_annotations(root, ANNOTATIONS[0])
    return {clip.key: clip.label for clip in read_annotations(path)} if path else {}

"""The dataset ``crema_d``: CREMA-D from the files of its official repository."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from mlabench.datasets.published.base import Listing, RawDataset, Sample, SplitName, carve_validation
from mlabench.datasets.splits import split_groups
from mlabench.errors import UserError
from mlabench.hyperparameters import Hyperparameters
from mlabench.media import Audio, Item, Medium, Video, read_text

#: Class by the code in a clip's name.
EMOTIONS = {"ANG": "Anger", "DIS": "Disgust", "FEA": "Fear", "HAP": "Happy", "NEU": "Neutral", "SAD": "Sad"}
ACTORS = tuple(str(number) for number in range(1001, 1092))

#: Actor, sentence, emotion, level.
_CLIP = re.compile(r"(\d{4})_[A-Z]{3}_([A-Z]{3})_[A-Z]{1,2}", re.ASCII)


@dataclass(frozen=True)
class PublishedSplit:
    """Training and test clips as somebody published them.

    Attributes:
        train: Name of the list of training clips.
        test: Name of the list of test clips.
        line: What a line is made of: the name of a clip, then its class.
        example: Such a line.
        where: Where to get the lists.
        note: What reports say about the split.
    """

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

    From the official repository (https://github.com/CheyneyComputerScience/CREMA-D; Cao et al. 2014), under the
    Open Database License 1.0 and, for the contents, the Database Contents License 1.0. Its files are stored with
    Git LFS: a plain zip holds pointers only. The label is the emotion that the actor was asked for, read from
    the clip's name, as everybody in this literature does; what raters perceived is in the repository, and ignored.

    Read are ``AudioWAV/<clip>.wav`` and ``VideoFlash/<clip>.flv``, or ``Image-01-FPS/<clip>/*.jpg`` where
    ``frames: extracted``.

    Splits. ``speaker`` is our own: 18 actors for test, 9 for validation, 64 for training, whatever part of
    the data is there. ``mla`` is what the MLA paper used and ``ogm`` what OGM-GE and the methods after it used;
    both are random over clips, so that all 91 speakers are in training and test, and they are different: of 744
    test clips they share 71. Their lists are not shipped; ``lists`` says where your copies are. Neither has
    validation clips, so 10 % of the training clips are taken, by class.

    Skipped and counted: clips without sound or video, empty files, names with an unknown code, and clips
    that are listed but not there, or there but not listed.

    The MLA paper: the sound as a 1024 x 128 filter bank, 3 of the frames at one per second, two ResNet-18
    from scratch; accuracy of the test split of its lists.
    """

    class Config(Hyperparameters):
        """Options of ``crema_d``."""

        root: Path | None = Field(
            default=None, description="Folder of the official repository; it holds AudioWAV and VideoFlash."
        )
        split: Literal["speaker", "mla", "ogm"] = Field(
            default="speaker",
            description="Our split by speaker, or the published lists of MLA or of OGM-GE (both leak speakers).",
        )
        lists: Path | None = Field(
            default=None, description="Folder of your copy of the published lists; by default that of the data."
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

    @property
    def media(self) -> dict[str, Medium]:
        """Sound and video."""
        return {"audio": "audio", "video": "video"}

    @property
    def classes(self) -> tuple[str, ...]:
        """The six emotions in the order of the alphabet."""
        return tuple(EMOTIONS.values())

    def listing(self) -> Listing:
        """Lists the clips by name.

        Raises:
            UserError: If there are no clips, they are pointers of Git LFS, or a published list is missing or faulty.
        """
        sounds, videos = self._find_clips()
        published = PUBLISHED.get(self.config.split)
        split_of = self._read_published(published) if published else None
        listing = Listing(notes=[published.note if published else "Split: by speaker, our own; not the paper's."])
        by_speaker = split_speakers()
        found = sounds.keys() | videos.keys()
        for name in sorted(found):
            match = _CLIP.fullmatch(name)
            if not match or match[1] not in by_speaker:
                listing.skipped["not the name of a clip"] += 1
                continue
            actor, code = match.groups()
            split = by_speaker[actor] if split_of is None else split_of.get(name)
            reason = _fault(sounds.get(name), "sound") or _fault(videos.get(name), "video")
            if code not in EMOTIONS:
                listing.skipped["label outside the classes"] += 1
            elif split is None:
                listing.skipped["not in the published lists"] += 1
            elif reason:
                listing.skipped[reason] += 1
            else:
                items: dict[str, Item] = {"audio": Audio(sounds[name]), "video": Video(videos[name])}
                listing.samples.append(Sample(name, EMOTIONS[code], split, items, group=actor))
        if missing := len((split_of or {}).keys() - found):
            listing.skipped["listed but not on disk"] = missing
        return listing

    def _find_clips(self) -> tuple[dict[str, Path], dict[str, Path]]:
        """The sound and the video (a file, or a folder of frames) of each clip, by its name."""
        root, extracted = self.config.root, self.config.frames == "extracted"
        looked_for = "AudioWAV/*.wav and " + ("Image-01-FPS/<clip>/*.jpg" if extracted else "VideoFlash/*.flv")
        if root is None:
            raise self.not_found(None, looked_for)
        sounds = _by_clip((root / "AudioWAV").glob("*.wav"))
        folders = (path for path in (root / "Image-01-FPS").glob("*") if path.is_dir())
        videos = _by_clip(folders if extracted else (root / "VideoFlash").glob("*.flv"))
        if not sounds or not videos:
            raise self.not_found(root, looked_for)
        return sounds, videos

    def _read_published(self, published: PublishedSplit) -> dict[str, SplitName]:
        folder = self.config.lists or self.config.root or Path()
        for name in (published.train, published.test):
            if not (folder / name).is_file():
                raise UserError(
                    f"the split {self.config.split!r} needs {published.train} and {published.test}, and {name} is "
                    f"not in {folder}.",
                    remedy=f"Get both from {published.where}, and give their folder: `--set dataset.lists=DIR`.",
                    field="dataset.lists",
                )
        train = read_list(folder / published.train, published)
        test = read_list(folder / published.test, published, taken=train.keys())
        validation = carve_validation(train)
        split_of: dict[str, SplitName] = dict.fromkeys(train, "train")
        return split_of | dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")


def split_speakers() -> dict[str, SplitName]:
    """The split of each of the 91 actors, so that it does not depend on the clips that are there."""
    shares: dict[SplitName, float] = {"test": 0.2, "validation": 0.1, "train": 0.7}
    # They all act all emotions, so that there is nothing to stratify by.
    split = split_groups(ACTORS, ["actor"] * len(ACTORS), {str(name): share for name, share in shares.items()})
    return {actor: name for actor in ACTORS for name in shares if split[actor] == name}


def read_list(path: Path, published: PublishedSplit, taken: Iterable[str] = ()) -> dict[str, str]:
    """Reads a published list.

    Args:
        path: The list.
        published: What its lines look like.
        taken: Clips that must not be in it, because they are in the other list.

    Returns:
        The class of each clip, by the clip's name.

    Raises:
        UserError: If it cannot be read, a line is no clip and its class, the class is not what the clip's name
            says, or a clip is listed twice.
    """
    labels: dict[str, str] = {}
    taken = set(taken)
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        match = published.line.fullmatch(line.strip())
        name = _canonical(match[1]) if match else ""
        clip = _CLIP.fullmatch(name)
        if not match or not clip or clip[2] not in EMOTIONS:
            problem = f"{line.strip()[:60]!r} is no clip and its class, as in {published.example!r}."
        elif EMOTIONS.get(match[2], match[2]) != EMOTIONS[clip[2]]:
            problem = f"{name} is listed as {match[2][:60]!r}, but its name says {EMOTIONS[clip[2]]}."
        elif name in labels or name in taken:
            problem = f"{name} is listed twice, counting both lists."
        else:
            labels[name] = EMOTIONS[clip[2]]
            continue
        raise UserError(problem, remedy=f"Get the list anew from {published.where}.", file=str(path), line=number)
    return labels


def _by_clip(paths: Iterable[Path]) -> dict[str, Path]:
    return {_canonical(path.stem): path for path in sorted(paths)}


def _canonical(name: str) -> str:
    """The name of a clip with a level of two letters: a single file is called ``1040_ITH_SAD_X.wav``."""
    return f"{name}X" if name.endswith("_X") else name


def _fault(path: Path | None, kind: str) -> str | None:
    """Why a file, or a folder of frames, cannot be used; None if it can as far as one sees from outside."""
    if path is None:
        return f"no {kind} file"
    try:
        if path.is_dir():
            return None if any(path.iterdir()) else "folder without frames"
        size = path.stat().st_size
        if size == 0:
            return "empty file"
        if size < _POINTER_SIZE and path.read_bytes().startswith(_POINTER):
            raise UserError(
                "is a pointer of Git LFS and not the file itself.",
                remedy="Run `git lfs install && git lfs pull` in a clone of the repository; a zip holds pointers only.",
                file=str(path),
            )
    except OSError:
        return "unreadable file"
    return None

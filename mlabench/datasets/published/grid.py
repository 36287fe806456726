"""The dataset ``grid``: the audio-visual sentence corpus GRID from its published files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, StringConstraints

from mlabench.datasets.listing import LeftOutError, Listing, RawSample, SplitName
from mlabench.datasets.published.base import RawDataset
from mlabench.datasets.splits import split_groups
from mlabench.errors import UserError
from mlabench.hyperparameters import Hyperparameters
from mlabench.media import Audio, Item, Video, decode_text

Word = Literal["command", "colour", "letter", "digit"]

_DIGITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
#: The word of each letter or digit of a file's name, by place; prepositions and adverbs are no labels.
WORDS: dict[Word, dict[str, str]] = {
    "command": {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    "colour": {"b": "blue", "g": "green", "r": "red", "w": "white"},
    "letter": {letter: letter for letter in ascii_lowercase if letter != "w"},
    "digit": {"z": "zero"} | dict(zip("123456789", _DIGITS, strict=True)),
}
#: Where each stands in the sentence and in the name: ``bbaf2n`` is "bin blue at f two now".
_PLACES: dict[Word, int] = {"command": 0, "colour": 1, "letter": 3, "digit": 4}
_WORDS = 6
_SENTENCE = re.compile(r"[blps][bgrw][abiw][a-vx-z][z1-9][anps]", re.ASCII)
_TALKER = re.compile(r"s([1-9]|[12][0-9]|3[0-4])")
_Talker = Annotated[str, StringConstraints(pattern=f"^{_TALKER.pattern}$")]

#: Frames per second, all of which are looked at: lips move fast.
_RATE = 25.0
#: Seconds. Every clip lasts three, and the last word that is a label ends about two seconds after its beginning.
_SHORTEST = 2.5
#: A second in the unit of the alignments, which were made on sound of 25 kHz.
_UNITS = 25_000
_SILENCE = ("sil", "sp")

SHARES: dict[SplitName, float] = {"test": 0.2, "validation": 0.1, "train": 0.7}
#: A split by talker needs as many.
_FEWEST = 3
_BY_TALKER = "Split: by talker, our own."
_BY_CLIP = "Split: 70 / 10 / 20 % of each talker's clips, by class, our own; a split by talker needs three talkers."
_ONE_TALKER = "One talker ({}): accuracies say nothing about other voices and faces."


class Grid(RawDataset):
    """GRID: 34 talkers say 1,000 sentences of six words each, such as "bin blue at f two now", heard and seen.

    From the published files (Cooke et al. 2006), whose names say what is said. ``labels`` chooses the word to be
    recognised. Each talker says every combination of colour, letter and digit once, so that no other word gives it
    away.

    Sound is the strong modality here, the lips the weak one. The mouth is found by a detector of faces. With ``span:
    word`` a sample is the labelled word alone, cut out by the published alignments.

    With three talkers or more, no talker is in two parts of the split, and groups are talkers; with one, groups are
    clips. Files, splits and reasons to skip: ``mlabench/datasets/README.md``.
    """

    class Config(Hyperparameters):
        """Options of ``grid``."""

        root: Path | None = Field(
            default=None,
            description="Folder that holds those of the talkers (s1, s2, ...) and of the alignments.",
        )
        labels: Word = Field(
            default="digit", description="The word to recognise: one of 10 digits, 25 letters, 4 colours or 4 commands."
        )
        talkers: tuple[_Talker, ...] | None = Field(
            default=None, min_length=1, description="Talkers to use, such as [s1, s2]; null for all that are there."
        )
        crop: Literal["mouth", "none"] = Field(default="mouth", description="Cut out the mouth, or take whole frames.")
        span: Literal["sentence", "word"] = Field(
            default="sentence", description="The whole clip, or the labelled word alone (needs the alignments)."
        )

    config: Config
    source = "GRID (Cooke, Barker, Cunningham and Shao 2006), zenodo.org/records/3625687; cited by others as CC BY 4.0."
    obtain = (
        "Get s1.zip to s34.zip, one for each talker (0.4 GB; there is no s21), and for `span: word` alignments.zip "
        "from https://zenodo.org/records/3625687 (others cite it as CC BY 4.0; read the licence there), and unpack "
        "them into one folder."
    )
    stand_in = "--dataset stamps --set 'dataset.modalities=[audio, image]'"

    modalities = ("audio", "video")

    @property
    def classes(self) -> tuple[str, ...]:
        """The words that the label can be."""
        return tuple(WORDS[self.config.labels].values())

    def listing(self) -> Listing[RawSample]:
        """Lists the clips by talker and name."""
        folder = self.find("s1/*.mpg", lambda path: bool(_talkers(path)), below=("data",))
        talkers = self._chosen(folder)
        listing = Listing[RawSample](notes=[_ONE_TALKER.format(*talkers)] if len(talkers) == 1 else [])
        clips = []
        for talker in talkers:
            for path in sorted((folder / talker).glob("*.mpg")):
                with listing.counting():
                    clips.append(self._clip(path, talker, folder / "alignments" / talker / f"{path.stem}.align"))
        if len(talkers) < _FEWEST:
            strata = [f"{clip.talker} {clip.label}" for clip in clips]
            split_of = split_groups([clip.id for clip in clips], strata, SHARES)
            listing.split_notes.append(_BY_CLIP)
        else:
            by_talker = split_talkers(talkers)
            split_of = {clip.id: by_talker[clip.talker] for clip in clips}
            listing.split_notes.append(_BY_TALKER)
        for clip in clips:
            group = clip.id if len(talkers) == 1 else clip.talker
            units = {"talker": clip.talker}
            listing.samples.append(RawSample(clip.id, clip.label, split_of[clip.id], clip.items, group, units))
        return listing

    def _chosen(self, folder: Path) -> list[str]:
        """The talkers to use, in the order of their numbers."""
        there = _talkers(folder)
        chosen = there if self.config.talkers is None else set(self.config.talkers)
        if absent := sorted(chosen - there, key=_number):
            raise UserError(
                f"{', '.join(absent)} not found in {folder}.",
                remedy=f"The talkers there: {', '.join(sorted(there, key=_number))}.",
                field="dataset.talkers",
            )
        return sorted(chosen, key=_number)

    def _clip(self, path: Path, talker: str, alignment: Path) -> Clip:
        word = self.config.labels
        label = label_of(path.stem, word)
        _check(path)
        start, end = find_word(alignment, word, label) if self.config.span == "word" else (0.0, None)
        items: dict[str, Item] = {
            "audio": Audio(path, start, end, shortest=_SHORTEST),
            "video": Video(path, start, end, rate=_RATE, mouth=self.config.crop == "mouth", shortest=_SHORTEST),
        }
        return Clip(f"{talker}_{path.stem}", talker, label, items)


class Clip(NamedTuple):
    """A clip that can be used: its id, who talks, the labelled word, and where its modalities lie."""

    id: str
    talker: str
    label: str
    items: dict[str, Item]


def label_of(name: str, word: Word) -> str:
    """What the name of a file, such as ``bbaf2n``, says about one of its words."""
    if not _SENTENCE.fullmatch(name):
        raise LeftOutError("not the name of a sentence")
    return WORDS[word][name[_PLACES[word]]]


def find_word(path: Path, word: Word, label: str) -> tuple[float, float]:
    """Where a word begins and ends, in seconds, by an alignment: lines of start, end and word, silences among them."""
    try:
        lines = [line.split() for line in decode_text(path.read_bytes()).split("\n") if line.strip()]
        spoken = [(int(start) / _UNITS, int(end) / _UNITS, said) for start, end, said in lines if said not in _SILENCE]
    except FileNotFoundError as error:
        raise LeftOutError("no alignment") from error
    except (OSError, ValueError) as error:
        raise LeftOutError("unreadable alignment") from error
    start, end, said = spoken[_PLACES[word]] if len(spoken) == _WORDS else (0.0, 0.0, "")
    if said != label or not 0 <= start < end:
        raise LeftOutError("alignment differs from the name")
    return start, end


def split_talkers(talkers: Sequence[str]) -> dict[str, SplitName]:
    """The split of each of three talkers or more: a fifth for test, a tenth for validation, in the order of a hash."""
    order = sorted(talkers, key=lambda talker: hashlib.sha256(talker.encode()).digest())
    sizes = {split: max(1, round(SHARES[split] * len(order))) for split in ("test", "validation")}
    test, known = sizes["test"], sizes["test"] + sizes["validation"]
    return {
        talker: "test" if place < test else "validation" if place < known else "train"
        for place, talker in enumerate(order)
    }


def _talkers(folder: Path) -> set[str]:
    """The talkers of whom there is a clip."""
    if not folder.is_dir():
        return set()
    return {path.name for path in folder.iterdir() if _TALKER.fullmatch(path.name) and any(path.glob("*.mpg"))}


def _number(talker: str) -> int:
    return int(talker[1:])


def _check(path: Path) -> None:
    try:
        empty = not path.stat().st_size
    except OSError as error:  # the end of a broken link
        raise LeftOutError("unreadable file") from error
    if empty:
        raise LeftOutError("empty file")

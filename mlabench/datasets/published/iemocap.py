"""The dataset ``iemocap``: acted emotions in dialogue, as sound, face and words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from mlabench.datasets.listing import LeftOutError, Listing, RawSample, SplitName
from mlabench.datasets.options import AudioImageText, FileOptions
from mlabench.datasets.published.base import RawDataset, shared_with_test
from mlabench.datasets.published.iemocap_files import (
    SESSIONS,
    Session,
    Utterance,
    is_release,
    read_list,
    read_sessions,
    session_of,
    speaker_of,
    units_of,
)
from mlabench.datasets.splits import split_groups
from mlabench.errors import UserError
from mlabench.media import Audio, Half, Item, Text, Video

LAYOUT = "Session1/dialog/EmoEvaluation/*.txt"
MLA_REPOSITORY = "https://github.com/Cecile-hi/Multimodal-Learning-with-Alternating-Unimodal-Adaptation"
#: Its lists, by split.
LISTS: dict[SplitName, str] = {"train": "my_train_iemo.txt", "test": "my_test_iemo.txt"}
#: Samples of the full release, by class; excited utterances apart.
FULL_RELEASE = {"Angry": 1103, "Happy": 595, "Neutral": 1708, "Sad": 1084}
EXCITED = 1041
#: Size of a WAV file's header; a file that is no larger holds no sound.
_WAV_HEADER = 44
_SHARED_SPEAKERS = (
    "{shared} of the {tested} speakers of the test split are in the training data, too: "
    "not comparable with results for unseen speakers."
)


class Iemocap(RawDataset):
    """IEMOCAP: 10 actors in 151 dialogues, 5,531 utterances in 4 classes, as sound, face and words.

    A sample is an utterance: its recording, one picture of the speaker's face from the middle of it, and its transcript
    with tags such as [LAUGHTER]. The label is what most evaluators heard; other or disputed emotions are left out.

    The videos show both actors side by side. Who wears the markers, F in the dialogue ``Ses01F_impro01``, is taken to
    sit on the left; the release does not say so, but published scripts that crop the faces agree (e.g.
    github.com/IoannisKansizoglou/Iemocap-preprocess, extractionmapCreator.py). Look at a few pictures first.

    ``random`` is the paper's protocol, drawn again by a hash of the ids, since the paper's was drawn without a seed;
    ``mla`` takes the paper's own lists. Both have all ten speakers in train and test, so their accuracies cannot be set
    beside those of the usual protocols, ``session`` and ``speaker``. Files: ``mlabench/datasets/README.md``.
    """

    class Config(FileOptions):
        """Options of ``iemocap``."""

        root: Path | None = Field(
            default=None, description="The folder `IEMOCAP_full_release`, or the one that holds it."
        )
        modalities: AudioImageText = ("audio", "image", "text")
        merge_excited: bool = Field(
            default=True, description="Count excited utterances as Happy, as the paper does; otherwise leave them out."
        )
        face: bool = Field(
            default=True, description="Cut out the speaker's face; otherwise take the speaker's half of the picture."
        )
        marker_side: Literal["left", "right"] = Field(
            default="left", description="Side of the picture that shows the actor who wears the markers."
        )
        split: Literal["random", "mla", "session", "speaker"] = Field(
            default="random",
            description="Over utterances (random, or by MLA's lists), or leaving out one session or one speaker.",
        )
        fold: int = Field(
            default=1,
            ge=1,
            le=10,
            description="Session (1-5), or speaker (1-10: Ses01F, Ses01M, Ses02F, ...), to test on.",
        )

        @model_validator(mode="after")
        def _fold_exists(self) -> Self:
            folds = {"session": 5, "speaker": 10}.get(self.split, 1)
            if self.fold > folds:
                known = f"folds 1 to {folds}" if folds > 1 else "no folds"
                raise ValueError(f"split {self.split!r} has {known}, got fold {self.fold}")
            return self

    config: Config
    source = "IEMOCAP (Busso et al., 2008), University of Southern California; academic use, no redistribution."
    obtain = (
        "IEMOCAP is given out on request, for academic use: fill in the form at "
        "https://sail.usc.edu/iemocap/iemocap_release.htm and unpack the archive you are sent."
    )
    stand_in = "--dataset stamps"

    classes = tuple(FULL_RELEASE)

    def listing(self) -> Listing[RawSample]:
        """Lists the utterances in the order of their ids."""
        release = self.find(LAYOUT, is_release, below=("IEMOCAP_full_release", "IEMOCAP"))
        listing = Listing[RawSample]()
        evaluated: dict[str, Utterance] = {}
        items: dict[str, dict[str, Item]] = {}
        labels: dict[str, str] = {}
        for session in read_sessions(release):
            for utterance in session.utterances:
                name = utterance.id
                repeated = name in evaluated
                evaluated.setdefault(name, utterance)
                with listing.counting():
                    if repeated:
                        raise LeftOutError("evaluated twice")
                    if utterance.emotion not in self._emotions:
                        raise LeftOutError("label outside the classes")
                    items[name] = {modality: self._item(modality, utterance, session) for modality in self.media}
                    labels[name] = self._emotions[utterance.emotion]
            listing.skipped["utterance without evaluation"] += len(session.recordings.keys() - evaluated)
        splits = self._splits(labels, evaluated, listing, release)
        listing.samples = [
            RawSample(name, labels[name], splits[name], items[name], evaluated[name].dialogue, units_of(name))
            for name in sorted(labels)
        ]
        listing.skipped = +listing.skipped
        speakers = ((sample.split, speaker_of(sample.id)) for sample in listing.samples)
        listing.notes += self._incomplete(labels.values())
        listing.split_notes += shared_with_test(speakers, _SHARED_SPEAKERS)
        return listing

    @property
    def _emotions(self) -> dict[str, str]:
        """Classes of the emotions in the evaluation files."""
        excited = {"exc": "Happy"} if self.config.merge_excited else {}
        return {"ang": "Angry", "hap": "Happy", "neu": "Neutral", "sad": "Sad"} | excited

    def _item(self, modality: str, utterance: Utterance, session: Session) -> Item:
        """Where one modality of an utterance lies, if it is there."""
        if modality == "audio":
            recording = session.recordings.get(utterance.id)
            if recording is None:
                raise LeftOutError("no recording")
            if recording.stat().st_size <= _WAV_HEADER:
                raise LeftOutError("empty recording")
            return Audio(recording)
        if modality == "text":
            words = session.transcripts.get(utterance.id)
            if words is None:
                raise LeftOutError("no transcript")
            if not words:
                raise LeftOutError("empty transcript")
            return Text(words)
        video = session.videos.get(utterance.dialogue)
        if video is None:
            raise LeftOutError("no video")
        if not video.stat().st_size:
            raise LeftOutError("empty video")
        if utterance.end <= utterance.start:
            raise LeftOutError("utterance without duration")
        return Video(video, utterance.start, utterance.end, half=self._half(utterance), face=self.config.face)

    def _half(self, utterance: Utterance) -> Half:
        """The side of the picture that shows who speaks."""
        other: Half = "right" if self.config.marker_side == "left" else "left"
        return self.config.marker_side if utterance.speaker == utterance.marked else other

    def _splits(
        self, labels: Mapping[str, str], evaluated: Iterable[str], listing: Listing[RawSample], release: Path
    ) -> dict[str, SplitName]:
        """The split of each utterance in ``labels``."""
        if self.config.split == "random":
            shares: dict[SplitName, float] = {"train": 0.6, "validation": 0.2, "test": 0.2}
            return split_groups(list(labels), list(labels.values()), shares)
        if self.config.split == "mla":
            listed = self._listed_by_mla(release)
            listing.skipped["in MLA's lists only"] += len(listed.keys() - evaluated)
            return {name: listed.get(name, "validation") for name in labels}
        absent = sorted(set(SESSIONS) - set(map(session_of, labels)))
        if absent:
            raise UserError(
                f"split {self.config.split!r} needs all five sessions, but no utterance was found in "
                f"{', '.join(f'Session{number}' for number in absent)}.",
                remedy="Unpack the whole release, or use `dataset.split=random`.",
                file=str(self.config.root),
                field="dataset.split",
            )
        return {name: self._split_of(name) for name in labels}

    def _split_of(self, utterance: str) -> SplitName:
        """The split of an utterance where one session or one speaker is left out."""
        fold, session = self.config.fold, session_of(utterance)
        if self.config.split == "session":
            return "test" if session == fold else "validation" if session == fold % len(SESSIONS) + 1 else "train"
        # Two folds a session: first the woman is tested, then the man.
        tested, letter = (fold + 1) // 2, "MF"[fold % 2]
        if session != tested:
            return "train"
        return "test" if speaker_of(utterance).endswith(letter) else "validation"

    def _listed_by_mla(self, release: Path) -> dict[str, SplitName]:
        """The split of each utterance in MLA's lists."""
        source = f"the folder `data` of {MLA_REPOSITORY}"
        paths = self.find_lists(release, LISTS.values(), source)
        ids = {split: read_list(path, source) for split, path in zip(LISTS, paths, strict=True)}
        both = ids["train"] & ids["test"]
        if both:
            raise UserError(
                f"{len(both)} utterances are in both lists, e.g. {min(both)}.",
                remedy="Take the lists of MLA's repository as they are.",
                file=str(paths[0].parent),
            )
        return {name: split for split, names in ids.items() for name in names}

    def _incomplete(self, labels: Iterable[str]) -> list[str]:
        """A caveat if the samples are not those of the full release."""
        expected = Counter(FULL_RELEASE) + Counter(Happy=EXCITED if self.config.merge_excited else 0)
        found = Counter(labels)
        if found == expected:
            return []
        counts = ", ".join(f"{label} {found[label]:,} of {expected[label]:,}" for label in self.classes)
        return [f"Not the samples of the full release: {counts}."]

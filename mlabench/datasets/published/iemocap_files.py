"""Reads the text files of the IEMOCAP release, and finds its recordings and videos."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlabench.datasets.published.base import parse_lines
from mlabench.errors import UserError
from mlabench.media import one_line, read_text

#: Numbers of the sessions; two actors each, a woman (F) and a man (M).
SESSIONS = (1, 2, 3, 4, 5)
#: What separates the fields of MLA's lists.
SEPARATOR = "[split|sign]"

_ID = r"(?P<id>(?P<dialogue>Ses0[1-5](?P<marked>[FM])_\w+)_(?P<speaker>[FM])[A-Za-z0-9]+)"
_SECONDS = r"\d{1,6}(?:\.\d{1,9})?"
_EVALUATION = re.compile(
    rf"\[(?P<start>{_SECONDS})\s*-\s*(?P<end>{_SECONDS})\]\s+{_ID}\s+(?P<emotion>\w+)(?!\S)", re.ASCII
)
_TRANSCRIPT = re.compile(rf"{_ID}\s*\[[^\]]*\]\s*:(?P<text>.*)", re.ASCII)
_LISTED = re.compile(_ID, re.ASCII)


@dataclass(frozen=True)
class Utterance:
    """One evaluated utterance, e.g. ``Ses01F_impro01_M003``; ``start`` and ``end`` are seconds in its dialogue."""

    id: str
    dialogue: str
    #: F or M: who wears the markers throughout the dialogue, and who speaks.
    marked: str
    speaker: str
    start: float
    end: float
    #: The evaluators' majority in three letters; ``xxx`` if there is none.
    emotion: str


@dataclass(frozen=True)
class Session:
    """What one session's folder holds: recordings and transcripts by utterance, videos by dialogue."""

    utterances: Sequence[Utterance]
    recordings: Mapping[str, Path]
    videos: Mapping[str, Path]
    transcripts: Mapping[str, str]


def session_of(utterance: str) -> int:
    """The session's number, from the id of an utterance."""
    return int(utterance[3:5])


def speaker_of(utterance: str) -> str:
    """The actor who speaks, e.g. ``Ses01M``, from the id of an utterance."""
    return utterance[:5] + utterance.rpartition("_")[2][0]


def units_of(utterance: str) -> dict[str, str]:
    """What folds can follow, from the id of an utterance: its session, e.g. ``Ses01``, and who speaks."""
    return {"session": utterance[:5], "speaker": speaker_of(utterance)}


def is_release(folder: Path) -> bool:
    """Whether a folder holds sessions with evaluations; an error if it cannot be read."""
    return any(_evaluations(folder / f"Session{number}") for number in SESSIONS)


def read_sessions(release: Path) -> list[Session]:
    """What the sessions in a release hold, in the order of their numbers; sessions may be absent."""
    return [_read_session(release / f"Session{number}") for number in SESSIONS]


def _read_session(folder: Path) -> Session:
    transcripts: dict[str, str] = {}
    for path in _files(folder / "dialog/transcriptions", "*.txt").values():
        transcripts = parse_transcripts(read_text(path)) | transcripts
    return Session(
        utterances=[one for path in _evaluations(folder).values() for one in parse_evaluations(read_text(path))],
        recordings=_files(folder / "sentences/wav", "*/*.wav"),
        videos=_files(folder / "dialog/avi/DivX", "*.avi"),
        transcripts=transcripts,
    )


def _evaluations(folder: Path) -> dict[str, Path]:
    # The folders below it hold each evaluator's own ratings.
    return _files(folder / "dialog/EmoEvaluation", "*.txt")


def _files(folder: Path, pattern: str) -> dict[str, Path]:
    """Files by their stem, in its order, without the ``._*`` ones that macOS left in the release."""
    try:
        paths = [path for path in folder.glob(pattern) if not path.name.startswith(".") and path.is_file()]
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror or error}).", file=str(folder)) from error
    return {path.stem: path for path in sorted(paths, key=lambda path: (path.stem, path))}


def parse_evaluations(text: str) -> list[Utterance]:
    """Reads an evaluation file, without its header and the lines of single evaluators (``C-E2: Neutral; ()``)."""
    matches = (_EVALUATION.match(line.strip()) for line in text.split("\n"))
    return [
        Utterance(
            match["id"],
            match["dialogue"],
            match["marked"],
            match["speaker"],
            float(match["start"]),
            float(match["end"]),
            match["emotion"].lower(),
        )
        for match in matches
        if match
    ]


def parse_transcripts(text: str) -> dict[str, str]:
    """Reads a transcription file: the words of each utterance, by id; of two for one id, the first.

    Tags such as ``[LAUGHTER]`` stay, as they do in MLA's lists: some utterances consist of nothing else.
    """
    transcripts: dict[str, str] = {}
    for line in text.split("\n"):
        if match := _TRANSCRIPT.match(line.strip()):
            transcripts.setdefault(match["id"], one_line(match["text"]))
    return transcripts


def read_list(path: Path, source: str) -> set[str]:
    """The ids in a list of MLA's, with lines like ``<id>.mp4 [split|sign] <words> [split|sign] <label>``."""

    def parse(line: str) -> str:
        name, separator, _ = line.partition(SEPARATOR)
        utterance = name.strip().removesuffix(".mp4")
        if not separator or not _LISTED.fullmatch(utterance):
            raise ValueError(f"not a line of the form `<utterance>.mp4 {SEPARATOR} <words> {SEPARATOR} <label>`.")
        return utterance

    return set(parse_lines(path, read_text(path).split("\n"), source, parse))

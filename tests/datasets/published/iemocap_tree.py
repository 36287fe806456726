"""A small IEMOCAP release: five sessions of two dialogues, in the layout and formats of the real one."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.datasets.media_files import COLOURS, Colour, write_video, write_wav

#: What each actor's four utterances of a dialogue are labelled; seven of the eight are in the classes.
EMOTIONS = {"F": ("neu", "ang", "exc", "fru"), "M": ("sad", "hap", "neu", "ang")}
#: Seconds from the beginning of one utterance to that of the next, and how long each lasts.
STEP, LENGTH = 0.6, 0.5
HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"

DIALOGUES = tuple(f"Ses{session:02}{name}" for session in range(1, 6) for name in ("F_impro01", "M_script01_1b"))


def make_tree(root: Path) -> Path:
    """Writes the release below ``root`` and returns its folder ``IEMOCAP_full_release``.

    In it are 80 utterances, 70 of them in the four classes, and the files that macOS and the evaluators left.
    """
    release = root / "IEMOCAP_full_release"
    for dialogue in DIALOGUES:
        add_dialogue(release, dialogue)
    return release


def utterances(dialogue: str) -> Iterator[tuple[str, str, float]]:
    """Id, emotion and beginning of each utterance; the actors take turns."""
    for number, emotions in enumerate(zip(EMOTIONS["F"], EMOTIONS["M"], strict=True)):
        for turn, (speaker, emotion) in enumerate(zip("FM", emotions, strict=True)):
            yield f"{dialogue}_{speaker}{number:03}", emotion, STEP * (2 * number + turn)


def add_dialogue(release: Path, dialogue: str, sound: bool = True) -> None:
    """Writes everything that belongs to one dialogue; its video is as long as its utterances."""
    session = session_folder(release, dialogue)
    lines = list(utterances(dialogue))
    write_text(session / f"dialog/EmoEvaluation/{dialogue}.txt", evaluation_file(lines))
    write_text(session / f"dialog/EmoEvaluation/Categorical/{dialogue}_e2_cat.txt", f"{lines[0][0]} :Sadness; ()\n")
    write_text(session / f"dialog/transcriptions/{dialogue}.txt", transcription_file(lines))
    for folder, suffix in (
        ("dialog/EmoEvaluation", "txt"),
        ("dialog/transcriptions", "txt"),
        ("dialog/avi/DivX", "avi"),
        (f"sentences/wav/{dialogue}", "wav"),
    ):
        (session / folder).mkdir(parents=True, exist_ok=True)
        (session / folder / f"._{dialogue}.{suffix}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    for utterance, _, _ in lines:
        write_wav(wav_path(release, utterance), seconds=LENGTH)
    write_video(avi_path(release, dialogue), seconds=len(lines) * STEP, sound=sound, colours=video_colours(dialogue))


def video_colours(dialogue: str) -> tuple[Colour, ...]:
    """What the left half of a dialogue's video shows in each second; the right one shows half the brightness."""
    first = DIALOGUES.index(dialogue) % len(COLOURS) if dialogue in DIALOGUES else 0
    return COLOURS[first:] + COLOURS[:first]


def evaluation_file(lines: Iterable[tuple[str, str, float]]) -> str:
    """An evaluation file: the header, then a block with the evaluators' lines for each utterance."""
    return HEADER + "\n".join(
        f"[{start:.4f} - {start + LENGTH:.4f}]\t{utterance}\t{emotion}\t[2.5000, 2.5000, 2.5000]\n"
        "C-E2:\tNeutral;\t()\n"
        "C-E4:\tNeutral; Sadness;\t(curious)\n"
        "C-F1:\tNeutral;\t(curious)\n"
        "A-E3:\tval 3; act 2; dom  2;\t()\n"
        "A-F1:\tval 3; act 2; dom  1;\t()\n"
        for utterance, emotion, start in lines
    )


def transcription_file(lines: Iterable[tuple[str, str, float]]) -> str:
    """A transcription file, with words between the utterances as in the release."""
    spoken = "".join(
        f"{utterance} [{start:08.4f}-{start + LENGTH:08.4f}]: {words(utterance)}\n" for utterance, _, start in lines
    )
    return f"{spoken}M: Yeah.\nF: [BREATHING]\nOkay.\n"


def words(utterance: str) -> str:
    """What is said in an utterance."""
    return f"This is  {utterance}. [LAUGHTER]"


def session_folder(release: Path, name: str) -> Path:
    """The folder of the session of a dialogue or an utterance."""
    return release / f"Session{int(name[3:5])}"


def wav_path(release: Path, utterance: str) -> Path:
    """Where an utterance's recording lies."""
    folder = session_folder(release, utterance) / "sentences/wav"
    return folder / utterance.rpartition("_")[0] / f"{utterance}.wav"


def avi_path(release: Path, dialogue: str) -> Path:
    """Where a dialogue's video lies."""
    return session_folder(release, dialogue) / "dialog/avi/DivX" / f"{dialogue}.avi"


def evaluation_path(release: Path, dialogue: str) -> Path:
    """Where a dialogue's evaluations lie."""
    return session_folder(release, dialogue) / "dialog/EmoEvaluation" / f"{dialogue}.txt"


def transcription_path(release: Path, dialogue: str) -> Path:
    """Where a dialogue's transcription lies."""
    return session_folder(release, dialogue) / "dialog/transcriptions" / f"{dialogue}.txt"


def write_text(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """Writes a text file with the line ends of ``text``, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def write_lists(folder: Path, train: Iterable[str], test: Iterable[str]) -> Path:
    """Writes lists in the form of MLA's repository, and returns their folder."""
    for name, ids in (("train", train), ("test", test)):
        lines = [f"{utterance}.mp4 [split|sign] {words(utterance)} [split|sign] Neutral" for utterance in ids]
        # Theirs end without a line feed.
        write_text(folder / f"my_{name}_iemo.txt", "\n".join(lines))
    return folder

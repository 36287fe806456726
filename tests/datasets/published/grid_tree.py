"""A small copy of GRID in its published layout: three talkers, each of whom says every digit twice."""

import shutil
from pathlib import Path

from tests.datasets.media_files import write_video

TALKERS = ("s1", "s2", "s10")
#: By the letter or digit of a name: the first, second, ... word of a sentence.
WORDS = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {},
    dict(zip("z123456789", "zero one two three four five six seven eight nine".split(), strict=True)),  # noqa: SIM905
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)
#: Where a sentence's words begin and end, in seconds; silence before and after.
TIMES = (0.9, 1.1, 1.3, 1.4, 1.5, 1.8, 2.1)


def make_tree(root: Path) -> Path:
    """Writes 20 clips of each talker below ``root`` with their alignments, and returns the folder."""
    folder = root / "GRID"
    source = write_video(root / "source.mpg", seconds=3, rate=25, pitch=440.0)
    for talker in TALKERS:
        (folder / talker).mkdir(parents=True)
        for name in names():
            shutil.copyfile(source, folder / talker / f"{name}.mpg")
            write_alignment(folder / f"alignments/{talker}/{name}.align", name)
    source.unlink()
    return folder


def names() -> list[str]:
    """The names of a talker's clips."""
    return [f"{command}{colour}a{letter}{digit}n" for command, colour, letter in ("bbf", "lra") for digit in WORDS[4]]


def write_alignment(path: Path, name: str) -> Path:
    """Writes an alignment as the published ones are: start, end and word; a second has 25,000 units."""
    path.parent.mkdir(parents=True, exist_ok=True)
    said = [known.get(letter, letter) for letter, known in zip(name, WORDS, strict=True)]
    times = [round(25_000 * time) for time in (0, *TIMES, 2.98)]
    words = ["sil", *said, "sil"]
    lines = [f"{start} {end} {word}" for start, end, word in zip(times[:-1], times[1:], words, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path

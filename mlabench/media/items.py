"""What a dataset lists for one modality of one sample. Nothing here opens a file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from mlabench.errors import UserError

#: What a modality consists of; an encoder says which of them it reads.
Medium = Literal["features", "image", "video", "audio", "text"]

#: One side of a picture that shows two people side by side.
Half = Literal["left", "right"]

#: Fields that came later count only where they are used, so that items that lack them stay what they were.
_LATER = {"rate": 1.0, "mouth": False, "shortest": None}


class UnreadableError(Exception):
    """One item cannot be decoded; its sample is skipped, and the reason counted.

    The message is a short reason without names ("corrupt video"), so that equal reasons add up.
    """


@dataclass(frozen=True)
class Image:
    """A picture file."""

    path: Path


@dataclass(frozen=True)
class Video:
    """A video file, or a folder with its frames as pictures, in the order of their names.

    Where a single picture is wanted, the frame in the middle is taken.

    Attributes:
        path: Where it lies.
        start: Where the sample begins, in seconds.
        end: Where it ends, in seconds; None for the end of the file.
        half: The side of the picture that shows the sample; None for all of it.
        face: Whether to cut out the largest face; a frame without one is skipped.
        rate: Frames per second among which some are chosen.
        mouth: Whether to cut out the mouth of the largest face, at the same place in all frames.
        shortest: A file of fewer seconds has been cut off, and is skipped; None where that is not known.
    """

    path: Path
    start: float = 0.0
    end: float | None = None
    half: Half | None = None
    face: bool = False
    rate: float = 1.0
    mouth: bool = False
    shortest: float | None = None


@dataclass(frozen=True)
class Audio:
    """A sound file, or a video file whose sound is meant; ``start``, ``end`` and ``shortest`` as of a video."""

    path: Path
    start: float = 0.0
    end: float | None = None
    shortest: float | None = None


@dataclass(frozen=True)
class Text:
    """A text that has been read already; never empty."""

    value: str


Item = Image | Video | Audio | Text


def identity(item: Item) -> dict[str, Any]:
    """What an item is, wherever it lies: its kind, its options, and the size of its file in bytes."""
    about = {field.name: getattr(item, field.name) for field in fields(item)}
    about = {name: value for name, value in about.items() if name not in _LATER or value != _LATER[name]}
    path = about.pop("path", None)
    if path is not None:
        about["bytes"] = _size(path)
    return {"kind": type(item).__name__, **about}


def _size(path: Path) -> int:
    try:
        if path.is_dir():
            return sum(file.stat().st_size for file in path.iterdir())
        return path.stat().st_size
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror or error}).", file=str(path)) from error

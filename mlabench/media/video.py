"""Frames of videos, from a file or from a folder of pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mlabench.media.containers import check_length, decode_frames, duration
from mlabench.media.faces import SMALLEST_READABLE, find_face, largest_face, mouth_of
from mlabench.media.items import UnreadableError, Video
from mlabench.media.pictures import MOST_PIXELS, Pixels, read_picture

if TYPE_CHECKING:
    from av import VideoFrame

    #: Not read or not converted yet.
    _Frame = Path | VideoFrame

#: Times are rounded, in FLV to milliseconds; a frame may come this many seconds late.
_TOLERANCE = 0.01
#: Frames per second in which a face is looked for.
_FACE_RATE = 4.0
#: Frames of a video, evenly spread, in which a face is looked for to find the mouth.
_MOUTH_FRAMES = 3
_PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}

_T = TypeVar("_T")


def read_frames(video: Video, count: int | None = None) -> list[Pixels]:
    """Frames at even distances between a video's start and end: those shown after 0, 1, 2, ... seconds, or at its rate.

    A folder's pictures are its frames already: all of them are read, in the natural order of their names (2 before
    10), whatever the rate, start and end. With a ``count``, those at index ``i * n // count`` are chosen from these
    ``n``. At least one frame; RGB values, uint8 ``[H, W, 3]`` each.
    """
    check_length(video, "video")
    frames = _frames(video, video.rate)
    if video.mouth:
        return _mouths(frames, video, count)
    if not video.face:
        return [_picture(frame, video) for frame in _choose(frames, count)]
    faces = [face for frame in frames if (face := largest_face(_picture(frame, video))) is not None]
    if not faces:
        raise UnreadableError("no face")
    return _choose(faces, count)


def _mouths(frames: list[_Frame], video: Video, count: int | None) -> list[Pixels]:
    """The mouth in the chosen frames, where it is by the median of some faces: their boxes jump from frame to frame."""
    looked = _choose(frames, min(len(frames), _MOUTH_FRAMES))
    found = (find_face(_picture(frame, video), SMALLEST_READABLE) for frame in looked)
    boxes = [box for box in found if box is not None]
    if not boxes:
        raise UnreadableError("no face")
    left, top, side = (round(value) for value in np.median(boxes, axis=0))
    return [mouth_of(_picture(frame, video), (left, top, side)) for frame in _choose(frames, count)]


def middle_frame(video: Video) -> Pixels:
    """The frame in the middle of a video's time, or of a folder's pictures. uint8 ``[H, W, 3]``

    Where a face is wanted, frames are a quarter of a second apart, since people turn away and utterances are short,
    and the one nearest the middle that has a face is taken.
    """
    if video.mouth:
        mouths = read_frames(video)
        return mouths[len(mouths) // 2]
    check_length(video, "video")
    if not video.face:
        return _picture(_middle(video), video)
    frames = _frames(video, _FACE_RATE)
    middle = len(frames) // 2
    for index in sorted(range(len(frames)), key=lambda index: abs(index - middle)):
        face = largest_face(_picture(frames[index], video))
        if face is not None:
            return face
    raise UnreadableError("no face")


def _middle(video: Video) -> _Frame:
    ends = [] if video.path.is_dir() else [end for end in (video.end, duration(video.path)) if end is not None]
    if not ends:
        frames = _frames(video, rate=1.0)
        return frames[len(frames) // 2]
    middle = (video.start + min(ends)) / 2
    shown = None
    for time, frame in decode_frames(video.path, middle):
        if shown is not None and time > middle + _TOLERANCE:
            break
        shown = frame
    if shown is None or min(ends) <= video.start:
        raise UnreadableError("video without frames")
    return shown


def _frames(video: Video, rate: float) -> list[_Frame]:
    frames: list[_Frame] = [*(_folder(video.path) if video.path.is_dir() else _sampled(video, rate))]
    if not frames:
        raise UnreadableError("video without frames")
    return frames


def _folder(folder: Path) -> list[Path]:
    """The pictures in a folder in the natural order of their names, without hidden files."""
    try:
        files = [path for path in folder.iterdir() if path.suffix.lower() in _PICTURES and path.name[0] != "."]
    except OSError as error:
        raise UnreadableError("unreadable folder of frames") from error
    return sorted(files, key=lambda path: _natural(path.name))


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Sorts numbers by their value, and before text; equal ones (01, 1) by their digits."""
    parts = re.findall(r"([0-9]+)|([^0-9]+)", name)
    return [(not digits, int(digits or 0), digits or text) for digits, text in parts]


def _sampled(video: Video, rate: float) -> Iterator[VideoFrame]:
    """The frames shown at ``start``, ``start + 1 / rate``, ... before ``end``."""
    end = math.inf if video.end is None else video.end
    number, shown = 0, None
    for time, frame in decode_frames(video.path, video.start):
        while shown is not None and video.start + number / rate < min(end, time - _TOLERANCE):
            yield shown
            number += 1
        shown = frame
        if time > end:
            return
    if shown is not None and video.start + number / rate < min(end, time + _TOLERANCE):
        yield shown


def _picture(frame: _Frame, video: Video) -> Pixels:
    if isinstance(frame, Path):
        picture = read_picture(frame)
    else:
        if frame.width * frame.height > MOST_PIXELS:
            raise UnreadableError("picture with too many pixels")
        try:
            values = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
        except (ValueError, OSError) as error:  # formats of pixels that cannot be converted
            raise UnreadableError("corrupt video") from error
        picture = np.rot90(values, round(frame.rotation / 90))
    half = picture.shape[1] // 2
    if video.half == "left":
        picture = picture[:, :half]
    elif video.half == "right":
        picture = picture[:, -half:]
    return np.ascontiguousarray(picture)


def _choose(values: list[_T], count: int | None) -> list[_T]:
    return values if count is None else [values[index * len(values) // count] for index in range(count)]

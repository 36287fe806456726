"""The largest face in a picture, and its mouth, by the detector that comes with OpenCV."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlabench.media.packages import needed_packages

#: What is kept around a face's box, as a share of its side.
MARGIN = 0.2
#: Smaller boxes, as a share of the picture's shorter side, are no faces of speakers.
SMALLEST = 0.1
#: Lips cannot be read in smaller ones; and the search takes a third of the time.
SMALLEST_READABLE = 0.25

#: Where the middle of the mouth is in a face's box, and how large a square around it is cut out; shares of its side.
_MOUTH_HEIGHT, _MOUTH_SIDE = 0.8, 0.5

#: A face's square in a picture: its left edge, its top edge and its side in pixels.
Box = tuple[int, int, int]

_own = threading.local()  # a detector must not be used by two threads at a time


def largest_face(picture: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Cuts out the largest frontal face, with a margin; None if there is no face.

    From RGB values, uint8 ``[H, W, 3]``, it makes a square ``[S, S, 3]``, moved where it would leave the picture.
    """
    box = find_face(picture)
    if box is None:
        return None
    left, top, side = box
    with_margin = round(side * (1 + 2 * MARGIN))
    return _cut(picture, left + (side - with_margin) // 2, top + (side - with_margin) // 2, with_margin)


def mouth_of(picture: NDArray[np.uint8], face: Box) -> NDArray[np.uint8]:
    """Cuts a square ``[S, S, 3]`` around the mouth out of ``picture [H, W, 3]``, given the face's place in it."""
    left, top, side = face
    size = round(side * _MOUTH_SIDE)
    return _cut(picture, left + (side - size) // 2, top + round(side * _MOUTH_HEIGHT) - size // 2, size)


def find_face(picture: NDArray[np.uint8], smallest: float = SMALLEST) -> Box | None:
    """Where the largest frontal face is, from brow to chin; None if there is no face.

    The detector is Viola and Jones's cascade of Haar features (2001), which needs no downloaded weights.
    ``picture`` has RGB values, uint8 ``[H, W, 3]``; ``smallest`` is the least side of a face as a share of the shorter
    one of the picture.
    """
    with needed_packages():
        import cv2
    grey = cv2.equalizeHist(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    height, width = grey.shape
    least = max(24, round(smallest * min(height, width)))  # 24 is the side of the detector's own window
    boxes = _detector().detectMultiScale(grey, scaleFactor=1.1, minNeighbors=5, minSize=(least, least))
    if not len(boxes):
        return None
    left, top, side, _ = max((tuple(map(int, box)) for box in boxes), key=lambda box: (box[2], box))
    return left, top, side


def _cut(picture: NDArray[np.uint8], left: int, top: int, side: int) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    side = min(side, height, width)
    left, top = _within(left, side, width), _within(top, side, height)
    return picture[top : top + side, left : left + side]


def _within(start: int, length: int, limit: int) -> int:
    """The nearest place where ``length`` pixels from ``start`` end before ``limit``."""
    return min(max(start, 0), limit - length)


def _detector() -> Any:
    if not hasattr(_own, "detector"):
        import cv2

        cv2.setNumThreads(1)
        folder = Path(cv2.__file__).parent / "data"
        _own.detector = cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_default.xml"))
    return _own.detector

"""The largest face in a picture, by the detector that comes with OpenCV."""

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
_SMALLEST = 0.1

_own = threading.local()  # a detector must not be used by two threads at a time


def largest_face(picture: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Cuts out the largest frontal face, with a margin; None if there is no face.

    The detector is Viola and Jones's cascade of Haar features (2001), which needs no downloaded weights. From RGB
    values, uint8 ``[H, W, 3]``, it makes a square ``[S, S, 3]``, moved where it would leave the picture.
    """
    with needed_packages():
        import cv2
    grey = cv2.equalizeHist(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    height, width = grey.shape
    smallest = max(24, round(_SMALLEST * min(height, width)))  # 24 is the side of the detector's own window
    boxes = _detector().detectMultiScale(grey, scaleFactor=1.1, minNeighbors=5, minSize=(smallest, smallest))
    if not len(boxes):
        return None
    left, top, side, _ = max((tuple(map(int, box)) for box in boxes), key=lambda box: (box[2], box))
    with_margin = min(round(side * (1 + 2 * MARGIN)), height, width)
    left = _within(left + (side - with_margin) // 2, with_margin, width)
    top = _within(top + (side - with_margin) // 2, with_margin, height)
    return picture[top : top + with_margin, left : left + with_margin]


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

"""Pictures and frames of videos as uint8, channels first. Scaling and augmentation are the encoder's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlabench.media.items import Image, Item, Video
from mlabench.media.pictures import Fit, read_picture, resize
from mlabench.media.preprocessing.contract import Preprocessing
from mlabench.media.video import middle_frame, read_frames


@dataclass(frozen=True)
class Picture(Preprocessing):
    """A picture, or the frame in the middle of a video, as a square with ``size`` pixels on a side.

    ``fit`` says how it is made square; see :func:`mlabench.media.pictures.resize`.
    """

    size: int
    fit: Fit = "stretch"

    @property
    def shape(self) -> tuple[int, ...]:
        """``(3, size, size)``: RGB values."""
        return (3, self.size, self.size)

    #: Bytes.
    dtype = np.dtype(np.uint8)

    def __call__(self, item: Item) -> NDArray[Any]:
        """See :meth:`Preprocessing.__call__`."""
        if isinstance(item, Image):
            picture = read_picture(item.path)
        elif isinstance(item, Video):
            picture = middle_frame(item)
        else:
            raise TypeError(f"there is no picture in a {type(item).__name__}")
        return resize(picture, self.size, self.fit)


@dataclass(frozen=True)
class Frames(Preprocessing):
    """``count`` frames of a video at even distances, as squares like :class:`Picture`'s; a picture stands for them all.

    Of the ``n`` frames at full seconds (or of a folder), those at index ``i * n // count`` are taken, as in the code of
    MLA (CVPR 2024) for CREMA-D.
    """

    count: int
    size: int
    fit: Fit = "stretch"

    @property
    def shape(self) -> tuple[int, ...]:
        """``(count, 3, size, size)``: RGB values."""
        return (self.count, 3, self.size, self.size)

    #: Bytes.
    dtype = np.dtype(np.uint8)

    def __call__(self, item: Item) -> NDArray[Any]:
        """See :meth:`Preprocessing.__call__`."""
        if isinstance(item, Image):
            frames = [read_picture(item.path)] * self.count
        elif isinstance(item, Video):
            frames = read_frames(item, count=self.count)
        else:
            raise TypeError(f"there are no frames in a {type(item).__name__}")
        return np.stack([resize(frame, self.size, self.fit) for frame in frames])

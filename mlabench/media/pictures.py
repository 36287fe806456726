"""Picture files to RGB values, and pictures of any size to squares."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mlabench.media.items import UnreadableError
from mlabench.media.packages import needed_packages

if TYPE_CHECKING:
    from PIL import Image

#: How a picture is made square: distorted, whole on white, or its middle.
Fit = Literal["stretch", "contain", "cover"]

Pixels = NDArray[np.uint8]

#: Larger pictures are refused: a few bytes can declare gigabytes of pixels.
MOST_PIXELS = 100_000_000
#: A vector picture that is more times as high as wide becomes narrower: it could be as high as memory is large.
_STEEPEST = 100
#: Without those that run other programs (PostScript) or read other files.
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else some damage is reported on the terminal


def read_picture(path: Path) -> Pixels:
    """Decodes a picture file: upright (EXIF), and what is transparent on white. uint8 RGB ``[H, W, 3]``"""
    return np.asarray(_on_white(decode_picture(path)))


def decode_picture(path: Path, svg_width: int = 512) -> Image.Image:
    """As :func:`read_picture`, but with transparency kept: of mode ``RGB`` or ``RGBA``.

    A vector picture has no size of its own; it gets ``svg_width`` pixels in a row.
    """
    with needed_packages():
        from PIL import Image

        if drawn := path.suffix.lower() == ".svg":
            from resvg_py import svg_to_bytes
    Image.init()  # registers the formats
    try:
        data = path.read_bytes()
        if drawn:
            text = data.decode("utf-8", errors="replace")
            # Without a resolution, sizes given in points would be zero. The page is drawn within width and height.
            height = _STEEPEST * svg_width
            data = svg_to_bytes(svg_string=text, width=svg_width, height=height, dpi=96.0, skip_system_fonts=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on damaged metadata and large pictures; _loaded checks the size
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                return _in_colour(_upright(_loaded(image)))
    except UnreadableError:
        raise
    except Exception as error:  # decoders raise whatever their parsers do
        raise UnreadableError("unreadable picture") from error


def _loaded(image: Image.Image) -> Image.Image:
    if image.width * image.height > MOST_PIXELS:
        raise UnreadableError("picture with too many pixels")
    image.load()
    return image


def _upright(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata say nothing about the picture itself
        return image


def _in_colour(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip rather than scale
        values = np.asarray(image).clip(0, 65_535)
        image = Image.fromarray(np.round(values / 257).astype(np.uint8))
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _on_white(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode == "RGB":
        return image
    canvas = Image.new("RGBA", image.size, "white")
    canvas.alpha_composite(image)
    return canvas.convert("RGB")


def resize(picture: Pixels, size: int, fit: Fit) -> Pixels:
    """Makes a picture ``[H, W, 3]`` square by bicubic interpolation, channels first: uint8 ``[3, size, size]``.

    ``stretch`` distorts it; ``contain`` fits all of it into a white square; ``cover`` brings the shorter side to
    ``size`` and cuts off equal parts of the longer one at both ends.
    """
    with needed_packages():
        from PIL import Image, ImageOps
    image = Image.fromarray(picture)
    if fit == "contain":
        square = contain(image, size)
    elif fit == "cover":
        square = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    else:
        square = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def contain(image: Image.Image, size: int) -> Image.Image:
    """Enlarges or reduces an ``RGB`` or ``RGBA`` picture to fit into a white square, which is ``RGB``."""
    from PIL import Image

    longer = max(image.size)
    within = (max(1, round(image.width / longer * size)), max(1, round(image.height / longer * size)))
    picture = image.convert("RGBA").resize(within, Image.Resampling.BICUBIC)
    canvas = Image.new("RGBA", (size, size), "white")
    canvas.alpha_composite(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
    return canvas.convert("RGB")

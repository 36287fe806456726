"""Small sound, video and picture files in the formats of the published datasets, for fixtures.

Videos show one flat colour per second in their left half, and the same at half the brightness in their
right one, so that a test can tell which frame, and which half of it, it got.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile
from PIL import Image

Colour = tuple[int, int, int]

#: What a video shows in its first, second, ... second; then again from the first.
COLOURS: tuple[Colour, ...] = (
    (240, 0, 0),
    (0, 240, 0),
    (0, 0, 240),
    (240, 240, 0),
    (0, 240, 240),
    (240, 0, 240),
    (240, 240, 240),
    (16, 16, 16),
)

#: Codec of the pictures, codec and sampling rate of the sound, by suffix.
_CODECS = {
    ".flv": ("flv", "libmp3lame", 44_100),
    ".mp4": ("libx264", "aac", 44_100),
    ".avi": ("mpeg4", "pcm_s16le", 44_100),
    ".mpg": ("mpeg1video", "mp2", 44_100),
}
#: Samples of sound that are encoded at a time, so that sound and pictures alternate in the file.
_BLOCK = 1024
#: The tag of the orientation in EXIF.
_ORIENTATION = 0x0112


def tone(seconds: float, rate: int, pitch: float) -> np.ndarray:
    """A sine of amplitude 0.5. float32 ``[T]``"""
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * pitch * time)).astype(np.float32)


def write_wav(path: Path, seconds: float = 1.0, rate: int = 16_000, channels: int = 1, pitch: float = 220.0) -> Path:
    """Writes a tone of amplitude 0.5 in the first channel, half as loud in the second, and so on.

    The format follows the suffix: WAV with 16 bits, FLAC, OGG or MP3.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = tone(seconds, rate, pitch)
    soundfile.write(path, np.stack([wave / 2**channel for channel in range(channels)], axis=1), rate)
    return path


def write_video(
    path: Path,
    seconds: float = 2.0,
    rate: int = 10,
    size: tuple[int, int] = (64, 48),
    sound: bool = True,
    colours: Sequence[Colour] | None = None,
    pitch: float = 220.0,
) -> Path:
    """Writes a video of flat colours, one per second, and a stereo tone of 44.1 kHz.

    FLV is Sorenson Spark with MP3, MP4 is H.264 with AAC, AVI is MPEG-4 (DivX) with PCM, and MPG is MPEG-1 with MP2,
    which needs 25 frames per second.

    Args:
        path: Where to; the suffix is the format.
        seconds: Duration; no frame is written for 0.
        rate: Frames per second.
        size: Width and height in pixels; even numbers.
        sound: Whether it has sound.
        colours: What its left half shows in each second; by default :data:`COLOURS`.
        pitch: Frequency of the tone in hertz.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    codec, sound_codec, sound_rate = _CODECS[path.suffix.lower()]
    with av.open(
        str(path), "w", format={".mpg": "mpeg"}.get(path.suffix.lower(), path.suffix.lower()[1:])
    ) as container:
        stream = container.add_stream(codec, rate=rate, options={"threads": "1"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 400_000
        voice = container.add_stream(sound_codec, rate=sound_rate, layout="stereo") if sound else None
        for number in range(round(seconds * rate)):
            frame = av.VideoFrame.from_ndarray(_picture(number // rate, size, colours or COLOURS), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if voice is not None:
            _write_sound(container, voice, tone(seconds, sound_rate, pitch), sound_rate)
    return path


def _picture(second: int, size: tuple[int, int], colours: Sequence[Colour]) -> np.ndarray:
    width, height = size
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = colours[second % len(colours)]
    picture[:, width // 2 :] //= 2
    return picture


def _write_sound(container: av.container.OutputContainer, stream: av.AudioStream, wave: np.ndarray, rate: int) -> None:
    values = np.round(wave * 32767).astype(np.int16)
    for start in range(0, len(values), _BLOCK):
        block = np.repeat(values[start : start + _BLOCK], 2)[None]
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def write_picture(
    path: Path,
    colour: Colour = (240, 0, 0),
    size: tuple[int, int] = (64, 48),
    mode: str = "RGB",
    exif_orientation: int | None = None,
) -> Path:
    """Writes a picture (JPEG, PNG, ... by suffix): ``colour`` in the left half, white in the right one.

    Args:
        path: Where to; the suffix is the format.
        colour: RGB values.
        size: Width and height in pixels, as stored.
        mode: Of Pillow: RGB, L, CMYK, RGBA or LA (the right half transparent black), P, 1 or I;16.
        exif_orientation: The orientation to declare, 1 to 8; 6 means to be turned clockwise when shown.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    transparent = mode in {"RGBA", "LA"}
    picture = Image.new("RGBA", size, (0, 0, 0, 0) if transparent else "white")
    picture.paste((*colour, 255), (0, 0, width // 2, height))
    if mode == "I;16":
        grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
        image = Image.fromarray(grey)
    elif mode == "P":
        image = picture.convert("RGB").quantize()
    else:
        image = picture.convert(mode) if transparent else picture.convert("RGB").convert(mode)
    exif = Image.Exif()
    if exif_orientation is not None:
        exif[_ORIENTATION] = exif_orientation
    image.save(path, exif=exif)
    return path


def truncate(path: Path, share: float = 0.5) -> Path:
    """Cuts a file off after a ``share`` of its bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path

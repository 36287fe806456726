"""Raw inputs: where a picture, a video, a sound or a text lies, before anything is decoded. Free of torch.

items       what a dataset lists: files, and the part of them that a sample uses
pictures    pictures to RGB values
sound       sound files, and the sound of videos, to waveforms
video       frames of videos
containers  files with video and sound, opened by PyAV
faces       the largest face in a picture
texts       text files of unknown encoding
preprocessing  from raw items to the arrays that encoders read

Datasets list items, encoders choose a preprocessing, training applies it.
"""

from mlabench.errors import UserError, missing_extra
from mlabench.media.items import Audio, Half, Image, Item, Medium, Text, UnreadableError, Video, identity
from mlabench.media.texts import decode_text, one_line, read_text

__all__ = [
    "Audio",
    "Half",
    "Image",
    "Item",
    "Medium",
    "Text",
    "UnreadableError",
    "Video",
    "decode_text",
    "identity",
    "missing_package",
    "one_line",
    "read_text",
]


def missing_package(error: ImportError) -> UserError:
    """The error to raise where a decoder or a network's package is not installed."""
    return missing_extra(str(error.name), "prepare")

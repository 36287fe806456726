"""Raw inputs: where a picture, a video, a sound or a text lies, and how it is decoded. Free of torch.

Datasets list items, encoders choose a preprocessing, training applies it to all items and caches the arrays. Decoders
(``pictures``, ``video``, ``sound``, ``faces``) and ``preprocessing`` are imported where they are used, being heavy.
"""

from collections.abc import Iterator
from contextlib import contextmanager

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
    "needed_packages",
    "one_line",
    "read_text",
]


def missing_package(error: ImportError) -> UserError:
    """The error to raise where a decoder or a network's package is not installed."""
    return missing_extra(str(error.name), "prepare")


@contextmanager
def needed_packages() -> Iterator[None]:
    """Imports of decoders and networks go within: one that fails says what to install."""
    try:
        yield
    except ImportError as error:
        raise missing_package(error) from error

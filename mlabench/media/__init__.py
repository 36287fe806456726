"""Raw inputs: where a picture, a video, a sound or a text lies, and how it is decoded. Free of torch.

Datasets list items, encoders choose a preprocessing, training applies it to all items and caches the arrays. Decoders
(``pictures``, ``video``, ``sound``, ``faces``) and ``preprocessing`` are imported where they are used, being heavy.
"""

from mlabench.media.items import Audio, Half, Image, Item, Medium, Text, UnreadableError, Video, identity
from mlabench.media.packages import needed_packages
from mlabench.media.terminal import caught_messages
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
    "caught_messages",
    "decode_text",
    "identity",
    "needed_packages",
    "one_line",
    "read_text",
]

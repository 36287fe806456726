"""From a raw item to the array that an encoder reads: a fixed, cached step without randomness.

Encoders choose a step, training applies it to all items and caches what comes out. Random augmentation is not here:
encoders do that on whole batches while they train. Free of torch.
"""

from mlabench.media.preprocessing.contract import Preprocessing
from mlabench.media.preprocessing.pictures import Frames, Picture
from mlabench.media.preprocessing.sound import Fbank, LogMel, Mfcc, Spectrogram, Waveform
from mlabench.media.preprocessing.text import Characters, Tokens

__all__ = [
    "Characters",
    "Fbank",
    "Frames",
    "LogMel",
    "Mfcc",
    "Picture",
    "Preprocessing",
    "Spectrogram",
    "Tokens",
    "Waveform",
]

"""Small encoders that are trained from scratch, in minutes on a CPU."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mlabench.encoders.augmentation import Fit, PictureInput
from mlabench.encoders.contract import Encoder
from mlabench.encoders.dropout import Dropout
from mlabench.hyperparameters import Hyperparameters
from mlabench.media import Medium
from mlabench.media.preprocessing import Characters, Frames, LogMel, Picture, Preprocessing

#: Channels of the convolutions before the last, each of which halves both sides.
_CHANNELS = (16, 32, 64)
#: Channels per group of the group normalisation, which unlike batch statistics is the same in batches of any size.
_GROUP = 8
#: Window and shift of a spectrogram in samples at 16 kHz: 40 and 20 ms. Twice the usual ones halve the time of a step.
_WINDOW, _HOP = 640, 320
#: Lengths of the windows over a text, in bytes.
_WINDOWS = (2, 3, 4, 5)
#: Values of a byte; one more stands for padding.
_BYTES = 256


class CNN(Encoder):
    """Four convolutions trained from scratch, for small pictures, frames of videos and log-mel spectrograms.

    Each block is a convolution of stride 2, group normalisation and ReLU; the last feature map is averaged,
    and so are frames. A spectrogram is standardised on its own, which takes its loudness out.
    """

    class Config(Hyperparameters):
        """Options of ``cnn``."""

        width: int = Field(default=128, ge=8, multiple_of=8, description="Width of the output.")
        size: int = Field(default=64, ge=16, description="Side of a picture or frame in pixels.")
        fit: Fit = "stretch"
        augment: bool = Field(default=True, description="Crop and mirror pictures and frames at random while training.")
        frames: int = Field(default=3, ge=1, description="Frames of a video, evenly spread.")
        seconds: float = Field(default=3.0, ge=0.1, description="Length of a sound; longer ones are cut.")
        mels: int = Field(default=64, ge=16, description="Mel bands of a sound.")

    config: Config
    reads = ("image", "audio", "video")

    def __init__(self, shape: tuple[int, ...], config: Config) -> None:
        super().__init__(shape, config)
        self.picture = PictureInput(augment=config.augment)
        sound = len(shape) == 2
        layers: list[nn.Module] = []
        for before, after in pairwise((1 if sound else 3, *_CHANNELS, config.width)):
            # A sound's first convolution halves the time twice, since its picture is much higher than wide.
            high = sound and not layers
            kernel, stride, padding = ((5, 3), (4, 2), (2, 1)) if high else ((3, 3), (2, 2), (1, 1))
            layers.append(nn.Conv2d(before, after, kernel, stride, padding, bias=False))
            layers += [nn.GroupNorm(after // _GROUP, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.width = config.width

    @classmethod
    def preprocessing(cls, config: Hyperparameters, medium: Medium) -> Preprocessing:
        """Pictures uint8 ``[3, S, S]``, frames uint8 ``[k, 3, S, S]``, or a sound's float16 ``[T, mels]``."""
        options = cast(CNN.Config, config)
        if medium == "image":
            return Picture(size=options.size, fit=options.fit)
        if medium == "video":
            return Frames(count=options.frames, size=options.size, fit=options.fit)
        return LogMel(seconds=options.seconds, mels=options.mels, n_fft=_WINDOW, hop=_HOP)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features ``[n, width]`` of ``inputs [n, *shape]``."""
        if len(self.shape) == 2:
            sound = inputs.float().unsqueeze(1)
            deviation, mean = torch.std_mean(sound, dim=(2, 3), correction=0, keepdim=True)
            values = (sound - mean) / (deviation + 1e-5)
        else:
            values = self.picture(inputs)
        maps: Tensor = self.layers(values.flatten(0, -4))
        features = maps.mean(dim=(2, 3))
        return features.view(*values.shape[:-3], -1).mean(dim=1) if len(self.shape) == 4 else features


class TextCNN(Encoder):
    """Convolutions over the bytes of a text in any language, trained from scratch; maximum over positions.

    Windows of 2 to 5 bytes stand for pieces of words. Source: Kim 2014 (windows over words there).
    """

    class Config(Hyperparameters):
        """Options of ``text_cnn``."""

        width: int = Field(default=128, ge=4, multiple_of=4, description="Width of the output.")
        length: int = Field(default=96, ge=5, description="Bytes of a text in UTF-8; longer ones are cut.")
        embedding: int = Field(default=32, ge=1, description="Width of the embedding of a byte.")
        dropout: float = Field(default=0.2, ge=0.0, lt=1.0, description="Dropout on the output while training.")

    config: Config
    version = 2
    reads = ("text",)

    def __init__(self, shape: tuple[int, ...], config: Config) -> None:
        super().__init__(shape, config)
        self.embedding = nn.Embedding(_BYTES + 1, config.embedding, padding_idx=_BYTES)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(config.embedding, config.width // len(_WINDOWS), window) for window in _WINDOWS
        )
        self.dropout = Dropout(config.dropout)
        self.width = config.width

    @classmethod
    def preprocessing(cls, config: Hyperparameters, medium: Medium) -> Preprocessing:  # noqa: ARG003
        """Bytes int16 ``[length]``, -1 where there is none."""
        return Characters(length=cast(TextCNN.Config, config).length)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features ``[n, width]`` of bytes ``inputs [n, length]``."""
        padding = inputs < 0
        embedded = self.embedding(inputs.int().masked_fill(padding, _BYTES)).transpose(1, 2)
        maps = torch.cat(
            [
                convolution(functional.pad(embedded, (0, window - 1)))
                for convolution, window in zip(self.convolutions, _WINDOWS, strict=True)
            ],
            dim=1,
        ).relu()
        # Nothing is below 0 here, so that padding never wins.
        features: Tensor = self.dropout(maps.masked_fill(padding.unsqueeze(1), 0.0).amax(dim=2))
        return features

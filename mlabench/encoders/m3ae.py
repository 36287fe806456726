"""M3AE, the multimodal masked autoencoder (Geng et al. 2022), which encodes pictures and texts for MLA.

The network is that of the authors, https://github.com/young-geng/m3ae_public: tanh-approximated GELU, layer norms
with 1e-6, patches as ``(row, column, channel)``. MLA's port to PyTorch computes the exact GELU, normalises with 1e-5
and, which alone matters, flattens a patch as ``(channel, row, column)``, though the checkpoint expects the former;
``patch_order`` chooses. A tower reads one modality, and has the weights of that one only.

Two kinds of checkpoint are accepted, with whatever prefix: the PyTorch names of MLA's port (also a whole model that
MLA saved, from which the tower of the modality is taken), and the Flax names of the original. The original is a
pickle, which mlabench does not open, because that runs code. If you trust it, convert it once, where JAX, Flax and
the authors' package are installed: flatten ``flax.core.unfreeze(checkpoint["state"].params)`` with
``flax.traverse_util.flatten_dict(..., sep="/")``, make every leaf a contiguous NumPy array and hand the dictionary
to ``safetensors.numpy.save_file``. Names and layouts stay those of Flax; kernels are transposed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mlabench.encoders.augmentation import Augment, PictureInput
from mlabench.encoders.backbone import BackboneEncoder
from mlabench.encoders.transformer import Block, grid_positions, initialise, sequence_positions
from mlabench.encoders.waveforms import masked_mean
from mlabench.encoders.weights import load_into, load_weights, weights_by_name
from mlabench.errors import UserError
from mlabench.hyperparameters import BackboneOptions, Hyperparameters
from mlabench.media import Medium
from mlabench.media.preprocessing import Picture, Preprocessing, Tokens

#: Width, number of blocks and number of attention heads.
VARIANTS: dict[str, tuple[int, int, int]] = {"small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
TOKENIZER = "bert-base-uncased"
#: Number of word pieces of :data:`TOKENIZER`.
VOCABULARY = 30_522
#: The word piece that stands where a text has ended.
PAD = 0
#: Side of a patch in pixels.
PATCH = 16
EPSILON = 1e-6

_CLS = "cls_token"
#: The tower for a medium in a model that MLA saved; where texts have `mae_t.`, `mae_a.` is for sounds.
_TOWERS = {"image": ("mae_v.",), "text": ("mae_t.", "mae_a.")}
#: A block's layers, as they are called here, in MLA's port, and in the original.
_LAYERS = (
    ("norm1", "layer_norm1", "LayerNorm_0"),
    ("qkv", "attention.qkv_linear", "Attention_0.Dense_0"),
    ("proj", "attention.fc", "Attention_0.Dense_1"),
    ("norm2", "layer_norm2", "LayerNorm_1"),
    ("fc1", "transformer_mlp.fc1", "TransformerMLP_0.fc1"),
    ("fc2", "transformer_mlp.fc2", "TransformerMLP_0.fc2"),
)
#: What the original calls the parameters of a layer, where MLA's port has ``weight``.
_WEIGHTS = ("kernel", "scale", "embedding")
#: Where the axes of patches ``[n, channel, rows, row, columns, column]`` go, by order of the pixels.
_AXES = {"channels_last": (0, 2, 4, 3, 5, 1), "channels_first": (0, 2, 4, 1, 3, 5)}


class Tower(nn.Module):
    """The encoder for one modality: an embedding to ``[n, T, width]``, fixed ``positions [T, width]``, and blocks."""

    positions: Tensor

    def __init__(self, embedding: nn.Module, positions: Tensor, variant: str) -> None:
        super().__init__()
        width, depth, heads = VARIANTS[variant]
        self.embedding = embedding
        self.register_buffer("positions", positions, persistent=False)
        self.type_embedding = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.blocks = nn.ModuleList(Block(width, heads, EPSILON, gelu="tanh") for _ in range(depth))
        self.norm = nn.LayerNorm(width, EPSILON)
        initialise(self)

    def forward(self, inputs: Tensor, present: Tensor | None) -> Tensor:
        """Output tokens ``[n, 1 + T, width]``, CLS first, of ``inputs [n, T, ...]``.

        ``present [n, 1 + T]`` says which tokens, CLS included, are more than padding; None if all are.
        """
        embedded = self.embedding(inputs) + self.positions + self.type_embedding
        tokens = torch.cat([self.cls_token.expand(len(inputs), -1, -1), embedded], dim=1)
        for block in self.blocks:
            tokens = block(tokens, present)
        result: Tensor = self.norm(tokens)
        return result


class M3AE(BackboneEncoder):
    """Multimodal masked autoencoder on 16 x 16 patches of a picture, or on the word pieces of a text.

    Pictures are normalised with the statistics of ImageNet, as in the paper; the network was pre-trained with those
    of CC12M.

    Source: https://github.com/young-geng/m3ae_public
    """

    class Config(BackboneOptions):
        """Options of ``m3ae``. ``pretrained: true`` is not possible: give the path of a checkpoint."""

        variant: Literal["small", "base", "large"] = Field(
            default="base", description="384, 768 or 1024 wide; 12, 12 or 24 blocks."
        )
        size: int = Field(default=256, ge=16, multiple_of=16, description="Side of a picture in pixels.")
        length: int = Field(default=256, ge=1, description="Greatest number of word pieces of a text; the rest is cut.")
        tokenizer_folder: Path | None = Field(
            default=None, description="Folder with the tokenizer bert-base-uncased; without, it is looked up by name."
        )
        pooling: Literal["all", "present", "cls"] = Field(
            default="all",
            description="Mean over all tokens with CLS and padding (as in the paper), all but padding, or CLS alone.",
        )
        patch_order: Literal["channels_last", "channels_first"] = Field(
            default="channels_last",
            description="Order of a patch's values: as the checkpoint was trained, or as in the paper's code.",
        )
        augment: Augment = True

    config: Config
    backbone: Tower  # there is one whenever `represent` is called
    reads = ("image", "text")

    def __init__(self, shape: tuple[int, ...], config: Config) -> None:
        super().__init__(shape, config)
        if config.pretrained is True:
            source = "Get a checkpoint through https://github.com/young-geng/m3ae_public, convert it as m3ae.py says"
            raise weights_by_name("M3AE", source)
        self.medium = "image" if len(shape) == 3 else "text"
        width, depth, _ = VARIANTS[config.variant]
        tower = Tower(*self._embeddings(width), config.variant)
        if isinstance(config.pretrained, Path):
            weights = load_weights(config.pretrained)
            load_into(tower, _own_names(weights, self.medium, depth), config.pretrained, unused=_unused(self.medium))
        self.picture = PictureInput(augment=config.augment and not config.frozen)
        self._use(tower, width)

    def _embeddings(self, width: int) -> tuple[nn.Module, Tensor]:
        if self.medium == "text":
            return nn.Embedding(VOCABULARY, width), sequence_positions(self.shape[0], width)
        channels, height, breadth = self.shape
        return nn.Linear(channels * PATCH**2, width), grid_positions(height // PATCH, breadth // PATCH, width)

    @classmethod
    def preprocessing(cls, config: Hyperparameters, medium: Medium) -> Preprocessing:
        """Square pictures, or ids of word pieces without the special tokens."""
        options = cast(M3AE.Config, config)
        if medium == "image":
            return Picture(options.size, fit="cover")
        return Tokens(TOKENIZER, options.length, folder=str(options.tokenizer_folder or ""), special=False)

    def represent(self, inputs: Tensor) -> Tensor:
        """Pooled output tokens ``[n, width]`` of uint8 ``[n, 3, size, size]``, or of ids ``[n, length]`` (-1: none)."""
        present = None
        if self.medium == "text":
            if int(inputs.max()) >= VOCABULARY:
                raise UserError(
                    f"a text has the token {int(inputs.max())}, but M3AE knows {VOCABULARY} word pieces.",
                    remedy=f"Give a folder with the tokenizer {TOKENIZER}.",
                    field="tokenizer_folder",
                )
            present = functional.pad(inputs >= 0, (1, 0), value=True)  # CLS
        tokens: Tensor = self.backbone(self._patches(inputs) if present is None else inputs.clamp(min=PAD), present)
        if self.config.pooling == "cls":
            return tokens[:, 0]
        if self.config.pooling == "present" and present is not None:
            return masked_mean(tokens, present)
        return tokens.mean(dim=1)

    def _patches(self, pictures: Tensor) -> Tensor:
        """Normalised patches, row by row. ``[n, rows * columns, 3 * 16 * 16]``"""
        values: Tensor = self.picture(pictures)
        count, channels, height, breadth = values.shape
        cells = values.view(count, channels, height // PATCH, PATCH, breadth // PATCH, PATCH)
        return cells.permute(_AXES[self.config.patch_order]).flatten(3).flatten(1, 2)


def _unused(medium: str) -> tuple[str, ...]:
    """Prefixes of what a checkpoint holds besides the tower of ``medium``."""
    other = "text" if medium == "image" else "image"
    return ("decoder", "image_mask_", "text_mask_", f"{other}_embedding", f"encoder_{other}_type_")


def _own_names(weights: Mapping[str, Tensor], medium: str, depth: int) -> dict[str, Tensor]:
    """The weights of the tower of ``medium`` by their names here, with the layout of PyTorch; others as they are."""
    modules = {f"{medium}_embedding": "embedding", "encoder.layer_norm": "norm", "encoder.LayerNorm_0": "norm"}
    for block in range(depth):
        for own, port, flax in _LAYERS:
            modules[f"encoder.blocks.{block}.{port}"] = f"blocks.{block}.{own}"
            modules[f"encoder.Block_{block}.{flax}"] = f"blocks.{block}.{own}"
    prefixes = [name.removesuffix(_CLS) for name in weights if name.endswith(_CLS)] or [""]
    prefix = next((tower for tower in _TOWERS[medium] if tower in prefixes), prefixes[0])
    result = {}
    for full, value in weights.items():
        if not full.startswith(prefix):
            continue
        name = full.removeprefix(prefix)
        module, _, kind = name.replace("/", ".").rpartition(".")
        if module in modules:
            name = f"{modules[module]}.{'weight' if kind in _WEIGHTS else kind}"
        elif name == f"encoder_{medium}_type_embedding":
            name = "type_embedding"
        result[name] = value.t() if kind == "kernel" and value.ndim == 2 else value
    return result

"""The audio encoder of CAV-MAE: against a NumPy forward pass, with checkpoints in the published format."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from mlabench.encoders import cav_mae
from mlabench.encoders.cav_mae import CAVMAE
from mlabench.errors import UserError
from mlabench.media.preprocessing.sound import Fbank
from tests.encoders.numpy_transformer import (
    Array,
    RunsCode,
    block,
    gelu,
    grid_sines,
    layer_norm,
    parameters,
    random_layers,
)

WIDTH, HEADS = 16, 2
FRAMES, MELS = 48, 32
ROWS, COLUMNS = MELS // 16, FRAMES // 16
#: The published checkpoints have all norms in every block, used or not.
NORMS = ("norm1", "norm1_a", "norm1_v", "norm2", "norm2_a", "norm2_v")

Checkpoint = dict[str, Array]
Write = Callable[[Checkpoint], Path]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two audio blocks and a shared one, 16 wide."""
    for name, value in {"WIDTH": WIDTH, "HEADS": HEADS, "AUDIO_BLOCKS": 2}.items():
        monkeypatch.setattr(cav_mae, name, value)


def published(seed: int = 0) -> Checkpoint:
    """A pre-training checkpoint: names, shapes and prefix as published; independent random values."""
    generator = np.random.default_rng(seed)

    def draw(*shape: int) -> Array:
        return generator.normal(size=shape)

    state = {
        "modality_a": draw(1, 1, WIDTH),
        "modality_v": draw(1, 1, WIDTH),
        "pos_embed_a": draw(1, ROWS * COLUMNS, WIDTH),
        "pos_embed_v": draw(1, 196, WIDTH),
        "mask_token": draw(1, 1, 8),
        "decoder_modality_a": draw(1, 1, 8),
        "decoder_pos_embed_a": draw(1, ROWS * COLUMNS, 8),
        "patch_embed_a.proj.weight": draw(WIDTH, 1, 16, 16) / 16,
        "patch_embed_a.proj.bias": draw(WIDTH),
        "patch_embed_v.proj.weight": draw(WIDTH, 3, 16, 16),
        "patch_embed_v.proj.bias": draw(WIDTH),
        "decoder_embed.weight": draw(8, WIDTH),
        "decoder_pred_a.bias": draw(256),
    }
    stacks = {"blocks_a": (2, WIDTH), "blocks_v": (2, WIDTH), "blocks_u": (1, WIDTH), "decoder_blocks": (1, 8)}
    for stack, (depth, width) in stacks.items():
        for number in range(depth):
            layers = random_layers(generator, width)
            for layer, name in {"qkv": "attn.qkv", "proj": "attn.proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}.items():
                state[f"{stack}.{number}.{name}.weight"] = layers[layer][0].T
                state[f"{stack}.{number}.{name}.bias"] = layers[layer][1]
            for norm in NORMS:
                state[f"{stack}.{number}.{norm}.weight"] = draw(width)
                state[f"{stack}.{number}.{norm}.bias"] = draw(width)
    for norm in ("norm_a", "norm_v", "norm"):
        state |= {f"{norm}.weight": draw(WIDTH), f"{norm}.bias": draw(WIDTH)}
    return {f"module.{name}": value for name, value in state.items()}


def expected(checkpoint: Checkpoint, spectrogram: Array) -> Array:
    """The published forward pass of one sound ``[FRAMES, MELS]``, averaged over its tokens."""
    state = {name.removeprefix("module."): value for name, value in checkpoint.items()}

    def layer(name: str) -> tuple[Array, Array]:
        return state[f"{name}.weight"].T, state[f"{name}.bias"]

    kernel = state["patch_embed_a.proj.weight"][:, 0]
    tokens = np.empty((ROWS * COLUMNS, WIDTH))
    for row in range(ROWS):
        for column in range(COLUMNS):
            patch = spectrogram[16 * column : 16 * column + 16, 16 * row : 16 * row + 16].T  # [mel, frame]
            tokens[row * COLUMNS + column] = (kernel * patch).sum(axis=(1, 2))
    tokens += state["patch_embed_a.proj.bias"] + state["pos_embed_a"][0] + state["modality_a"][0]
    for name, norm in (("blocks_a.0", ""), ("blocks_a.1", ""), ("blocks_u.0", "_a")):
        layers = {
            "norm1": layer(f"{name}.norm1{norm}"),
            "qkv": layer(f"{name}.attn.qkv"),
            "proj": layer(f"{name}.attn.proj"),
            "norm2": layer(f"{name}.norm2{norm}"),
            "fc1": layer(f"{name}.mlp.fc1"),
            "fc2": layer(f"{name}.mlp.fc2"),
        }
        tokens = block(tokens, layers, HEADS, 1e-5, gelu)
    mean: Array = layer_norm(tokens, layer("norm_a"), 1e-5).mean(axis=0)
    return mean


def tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value).float().contiguous() for name, value in checkpoint.items()}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def run(checkpoint: Checkpoint) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.pth"
        torch.save(tensors(checkpoint), path)
        return path

    return run


def encoder(**options: Any) -> CAVMAE:
    return CAVMAE((FRAMES, MELS), CAVMAE.Config(**options)).eval()


def sounds(count: int = 3) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=(count, FRAMES, MELS)).astype(np.float16))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("normalise", [False, True])
def test_published_weights_give_the_published_features(write: Write, normalise: bool) -> None:
    checkpoint = published()
    features = encoder(pretrained=write(checkpoint), normalise=normalise)(sounds())
    values = sounds().numpy().astype(np.float64)
    if normalise:
        values = (values + 5.081) / 4.4849
    np.testing.assert_allclose(features.detach(), [expected(checkpoint, sound) for sound in values], atol=2e-5)


@pytest.mark.usefixtures("small")
def test_other_forms_of_the_same_checkpoint(write: Write, tmp_path: Path) -> None:
    checkpoint = published()
    plain = {name.removeprefix("module."): value for name, value in checkpoint.items()}
    features = encoder(pretrained=write(checkpoint))(sounds())
    save_file(tensors(plain), tmp_path / "plain.safetensors")
    # A classifier that was fine-tuned on sounds has no decoder, but a head.
    tuned = {name: value for name, value in plain.items() if not name.startswith(("decoder", "mask_token"))}
    tuned |= {"mlp_head.0.weight": np.ones(WIDTH), "mlp_head.1.weight": np.ones((4, WIDTH))}
    # In a model that MLA saved, this encoder is one of several.
    whole = {f"mae_a.{name}": value for name, value in plain.items()} | {"mae_t.cls_token": np.ones((1, 1, WIDTH))}
    torch.save({"model": tensors(whole), "saved_epoch": 3}, tmp_path / "whole.pth")
    for path in (tmp_path / "plain.safetensors", write(tuned), tmp_path / "whole.pth"):
        torch.testing.assert_close(encoder(pretrained=path)(sounds()), features, rtol=0, atol=0)


@pytest.mark.usefixtures("small")
def test_unused_parts_of_a_checkpoint_change_nothing(write: Write) -> None:
    used = re.compile(
        r"module\.(patch_embed_a|pos_embed_a|modality_a|norm_a|blocks_a\.\d+\.(norm[12]\.|attn|mlp)"
        r"|blocks_u\.0\.(norm[12]_a|attn|mlp))"
    )
    checkpoint, other = published(), published(seed=1)
    features = encoder(pretrained=write(checkpoint))(sounds())
    mixed = {name: (checkpoint if used.match(name) else other)[name] for name in checkpoint}
    torch.testing.assert_close(encoder(pretrained=write(mixed))(sounds()), features, rtol=0, atol=0)
    for name in filter(used.match, checkpoint):
        changed = checkpoint | {name: checkpoint[name] + np.random.default_rng(2).normal(size=checkpoint[name].shape)}
        moved = (encoder(pretrained=write(changed))(sounds()) - features).abs().max()
        assert moved > 1e-3, name


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"module.blocks_a.1.attn.qkv.bias": None}, "missing: blocks.1.qkv.bias"),
        ({"module.blocks_a.2.norm1.weight": np.ones(WIDTH)}, "not in the network: blocks_a.2.norm1.weight"),
        ({"module.modality_a": np.ones((1, 1, 8))}, r"type_embedding [1, 1, 8] instead of [1, 1, 16]"),
        ({"module.pos_embed_a": np.ones((1, 512, WIDTH))}, r"positions [1, 512, 16] instead of [1, 6, 16]"),
        ({"module.patch_embed_a.proj.weight": None}, "missing: "),
    ],
)
def test_checkpoints_that_do_not_fit(write: Write, change: dict[str, Any], message: str) -> None:
    checkpoint = {name: value for name, value in (published() | change).items() if value is not None}
    path = write(checkpoint)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        encoder(pretrained=path)
    assert error.value.file == str(path)
    assert error.value.remedy
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("small")
def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"module.modality_a": RunsCode(str(tmp_path / "made"))}, tmp_path / "bad.pth")
    with pytest.raises(UserError, match=r"bad\.pth"):
        encoder(pretrained=tmp_path / "bad.pth")
    assert not (tmp_path / "made").exists()


def test_weights_cannot_be_had_by_name() -> None:
    with pytest.raises(UserError, match=r"github\.com/YuanGongND/cav-mae"):
        encoder()


@pytest.mark.usefixtures("small")
def test_positions_start_as_sines_and_are_trained() -> None:
    network = encoder(pretrained=False).backbone
    cells = [grid_sines(row, column, WIDTH) for row in range(ROWS) for column in range(COLUMNS)]
    np.testing.assert_allclose(network.positions[0].detach(), cells, atol=1e-6)
    assert network.positions.requires_grad


@pytest.mark.usefixtures("small")
def test_every_parameter_gets_a_gradient() -> None:
    network = encoder(pretrained=False, project=3)
    network.train()(sounds()).square().sum().backward()
    for name, value in network.named_parameters():
        assert value.grad is not None, name
        # A constant added to all keys changes no attention, so that the middle third of a qkv bias has none.
        assert value.grad.abs().max() > 0, name


@pytest.mark.usefixtures("small")
def test_frozen_network_with_a_projection() -> None:
    network = encoder(pretrained=False, frozen=True, project=5).train()
    features = network(sounds())
    assert (network.width, features.shape) == (5, (3, 5))
    assert not network.backbone.training
    features.sum().backward()
    assert {name for name, value in network.named_parameters() if value.grad is not None} == {
        "projection.weight",
        "projection.bias",
    }
    representation = network.represent(sounds())
    assert representation.shape == (3, WIDTH)
    torch.testing.assert_close(network.without_backbone()(representation), features, rtol=0, atol=0)


def test_size_of_the_published_network() -> None:
    assert CAVMAE.preprocessing(CAVMAE.Config(), "audio") == Fbank(frames=1024, mels=128)
    network = CAVMAE((1024, 128), CAVMAE.Config(pretrained=False)).eval()
    embedding = 256 * 768 + 768 + 512 * 768 + 768
    assert sum(value.numel() for value in network.parameters()) == embedding + parameters(768, 12)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.LayerNorm)]
    assert ({norm.eps for norm in norms}, len(norms)) == ({1e-5}, 25)
    with torch.no_grad():
        assert network(torch.zeros(1, 1024, 128, dtype=torch.float16)).shape == (1, network.width) == (1, 768)

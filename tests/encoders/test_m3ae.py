"""M3AE: against a NumPy forward pass, with checkpoints in the two published formats."""

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from mlabench.encoders import m3ae
from mlabench.encoders.m3ae import M3AE
from mlabench.errors import UserError
from mlabench.media.preprocessing.pictures import Picture
from mlabench.media.preprocessing.text import Tokens
from tests.encoders.numpy_transformer import (
    Array,
    Layer,
    RunsCode,
    block,
    gelu_tanh,
    grid_sines,
    layer_norm,
    linear,
    parameters,
    random_layer,
    random_layers,
    random_norm,
    sines,
)

WIDTH, HEADS, DEPTH, WORDS = 16, 2, 2, 40
PICTURE = (3, 32, 48)
ROWS, COLUMNS = 2, 3
LENGTH = 6
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
TEXTS = [[3, 0, 39, 7, -1, -1], [5, 5, 1, 2, 3, 4], [9, -1, -1, -1, -1, -1]]

Format = Literal["flax", "port"]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the base network two blocks deep and 16 wide, with 40 words."""
    monkeypatch.setitem(m3ae.VARIANTS, "base", (WIDTH, DEPTH, HEADS))
    monkeypatch.setattr(m3ae, "VOCABULARY", WORDS)


class Weights:
    """Independent random weights of a whole network, from which checkpoints and expected features are made."""

    def __init__(self, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.image = random_layer(generator, 768, WIDTH)
        self.words: Array = generator.normal(size=(WORDS, WIDTH))
        self.types: dict[str, Array] = {name: generator.normal(size=(1, 1, WIDTH)) for name in ("image", "text")}
        self.cls: Array = generator.normal(size=(1, 1, WIDTH))
        self.blocks = [random_layers(generator, WIDTH) for _ in range(DEPTH)]
        self.norm = random_norm(generator, WIDTH)
        self.decoder = random_layers(generator, 8)

    def checkpoint(self, form: Format) -> dict[str, Array]:
        return self.flax() if form == "flax" else self.port()

    def port(self) -> dict[str, Array]:
        """The names and layouts of MLA's port to PyTorch."""

        def layer(name: str, weights: Layer) -> dict[str, Array]:
            return {f"{name}.weight": weights[0].T, f"{name}.bias": weights[1]}

        state = {
            "encoder_image_type_embedding": self.types["image"],
            "encoder_text_type_embedding": self.types["text"],
            "cls_token": self.cls,
            "text_embedding.weight": self.words,
        }
        state |= layer("image_embedding", self.image) | layer("encoder.layer_norm", self.norm)
        for number, layers in enumerate(self.blocks):
            name = f"encoder.blocks.{number}"
            state |= layer(f"{name}.layer_norm1", layers["norm1"]) | layer(f"{name}.layer_norm2", layers["norm2"])
            state |= layer(f"{name}.attention.qkv_linear", layers["qkv"])
            state |= layer(f"{name}.attention.fc", layers["proj"])
            state |= layer(f"{name}.transformer_mlp.fc1", layers["fc1"])
            state |= layer(f"{name}.transformer_mlp.fc2", layers["fc2"])
        return state

    def flax(self) -> dict[str, Array]:
        """The flattened names and the layouts of the original, decoder included."""

        def dense(name: str, weights: Layer) -> dict[str, Array]:
            return {f"{name}/kernel": weights[0], f"{name}/bias": weights[1]}

        def norm(name: str, weights: Layer) -> dict[str, Array]:
            return {f"{name}/scale": weights[0], f"{name}/bias": weights[1]}

        state = {
            "encoder_image_type_embedding": self.types["image"],
            "encoder_text_type_embedding": self.types["text"],
            "decoder_image_type_embedding": np.ones((1, 1, 8)),
            "decoder_text_type_embedding": np.ones((1, 1, 8)),
            "image_mask_embedding": np.ones((1, 1, 8)),
            "text_mask_embedding": np.ones((1, 1, 8)),
            "cls_token": self.cls,
            "text_embedding/embedding": self.words,
        }
        state |= dense("image_embedding", self.image)
        state |= dense("decoder_input_projection", (np.ones((WIDTH, 8)), np.ones(8)))
        state |= dense("decoder_image_output/Dense_0", (np.ones((8, 768)), np.ones(768)))
        state |= norm("decoder/LayerNorm_0", (np.ones(8), np.ones(8)))
        state |= norm("encoder/LayerNorm_0", self.norm)
        stacks = {"encoder": self.blocks, "decoder": [self.decoder]}
        for stack, blocks in stacks.items():
            for number, layers in enumerate(blocks):
                name = f"{stack}/Block_{number}"
                state |= norm(f"{name}/LayerNorm_0", layers["norm1"]) | norm(f"{name}/LayerNorm_1", layers["norm2"])
                state |= dense(f"{name}/Attention_0/Dense_0", layers["qkv"])
                state |= dense(f"{name}/Attention_0/Dense_1", layers["proj"])
                state |= dense(f"{name}/TransformerMLP_0/fc1", layers["fc1"])
                state |= dense(f"{name}/TransformerMLP_0/fc2", layers["fc2"])
        return {f"params/{name}": value for name, value in state.items()}

    def encode(self, medium: str, embedded: Array, present: list[bool]) -> Array:
        """Output tokens, CLS first, of the embedded inputs of one sample, positions included."""
        tokens = np.concatenate([self.cls[0], embedded + self.types[medium][0]])
        for layers in self.blocks:
            tokens = block(tokens, layers, HEADS, 1e-6, gelu_tanh, np.array([True, *present]))
        return layer_norm(tokens, self.norm, 1e-6)

    def text(self, ids: list[int], pooling: str = "all") -> Array:
        present = [number >= 0 for number in ids]
        positions = np.array([sines(place, WIDTH) for place in range(len(ids))])
        tokens = self.encode("text", self.words[np.maximum(ids, 0)] + positions, present)
        return pool(tokens, present, pooling)

    def picture(self, pixels: Array, order: str = "channels_last", pooling: str = "all") -> Array:
        values = (pixels / 255 - MEAN[:, None, None]) / STD[:, None, None]
        embedded = []
        for row in range(ROWS):
            for column in range(COLUMNS):
                patch = values[:, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
                flat = np.moveaxis(patch, 0, -1).ravel() if order == "channels_last" else patch.ravel()
                embedded.append(linear(flat, self.image) + grid_sines(row, column, WIDTH))
        present = [True] * len(embedded)
        return pool(self.encode("image", np.array(embedded), present), present, pooling)


def pool(tokens: Array, present: list[bool], pooling: str) -> Array:
    chosen: Array = {"all": tokens, "present": tokens[[True, *present]], "cls": tokens[:1]}[pooling]
    mean: Array = chosen.mean(axis=0)
    return mean


def tensors(state: dict[str, Array]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(value)).float() for name, value in state.items()}


def write(path: Path, state: dict[str, Array]) -> Path:
    save_file(tensors(state), path)
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write(tmp_path / "m3ae.safetensors", Weights().port())


def encoder(shape: tuple[int, ...], **options: Any) -> M3AE:
    return M3AE(shape, M3AE.Config(**options)).eval()


def pictures(count: int = 2) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(256, size=(count, *PICTURE), dtype=np.uint8))


def texts() -> Tensor:
    return torch.tensor(TEXTS, dtype=torch.int32)


@pytest.mark.parametrize("form", ["flax", "port"])
@pytest.mark.parametrize("pooling", ["all", "present", "cls"])
def test_published_weights_give_the_published_features_of_texts(tmp_path: Path, form: Format, pooling: str) -> None:
    weights = Weights()
    path = write(tmp_path / "m3ae.safetensors", weights.checkpoint(form))
    features = encoder((LENGTH,), pretrained=path, pooling=pooling)(texts())
    np.testing.assert_allclose(features.detach(), [weights.text(ids, pooling) for ids in TEXTS], atol=2e-5)


@pytest.mark.parametrize("form", ["flax", "port"])
@pytest.mark.parametrize(
    ("order", "pooling"), [("channels_last", "all"), ("channels_first", "present"), ("channels_last", "cls")]
)
def test_published_weights_give_the_published_features_of_pictures(
    tmp_path: Path, form: Format, order: str, pooling: str
) -> None:
    weights = Weights()
    path = write(tmp_path / "m3ae.safetensors", weights.checkpoint(form))
    features = encoder(PICTURE, pretrained=path, patch_order=order, pooling=pooling)(pictures())
    expected = [weights.picture(pixels, order, pooling) for pixels in pictures().numpy().astype(np.float64)]
    np.testing.assert_allclose(features.detach(), expected, atol=2e-5)


@pytest.mark.parametrize(("pooling", "differs"), [("present", False), ("cls", False), ("all", True)])
def test_only_the_mean_over_all_tokens_depends_on_padding(checkpoint: Path, pooling: str, differs: bool) -> None:
    short, long = (encoder((length,), pretrained=checkpoint, pooling=pooling) for length in (LENGTH, LENGTH + 5))
    padded = torch.nn.functional.pad(texts(), (0, 5), value=-1)
    distance = (short(texts()) - long(padded)).abs().amax(dim=1)
    assert bool((distance > 1e-3).all()) if differs else bool((distance < 1e-6).all())


def test_padding_is_not_the_word_0(checkpoint: Path) -> None:
    network = encoder((LENGTH,), pretrained=checkpoint, pooling="cls")
    features = network(torch.tensor([[3, 4, -1, -1, -1, -1], [3, 4, 0, 0, 0, 0]], dtype=torch.int32))
    assert (features[0] - features[1]).abs().max() > 1e-3


@pytest.mark.parametrize("prefix", ["", "module.", "module.mae_v.", "backbone."])
def test_prefixes(tmp_path: Path, checkpoint: Path, prefix: str) -> None:
    state = {f"{prefix}{name}": value for name, value in Weights().port().items()}
    torch.save(tensors(state), tmp_path / "prefixed.pth")
    features = encoder(PICTURE, pretrained=tmp_path / "prefixed.pth")(pictures())
    torch.testing.assert_close(features, encoder(PICTURE, pretrained=checkpoint)(pictures()), rtol=0, atol=0)


@pytest.mark.parametrize("names", [("mae_a", "mae_v"), ("mae_v", "mae_t")])
def test_towers_of_a_whole_model(tmp_path: Path, names: tuple[str, str]) -> None:
    towers = {name: Weights(seed) for seed, name in enumerate(names)}
    text, image = towers[min(set(names) - {"mae_v"})], towers["mae_v"]
    state = {f"module.{tower}.{name}": value for tower, own in towers.items() for name, value in own.port().items()}
    state["module.fusion_module.fc_out.weight"] = np.ones((3, WIDTH))
    torch.save({"model": tensors(state), "modulation": "Normal"}, tmp_path / "best.pth")
    features = encoder((LENGTH,), pretrained=tmp_path / "best.pth")(texts())
    np.testing.assert_allclose(features.detach(), [text.text(ids) for ids in TEXTS], atol=2e-5)
    features = encoder(PICTURE, pretrained=tmp_path / "best.pth")(pictures())
    np.testing.assert_allclose(features.detach(), [image.picture(pixels) for pixels in pictures().numpy()], atol=2e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder.blocks.1.attention.fc.bias": None}, "missing: blocks.1.proj.bias"),
        (
            {"encoder.blocks.2.layer_norm1.bias": np.ones(WIDTH)},
            "not in the network: encoder.blocks.2.layer_norm1.bias",
        ),
        ({"text_embedding.weight": np.ones((50, WIDTH))}, "embedding.weight [50, 16] instead of [40, 16]"),
        ({"cls_token": None}, "missing: cls_token"),
        ({"surplus": np.ones(3)}, "not in the network: surplus"),
    ],
)
def test_checkpoints_that_do_not_fit(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    state = {name: value for name, value in (Weights().port() | change).items() if value is not None}
    path = write(tmp_path / "other.safetensors", state)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        encoder((LENGTH,), pretrained=path)
    assert (error.value.file, bool(error.value.remedy), "\n" in str(error.value)) == (str(path), True, False)


def test_kernels_of_a_wrong_rank_do_not_fit(tmp_path: Path) -> None:
    state = Weights().flax() | {"params/encoder/Block_0/Attention_0/Dense_0/kernel": np.ones((WIDTH, 3, 2, 8))}
    with pytest.raises(UserError, match=re.escape("blocks.0.qkv.weight [16, 3, 2, 8] instead of [48, 16]")):
        encoder((LENGTH,), pretrained=write(tmp_path / "other.safetensors", state))


@pytest.mark.parametrize("name", ["m3ae_base.pkl", "m3ae_base.pth"])
def test_a_checkpoint_cannot_run_code(tmp_path: Path, name: str) -> None:
    torch.save({"state": RunsCode(str(tmp_path / "made"))}, tmp_path / name)
    with pytest.raises(UserError, match=re.escape(name)):
        encoder((LENGTH,), pretrained=tmp_path / name)
    assert not (tmp_path / "made").exists()


def test_weights_cannot_be_had_by_name() -> None:
    with pytest.raises(UserError, match=r"github\.com/young-geng/m3ae_public"):
        encoder((LENGTH,))


def test_ids_of_another_tokenizer() -> None:
    with pytest.raises(UserError, match=f"the token {WORDS}, but M3AE knows {WORDS} word pieces"):
        encoder((2,), pretrained=False)(torch.tensor([[3, WORDS]], dtype=torch.int32))


def test_positions_are_fixed() -> None:
    text, image = encoder((LENGTH,), pretrained=False), encoder(PICTURE, pretrained=False)
    assert not {"backbone.positions"} & {*dict(text.named_parameters()), *text.state_dict()}
    expected = [sines(place, WIDTH) for place in range(LENGTH)]
    np.testing.assert_allclose(text.backbone.positions, expected, atol=1e-6)
    cells = [grid_sines(row, column, WIDTH) for row in range(ROWS) for column in range(COLUMNS)]
    np.testing.assert_allclose(image.backbone.positions, cells, atol=1e-6)


@pytest.mark.parametrize(("shape", "inputs"), [(PICTURE, pictures), ((LENGTH,), texts)])
def test_every_parameter_gets_a_gradient(shape: tuple[int, ...], inputs: Any) -> None:
    network = encoder(shape, pretrained=False, project=3, augment=False).train()
    network(inputs()).square().sum().backward()
    for name, value in network.named_parameters():
        assert value.grad is not None, name
        assert value.grad.abs().max() > 0, name


def test_pictures_vary_in_training_only() -> None:
    network = encoder((3, 32, 32), pretrained=False, size=32)
    values = pictures()[:, :, :, :32]
    torch.testing.assert_close(network(values), network(values), rtol=0, atol=0)
    network.train()
    assert (network(values) - network(values)).abs().max() > 1e-4
    plain = encoder((3, 32, 32), pretrained=False, size=32, augment=False).train()
    torch.testing.assert_close(plain(values), plain(values), rtol=0, atol=0)


def test_frozen_network_with_a_projection(checkpoint: Path) -> None:
    network = encoder((LENGTH,), pretrained=checkpoint, frozen=True, project=5).train()
    features = network(texts())
    assert (network.width, features.shape) == (5, (3, 5))
    features.sum().backward()
    assert {name for name, value in network.named_parameters() if value.grad is not None} == {
        "projection.weight",
        "projection.bias",
    }
    representation = network.represent(texts())
    assert representation.shape == (3, WIDTH)
    torch.testing.assert_close(network.without_backbone()(representation), features, rtol=0, atol=0)


def test_preprocessing() -> None:
    config = M3AE.Config(size=64, length=9, tokenizer_folder=Path("bert"))
    assert M3AE.preprocessing(config, "image") == Picture(64, fit="cover")
    assert M3AE.preprocessing(config, "text") == Tokens("bert-base-uncased", 9, folder="bert", special=False)
    assert M3AE.preprocessing(M3AE.Config(), "text") == Tokens("bert-base-uncased", 256, special=False)


@pytest.mark.parametrize(("variant", "width", "depth"), [("small", 384, 12), ("base", 768, 12), ("large", 1024, 24)])
def test_sizes_of_the_published_networks(
    variant: Literal["small", "base", "large"], width: int, depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the real sizes
    config = M3AE.Config(pretrained=False, variant=variant)
    with torch.device("meta"):
        towers = {768 * width + width: M3AE((3, 256, 256), config), 30_522 * width: M3AE((256,), config)}
    for embedding, network in towers.items():
        assert network.width == width
        norms = [module for module in network.modules() if isinstance(module, torch.nn.LayerNorm)]
        assert ({norm.eps for norm in norms}, len(norms)) == ({1e-6}, 2 * depth + 1)
        count = sum(value.numel() for value in network.parameters())
        assert count == embedding + 2 * width + parameters(width, depth)

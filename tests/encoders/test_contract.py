"""What holds for every encoder, whatever network is inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlabench import registry
from mlabench.encoders import BackboneOptions, Encoder
from mlabench.encoders.backbone import BackboneEncoder
from mlabench.encoders.from_hugging_face import HuggingFaceEncoder
from mlabench.encoders.from_timm import TimmEncoder
from mlabench.encoders.from_torchaudio import TorchaudioEncoder
from mlabench.encoders.packaged import EfficientNetLite0Encoder, MiniLMEncoder
from mlabench.encoders.small import CNN, TextCNN
from mlabench.media import Medium
from mlabench.media.preprocessing import Preprocessing
from tests.encoders import saved_models


@dataclass(frozen=True)
class Case:
    """An encoder of one medium.

    Attributes:
        unused: Parts of names of parameters that the network itself never uses.
    """

    kind: type[Encoder]
    medium: Medium
    options: dict[str, Any]
    save: Callable[[Path], Path] | None = None
    unused: tuple[str, ...] = ()


RESNET = {"model": "test_resnet", "pretrained": False, "size": 48, "frames": 2, "seconds": 0.6}
VIT = {"model": "test_vit", "pretrained": False, "size": 64, "seconds": 0.64}
HF = {"model": "tiny", "length": 16, "seconds": 0.25}

CASES = {
    "timm image": Case(TimmEncoder, "image", RESNET),
    "timm video": Case(TimmEncoder, "video", RESNET),
    "timm audio": Case(TimmEncoder, "audio", RESNET),
    "timm transformer image": Case(TimmEncoder, "image", VIT),
    "timm transformer audio": Case(TimmEncoder, "audio", VIT),
    "hf bert": Case(HuggingFaceEncoder, "text", HF, saved_models.save_bert),
    "hf wav2vec2": Case(HuggingFaceEncoder, "audio", HF, saved_models.save_wav2vec2, ("masked_spec_embed",)),
    "hf ast": Case(HuggingFaceEncoder, "audio", HF, saved_models.save_ast),
    "hf vit": Case(HuggingFaceEncoder, "image", HF, saved_models.save_vit),
    "hf clip image": Case(HuggingFaceEncoder, "image", HF, saved_models.save_clip, ("post_layernorm",)),
    "hf clip text": Case(HuggingFaceEncoder, "text", HF, saved_models.save_clip),
    "torchaudio mel": Case(TorchaudioEncoder, "audio", {"model": "mel_spectrogram", "seconds": 0.5, "project": 6}),
    "torchaudio mfcc": Case(TorchaudioEncoder, "audio", {"model": "mfcc", "seconds": 0.5, "project": 6}),
    "efficientnet_lite0 image": Case(EfficientNetLite0Encoder, "image", {"size": 64, "project": 6}),
    "efficientnet_lite0 video": Case(EfficientNetLite0Encoder, "video", {"size": 64, "frames": 2, "project": 6}),
    "minilm": Case(MiniLMEncoder, "text", {"length": 16, "project": 6}),
    "cnn image": Case(CNN, "image", {"size": 32}),
    "cnn video": Case(CNN, "video", {"size": 32, "frames": 2}),
    "cnn audio": Case(CNN, "audio", {"seconds": 0.5, "mels": 32}),
    "text_cnn": Case(TextCNN, "text", {"length": 24}),
}
BACKBONES = [name for name, case in CASES.items() if issubclass(case.kind, BackboneEncoder)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("models")
    return {name: case.save(top / name.replace(" ", "_")) for name, case in CASES.items() if case.save}


@pytest.fixture
def make(folders: dict[str, Path]) -> Callable[..., tuple[Encoder, Preprocessing]]:
    def make(name: str, **options: Any) -> tuple[Encoder, Preprocessing]:
        case = CASES[name]
        given = {**case.options, **({"pretrained": folders[name]} if case.save else {}), **options}
        config = case.kind.Config(**given)
        preprocessing = case.kind.preprocessing(config, case.medium)
        torch.manual_seed(0)
        return case.kind(preprocessing.shape, config), preprocessing

    return make


def inputs(preprocessing: Preprocessing, count: int = 3, seed: int = 0) -> Tensor:
    """Values of the type and range that the preprocessing gives, some of them padded."""
    random = np.random.default_rng(seed)
    shape = (count, *preprocessing.shape)
    values: NDArray[Any]
    if preprocessing.dtype == np.uint8:
        values = random.integers(0, 256, shape)
    elif preprocessing.dtype == np.float16:
        values = random.normal(-4, 3, shape)
        values[0, -5:] = -13.5
    elif len(shape) == 2 and shape[1] > 1000:
        values = random.normal(0, 2000, shape)
        values[0, -500:] = 0
    else:
        values = random.integers(0, len(saved_models.WORDS), shape)
        values[0, -3:] = -1
    return torch.from_numpy(values.astype(preprocessing.dtype))


def step(encoder: Encoder, batch: Tensor) -> Tensor:
    """One update with plain gradient descent; returns the features."""
    features = encoder(batch)
    (features.float() * torch.arange(features.shape[1])).square().mean().backward()
    torch.optim.SGD([parameter for parameter in encoder.parameters() if parameter.requires_grad], lr=0.01).step()
    return features.detach()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_features_of_one_and_many_samples(name, make, training, precision):
    encoder, preprocessing = make(name)
    encoder.train(training)
    for count in (1, 3):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            features = encoder(inputs(preprocessing, count))
        assert features.shape == (count, encoder.width)
        assert features.dtype in (torch.float32, precision)
        assert features.isfinite().all()


@pytest.mark.parametrize("name", CASES)
def test_bfloat16_is_near_float32(name, make):
    encoder, preprocessing = make(name)
    encoder.eval()
    batch = inputs(preprocessing)
    with torch.inference_mode():
        exact = encoder(batch)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = encoder(batch).float()
    assert (rounded - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("name", CASES)
def test_gradients_reach_every_parameter_in_use(name, make):
    encoder, preprocessing = make(name)
    encoder.train()
    step(encoder, inputs(preprocessing, 4))
    without = [
        parameter_name
        for parameter_name, parameter in encoder.named_parameters()
        if (parameter.grad is None or not parameter.grad.any())
        and not any(part in parameter_name for part in CASES[name].unused)
    ]
    # A key's bias cancels in the softmax, and rounding alone decides whether its gradient is 0.
    assert [n for n in without if not n.endswith(("key.bias", "k_proj.bias"))] == []


@pytest.mark.parametrize("name", CASES)
def test_training_is_reproducible(name, make):
    results = []
    for _ in range(2):
        encoder, preprocessing = make(name)
        encoder.train()
        torch.manual_seed(5)
        results.append([step(encoder, inputs(preprocessing)) for _ in range(2)][1])
    assert torch.equal(*results)


@pytest.mark.parametrize("name", CASES)
def test_evaluation_depends_on_the_sample_alone(name, make):
    encoder, preprocessing = make(name)
    encoder.train()
    step(encoder, inputs(preprocessing, 4, seed=1))  # so that running statistics are not the initial ones
    encoder.eval()
    batch = inputs(preprocessing, 4)
    with torch.inference_mode():
        together = encoder(batch)
        alone = torch.cat([encoder(batch[row : row + 1]) for row in range(4)])
        assert torch.equal(encoder(batch), together)
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together[0], together[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_state_round_trip(name, make):
    encoder, preprocessing = make(name)
    encoder.train()
    step(encoder, inputs(preprocessing, seed=1))
    other, _ = make(name)
    other.load_state_dict(encoder.state_dict())
    encoder.eval(), other.eval()
    with torch.inference_mode():
        assert torch.equal(encoder(inputs(preprocessing)), other(inputs(preprocessing)))


@pytest.mark.parametrize("name", BACKBONES)
def test_frozen_network_never_changes(name, make):
    encoder, preprocessing = make(name, frozen=True, project=5)
    before = {key: value.clone() for key, value in encoder.backbone.state_dict().items()}
    encoder.train()
    batch = inputs(preprocessing)
    first = encoder(batch)
    assert torch.equal(first, encoder(batch)), "no augmentation, no dropout"
    step(encoder, batch)
    assert not encoder.backbone.training
    assert not any(parameter.requires_grad for parameter in encoder.backbone.parameters())
    assert encoder.projection.weight.grad.any()
    for key, value in encoder.backbone.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", BACKBONES)
def test_cached_representations_replace_the_network(name, make):
    encoder, preprocessing = make(name, frozen=True, project=5)
    encoder.train()
    batch = inputs(preprocessing)
    with torch.inference_mode():
        representation = encoder.represent(batch)
        features = encoder(batch)
        encoder.without_backbone().train()
        assert encoder.shape == representation.shape[1:] == (encoder.representation_width,)
        assert torch.equal(encoder(representation), features)
    assert features.shape == (3, 5) == (3, encoder.width)
    assert [key for key, _ in encoder.named_parameters()] == ["projection.weight", "projection.bias"]


@pytest.mark.parametrize("name", BACKBONES)
def test_learning_rate_of_the_network_alone_is_scaled(name, make):
    encoder, _ = make(name, lr_scale=0.1, project=5)
    network = {f"backbone.{key}" for key, _ in encoder.backbone.named_parameters()}
    scales = {key: encoder.lr_scale(key) for key, _ in encoder.named_parameters()}
    assert scales == {**dict.fromkeys(network, 0.1), "projection.weight": 1.0, "projection.bias": 1.0}


@pytest.mark.parametrize("name", BACKBONES)
def test_options_of_every_backbone(name):
    options = CASES[name].kind.Config.model_fields
    assert issubclass(CASES[name].kind.Config, BackboneOptions)
    assert "model" not in options or options["model"].is_required()
    assert all(option.description for option in options.values())


@pytest.mark.parametrize("name", CASES)
def test_what_the_registry_says_of_it(name):
    """As suites and listings see it: options, media and summary."""
    case = CASES[name]
    entry = registry.Entry("encoders", name, case.kind.__module__, case.kind.__name__, "mlabench")
    assert entry.about.config_schema == case.kind.Config.model_json_schema()
    assert case.medium in entry.about.reads
    assert entry.about.reads == case.kind.reads
    assert entry.about.summary.endswith(".")


@pytest.mark.parametrize("name", CASES)
def test_options_read_from_the_source_will_do(name, folders):
    case = CASES[name]
    entry = registry.Entry("encoders", name, case.kind.__module__, case.kind.__name__, "mlabench")
    given = {**case.options, **({"pretrained": str(folders[name])} if case.save else {})}
    expected = case.kind.preprocessing(case.kind.Config(**given), case.medium)
    assert case.kind.preprocessing(entry.config(**given), case.medium) == expected
    assert case.kind(expected.shape, entry.config(**given)).shape == expected.shape

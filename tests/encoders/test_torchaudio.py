"""Networks of torchaudio, against torchaudio called by hand, and summaries against NumPy."""

from __future__ import annotations

import socket

import numpy as np
import pytest
import soundfile
import torch
from torch import nn
from torchaudio import models, pipelines

from mlabench.encoders import from_torchaudio
from mlabench.encoders.from_torchaudio import TorchaudioEncoder, WaveformNetwork
from mlabench.errors import UserError
from mlabench.media import Audio
from mlabench.media.preprocessing.sound import LogMel, Mfcc, Waveform


def tiny(*, large=False):
    torch.manual_seed(0)
    return models.wav2vec2_model(
        extractor_mode="layer_norm" if large else "group_norm",
        extractor_conv_layer_config=[(16, 10, 5), (16, 3, 2)],
        extractor_conv_bias=large,
        encoder_embed_dim=24,
        encoder_projection_dropout=0.1,
        encoder_pos_conv_kernel=16,
        encoder_pos_conv_groups=2,
        encoder_num_layers=2,
        encoder_num_heads=2,
        encoder_attention_dropout=0.1,
        encoder_ff_interm_features=32,
        encoder_ff_interm_dropout=0.1,
        encoder_dropout=0.1,
        encoder_layer_norm_first=large,
        encoder_layer_drop=0.0,
        aux_num_out=None,
    ).eval()


@pytest.fixture
def small_networks(monkeypatch):
    monkeypatch.setattr(models, "wav2vec2_base", tiny)
    monkeypatch.setattr(models, "wav2vec2_large_lv60k", lambda: tiny(large=True))


def config(**options):
    return TorchaudioEncoder.Config(**{"model": "WAV2VEC2_BASE", "pretrained": False, "seconds": 0.1, **options})


def waveforms(count=2, samples=1600):
    return torch.from_numpy(np.random.default_rng(0).normal(0, 2000, (count, samples)).astype(np.int16))


def test_preprocessing():
    assert TorchaudioEncoder.preprocessing(config(), "audio") == Waveform(rate=16_000, seconds=0.1)
    assert TorchaudioEncoder.preprocessing(config(model="mel_spectrogram"), "audio") == LogMel(seconds=0.1)
    assert TorchaudioEncoder.preprocessing(config(model="mfcc"), "audio") == Mfcc(seconds=0.1)


@pytest.mark.parametrize("name", from_torchaudio._NETWORKS)
def test_architectures_are_those_of_the_bundles(name):
    """Built without memory; the bundle's own description is private, hence not used outside of this test."""
    bundle = getattr(pipelines, name)
    build = models.wavlm_model if name.startswith("WAVLM") else models.wav2vec2_model
    function, standardised = from_torchaudio._NETWORKS[name]
    with torch.device("meta"):
        expected, ours = build(**bundle._params), getattr(models, function)()
    assert {key: value.shape for key, value in ours.state_dict().items()} == {
        key: value.shape for key, value in expected.state_dict().items()
    }
    assert str(ours.feature_extractor) == str(expected.feature_extractor)
    assert standardised == bundle._normalize_waveform
    assert bundle.sample_rate == 16_000


def test_mean_over_the_last_hidden_states(small_networks):
    encoder = TorchaudioEncoder((1600,), config()).eval()
    batch = waveforms()
    with torch.inference_mode():
        states, _ = tiny()(torch.from_numpy(batch.numpy() / np.float32(32768)))
        torch.testing.assert_close(encoder(batch), states.mean(dim=1))
    assert encoder.width == 24


def test_large_networks_get_standardised_waveforms(small_networks):
    encoder = TorchaudioEncoder((1600,), config(model="WAV2VEC2_LARGE_LV60K")).eval()
    batch = waveforms()
    with torch.inference_mode():
        values = nn.functional.layer_norm(batch.float() / 32768, (1600,))
        states, _ = tiny(large=True)(values)
        torch.testing.assert_close(encoder(batch), states.mean(dim=1), rtol=1e-4, atol=1e-5)


def test_padding_does_not_count_in_large_networks():
    """The same sound in a longer window has nearly the same features, apart from its last frames."""
    network = WaveformNetwork(tiny(large=True), standardised=True).eval()
    sound = waveforms(1)
    longer = torch.nn.functional.pad(sound, (0, 1600))
    with torch.inference_mode():
        short, long = network(sound), network(longer)
        louder = network(longer * 2)
    torch.testing.assert_close(long, short, rtol=0.02, atol=0.02)
    torch.testing.assert_close(louder, long, rtol=1e-3, atol=1e-3)


def test_weights_of_a_file(small_networks, tmp_path):
    torch.manual_seed(1)
    network = tiny()
    for parameter in network.parameters():
        parameter.data += 0.01
    torch.save(network.state_dict(), tmp_path / "a.pt")
    encoder = TorchaudioEncoder((1600,), config(pretrained=tmp_path / "a.pt"))
    for name, value in network.state_dict().items():
        assert torch.equal(encoder.backbone.network.state_dict()[name], value)
    torch.save({}, tmp_path / "b.pt")
    with pytest.raises(UserError, match=r"b\.pt"):
        TorchaudioEncoder((1600,), config(pretrained=tmp_path / "b.pt"))


@pytest.mark.parametrize("large", [False, True])
def test_published_weights(small_networks, monkeypatch, large):
    """The bundle's own network, with the bundle's own normalisation."""
    name = "WAV2VEC2_LARGE_LV60K" if large else "WAV2VEC2_BASE"
    bundle = getattr(pipelines, name)
    network = tiny(large=large)
    for parameter in network.parameters():
        parameter.data += 0.01
    monkeypatch.setattr(type(bundle), "_get_state_dict", lambda self, options: network.state_dict())
    monkeypatch.setattr("torchaudio.pipelines._wav2vec2.utils._get_model", lambda kind, options: tiny(large=large))
    published = bundle.get_model()
    encoder = TorchaudioEncoder((1600,), config(model=name, pretrained=True)).eval()
    batch = waveforms()
    with torch.inference_mode():
        # One by one, since the bundle's normalisation runs over the whole batch.
        states = torch.cat([published(row[None].float() / 32768)[0] for row in batch])
        torch.testing.assert_close(encoder(batch), states.mean(dim=1), rtol=1e-4, atol=1e-5)


def test_no_connection(monkeypatch, tmp_path, capfd):
    def refuse(*arguments, **options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"cannot get the weights of WAV2VEC2_BASE.*pretrained: PATH"):
        TorchaudioEncoder((1600,), config(pretrained=True))
    assert capfd.readouterr() == ("", "")


def test_unknown_name():
    with pytest.raises(UserError, match="Did you mean 'WAV2VEC2_BASE'"):
        TorchaudioEncoder.preprocessing(config(model="WAV2VEC_BASE"), "audio")
    with pytest.raises(UserError, match="Known: mel_spectrogram, mfcc, WAV2VEC2_BASE"):
        TorchaudioEncoder((3,), config(model="?"))


@pytest.mark.parametrize("name", ["mel_spectrogram", "mfcc"])
def test_summary_of_a_sound_leaves_its_padding_out(tmp_path, name):
    """From a file on: statistics of its own frames, in NumPy."""
    sound = 0.3 * np.random.default_rng(0).normal(size=8_000)
    soundfile.write(tmp_path / "a.wav", sound, 16_000)
    options = config(model=name, seconds=2.0)
    preprocessing = TorchaudioEncoder.preprocessing(options, "audio")
    rows = preprocessing(Audio(tmp_path / "a.wav"))
    assert rows.shape == (201, preprocessing.shape[1])
    encoder = TorchaudioEncoder(preprocessing.shape, options)
    features = encoder(torch.from_numpy(rows)[None])[0].numpy()
    own = rows[:52].astype(np.float64)  # windows centred at 0, 160, ... reach 200 samples to each side
    assert (rows[52:] == rows[-1]).all() and (rows[51] != rows[-1]).any()
    np.testing.assert_allclose(features, np.concatenate([own.mean(axis=0), own.std(axis=0)]), rtol=1e-4, atol=1e-4)
    assert encoder.width == 2 * rows.shape[1]


def test_summary_without_padding_uses_every_frame():
    rows = np.random.default_rng(0).normal(size=(2, 9, 4)).astype(np.float16)
    rows[1] = 1.0  # all rows are equal, as in silence
    encoder = TorchaudioEncoder((9, 4), config(model="mel_spectrogram"))
    features = encoder(torch.from_numpy(rows)).numpy()
    own = rows[0].astype(np.float64)
    np.testing.assert_allclose(features[0], np.concatenate([own.mean(axis=0), own.std(axis=0)]), atol=1e-5)
    assert features[1].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]

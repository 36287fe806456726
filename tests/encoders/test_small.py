"""Small encoders, against plain loops over windows and positions."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from mlabench.encoders.small import CNN, TextCNN
from mlabench.media import Audio, Text
from mlabench.media.preprocessing.pictures import Frames, Picture
from mlabench.media.preprocessing.sound import LogMel
from mlabench.media.preprocessing.text import Characters


def cnn(shape, **options):
    torch.manual_seed(0)
    return CNN(shape, CNN.Config(**options)).eval()


def pictures(*shape):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def test_preprocessing():
    assert CNN.preprocessing(CNN.Config(size=32, fit="contain"), "image") == Picture(size=32, fit="contain")
    assert CNN.preprocessing(CNN.Config(frames=5), "video") == Frames(count=5, size=64)
    assert CNN.preprocessing(CNN.Config(), "audio") == LogMel(seconds=3.0, mels=64, n_fft=640, hop=320)
    assert CNN.preprocessing(CNN.Config(), "audio").shape == (151, 64)
    assert TextCNN.preprocessing(TextCNN.Config(length=50), "text") == Characters(length=50)


def test_video_is_the_mean_of_its_frames():
    video, image = cnn((4, 3, 32, 32)), cnn((3, 32, 32))
    batch = pictures(2, 4, 3, 32, 32)
    with torch.inference_mode():
        frames = torch.stack([image(batch[:, frame]) for frame in range(4)])
        torch.testing.assert_close(video(batch), frames.mean(dim=0))


def test_loudness_does_not_matter(tmp_path):
    """Twice the amplitude adds a constant to the logarithm of the power, apart from its floor and rounding."""
    wave = 0.4 * np.sin(np.arange(16_000) ** 1.3 / 100) + 0.05 * np.random.default_rng(0).normal(size=16_000)
    network = cnn((51, 64), seconds=1.0)
    features = []
    for name, factor in (("loud", 1.0), ("quiet", 0.5)):
        soundfile.write(tmp_path / f"{name}.wav", factor * wave, 16_000, subtype="FLOAT")
        rows = CNN.preprocessing(network.config, "audio")(Audio(tmp_path / f"{name}.wav"))
        features.append(network(torch.from_numpy(rows)[None]))
    torch.testing.assert_close(*features, rtol=0.02, atol=0.02)


def test_silence_is_no_division_by_zero():
    assert cnn((51, 64))(torch.full((1, 51, 64), -13.8).half()).isfinite().all()


def test_width_follows_the_option():
    assert cnn((3, 32, 32), width=40)(pictures(2, 3, 32, 32)).shape == (2, 40)
    with pytest.raises(ValueError, match="multiple of 8"):
        CNN.Config(width=12)
    with pytest.raises(ValueError, match="multiple of 4"):
        TextCNN.Config(width=10)


def test_text_by_hand():
    """The largest response of each window over the places where a byte is, in NumPy."""
    torch.manual_seed(0)
    network = TextCNN((12,), TextCNN.Config(width=8, length=12, embedding=3)).eval()
    rows = np.stack([Characters(12)(Text(text)) for text in ("aé", "twelve bytes", "x")])
    features = network(torch.from_numpy(rows)).detach().numpy()
    table = network.embedding.weight.detach().numpy()
    for row, own in zip(rows, features, strict=True):
        vectors = np.zeros((12 + 5, 3))
        vectors[:12][row >= 0] = table[row[row >= 0]]
        expected = []
        for convolution in network.convolutions:
            weight, bias = convolution.weight.detach().numpy(), convolution.bias.detach().numpy()
            window = weight.shape[2]
            for channel in range(2):
                places = [
                    np.sum(weight[channel].T * vectors[start : start + window]) + bias[channel]
                    for start in range(int((row >= 0).sum()))
                ]
                expected.append(max(0.0, *places))
        np.testing.assert_allclose(own, expected, atol=1e-5)


def test_length_of_the_padding_does_not_matter():
    torch.manual_seed(0)
    network = TextCNN((20,), TextCNN.Config()).eval()
    short, long = (torch.from_numpy(Characters(length)(Text("a flag")))[None] for length in (9, 20))
    torch.testing.assert_close(network(short), network(long))


def test_dropout_only_while_training():
    network = TextCNN((20,), TextCNN.Config(dropout=0.5))
    batch = torch.from_numpy(Characters(20)(Text("a flag")))[None]
    assert not torch.equal(network(batch), network(batch))
    network.eval()
    assert torch.equal(network(batch), network(batch))


def learn(network, batch, labels, steps):
    """Accuracy on the training samples after some steps of Adam."""
    torch.manual_seed(0)
    head = torch.nn.Linear(network.width, int(labels.max()) + 1)
    optimizer = torch.optim.Adam([*network.parameters(), *head.parameters()], 3e-3)
    network.train()
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(network(batch)), labels).backward()
        optimizer.step()
    network.eval()
    with torch.inference_mode():
        return (head(network(batch)).argmax(dim=1) == labels).float().mean().item()


def test_learns_pictures():
    """Bright bars, upright or lying, at random places."""
    random = np.random.default_rng(0)
    batch = random.integers(0, 120, (40, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(40) % 2
    for picture, label in zip(batch, labels, strict=True):
        place = random.integers(4, 28)
        picture[
            :, slice(place, place + 3) if label else slice(None), slice(None) if label else slice(place, place + 3)
        ] = 255
    assert learn(cnn((3, 32, 32), width=32), torch.from_numpy(batch), torch.from_numpy(labels), 60) > 0.95


def test_learns_sounds():
    """Energy in a low or a high band."""
    random = np.random.default_rng(0)
    batch = random.normal(-8, 1, (40, 30, 32)).astype(np.float16)
    labels = np.arange(40) % 2
    for rows, label in zip(batch, labels, strict=True):
        rows[:, 20 * label : 20 * label + 6] += 4
    assert learn(cnn((30, 32), width=32), torch.from_numpy(batch), torch.from_numpy(labels), 30) > 0.95


def test_learns_texts():
    """A piece of a word somewhere in random letters."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 2
    texts = ["".join(random.choice(list("abcdefgh"), 30)) for _ in labels]
    texts = [f"{text[:9]}{'dog' if label else 'cat'}{text[9:]}" for text, label in zip(texts, labels, strict=True)]
    batch = torch.from_numpy(np.stack([Characters(40)(Text(text)) for text in texts]))
    assert learn(TextCNN((40,), TextCNN.Config()), batch, torch.from_numpy(labels), 40) > 0.95

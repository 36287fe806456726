"""Time-frequency pictures, against their definitions in NumPy."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mlabench.errors import UserError
from mlabench.media import Audio, Image, UnreadableError
from mlabench.media.preprocessing import Preprocessing
from mlabench.media.preprocessing.sound import Fbank, LogMel, Mfcc, Spectrogram, Waveform
from tests.datasets.media_files import write_wav

#: Half precision has ten bits after the first one; values are below 32.
PRECISION = 0.02

STEPS = [Fbank(), Spectrogram(), LogMel(seconds=1.5), Mfcc(seconds=1.5), Waveform(seconds=1.5)]


def write_noise(path: Path, seconds: float = 0.7, rate: int = 16_000, mean: float = 0.0) -> np.ndarray:
    """Writes a louder and louder noise, and returns it as a decoder should."""
    rng = np.random.default_rng(0)
    wave = rng.normal(size=round(seconds * rate)) * np.linspace(0.001, 0.1, round(seconds * rate)) + mean
    values = np.round(wave * 32_768).clip(-32_768, 32_767).astype(np.int16)
    soundfile.write(path, values, rate)
    return values / 32_768


def mel(hertz: np.ndarray | float) -> np.ndarray:
    """Kaldi's and HTK's scale."""
    return 1127.0 * np.log(1.0 + np.asarray(hertz) / 700.0)


def windows(wave: np.ndarray, length: int, hop: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(wave, length)[::hop]


def kaldi_fbank(wave: np.ndarray, rate: int, mels: int) -> np.ndarray:
    length, hop = rate // 40, rate // 100
    size = 1 << (length - 1).bit_length()
    frames = windows(wave, length, hop).astype(np.float64)
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    emphasised = (frames - 0.97 * before) * np.hanning(length)
    power = np.abs(np.fft.rfft(emphasised, size)) ** 2
    edges = np.linspace(mel(20.0), mel(rate / 2), mels + 2)
    place = mel(np.arange(size // 2 + 1) * rate / size)
    rising = (place - edges[:-2, None]) / np.diff(edges)[0]
    falling = (edges[2:, None] - place) / np.diff(edges)[0]
    banks = np.maximum(0, np.minimum(rising, falling))
    banks[:, -1] = 0  # Kaldi leaves the highest frequency out
    return np.log(np.maximum(power @ banks.T, np.finfo(np.float32).eps))


@pytest.mark.parametrize(("rate", "mels"), [(16_000, 128), (16_000, 23), (8_000, 40)])
def test_filter_banks_are_kaldis(tmp_path: Path, rate: int, mels: int) -> None:
    wave = write_noise(tmp_path / "a.wav", rate=rate, mean=0.1)
    step = Fbank(frames=100, mels=mels, rate=rate)
    values = step(Audio(tmp_path / "a.wav"))
    expected = kaldi_fbank(wave - wave.mean(), rate, mels)
    assert len(expected) == 1 + (round(0.7 * rate) - rate // 40) // (rate // 100)
    np.testing.assert_allclose(values[: len(expected)], expected, atol=PRECISION)
    assert (values[len(expected) :] == 0).all()
    cut = Fbank(frames=20, mels=mels, rate=rate)(Audio(tmp_path / "a.wav"))
    np.testing.assert_array_equal(cut, values[:20])


def centred_spectrum(wave: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    padded = np.pad(wave.astype(np.float64), n_fft // 2, mode="reflect")
    return np.abs(np.fft.rfft(windows(padded, n_fft, hop) * window))


def test_spectrograms_are_those_of_ogm_ge(tmp_path: Path) -> None:
    wave = write_noise(tmp_path / "a.wav", seconds=1.3, rate=22_050)
    repeated = np.tile(wave, 3)[: 3 * 22_050]
    values = Spectrogram()(Audio(tmp_path / "a.wav"))
    assert values.shape == (188, 257)
    np.testing.assert_allclose(values, np.log(centred_spectrum(repeated, 512, 353) + 1e-7), atol=PRECISION)


def test_spectrograms_are_clipped(tmp_path: Path) -> None:
    wave = np.zeros(3 * 22_050, np.float32)
    wave[::100] = 5.0
    soundfile.write(tmp_path / "loud.wav", wave, 22_050, subtype="FLOAT")
    soundfile.write(tmp_path / "full.wav", wave.clip(-1, 1), 22_050, subtype="FLOAT")
    loud, full = (Spectrogram()(Audio(tmp_path / name)) for name in ("loud.wav", "full.wav"))
    np.testing.assert_array_equal(loud, full)


def log_mel(wave: np.ndarray, rate: int, mels: int, n_fft: int, hop: int) -> np.ndarray:
    power = centred_spectrum(wave, n_fft, hop) ** 2
    hertz = 700.0 * np.expm1(np.linspace(0.0, mel(rate / 2), mels + 2) / 1127.0)
    place = np.arange(n_fft // 2 + 1) * rate / n_fft
    rising = (place - hertz[:-2, None]) / np.diff(hertz)[:-1, None]
    falling = (hertz[2:, None] - place) / np.diff(hertz)[1:, None]
    return np.log(power @ np.maximum(0, np.minimum(rising, falling)).T + 1e-6)


@pytest.mark.parametrize("seconds", [0.5, 1.5])
def test_mel_bands_are_their_definition(tmp_path: Path, seconds: float) -> None:
    wave = write_noise(tmp_path / "a.wav")
    fitted = np.pad(wave, (0, 16_000))[: round(seconds * 16_000)]
    step = LogMel(seconds=seconds, mels=40, n_fft=512, hop=200)
    values = step(Audio(tmp_path / "a.wav"))
    np.testing.assert_allclose(values, log_mel(fitted, 16_000, 40, 512, 200), atol=PRECISION)


def test_cepstra_are_the_cosine_transform_of_mel_bands(tmp_path: Path) -> None:
    wave = write_noise(tmp_path / "a.wav")
    values = Mfcc(seconds=0.7, mels=40, coefficients=13, n_fft=512)(Audio(tmp_path / "a.wav"))
    bands = log_mel(wave, 16_000, 40, 512, 160)
    order, place = np.arange(13)[:, None], np.arange(40) + 0.5
    basis = np.cos(np.pi * order * place / 40) * np.sqrt(2 / 40)
    basis[0] /= np.sqrt(2)
    np.testing.assert_allclose(values, bands @ basis.T, atol=0.05)  # the first ones are as large as 60


@pytest.mark.parametrize("seconds", [0.5, 1.0])
def test_waveforms_are_the_samples_themselves(tmp_path: Path, seconds: float) -> None:
    wave = write_noise(tmp_path / "a.wav")
    values = Waveform(seconds=seconds)(Audio(tmp_path / "a.wav"))
    expected = np.pad(np.round(wave * 32_768), (0, 16_000))[: round(16_000 * seconds)]
    np.testing.assert_array_equal(values, expected)


def test_waveforms_are_clipped_and_not_wrapped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([1.0, 1.5, -1.0, -1.5]), 16_000, subtype="FLOAT")
    values = Waveform(seconds=4 / 16_000)(Audio(tmp_path / "a.wav"))
    assert values.tolist() == [32_767, 32_767, -32_768, -32_768]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
@pytest.mark.parametrize("seconds", [1 / 16_000, 0.001, 0.3, 2.0, 12.0])
@pytest.mark.parametrize("pitch", [0.0, 440.0])
def test_any_duration_fits_the_shape(tmp_path: Path, step: Preprocessing, seconds: float, pitch: float) -> None:
    values = step(Audio(write_wav(tmp_path / "a.wav", seconds=seconds, pitch=pitch)))
    assert (values.shape, values.dtype) == (step.shape, step.dtype)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_another_rate_and_stereo_hardly_matter(tmp_path: Path, step: Preprocessing) -> None:
    """A tone is as high and as loud; what is not there at all may differ in its logarithm."""
    plain = step(Audio(write_wav(tmp_path / "a.wav", seconds=2.0, rate=step.rate))).astype(np.float64)
    wave, _ = soundfile.read(write_wav(tmp_path / "b.wav", seconds=2.0, rate=48_000))
    soundfile.write(tmp_path / "b.wav", np.stack([1.5 * wave, 0.5 * wave], axis=1), 48_000)
    other = step(Audio(tmp_path / "b.wav")).astype(np.float64)
    loud = np.abs(plain) > 1_000 if step.dtype == np.int16 else plain > plain.max() - 3.0
    inner = slice(20, 100) if step.dtype != np.int16 else slice(2_000, 20_000)
    np.testing.assert_allclose(other[inner][loud[inner]], plain[inner][loud[inner]], rtol=0.05, atol=0.1)
    assert loud[inner].any()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_a_step_gives_the_same_every_time(tmp_path: Path, step: Preprocessing) -> None:
    write_noise(tmp_path / "a.wav")
    first, second = (step(Audio(tmp_path / "a.wav")) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_bad_items_are_told_apart(tmp_path: Path, step: Preprocessing) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(UnreadableError, match="unreadable sound"):
        step(Audio(tmp_path / "a.wav"))
    with pytest.raises(TypeError, match="Image"):
        step(Image(tmp_path / "a.wav"))


def test_settings_identify_a_step() -> None:
    identities = [str(step.identity()) for step in (*STEPS, Fbank(mels=64), LogMel(seconds=2.0), Waveform(rate=8_000))]
    assert len(set(identities)) == len(identities)
    assert Fbank().identity() == {"name": "Fbank", "version": 1, "frames": 1024, "mels": 128, "rate": 16_000}


def test_a_missing_package_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = Audio(write_wav(tmp_path / "a.wav"))
    monkeypatch.setitem(sys.modules, "torchaudio.compliance.kaldi", None)
    with pytest.raises(UserError, match=r"torchaudio.*pip install"):
        Fbank()(audio)

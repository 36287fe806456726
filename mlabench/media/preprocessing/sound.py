"""Waveforms and time-frequency pictures of sound. Normalisation is the encoder's business."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlabench.media.items import Audio, Item
from mlabench.media.packages import needed_packages
from mlabench.media.preprocessing.contract import Preprocessing
from mlabench.media.sound import read_sound

if TYPE_CHECKING:
    from torch import Tensor


def _read(item: Item, rate: int) -> NDArray[np.float32]:
    if not isinstance(item, Audio):
        raise TypeError(f"there is no sound in a {type(item).__name__}")
    return read_sound(item, rate)


def _fitted(values: NDArray[Any], length: int) -> NDArray[Any]:
    """``values [T, ...]`` cut off, or followed by zeros. ``[length, ...]``"""
    result = np.zeros((length, *values.shape[1:]), values.dtype)
    result[: len(values)] = values[:length]
    return result


class _TimeFrequency(Preprocessing):
    """A time-frequency picture: a sound's content over time and frequency."""

    #: Half precision, which keeps three digits of a logarithm.
    dtype = np.dtype(np.float16)


@dataclass(frozen=True)
class Fbank(_TimeFrequency):
    """Logarithmic mel filter banks as in Kaldi, with MLA's (CVPR 2024) settings.

    The mean is removed; Hanning windows of 25 ms, every 10 ms; from 20 Hz up to half the sampling rate; zeros
    after the end.

    Attributes:
        frames: How many windows are kept.
        mels: How many filters.
        rate: Sampling rate in hertz.
    """

    frames: int = 1024
    mels: int = 128
    rate: int = 16_000

    @property
    def shape(self) -> tuple[int, ...]:
        """``(frames, mels)``."""
        return (self.frames, self.mels)

    def __call__(self, item: Item) -> NDArray[Any]:
        """See :meth:`Preprocessing.__call__`."""
        wave = _read(item, self.rate)
        with needed_packages():
            import torch
            from torchaudio.compliance.kaldi import fbank
        wave = _fitted(wave - wave.mean(), max(len(wave), self.rate // 40))  # one window at least
        bands = fbank(
            torch.from_numpy(wave).unsqueeze(0),
            htk_compat=True,
            sample_frequency=self.rate,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=self.mels,
            dither=0.0,
            frame_shift=10,
        )
        return _fitted(bands.numpy(), self.frames).astype(self.dtype)


@dataclass(frozen=True)
class Spectrogram(_TimeFrequency):
    """Logarithm of a spectrogram's magnitudes, with OGM-GE's (CVPR 2022) settings for CREMA-D; options as of LogMel.

    The sound is repeated, or cut, to ``seconds`` and clipped to [-1, 1]. Windows are periodic Hann windows of ``n_fft``
    samples, centred every ``hop`` samples, with the sound mirrored at its ends.
    """

    rate: int = 22_050
    seconds: float = 3.0
    n_fft: int = 512
    hop: int = 353

    @property
    def shape(self) -> tuple[int, ...]:
        """``(time, n_fft // 2 + 1)``."""
        return (1 + round(self.rate * self.seconds) // self.hop, self.n_fft // 2 + 1)

    def __call__(self, item: Item) -> NDArray[Any]:
        """See :meth:`Preprocessing.__call__`."""
        import torch

        wave = np.resize(_read(item, self.rate), round(self.rate * self.seconds)).clip(-1.0, 1.0)
        window = torch.hann_window(self.n_fft)
        spectrum = torch.stft(torch.from_numpy(wave), self.n_fft, self.hop, window=window, return_complex=True)
        return torch.log(spectrum.abs() + 1e-7).T.numpy().astype(self.dtype)


@dataclass(frozen=True)
class LogMel(_TimeFrequency):
    """Logarithm of the power in mel bands: ``log(power + 1e-6)``, HTK's mel scale, triangles of height one.

    Windows are those of :class:`Spectrogram`.

    Attributes:
        rate: Sampling rate in hertz.
        seconds: Duration; shorter sound is followed by zeros, longer one cut.
        mels: How many bands.
        n_fft: Samples of a window.
        hop: Samples from one window to the next.
    """

    rate: int = 16_000
    seconds: float = 10.0
    mels: int = 64
    n_fft: int = 400
    hop: int = 160

    @property
    def shape(self) -> tuple[int, ...]:
        """``(time, mels)``."""
        return (self._times, self.mels)

    @property
    def _times(self) -> int:
        return 1 + round(self.rate * self.seconds) // self.hop

    def __call__(self, item: Item) -> NDArray[Any]:
        """See :meth:`Preprocessing.__call__`."""
        return self._bands(item).numpy().astype(self.dtype)

    def _bands(self, item: Item) -> Tensor:
        import torch

        wave = torch.from_numpy(_fitted(_read(item, self.rate), round(self.rate * self.seconds)))
        bands: Tensor = _mel_spectrogram(self.rate, self.mels, self.n_fft, self.hop)(wave)
        return torch.log(bands.T + 1e-6)


@dataclass(frozen=True)
class Mfcc(LogMel):
    """Mel-frequency cepstral coefficients: the orthonormal DCT-II of :class:`LogMel`'s bands, the lowest first."""

    coefficients: int = 40

    @property
    def shape(self) -> tuple[int, ...]:
        """``(time, coefficients)``."""
        return (self._times, self.coefficients)

    def __call__(self, item: Item) -> NDArray[Any]:
        """See :meth:`Preprocessing.__call__`."""
        bands = self._bands(item)
        from torchaudio.functional import create_dct  # there, since the bands are

        cepstrum: Tensor = bands @ create_dct(self.coefficients, self.mels, norm="ortho")
        return cepstrum.numpy().astype(self.dtype)


@dataclass(frozen=True)
class Waveform(Preprocessing):
    """The waveform at ``rate`` hertz, 32768 times the amplitude; zeros or a cut make it ``seconds`` long."""

    rate: int = 16_000
    seconds: float = 10.0

    @property
    def shape(self) -> tuple[int, ...]:
        """``(rate * seconds,)``."""
        return (round(self.rate * self.seconds),)

    #: As in most sound files.
    dtype = np.dtype(np.int16)

    def __call__(self, item: Item) -> NDArray[Any]:
        """See :meth:`Preprocessing.__call__`."""
        wave = np.round(_read(item, self.rate) * 32_768).clip(-32_768, 32_767)
        return _fitted(wave.astype(self.dtype), *self.shape)


@lru_cache
def _mel_spectrogram(rate: int, mels: int, n_fft: int, hop: int) -> Any:
    with needed_packages():
        from torchaudio.transforms import MelSpectrogram
    return MelSpectrogram(rate, n_fft=n_fft, hop_length=hop, n_mels=mels)

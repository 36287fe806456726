"""Sound files, and the sound of video files, to mono waveforms."""

from __future__ import annotations

import re
from math import gcd
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlabench.media.containers import check_length, decode_sound
from mlabench.media.items import Audio, UnreadableError
from mlabench.media.packages import needed_packages

Waveform = NDArray[np.float32]

#: How files of WAV, FLAC, OGG and AIFF begin. Of damaged MP3, libsndfile would write warnings on the terminal.
_FILES = re.compile(rb"(RIFF|RF64)....WAVE|fLaC|OggS|FORM....AIF", re.DOTALL)
#: Sampling rates outside, in hertz, are those of damaged files.
_RATES = range(1_000, 400_001)


def read_sound(audio: Audio, rate: int) -> Waveform:
    """Decodes a sound: its channels averaged, cut to its start and end, and resampled to ``rate`` hertz.

    Amplitudes are mostly in [-1, 1]. float32 ``[T]``; ``T`` is at least 1.
    """
    with needed_packages():
        import torch
        from torchaudio.functional import resample
    check_length(audio, "audio")
    wave, own_rate = _read_file(audio) if _FILES.match(_header(audio.path)) else _read_container(audio)
    if not wave.size:
        raise UnreadableError("empty sound")
    if own_rate not in _RATES or not np.isfinite(wave).all():
        raise UnreadableError("unreadable sound")
    if gcd(own_rate, rate) < 10:
        # Rates without a common factor need a huge filter bank; the pitch changes by less than 0.1 %.
        own_rate = round(own_rate, -1)
    resampled: Waveform = resample(torch.from_numpy(wave), own_rate, rate).numpy()
    return resampled


def _header(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(12)
    except OSError as error:
        raise UnreadableError("unreadable sound") from error


def _read_file(audio: Audio) -> tuple[Waveform, int]:
    """Reads WAV, FLAC, OGG and AIFF by libsndfile: a waveform ``[T]`` and its rate in hertz."""
    with needed_packages():
        import soundfile
    try:
        with soundfile.SoundFile(audio.path) as sound:
            first = min(round(audio.start * sound.samplerate), sound.frames)
            sound.seek(first)
            length = -1 if audio.end is None else max(0, round(audio.end * sound.samplerate) - first)
            return sound.read(length, dtype="float32", always_2d=True).mean(axis=1), sound.samplerate
    except soundfile.LibsndfileError:
        return _read_container(audio)
    except Exception as error:  # what a damaged number leads to
        raise UnreadableError("unreadable sound") from error


def _read_container(audio: Audio) -> tuple[Waveform, int]:
    """Reads the sound of videos, and other formats, by FFmpeg: a waveform ``[T]`` and its rate in hertz."""
    with needed_packages():
        from av import AudioResampler
    parts: list[Waveform] = []
    begin, rate = 0.0, 0
    convert = AudioResampler(format="fltp")  # whatever the codec yields, to float32 ``[channels, t]``
    for time, frame in decode_sound(audio.path, audio.start):
        if audio.end is not None and time >= audio.end:
            break
        if not parts:
            begin, rate = time, frame.sample_rate
        try:
            parts += [part.to_ndarray().mean(axis=0, dtype=np.float32) for part in convert.resample(frame)]
        except ValueError as error:  # its rate or its channels change midway
            raise UnreadableError("unreadable sound") from error
    wave = np.concatenate(parts) if parts else np.empty(0, np.float32)
    end = None if audio.end is None else max(0, round((audio.end - begin) * rate))
    return wave[max(0, round((audio.start - begin) * rate)) : end], rate

"""Turns pictures, texts and speech into the frozen features of the embedded datasets.

The networks are those of :mod:`mlabench.pretrained`; nothing is downloaded at run time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from mlabench.datasets.embedded.storage import Features
from mlabench.media import needed_packages

#: Side of the pictures in pixels.
PICTURE_SIZE = 224
#: Sampling rate of speech in hertz.
SPEECH_RATE = 16_000
#: Number of buckets of :func:`count_ngrams`.
BUCKETS = 1024
#: Mel-frequency cepstral coefficients and the equal parts of a recording they are averaged over.
COEFFICIENTS, PARTS = 13, 8

_BATCH = 16


def encode_pictures(pictures: Iterable[NDArray[np.uint8]]) -> Features:
    """EfficientNet-Lite0 trained on ImageNet: its last feature map, averaged over positions. float32 ``[N, 1280]``"""
    import torch

    from mlabench.pretrained import PIXEL_MEAN, PIXEL_STD, EfficientNetLite0

    network = EfficientNetLite0(PICTURE_SIZE, pretrained=True).eval()
    rows = [np.zeros((0, network.WIDTH), np.float32)]
    source = iter(pictures)
    with torch.inference_mode():
        while batch := list(islice(source, _BATCH)):
            values = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float()
            rows.append(network((values - PIXEL_MEAN) / PIXEL_STD).numpy())
    return np.concatenate(rows)


def encode_sentences(texts: Sequence[str]) -> Features:
    """MiniLM-L6 (a sentence encoder for English): token states averaged over the tokens. float32 ``[N, 384]``"""
    with needed_packages():
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

    from mlabench.pretrained import minilm_folder

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder(), local_files_only=True)
    encoder = AutoModel.from_pretrained(minilm_folder(), local_files_only=True).eval()
    rows = [np.zeros((0, 384), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(texts), _BATCH):
            batch = list(texts[start : start + _BATCH])
            tokens = tokenizer(batch, padding=True, truncation=True, max_length=128, return_tensors="pt")
            mask = tokens["attention_mask"].unsqueeze(-1)
            states = encoder(**tokens).last_hidden_state
            rows.append(((states * mask).sum(dim=1) / mask.sum(dim=1)).numpy())
    return np.concatenate(rows)


def encode_speech(waveforms: Iterable[NDArray[np.float32]]) -> Features:
    """Cepstral coefficients: 13 means, 13 deviations, and 13 means of each of 8 parts. float32 ``[N, 130]``

    Silence before and after the utterance is cut, and loudness is levelled by the peak: the recordings come from
    volunteers with very different equipment.
    """
    with needed_packages():
        import torch
        from torch.nn import functional
        from torchaudio.functional import create_dct
        from torchaudio.transforms import MelSpectrogram
    mel = MelSpectrogram(SPEECH_RATE, n_fft=512, win_length=400, hop_length=160, n_mels=40, f_min=50, f_max=7600)
    dct = create_dct(COEFFICIENTS, 40, norm="ortho")
    rows = [np.zeros((0, (2 + PARTS) * COEFFICIENTS), np.float32)]
    for waveform in waveforms:
        wave = torch.from_numpy(waveform)
        wave = functional.pad(wave, (0, max(0, SPEECH_RATE // 4 - len(wave))))  # a quarter of a second at least
        bands = torch.log(mel(wave / wave.abs().max()).T + 1e-5)  # [frames, 40]
        loudness = bands.mean(dim=1)
        threshold = loudness.min() + 0.35 * (loudness.max() - loudness.min())
        voiced = torch.nonzero(loudness >= threshold).flatten()
        cepstrum = bands[voiced[0] : voiced[-1] + 1] @ dct
        parts = functional.adaptive_avg_pool1d(cepstrum.T.unsqueeze(0), PARTS)[0].T  # [8, 13]
        summary = [cepstrum.mean(dim=0), cepstrum.std(dim=0, correction=0), parts.flatten()]
        rows.append(torch.cat(summary).unsqueeze(0).numpy())
    return np.concatenate(rows)


def count_ngrams(texts: Sequence[str]) -> Features:
    """Counts of character 2- to 4-grams, hashed into :data:`BUCKETS` buckets. float32 ``[N, 1024]``

    Unlike an English sentence encoder, this treats all languages alike and sees roots that they share.
    """
    counts = np.zeros((len(texts), BUCKETS), np.float32)
    for row, text in zip(counts, texts, strict=True):
        padded = f" {' '.join(text.casefold().split())} "
        for size in (2, 3, 4):
            for start in range(len(padded) - size + 1):
                row[zlib.crc32(padded[start : start + size].encode()) % BUCKETS] += 1
    return counts

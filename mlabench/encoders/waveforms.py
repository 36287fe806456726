"""Waveforms of different lengths in one batch: where they end, their normalisation, their mean over time.

A cached waveform is zero-padded, so it ends at its last sample that is not zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Largest magnitude of an int16 sample.
_FULL_SCALE = 32768


def to_float(waveforms: Tensor) -> Tensor:
    """Values in [-1, 1) of int16 ``waveforms``."""
    return waveforms.float() / _FULL_SCALE


def sounding(waveforms: Tensor) -> Tensor:
    """Which samples are not padding: those up to the last that is not zero; all of silence. bool, as ``[n, T]``."""
    before_end = (waveforms != 0).flip(1).int().cummax(dim=1).values.flip(1).bool()
    return before_end | ~before_end.any(dim=1, keepdim=True)


def standardise(values: Tensor, real: Tensor, epsilon: float) -> Tensor:
    """Zero mean and unit variance of ``values [n, T]`` over the ``real [n, T]`` samples; the padding stays zero.

    ``epsilon`` is added to the variance.
    """
    centred = (values - masked_mean(values.unsqueeze(2), real)) * real
    variance = masked_mean(centred.square().unsqueeze(2), real)
    return centred / (variance + epsilon).sqrt()


def mean_over_time(states: Tensor, real: Tensor) -> Tensor:
    """Mean of a network's ``states [n, frames, d]`` over the frames that begin before their waveform ends.

    Frames are evenly spread over the waveforms, whose ``real [n, T]`` samples come from :func:`sounding`.
    float32 ``[n, d]``
    """
    frames, samples = states.shape[1], real.shape[1]
    begins = torch.arange(frames, device=states.device) * samples
    return masked_mean(states, begins < real.sum(dim=1, keepdim=True) * frames)


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``states [n, T, d]`` over the positions where ``mask [n, T]`` holds. float32 ``[n, d]``."""
    weight = mask.unsqueeze(2).float()
    return (states.float() * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)

"""Networks of torchaudio, by name, and summaries of sound that need no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mlabench.encoders.backbone import BackboneEncoder
from mlabench.encoders.hub import quietly
from mlabench.encoders.waveforms import masked_mean, mean_over_time, sounding, standardise, to_float
from mlabench.encoders.weights import load_into, load_weights
from mlabench.errors import UserError
from mlabench.hyperparameters import BackboneOptions, Hyperparameters
from mlabench.media import Medium, needed_packages
from mlabench.media.preprocessing import LogMel, Mfcc, Preprocessing, Waveform
from mlabench.registry import suggest

#: Pre-trained bundles of torchaudio: the function that builds the network, and whether waveforms are standardised
#: and padding is masked (it is where the first layer was not trained with group normalisation).
_NETWORKS = {
    "WAV2VEC2_BASE": ("wav2vec2_base", False),
    "WAV2VEC2_LARGE": ("wav2vec2_large", False),
    "WAV2VEC2_LARGE_LV60K": ("wav2vec2_large_lv60k", True),
    "WAV2VEC2_XLSR53": ("wav2vec2_large_lv60k", True),
    "WAV2VEC2_XLSR_300M": ("wav2vec2_xlsr_300m", True),
    "WAV2VEC2_XLSR_1B": ("wav2vec2_xlsr_1b", True),
    "WAV2VEC2_XLSR_2B": ("wav2vec2_xlsr_2b", True),
    "HUBERT_BASE": ("hubert_base", False),
    "HUBERT_LARGE": ("hubert_large", True),
    "HUBERT_XLARGE": ("hubert_xlarge", True),
    "WAVLM_BASE": ("wavlm_base", False),
    "WAVLM_BASE_PLUS": ("wavlm_base", False),
    "WAVLM_LARGE": ("wavlm_large", True),
}
#: Summaries without weights.
_SUMMARIES = ("mel_spectrogram", "mfcc")
#: Sampling rate of all of them in hertz.
_RATE = 16_000
#: Added to the variance of a waveform, as in the bundles.
_EPSILON = 1e-5
_OFFLINE = (
    "Go online once, or give the file with the bundle's state dict as `pretrained: PATH`, or take random weights: "
    "`pretrained: false`."
)


class TorchaudioEncoder(BackboneEncoder):
    """Speech networks of torchaudio (wav2vec 2.0, HuBERT, WavLM), or the mean and deviation of a spectrogram.

    A network reads the waveform; its last hidden states are averaged over the time that it sounds.
    ``mel_spectrogram`` and ``mfcc`` are cheap baselines without weights: mean and standard deviation over
    time of 64 log-mel bands, or of cepstral coefficients, the padding left out.

    Source: https://docs.pytorch.org/audio/stable/pipelines.html
    """

    class Config(BackboneOptions):
        """Options of ``torchaudio``."""

        model: str = Field(
            description="Name of a bundle such as WAV2VEC2_BASE, or mel_spectrogram or mfcc, which have no weights "
            "to pre-train; torchaudio:NAME is short for it."
        )
        seconds: float = Field(default=10.0, ge=0.1, description="Length of a sound; longer ones are cut.")

    config: Config
    reads = ("audio",)

    def __init__(self, shape: tuple[int, ...], config: Config) -> None:
        super().__init__(shape, config)
        _check_name(config.model)
        if config.model in _SUMMARIES:
            self._use(TimeStatistics(), 2 * shape[-1])
        else:
            function, standardised = _NETWORKS[config.model]
            network = _build(config, function)
            width = network.encoder.feature_projection.projection.out_features
            self._use(WaveformNetwork(network, standardised=standardised), width)

    @classmethod
    def preprocessing(cls, config: Hyperparameters, medium: Medium) -> Preprocessing:  # noqa: ARG003
        """A waveform int16 ``[T]``; for a summary, a spectrogram float16 ``[T, bands]``."""
        options = cast(TorchaudioEncoder.Config, config)
        _check_name(options.model)
        if options.model == "mel_spectrogram":
            return LogMel(seconds=options.seconds)
        if options.model == "mfcc":
            return Mfcc(seconds=options.seconds)
        return Waveform(rate=_RATE, seconds=options.seconds)

    def represent(self, inputs: Tensor) -> Tensor:
        """Hidden states averaged over time, or mean and deviation of the bands. float32 ``[n, d]``."""
        representation: Tensor = cast(nn.Module, self.backbone)(inputs)
        return representation


class TimeStatistics(nn.Module):
    """Mean and standard deviation over time, without the padding of a sound, a run of equal rows at its end."""

    def forward(self, spectrograms: Tensor) -> Tensor:
        """float32 ``[n, 2 * bands]`` of ``spectrograms [n, T, bands]``."""
        equal = (spectrograms == spectrograms[:, -1:]).all(dim=2)
        run = equal.flip(1).int().cummin(dim=1).values.flip(1).bool()
        padding = run & (run.sum(dim=1, keepdim=True) > 1)
        real = ~padding | padding.all(dim=1, keepdim=True)
        values = spectrograms.float()
        mean = masked_mean(values, real)
        deviation = masked_mean((values - mean.unsqueeze(1)).square(), real).sqrt()
        return torch.cat([mean, deviation], dim=1)


class WaveformNetwork(nn.Module):
    """A network on waveforms, its normalisation before it and a mean over time behind it."""

    def __init__(self, network: nn.Module, *, standardised: bool) -> None:
        super().__init__()
        self.network = network
        self.standardised = standardised

    def forward(self, waveforms: Tensor) -> Tensor:
        """float32 ``[n, width]`` of int16 ``waveforms [n, T]``."""
        real = sounding(waveforms)
        values = to_float(waveforms)
        if self.standardised:
            states, _ = self.network(standardise(values, real, _EPSILON), real.sum(dim=1))
        else:  # trained on padding without a mask
            states, _ = self.network(values)
        return mean_over_time(states, real)


def _check_name(name: str) -> None:
    known = [*_SUMMARIES, *_NETWORKS]
    if name not in known:
        remedy = suggest(name, known) or f"Known: {', '.join(known)}."
        raise UserError(f"torchaudio has no encoder {name!r}.", remedy=remedy)


def _build(config: TorchaudioEncoder.Config, function: str) -> Any:
    with needed_packages():
        from torchaudio import models, pipelines
    network = getattr(models, function)()
    if config.pretrained is True:
        try:
            with quietly():
                published = getattr(pipelines, config.model).get_model()
        except OSError as error:
            raise UserError(f"torchaudio cannot get the weights of {config.model}.", remedy=_OFFLINE) from error
        # Some bundles wrap the network in one that standardises the waveform.
        network.load_state_dict({name.removeprefix("model."): own for name, own in published.state_dict().items()})
    elif isinstance(config.pretrained, Path):
        load_into(network, load_weights(config.pretrained), config.pretrained)
    return network

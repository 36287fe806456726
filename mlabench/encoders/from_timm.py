"""Networks of timm, by name."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mlabench.encoders.augmentation import Fit, PictureInput
from mlabench.encoders.backbone import BackboneEncoder
from mlabench.encoders.hub import from_hub, quietly
from mlabench.encoders.weights import load_into, load_weights
from mlabench.errors import UserError
from mlabench.hyperparameters import BackboneOptions, Hyperparameters
from mlabench.media import Medium, needed_packages
from mlabench.media.preprocessing import Fbank, Frames, LogMel, Picture, Preprocessing, Spectrogram
from mlabench.registry import suggest

_OFFLINE = (
    "Go online once, or give the file with its weights as `pretrained: PATH`, or take random ones: `pretrained: false`."
)


class TimmEncoder(BackboneEncoder):
    """Any network of timm (PyTorch Image Models) for pictures, videos and sound, pooled.

    Frames of a video go through the two-dimensional network one by one and are averaged. The paper averages
    the last feature map over time and space at once, which is the same, as all maps are equally large.
    While training, every frame is cropped and mirrored on its own, as in the paper's code.

    Sound is a picture with one channel, time from top to bottom. Published weights of the first layer are
    then summed over the colours.

    Source: https://github.com/huggingface/pytorch-image-models
    """

    class Config(BackboneOptions):
        """Options of ``timm``."""

        model: str = Field(description="Name in timm, such as resnet18 or resnet18.a1_in1k; timm:NAME is short for it.")
        size: int = Field(default=224, ge=16, description="Side of a picture or frame in pixels.")
        fit: Fit = "stretch"
        augment: bool = Field(
            default=True,
            description="Crop and mirror pictures and frames at random while training; never where frozen.",
        )
        frames: int = Field(default=3, ge=1, description="Frames of a video, evenly spread (the paper's code: 3).")
        front_end: Literal["fbank", "spectrogram", "log_mel"] = Field(
            default="fbank",
            description="Picture of a sound: the paper's 1024 x 128 filter bank, OGM-GE's spectrogram, or log-mel.",
        )
        seconds: float | None = Field(
            default=None,
            ge=0.1,
            description="Length of the sound; null for 10.24 (fbank), 3 (spectrogram) or 10 (log_mel).",
        )
        audio_mean: float = Field(
            default=0.0, description="Mean of the front end's values x: the network sees (x - mean) / (2 std)."
        )
        audio_std: float = Field(
            default=0.5,
            gt=0,
            description="Their deviation. The defaults change nothing, as in the paper; Kinetics-Sounds in OGM-GE has "
            "mean -4.503877 and std 5.141276.",
        )
        initialisation: Literal["paper", "timm"] = Field(
            default="paper",
            description="Random weights of `pretrained: false`: the paper's (convolutions Kaiming-normal, linear "
            "layers Xavier-normal, every batch normalisation 1), or timm's own, where residual branches start at 0.",
        )

    config: Config
    reads = ("image", "video", "audio")

    def __init__(self, shape: tuple[int, ...], config: Config) -> None:
        super().__init__(shape, config)
        channels, size = 1 if len(shape) == 2 else 3, (shape[-2], shape[-1])
        network = _build(config, channels, size)
        about = network.pretrained_cfg
        if about["fixed_input_size"]:
            _check_size(network, config.model, channels, size)
        self.picture = PictureInput(about["mean"], about["std"], augment=config.augment and not config.frozen)
        self._use(network, network.head_hidden_size)

    @classmethod
    def preprocessing(cls, config: Hyperparameters, medium: Medium) -> Preprocessing:
        """Pictures uint8 ``[3, S, S]``, frames uint8 ``[k, 3, S, S]``, or a sound's float16 ``[T, mels]``."""
        options = cast(TimmEncoder.Config, config)
        _check_name(options.model)
        if medium == "image":
            return Picture(size=options.size, fit=options.fit)
        if medium == "video":
            return Frames(count=options.frames, size=options.size, fit=options.fit)
        if options.front_end == "fbank":
            return Fbank(frames=round(100 * (options.seconds or 10.24)))
        if options.front_end == "spectrogram":
            return Spectrogram(seconds=options.seconds or 3.0)
        return LogMel(seconds=options.seconds or 10.0)

    def represent(self, inputs: Tensor) -> Tensor:
        """The network's pooled features of pictures, of frames (averaged), or of a sound. ``[n, d]``."""
        network = cast(nn.Module, self.backbone)
        features: Tensor
        if len(self.shape) == 2:
            features = network((inputs.float().unsqueeze(1) - self.config.audio_mean) / (2 * self.config.audio_std))
        elif len(self.shape) == 3:
            features = network(self.picture(inputs))
        else:
            frames = self.picture(inputs)
            features = network(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).mean(dim=1)
        return features


def _check_name(name: str) -> None:
    with needed_packages():
        import timm
    architecture, _, tag = name.partition(".")
    if timm.is_model(architecture):
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
        if not tag or tag in tags:
            return
        known = ", ".join(tags) or "none"
        raise UserError(f"timm has no weights {tag!r} for {architecture!r}.", remedy=f"Known: {known}.")
    remedy = suggest(architecture, timm.list_models()) or "See timm.list_models()."
    raise UserError(f"timm has no network {name!r}.", remedy=remedy)


def _build(config: TimmEncoder.Config, channels: int, size: tuple[int, int]) -> Any:
    _check_name(config.model)
    import timm
    from timm.models import get_pretrained_cfg

    about: Any = get_pretrained_cfg(config.model)
    options: dict[str, Any] = {"num_classes": 0, "in_chans": channels}
    if about.fixed_input_size:  # the others take any size, and refuse the option
        options["img_size"] = size
    if config.pretrained is True:
        try:
            overlay = _cached_weights(about, config.model)
            with quietly():
                return timm.create_model(config.model, pretrained=True, pretrained_cfg_overlay=overlay, **options)
        except (OSError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"timm cannot load the weights of {config.model!r} ({reason}).", remedy=_OFFLINE) from error
    network = timm.create_model(config.model, **options)
    if isinstance(config.pretrained, Path):
        _load(network, config.pretrained, channels)
    elif config.initialisation == "paper":
        network.apply(_initialise)
    return network


def _check_size(network: Any, name: str, channels: int, size: tuple[int, int]) -> None:
    """Tries the network on one picture; most that cut it into patches refuse what patches do not fill."""
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, channels, *size))
    except (AssertionError, RuntimeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        remedy = "Choose another size of pictures (size), or length of sound (seconds)."
        raise UserError(f"{name!r} cannot read {size[0]} x {size[1]} values ({reason}).", remedy=remedy) from error
    network.train(training)


def _cached_weights(about: Any, name: str) -> dict[str, Any]:
    """The options with which timm reads weights from the hub's local cache; downloads them first if need be."""
    if not about.hf_hub_id:
        return {}  # published elsewhere, where timm fails quickly by itself
    from huggingface_hub import hf_hub_download

    load = partial(hf_hub_download, about.hf_hub_id, about.hf_hub_filename or "model.safetensors")
    return {"file": from_hub(load, name, _OFFLINE), "custom_load": False}


def _load(network: Any, path: Path, channels: int) -> None:
    """Loads a file of weights; the first layer is adapted to the number of channels, as timm does."""
    from timm.models import adapt_input_conv

    weights = load_weights(path)
    about = network.pretrained_cfg
    for first in _names(about["first_conv"]):
        weight = weights.get(f"{first}.weight")
        if weight is not None and weight.ndim == 4 and weight.shape[1] == 3:
            weights[f"{first}.weight"] = adapt_input_conv(channels, weight)
    load_into(network, weights, path, unused=[f"{name}." for name in _names(about["classifier"])])


def _names(layers: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (layers,) if isinstance(layers, str) else tuple(layers or ())


def _initialise(module: nn.Module) -> None:
    """The paper's initialisation, which it took over from OGM-GE."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.BatchNorm2d) and module.affine:
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)

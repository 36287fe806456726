"""Networks of the Hugging Face hub, by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from pydantic import Field
from safetensors import SafetensorError
from torch import Tensor, nn

from mlabench.encoders.augmentation import Augment, Fit, PictureInput
from mlabench.encoders.backbone import BackboneEncoder
from mlabench.encoders.hub import from_hub
from mlabench.encoders.waveforms import masked_mean, mean_over_time, sounding, standardise, to_float
from mlabench.errors import UserError
from mlabench.hyperparameters import BackboneOptions, Hyperparameters
from mlabench.media import Medium, needed_packages
from mlabench.media.preprocessing import Fbank, Picture, Preprocessing, Tokens, Waveform

_OFFLINE = "Go online once, or give the folder of the saved model (config, tokenizer, weights) as `pretrained: PATH`."
_OTHER = "Choose another model; pictures, videos and spectrograms are also read by timm:NAME."
#: What a network's main input is made of.
_MEDIA: dict[str, Medium] = {"input_ids": "text", "input_values": "audio", "pixel_values": "image"}
#: Where networks that embed both pictures and texts, such as CLIP, keep the part for each.
_TOWERS: dict[Medium, str] = {"image": "vision", "text": "text"}
#: The one kind of model that reads filter banks rather than waveforms.
_SPECTROGRAMS = "audio-spectrogram-transformer"
#: Added to the variance of a waveform by Hugging Face's feature extractors.
_EPSILON = 1e-7


class HuggingFaceEncoder(BackboneEncoder):
    """Any encoder of the Hugging Face hub for text (BERT), sound (wav2vec 2.0, AST) or pictures (ViT, CLIP), pooled.

    Text is tokenised with the model's own tokenizer; padding is masked. Waveforms are normalised and masked
    as the model's feature extractor says, over the time that they sound; the Audio Spectrogram Transformer
    gets its filter bank, normalised. Pictures are normalised as the model's image processor says.

    The last hidden states are averaged, or the first of them taken. A pooling layer on top of them is left
    out, and the random masking of inputs (SpecAugment) with which some networks are fine-tuned is off.

    Source: https://huggingface.co/models
    """

    class Config(BackboneOptions):
        """Options of ``hf``."""

        model: str = Field(
            description="Name on the hub, such as google-bert/bert-base-uncased; hf:NAME is short for it. "
            "With `pretrained: PATH` everything is read from that folder."
        )
        pooling: Literal["mean", "cls"] = Field(
            default="mean", description="Mean over tokens, frames or patches, padding apart; or the first one only."
        )
        length: int = Field(default=128, ge=2, description="Tokens of a text; longer ones are cut.")
        seconds: float = Field(
            default=10.0, ge=0.1, description="Length of a waveform; longer ones are cut. AST has its own."
        )
        fit: Fit = "stretch"
        augment: Augment = True

    config: Config
    reads: ClassVar[tuple[Medium, ...]] = ("text", "audio", "image")

    def __init__(self, shape: tuple[int, ...], config: Config) -> None:
        super().__init__(shape, config)
        source = _source(config)
        about = _fetch("AutoConfig", source)
        media = _media(about, source)
        self.medium = next(medium for medium in media if (medium == "image") == (len(shape) == 3))
        network = _network(config, about)
        if len(media) > 1:
            tower = _TOWERS[self.medium]
            network, about = getattr(network, f"{tower}_model"), getattr(about, f"{tower}_config")
        self.padding = getattr(about, "pad_token_id", None) or 0
        if self.medium == "audio":
            self.extractor = _fetch("AutoFeatureExtractor", source)
        if self.medium == "image":
            pictures = _fetch("AutoImageProcessor", source)
            mean, std = tuple(pictures.image_mean), tuple(pictures.image_std)
            self.picture = PictureInput(mean, std, augment=config.augment and not config.frozen)
        self._use(network, about.hidden_size)

    @classmethod
    def preprocessing(cls, config: Hyperparameters, medium: Medium) -> Preprocessing:
        """Token ids int32 ``[length]``, a waveform int16 ``[T]`` or filter bank, or pictures uint8 ``[3, S, S]``."""
        options = cast(HuggingFaceEncoder.Config, config)
        source = _source(options)
        about = _fetch("AutoConfig", source)
        media = _media(about, source)
        if medium not in media:
            raise UserError(f"the model {source!r} reads {' or '.join(media)}, not {medium}.", remedy=_OTHER)
        if medium == "text":
            return _tokens(options, getattr(about, "text_config", about))
        if medium == "image":
            side = getattr(about, "vision_config", about).image_size  # which some write as a pair
            return Picture(size=side if isinstance(side, int) else max(side), fit=options.fit)
        rate = _fetch("AutoFeatureExtractor", source).sampling_rate
        if about.model_type == _SPECTROGRAMS:
            return Fbank(frames=about.max_length, mels=about.num_mel_bins, rate=rate)
        return Waveform(rate=rate, seconds=options.seconds)

    def represent(self, inputs: Tensor) -> Tensor:
        """The network's pooled hidden states. float32 ``[n, d]``."""
        if self.medium == "text":
            real = inputs >= 0
            ids = inputs.long().masked_fill(~real, self.padding)
            return self._pool(self._states(input_ids=ids, attention_mask=real.long()), real)
        if self.medium == "image":
            return self._pool(self._states(pixel_values=self.picture(inputs)))
        if inputs.ndim == 3:
            values = inputs.float()
            if self.extractor.do_normalize:
                values = (values - self.extractor.mean) / (2 * self.extractor.std)
            return self._pool(self._states(input_values=values))
        return self._represent_waveform(inputs)

    def _represent_waveform(self, waveforms: Tensor) -> Tensor:
        real = sounding(waveforms)
        values = to_float(waveforms)
        if self.extractor.do_normalize:
            values = standardise(values, real, _EPSILON)
        # Networks that were trained on padding without a mask do worse with one.
        masked = {"attention_mask": real.long()} if self.extractor.return_attention_mask else {}
        states = self._states(input_values=values, **masked)
        return self._pool(states) if self.config.pooling == "cls" else mean_over_time(states, real)

    def _states(self, **inputs: Tensor) -> Tensor:
        states: Tensor = cast(nn.Module, self.backbone)(**inputs).last_hidden_state
        return states

    def _pool(self, states: Tensor, real: Tensor | None = None) -> Tensor:
        if self.config.pooling == "cls":
            return states[:, 0].float()
        return states.float().mean(dim=1) if real is None else masked_mean(states, real)


def _source(config: HuggingFaceEncoder.Config) -> str:
    """Where the model is read from: its name on the hub, or a folder."""
    if not isinstance(config.pretrained, Path):
        return config.model
    folder = config.pretrained.expanduser()
    if not (folder / "config.json").is_file():
        raise UserError("is not a folder with a saved model (no config.json).", remedy=_OFFLINE, file=str(folder))
    return str(folder)


def _fetch(what: str, source: str, **options: Any) -> Any:
    """What a class of transformers, such as ``AutoConfig``, reads on this machine, and else from the hub."""
    with needed_packages():
        import transformers

        load = partial(getattr(transformers, what).from_pretrained, source, trust_remote_code=False, **options)
    try:
        with _quiet():
            return load(local_files_only=True) if Path(source).is_dir() else from_hub(load, source, _OFFLINE)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"cannot load {source!r} with transformers ({reason}).", remedy=_OFFLINE) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars and notes about unused weights."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _media(about: Any, source: str) -> tuple[Medium, ...]:
    """What the model reads."""
    from transformers import MODEL_MAPPING

    if all(hasattr(about, f"{tower}_config") for tower in _TOWERS.values()):
        return tuple(_TOWERS)
    network = MODEL_MAPPING.get(type(about), None)
    medium = _MEDIA.get(getattr(network, "main_input_name", ""))
    if medium is None or about.is_encoder_decoder or not hasattr(about, "hidden_size"):
        raise UserError(f"the model {source!r} is not an encoder of text, waveforms or picture patches.", remedy=_OTHER)
    return (medium,)


def _tokens(config: HuggingFaceEncoder.Config, about: Any) -> Tokens:
    limit = getattr(about, "max_position_embeddings", config.length)
    if config.length > limit:
        raise UserError(f"the model {config.model!r} reads {limit} tokens at most.", field="length")
    folder = str(config.pretrained.expanduser()) if isinstance(config.pretrained, Path) else ""
    return Tokens(tokenizer=config.model, length=config.length, folder=folder)


def _network(config: HuggingFaceEncoder.Config, about: Any) -> Any:
    from transformers import AutoModel

    if hasattr(about, "apply_spec_augment"):
        about.apply_spec_augment = False  # it draws from NumPy's generator, and fails on short waveforms
    source = _source(config)
    if config.pretrained is False:
        network, missing = AutoModel.from_config(about), set()
    else:
        network, report = _fetch("AutoModel", source, config=about, output_loading_info=True)
        network, missing = network.float(), set(report["missing_keys"])
    if "add_pooling_layer" in inspect.signature(type(network)).parameters:
        network.pooler = None  # on top of the first token; checkpoints often lack it, and nothing here reads it
    if lacking := sorted(missing & set(network.state_dict())):
        raise UserError(
            f"the weights of {source!r} lack {len(lacking)} tensors of the network, e.g. {lacking[0]}.",
            remedy="Save the whole model with save_pretrained.",
        )
    return network

"""The embedded dataset ``stamps``: frozen features of Tux Paint's stamps, shipped inside the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from mlabench.datasets.contract import Data
from mlabench.datasets.embedded.base import Components, Embedded, stored_rows
from mlabench.datasets.embedded.fitting import Counts, standardise_within, weigh_ngrams
from mlabench.datasets.embedded.stamps.raw_files import CLASSES, LANGUAGES
from mlabench.datasets.embedded.stamps.rebuild import REBUILD
from mlabench.datasets.embedded.storage import Features
from mlabench.datasets.options import AudioImageText
from mlabench.hyperparameters import ModalityOptions


class Stamps(Embedded):
    """Tux Paint stamps: 10 kinds of pictures, their descriptions in 9 languages, read aloud by people.

    A sample is a stamp in one language: the picture (EfficientNet-Lite0 features), the description in that language
    (hashed character n-grams, or MiniLM features of the English one) and the recording of a person reading it
    (cepstral statistics). The label is the kind of thing shown. It is the stand-in for IEMOCAP in size and modalities
    only: its numbers must never be set beside the paper's as if they were.

    What it can show: modality imbalance (image strong, text middling, audio weak), lazy modalities, and the course of
    accuracy as modalities go missing, on real data that run anywhere in seconds. What it cannot show: skill at using
    audio, which is weak alone and nearly redundant beside the others; anything about emotion; fine differences, since
    the 6,625 samples hold about 640 independent concepts. Language and speaker are probably confounded. Splits are by
    concept: neither a picture nor a re-coloured twin is in two of them.
    """

    class Config(ModalityOptions):
        """Options of ``stamps``."""

        modalities: AudioImageText = ("audio", "image", "text")
        text: Literal["same_language", "english"] = Field(
            default="same_language",
            description="The description that the recording reads, or the English one (much stronger).",
        )
        components: Components = 128

    config: Config
    version = 2
    source = "Tux Paint stamps (Debian package tuxpaint-stamps-default 2022.06.04-1), GPL-2."
    twin_of = "IEMOCAP"
    defaults: ClassVar[Mapping[str, Any]] = {
        "encoders": {"*": {"name": "mlp", "hidden": [256], "width": 128, "dropout": 0.5}},
        "training": {
            "epochs": 10,
            "batch_size": 256,
            "optimizer": {"name": "adam", "lr": 3e-3, "weight_decay": 1e-4},
        },
    }

    folder = Path(__file__).with_name("features")
    classes = CLASSES
    rebuild = REBUILD

    def options(self) -> dict[str, Any]:
        """The options that decide what is loaded: without the text, its language does not matter."""
        options = super().options()
        if "text" not in self.config.modalities:
            del options["text"]
        return options

    def transform(self, modality: str, values: Features, uses: Counts, data: Data) -> Features:
        """As they are but for recordings, standardised per language: mostly one person, with one microphone, reads one.

        Texts in their own language are weighed first.
        """
        if modality == "audio":
            language = np.zeros(len(values), np.int64)
            for split in (data.train, data.validation, data.test):
                spoken = [LANGUAGES.index(id_.rpartition(":")[2]) for id_ in split.ids]
                language[stored_rows(split, modality).rows] = spoken
            return standardise_within(values, uses, language)
        if self.column(modality) == "text":
            values = weigh_ngrams(values, uses)
        return super().transform(modality, values, uses, data)

    def column(self, modality: str) -> str:
        """See :meth:`Embedded.column`."""
        return "english" if modality == "text" and self.config.text == "english" else modality

    @property
    def notes(self) -> tuple[str, ...]:
        """See :attr:`Embedded.notes`."""
        weak = ("Audio is weak and nearly redundant beside image and text.",)
        return (
            "stamps stands in for IEMOCAP; its labels are object categories and its numbers are not the paper's.",
            *(weak if "audio" in self.config.modalities else ()),
            f"A picture repeats in up to {len(LANGUAGES)} languages: samples of one concept are not independent.",
        )

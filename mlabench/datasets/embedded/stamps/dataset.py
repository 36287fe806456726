"""The embedded dataset ``stamps``: frozen features of Tux Paint's stamps, shipped inside the package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mlabench.datasets.contract import Data, Dataset, Inventory, ReportProgress
from mlabench.datasets.embedded.base import Tensors, assemble, fingerprint, read_features
from mlabench.datasets.embedded.stamps.raw_files import CLASSES, LANGUAGES, PACKAGE
from mlabench.hyperparameters import ModalityOptions
from mlabench.media import Medium

#: The shipped features; ``README.md`` there is the data card.
SHIPPED = Path(__file__).with_name("features")
#: What to do if the shipped features are missing.
_REMEDY = (
    "Reinstall mlabench, or rebuild the features: "
    f"`mlabench data prepare stamps --root DIR`, DIR holding the Debian package {PACKAGE}."
)


class Stamps(Dataset):
    """Tux Paint stamps: 10 kinds of pictures, their descriptions in 9 languages, read aloud by people.

    A sample is a stamp in one language: the picture (EfficientNet-Lite0 features), the description in
    that language (hashed character n-grams, or MiniLM features of the English description) and the
    recording of a person reading it (cepstral statistics). The label is the kind of thing shown.

    What it can show: modality imbalance (image strong, text middling, audio weak), lazy modalities, and
    the course of accuracy as modalities go missing, on real data that run anywhere in seconds.
    What it cannot show: skill at using audio, which is weak alone and nearly redundant beside the
    others; anything about emotion, since labels are object categories; fine differences, since a
    picture and an English text repeat in up to 9 languages, so that the 6,625 samples hold about 640
    independent concepts. Language and speaker are probably confounded. It is the stand-in for IEMOCAP
    in size and modalities only, and its numbers must never be set beside the paper's as if they were.

    Splits are by concept and fixed: neither a picture nor a re-coloured twin is in two of them.
    The features derive from GPL-2 material and carry that licence; the code does not.
    """

    class Config(ModalityOptions):
        """Options of ``stamps``."""

        modalities: tuple[Literal["audio", "image", "text"], ...] = Field(
            default=("audio", "image", "text"),
            min_length=1,
            description="Which modalities to use; their order is the column order everywhere.",
        )
        text: Literal["same_language", "english"] = Field(
            default="same_language",
            description="The description that the recording reads, or the English one (much stronger).",
        )

    config: Config
    source = "Tux Paint stamps (Debian package tuxpaint-stamps-default 2022.06.04-1), GPL-2."
    twin_of = "IEMOCAP"
    defaults: ClassVar[Mapping[str, Any]] = {
        "encoders": {"*": {"name": "mlp", "hidden": [256], "width": 128, "dropout": 0.5}},
        "training": {
            "epochs": 20,
            "batch_size": 64,
            "optimizer": {"name": "adam", "lr": 1e-3, "weight_decay": 1e-4},
        },
    }

    @property
    def media(self) -> dict[str, Medium]:
        """The chosen modalities, in the order of the columns."""
        return dict.fromkeys(self.config.modalities, "features")

    def fingerprint(self) -> str:
        """First 12 hex digits of a SHA-256 over the shipped files and the options that matter.

        Raises:
            UserError: If the shipped files are missing.
        """
        options = self.config.model_dump(mode="json")
        if "text" not in self.config.modalities:
            del options["text"]
        return fingerprint(SHIPPED, options, _REMEDY)

    def load(self) -> Data:
        """Loads the three splits from the shipped features.

        Raises:
            UserError: If the shipped files are missing.
        """
        rows, tensors, metadata = read_features(SHIPPED, _REMEDY)
        columns: dict[str, str] = {modality: self._column(modality) for modality in self.config.modalities}
        features = {
            modality: ngram_features(tensors) if column == "text" else tensors[column].astype(np.float32)
            for modality, column in columns.items()
        }
        return assemble(rows, CLASSES, features, columns, self._notes(json.loads(metadata["made"])["skipped"]))

    def check(self, root: Path | None = None) -> Inventory:
        """See :func:`mlabench.datasets.embedded.stamps.rebuild.check_stamps`."""
        from mlabench.datasets.embedded.stamps.rebuild import check_stamps

        return check_stamps(root)

    def prepare(
        self, root: Path | None = None, out: Path | None = None, progress: ReportProgress | None = None
    ) -> Inventory:
        """See :func:`mlabench.datasets.embedded.stamps.rebuild.prepare_stamps`."""
        from mlabench.datasets.embedded.stamps.rebuild import prepare_stamps

        return prepare_stamps(root, out, progress)

    def _column(self, modality: str) -> str:
        """The column of the table, and name of the tensor, that a modality is read from."""
        return "english" if modality == "text" and self.config.text == "english" else modality

    def _notes(self, skipped: dict[str, int]) -> tuple[str, ...]:
        missing = ", ".join(f"{reason} ({count})" for reason, count in skipped.items())
        notes = [
            "stamps stands in for IEMOCAP; its labels are object categories and its numbers are not the paper's.",
            f"A picture repeats in up to {len(LANGUAGES)} languages: samples of one concept are not independent.",
            f"Left out when the features were made: {missing}.",
        ]
        if "audio" in self.config.modalities:
            notes.insert(1, "Audio is weak and nearly redundant beside image and text.")
        return tuple(notes)


def ngram_features(tensors: Tensors) -> NDArray[np.float32]:
    """Standardised n-gram features of every distinct text.

    They are stored sparsely (text ``i`` owns the entries ``start[i]`` to ``start[i + 1]``), because most
    buckets of most texts are empty, and are standardised here because that would fill them.

    Returns:
        float32 ``[texts, buckets]``
    """
    start, mean, std = (tensors[f"text.{name}"] for name in ("start", "mean", "std"))
    features: NDArray[np.float32] = np.zeros((len(start) - 1, len(mean)), np.float32)
    rows = np.repeat(np.arange(len(features)), start[1:] - start[:-1])
    features[rows, tensors["text.bucket"]] = tensors["text.weight"]
    features -= mean
    features /= std
    return features

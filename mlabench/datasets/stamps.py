"""The embedded dataset ``stamps``: frozen features of Tux Paint's stamps, shipped inside the package."""

from __future__ import annotations

import csv
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator
from safetensors import safe_open

from mlabench.datasets import Data, Dataset, Inventory, Progress, Split, Task
from mlabench.datasets.stamps_raw import CLASSES, LANGUAGES, PACKAGE
from mlabench.errors import UserError
from mlabench.hyperparameters import Hyperparameters

#: The shipped features; ``README.md`` there is the data card.
SHIPPED = Path(__file__).with_name("stamps_features")
TENSORS, TABLE = "features.safetensors", "samples.csv"
#: Columns of the table; the last four are rows of the feature tensors.
COLUMNS = ("id", "class", "language", "concept", "split", "image", "text", "english", "audio")

Rows = list[dict[str, str]]
Tensors = dict[str, NDArray[Any]]


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

    class Config(Hyperparameters):
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

        @field_validator("modalities")
        @classmethod
        def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
            if len(set(value)) < len(value):
                raise ValueError(f"each modality can be named once only, got {', '.join(value)}")
            return value

    config: Config
    source = "Tux Paint stamps (Debian package tuxpaint-stamps-default 2022.06.04-1), GPL-2."
    twin_of = "IEMOCAP"

    @property
    def modalities(self) -> tuple[str, ...]:
        """The chosen modalities, in the order of the columns."""
        return self.config.modalities

    def fingerprint(self) -> str:
        """First 12 hex digits of a SHA-256 over the shipped files and the options.

        Raises:
            UserError: If the shipped files are missing.
        """
        options = self.config.model_dump(mode="json")
        if "text" not in self.config.modalities:
            del options["text"]
        return hashlib.sha256((_hash(SHIPPED) + json.dumps(options, sort_keys=True)).encode()).hexdigest()[:12]

    def load(self) -> Data:
        """Loads the three splits from the shipped features.

        Raises:
            UserError: If the shipped files are missing.
        """
        rows, tensors, metadata = read_features(SHIPPED)
        columns = {modality: self._column(modality) for modality in self.config.modalities}
        features = {
            modality: ngram_features(tensors) if column == "text" else tensors[column].astype(np.float32)
            for modality, column in columns.items()
        }

        def split(name: str) -> Split:
            own = [row for row in rows if row["split"] == name]
            return Split(
                ids=tuple(row["id"] for row in own),
                labels=np.array([CLASSES.index(row["class"]) for row in own], dtype=np.int64),
                inputs={
                    modality: features[modality][[int(row[column]) for row in own]]
                    for modality, column in columns.items()
                },
                groups=tuple(row["concept"] for row in own),
            )

        return Data(
            task=Task(
                modalities=self.config.modalities,
                classes=CLASSES,
                shapes={modality: array.shape[1:] for modality, array in features.items()},
            ),
            train=split("train"),
            validation=split("validation"),
            test=split("test"),
            notes=self._notes(json.loads(metadata["made"])["skipped"]),
        )

    @classmethod
    def check(cls, root: Path | None = None) -> Inventory:
        """See :func:`mlabench.datasets.prepare.check_stamps`."""
        from mlabench.datasets.prepare import check_stamps

        return check_stamps(root)

    @classmethod
    def prepare(cls, root: Path | None = None, out: Path | None = None, progress: Progress | None = None) -> Inventory:
        """See :func:`mlabench.datasets.prepare.prepare_stamps`."""
        from mlabench.datasets.prepare import prepare_stamps

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


def read_features(folder: Path) -> tuple[Rows, Tensors, dict[str, str]]:
    """Reads a folder of features: the table of samples, the tensors and their metadata.

    Raises:
        UserError: If one of the two files is missing.
    """
    _require(folder)
    with (folder / TABLE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with safe_open(folder / TENSORS, framework="numpy") as file:
        return rows, {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


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


@cache
def _hash(folder: Path) -> str:
    _require(folder)
    digest = hashlib.sha256()
    for name in (TENSORS, TABLE):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _require(folder: Path) -> None:
    for name in (TENSORS, TABLE):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder / name} is missing.",
                remedy="Reinstall mlabench, or rebuild the features: "
                f"`mlabench data prepare stamps --root DIR`, DIR holding the Debian package {PACKAGE}.",
            )

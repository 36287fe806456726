"""Options that several published datasets share."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from mlabench.hyperparameters import ModalityOptions


class FileOptions(ModalityOptions):
    """Where the files lie."""

    root: Path | None = Field(default=None, description="Folder of the data; see the data card.")
    lists: Path | None = Field(
        default=None, description="Folder of your copy of the published lists; by default that of the data."
    )


class TextImageOptions(FileOptions):
    """The same, of texts with pictures."""

    modalities: tuple[Literal["text", "image"], ...] = Field(
        default=("text", "image"),
        min_length=1,
        description="Which modalities to use; their order is the column order everywhere.",
    )

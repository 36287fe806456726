"""Options that several datasets share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mlabench.hyperparameters import ModalityOptions

_modalities = Field(min_length=1, description="Which modalities to use; their order is the column order everywhere.")
AudioImageText = Annotated[tuple[Literal["audio", "image", "text"], ...], _modalities]
ImageText = Annotated[tuple[Literal["image", "text"], ...], _modalities]
ImageNameTags = Annotated[tuple[Literal["image", "name", "tags"], ...], _modalities]


class FileOptions(ModalityOptions):
    """Where the files of a published dataset lie."""

    root: Path | None = Field(default=None, description="Folder of the data; see the data card.")
    lists: Path | None = Field(
        default=None, description="Folder of your copy of the published lists; by default that of the data."
    )

"""The embedded dataset ``clipart``: frozen features of Open Clip Art, shipped inside the package."""

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
from mlabench.datasets.embedded.clipart.raw_files import CLASSES, PACKAGES
from mlabench.hyperparameters import ModalityOptions
from mlabench.media import Medium

#: The shipped features; ``README.md`` there is the data card.
SHIPPED = Path(__file__).with_name("features")
#: What to do if the shipped features are missing.
_REMEDY = (
    "Reinstall mlabench, or rebuild the features: "
    f"`mlabench data prepare clipart --root DIR`, DIR holding the Debian packages {' and '.join(PACKAGES)}."
)


class Clipart(Dataset):
    """Open Clip Art: drawings and their titles, 13 kinds of things.

    A sample is a drawing (EfficientNet-Lite0 features) and the title that its
    author gave it (MiniLM features). The label is the folder that the collection keeps it in.

    What it can show: how well a method uses two modalities that are about equally strong and complement
    each other, what is left when either is missing, and the modality gap, on real data that run anywhere
    in seconds.
    What it cannot show: one modality drowning another, which ``stamps`` does; fine differences, since the
    test split has 369 drawings of 219 independent concepts, and few of the smallest classes; anything
    about photographs. Some titles are Italian or French, or name a series rather than the thing. It is
    the stand-in for Food-101 and MVSA in modalities only, and its numbers must never be set beside the
    paper's as if they were.

    Splits are by concept and fixed: neither a title nor a near-identical drawing is in two of them.
    The drawings are in the Public Domain, and so are the features.
    """

    class Config(ModalityOptions):
        """Options of ``clipart``."""

        modalities: tuple[Literal["image", "text"], ...] = Field(
            default=("image", "text"),
            min_length=1,
            description="Which modalities to use; their order is the column order everywhere.",
        )

    config: Config
    source = "Open Clip Art (Debian packages openclipart-png and openclipart-svg 1:0.18+dfsg-19), Public Domain."
    twin_of = "Food-101 and MVSA"
    defaults: ClassVar[Mapping[str, Any]] = {
        "encoders": {"*": {"name": "mlp", "hidden": [256], "width": 128, "dropout": 0.7}},
        "training": {
            "epochs": 30,
            "batch_size": 64,
            "optimizer": {"name": "adam", "lr": 1e-3, "weight_decay": 1e-4},
        },
    }

    @property
    def media(self) -> dict[str, Medium]:
        """The chosen modalities, in the order of the columns."""
        return dict.fromkeys(self.config.modalities, "features")

    def fingerprint(self) -> str:
        """First 12 hex digits of a SHA-256 over the shipped files and the options.

        Raises:
            UserError: If the shipped files are missing.
        """
        return fingerprint(SHIPPED, self.config.model_dump(mode="json"), _REMEDY)

    def load(self) -> Data:
        """Loads the three splits from the shipped features.

        Raises:
            UserError: If the shipped files are missing.
        """
        rows, tensors, metadata = read_features(SHIPPED, _REMEDY)
        features: dict[str, NDArray[np.float32]] = {
            modality: image_features(tensors) if modality == "image" else tensors[modality].astype(np.float32)
            for modality in self.config.modalities
        }
        left_out = ", ".join(f"{reason} ({count})" for reason, count in json.loads(metadata["made"])["skipped"].items())
        notes = (
            "clipart stands in for Food-101 and MVSA; its numbers are not the paper's.",
            "Drawings of one concept (a series, or twins in colour and in black and white) are not independent.",
            f"Left out when the features were made: {left_out}.",
        )
        return assemble(rows, CLASSES, features, {modality: modality for modality in features}, notes)

    def check(self, root: Path | None = None) -> Inventory:
        """See :func:`mlabench.datasets.embedded.clipart.rebuild.check_clipart`."""
        from mlabench.datasets.embedded.clipart.rebuild import check_clipart

        return check_clipart(root)

    def prepare(
        self, root: Path | None = None, out: Path | None = None, progress: ReportProgress | None = None
    ) -> Inventory:
        """See :func:`mlabench.datasets.embedded.clipart.rebuild.prepare_clipart`."""
        from mlabench.datasets.embedded.clipart.rebuild import prepare_clipart

        return prepare_clipart(root, out, progress)


def image_features(tensors: Tensors) -> NDArray[np.float32]:
    """Standardised features of every picture, which are stored as multiples of a step per dimension.

    Returns:
        float32 ``[pictures, 1280]``
    """
    features: NDArray[np.float32] = tensors["image"] * tensors["image.step"]
    return features

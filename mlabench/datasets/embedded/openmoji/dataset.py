"""The embedded dataset ``openmoji``: frozen features of OpenMoji's pictures, shipped inside the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from mlabench.datasets.embedded.base import Components, Embedded
from mlabench.datasets.embedded.openmoji.raw_files import CLASSES
from mlabench.datasets.embedded.openmoji.rebuild import REBUILD
from mlabench.datasets.options import ImageNameTags
from mlabench.hyperparameters import ModalityOptions


class Openmoji(Embedded):
    """OpenMoji: emoji as drawn there, their names and their keywords, 9 groups.

    A sample is an emoji: its picture (EfficientNet-Lite0 features), Unicode's name of it and Unicode's keywords
    (MiniLM features of either). The label is the group that Unicode files it under.

    What it can show: three modalities that are about equally strong, what is left when some are missing, and the
    modality gap, on real data that run anywhere in seconds. What it cannot show: a weak modality drowned by a strong
    one, which ``stamps`` does; three independent views, since names and tags are both texts and share words; anything
    about photographs; fine differences, since its 1,914 samples hold 1,472 concepts (a man, a woman and a person doing
    the same are one). Tags often name the group ("animal", "flag"). Splits are by concept: no twin is in two of them.
    """

    class Config(ModalityOptions):
        """Options of ``openmoji``."""

        modalities: ImageNameTags = ("image", "name", "tags")
        components: Components = 128

    config: Config
    source = "OpenMoji (npm package openmoji 17.0.0), CC BY-SA 4.0."
    defaults: ClassVar[Mapping[str, Any]] = {
        "encoders": {"*": {"name": "mlp", "hidden": [256], "width": 128, "dropout": 0.5}},
        "training": {
            "epochs": 20,
            "batch_size": 128,
            "optimizer": {"name": "adam", "lr": 2e-3, "weight_decay": 1e-4},
        },
    }

    folder = Path(__file__).with_name("features")
    classes = CLASSES
    rebuild = REBUILD
    notes = (
        "Names and tags of openmoji are both texts, share words, and at times name the group.",
        "Emoji of one concept (a man, a woman and a person doing the same) are not independent.",
    )

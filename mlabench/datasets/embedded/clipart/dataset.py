"""The embedded dataset ``clipart``: frozen features of Open Clip Art, shipped inside the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from mlabench.datasets.embedded.base import Components, Embedded
from mlabench.datasets.embedded.clipart.raw_files import CLASSES
from mlabench.datasets.embedded.clipart.rebuild import REBUILD
from mlabench.datasets.options import ImageText
from mlabench.hyperparameters import ModalityOptions


class Clipart(Embedded):
    """Open Clip Art: drawings and their titles, 13 kinds of things.

    A sample is a drawing (EfficientNet-Lite0 features) and the title that its author gave it (MiniLM features). The
    label is the folder that the collection keeps it in. It is the stand-in for Food-101 and MVSA in modalities only:
    its numbers must never be set beside the paper's as if they were.

    What it can show: how well a method uses two modalities that are about equally strong and complement each other,
    what is left when either is missing, and the modality gap, on real data that run anywhere in seconds. What it cannot
    show: one modality drowning another, which ``stamps`` does; fine differences, since the test split has 369 drawings
    of 219 independent concepts, and few of the smallest classes; anything about photographs. Some titles are Italian or
    French, or name a series. Splits are by concept: no title and no near-identical drawing is in two of them.
    """

    class Config(ModalityOptions):
        """Options of ``clipart``."""

        modalities: ImageText = ("image", "text")
        components: Components = None

    config: Config
    version = 2
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

    folder = Path(__file__).with_name("features")
    classes = CLASSES
    rebuild = REBUILD
    notes = (
        "clipart stands in for Food-101 and MVSA; its numbers are not the paper's.",
        "Drawings of one concept (a series, or twins in colour and in black and white) are not independent.",
    )

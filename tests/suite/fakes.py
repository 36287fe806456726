"""Registered classes that need neither torch nor data."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from mlabench.authors import AuthorsTraining, UnfitOptimizers
from mlabench.datasets import Data, Dataset, Split, Task
from mlabench.hyperparameters import Hyperparameters
from mlabench.media import Medium
from mlabench.optimizers import SGD


class Speech(Dataset):
    """Three modalities."""

    class Config(Hyperparameters):
        """Options."""

        modalities: tuple[str, ...] = ("audio", "image", "text")
        noise: float = Field(default=0.0, ge=0.0)

        @field_validator("modalities")
        @classmethod
        def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
            if len(set(value)) < len(value):
                raise ValueError("each modality can be named once only")
            return value

    config: Config

    @property
    def media(self) -> dict[str, Medium]:
        return dict.fromkeys(self.config.modalities, "features")

    def fingerprint(self) -> str:
        return "0123456789ab"

    def load(self) -> Data:
        raise AssertionError("a plan needs no samples")


#: A pattern of the samples of :func:`three_samples`.
MASK = "id,audio,image,text\na,1,0,1\nb,1,1,0\nc,0,0,1\n"


def three_samples() -> Data:
    """A dataset with one sample per split: ``a``, ``b`` and ``c``."""
    modalities = ("audio", "image", "text")

    def split(name: str) -> Split:
        inputs = {modality: np.zeros((1, 2), np.float32) for modality in modalities}
        return Split((name,), np.zeros(1, np.int64), inputs, (name,))

    task = Task(modalities, ("x",), dict.fromkeys(modalities, (2,)))
    return Data(task, split("a"), split("b"), split("c"))


class Captions(Dataset):
    """Two modalities, one of them unlike those of ``speech``."""

    @property
    def media(self) -> dict[str, Medium]:
        return {"image": "features", "caption": "features"}

    def fingerprint(self) -> str:
        return "ba9876543210"

    def load(self) -> Data:
        raise AssertionError("a plan needs no samples")


class MLP:
    """A small encoder."""

    class Config(Hyperparameters):
        """Options."""

        hidden: tuple[int, ...] = (256,)
        width: int = Field(default=128, ge=1)


class Plain:
    """A method without hyper-parameters."""


class Fancy:
    """A method with hyper-parameters."""

    title = "Fancy!"
    version = 3
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=0.3, weight_decay=0.02), "main.py"),
        epochs=(90, "README"),
        clip_norm=(1.5, "section 4"),
    )
    unfit_optimizers = UnfitOptimizers(
        names=("adam", "adamw"), reason="Adam undoes the modification.", unless={"modification": (False,)}
    )

    class Config(Hyperparameters):
        """Options."""

        modification: bool = True
        fusion: Literal["average", "entropy"] = "average"
        strength: float = Field(default=0.5, gt=0)
        order: Literal["given", "random"] | tuple[str, ...] = "given"


class Modest:
    """A method that says what it cannot do."""

    title = "Modest"
    limits: ClassVar = {"more than two modalities": "it compares two modalities with each other."}

    class Config(Hyperparameters):
        """Options."""

        leader: str = ""

        def check_modalities(self, modalities: tuple[str, ...]) -> None:
            if self.leader and self.leader not in modalities:
                raise ValueError(f"leader: there is no modality {self.leader!r}; there are {', '.join(modalities)}.")


class Demanding:
    """A method with a hyper-parameter that has no default."""

    class Config(Hyperparameters):
        """Options."""

        depth: int


class Nested:
    """A method whose options contain themselves."""

    class Config(Hyperparameters):
        """Options."""

        depth: int
        inner: Nested.Config | None = None

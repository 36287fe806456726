"""What a method says about its training: the settings its authors use, and the optimisers that neutralise it.

Free of torch and NumPy. Methods write these as class attributes; :mod:`mlabench.method` exports all they need for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from mlabench.optimizers import SGD, Adam, AdamW, Constant, Cosine, Frozen, Step

OptimizerName = Literal["adam", "adamw", "sgd"]
#: Where a value is found, such as ``paper, section 4.1`` or ``main.py at ab6c184``.
Source = Annotated[str, Field(min_length=1)]


class AuthorsTraining(Frozen):
    """The training that a method's source uses, each value with the place where the source says so.

    What the source leaves open is left out; the suite's own value holds there.
    """

    optimizer: tuple[Annotated[Adam | AdamW | SGD, Field(discriminator="name")], Source] | None = None
    schedule: tuple[Annotated[Constant | Step | Cosine, Field(discriminator="name")], Source] | None = None
    batch_size: tuple[Annotated[int, Field(ge=1)], Source] | None = None
    clip_norm: tuple[Annotated[float, Field(gt=0)], Source] | None = None
    epochs: tuple[Annotated[int, Field(ge=1)], Source] | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The values by name, without their sources."""
        return {name: stated[0] for name, stated in self if stated is not None}

    @property
    def sources(self) -> dict[str, str]:
        """Where each of the values is found."""
        return {name: stated[1] for name, stated in self if stated is not None}


class UnfitOptimizers(Frozen):
    """The optimisers under which a method does not do what it is meant to do.

    Attributes:
        names: The optimisers.
        reason: Why, in one sentence.
        unless: Values of options with which they do no harm, such as ``{"gradient_modification": ("none",)}``.
    """

    names: tuple[OptimizerName, ...]
    reason: Source
    unless: dict[str, tuple[Any, ...]] = Field(default_factory=dict)

    def objection(self, optimizer: str, options: Mapping[str, Any]) -> str:
        """The reason if it holds for this optimiser and these options, else an empty string."""
        harmless = any(options.get(name) in values for name, values in self.unless.items())
        return self.reason if optimizer in self.names and not harmless else ""

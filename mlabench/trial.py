"""A trial: one training, fully resolved and content-hashed. Free of torch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from mlabench.missing import Missing
from mlabench.optimizers import SGD, Adam, AdamW, Constant, Cosine, Frozen, Step

__all__ = [
    "PROTOCOL_VERSION",
    "SGD",
    "Adam",
    "AdamW",
    "Component",
    "Constant",
    "Cosine",
    "DatasetComponent",
    "Fold",
    "Frozen",
    "InputSpec",
    "Precision",
    "Selection",
    "Step",
    "Training",
    "Trial",
]

#: Increase it whenever a change to the training loop, the missing patterns or the evaluation changes results;
#: all trials then run again. A single method, encoder or dataset has a version of its own.
PROTOCOL_VERSION = 1

Selection = Literal["best_val", "last", "best_test"]
Precision = Literal["32", "bf16-mixed", "auto"]


class Training(Frozen):
    """The budget and the rules that all methods of a suite share."""

    epochs: int = Field(default=30, ge=1, description="Passes over the training split.")
    batch_size: int = Field(default=64, ge=1, description="Samples per batch.")
    optimizer: Adam | AdamW | SGD = Field(default=Adam(), discriminator="name")
    schedule: Constant | Step | Cosine = Field(default=Constant(), discriminator="name")
    clip_norm: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        exclude_if=lambda norm: norm is None,
        description="Largest norm of the gradients of an update, all parameters together; none: no limit.",
    )
    selection: Selection = Field(
        default="best_val",
        description="Which epoch is kept: the best on the validation split, the last one, or (only to set "
        "beside published tables, flagged wherever it appears) the best on the test split.",
    )
    precision: Precision = Field(
        default="32",
        description="Arithmetic: 32-bit; bfloat16 where it is safe; or auto, which is bfloat16 for networks that are "
        "trained on pictures, sounds or texts, if the processor or the GPU has it. The record says which was used.",
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        exclude_if=lambda patience: patience is None,
        description="Stop a stage after so many epochs without a better accuracy on the validation split; none: "
        "run all epochs. For best_val only.",
    )
    watch_every: int | None = Field(
        default=None,
        ge=1,
        exclude_if=lambda epochs: epochs is None,
        description="Epochs from one look of the trainings with seed 0 at the test split to the next, for the oracle "
        "gap alone, and one at the end; none: 1 where all inputs are features, else about a tenth of the last "
        "stage's. `selection: best_test` looks after every epoch.",
    )

    @model_validator(mode="after")
    def _patience_fits_selection(self) -> Self:
        if self.patience is not None and self.selection != "best_val":
            raise ValueError(
                f"'patience' waits for a better epoch on the validation split, but 'selection' is {self.selection!r}; "
                "leave one of them out"
            )
        return self


class Component(Frozen):
    """A registered class, the version of its code, and its options with every default filled in.

    Attributes:
        name: Its registered name.
        version: Version of its code.
        config: The options that decide results. In place of a file there is a hash of its content.
        location: The options that say where files lie on this machine. Not part of a trial's identity, nor of what is
            stored for others (:meth:`Trial.portable`).
    """

    name: str
    version: int = 1
    config: dict[str, Any] = Field(default_factory=dict)
    location: dict[str, str] = Field(default_factory=dict, exclude_if=lambda location: not location)

    @property
    def options(self) -> dict[str, Any]:
        """What the class's ``Config`` is made from on this machine."""
        return {**self.config, **self.location}


class DatasetComponent(Component):
    """A dataset and the hash of its content."""

    fingerprint: str


class Fold(Frozen):
    """One test part of a dataset that is divided into folds; the rest is for training and validation.

    Attributes:
        by: The units that are kept whole: the dataset's own groups if empty, else the name of one of its divisions,
            such as ``session`` or ``speaker``.
        count: Number of folds that the units are dealt into; None if each value of the division is a fold of its own.
        name: Which fold is tested: ``1`` to ``count`` where they are dealt, else the division's value.
    """

    by: str = ""
    count: int | None = None
    name: str


class InputSpec(Frozen):
    """What is learned from, and the networks that read it.

    Attributes:
        dataset: The dataset.
        encoders: One per modality.
        seed: Decides initialisation, batch order and dropout; with folds also how the groups are dealt.
        fold: Which part of the dataset is tested; None for the dataset's own split.
        limit: Only this many samples per split were used (a smoke test); None for all.
    """

    dataset: DatasetComponent
    encoders: dict[str, Component]
    seed: int = 0
    fold: Fold | None = Field(default=None, exclude_if=lambda fold: fold is None)
    limit: int | None = None

    @property
    def fold_name(self) -> str:
        """The name of the fold; empty for the dataset's own split."""
        return self.fold.name if self.fold else ""

    @property
    def training_seed(self) -> int:
        """What initialisation, batch order and dropout are drawn from: each fold of each repeat has its own."""
        if self.fold is None:
            return self.seed
        return int(_digest({"seed": self.seed, "fold": self.fold.model_dump()}), 16)


class Trial(InputSpec):
    """One training: everything that decides its result, and nothing else.

    Attributes:
        method: The method.
        missing: The recipe applied to the training split, and to the validation split unless ``validation`` has others.
        validation: Recipes under which the epoch is selected, by the mean of their validation accuracies; empty for
            that of the training alone.
        training: Budget, optimiser, selection.
    """

    method: Component
    missing: Missing = Missing()
    validation: tuple[Missing, ...] = Field(default=(), exclude_if=lambda recipes: not recipes)
    training: Training = Training()

    def with_seed(self, seed: int) -> Self:
        """The same trial with another seed."""
        return self.__class__(**{**{name: getattr(self, name) for name in self.__class__.model_fields}, "seed": seed})

    def portable(self) -> Self:
        """The trial without its files' locations, as records and plans store it."""
        return self._with_locations(lambda _: {})

    def with_absolute_locations(self) -> Self:
        """The trial for a process that may start in another folder."""
        return self._with_locations(lambda location: {name: str(Path(at).resolve()) for name, at in location.items()})

    def _with_locations(self, change: Callable[[dict[str, str]], dict[str, str]]) -> Self:
        def changed(component: Component) -> Component:
            return component.model_copy(update={"location": change(component.location)})

        encoders = {modality: changed(encoder) for modality, encoder in self.encoders.items()}
        update = {"dataset": changed(self.dataset), "method": changed(self.method), "encoders": encoders}
        return self.model_copy(update=update)

    def identity(self) -> dict[str, Any]:
        """The canonical content that is hashed into :attr:`id`."""
        content = self.portable().model_dump(mode="json", exclude={"missing", "validation"})
        content["missing"] = self.missing.identity()
        if self.validation:
            content["validation"] = [missing.identity() for missing in self.validation]
        content["protocol_version"] = PROTOCOL_VERSION
        return content

    @property
    def validated_under(self) -> tuple[Missing, ...]:
        """The recipes under which the epoch is selected."""
        return self.validation or (self.missing,)

    @cached_property
    def id(self) -> str:
        """A readable name and the first 12 hex digits of the SHA-256 of the canonical JSON."""
        digest = _digest(self.identity())
        fold = f"-fold{self.fold.name}" if self.fold else ""
        slug = f"{self.dataset.name}-{self.method.name}-{self.missing.key}-seed{self.seed}{fold}"
        return f"{re.sub(r'[^A-Za-z0-9_.+-]', '_', slug).lstrip('.-')[:80]}-{digest}"

    @cached_property
    def configuration(self) -> str:
        """12 hex digits for what a method was tuned for: all but the seed, the fold and what is missing."""
        others = ("seed", "fold", "missing", "validation")
        return _digest({key: value for key, value in self.identity().items() if key not in others})


def _digest(content: dict[str, Any]) -> str:
    """First 12 hex digits of the SHA-256 of the canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]

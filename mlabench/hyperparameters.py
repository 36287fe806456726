"""Typed, validated, documented options of methods, encoders and datasets, and what may be tried for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Hyperparameters(BaseModel):
    """Base of every ``Config``, which is nested in its class: frozen, unknown keys refused, each field described.

    Whether values are valid must depend on them only, since what a ``Config`` says of them is remembered
    (:meth:`mlabench.registry.Entry.complete`).

    An option whose value is a :class:`pathlib.Path` says where something lies on this machine. It is no
    part of a trial's identity, so that results do not depend on where the data were put; what lies there
    is, through the fingerprint.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def check_modalities(self, modalities: tuple[str, ...]) -> None:
        """Called when a plan is made; a method whose options name modalities refuses what does not fit.

        Raises:
            ValueError: With the sentence in which the plan refuses the trial.
        """


class OrderedModalities(Hyperparameters):
    """Options of a method that takes the modalities in an order: that of its field ``order``, or the dataset's.

    A text in ``order`` is a rule, not a modality.
    """

    def check_modalities(self, modalities: tuple[str, ...]) -> None:
        """Refuses an ``order`` that is not one of these modalities."""
        order: str | tuple[str, ...] = getattr(self, "order", ())
        if order and isinstance(order, tuple) and sorted(order) != sorted(modalities):
            raise ValueError(
                f"order must name each of the modalities {', '.join(modalities)} once, but names {', '.join(order)}."
            )

    def ordered(self, modalities: tuple[str, ...]) -> tuple[str, ...]:
        """The modalities in this order; as they are given where ``order`` is empty or a rule."""
        self.check_modalities(modalities)
        order: str | tuple[str, ...] = getattr(self, "order", ())
        return order if order and isinstance(order, tuple) else modalities


class ModalityOptions(Hyperparameters):
    """Options of a dataset of which one may use some modalities only: those of its field ``modalities``."""

    @field_validator("modalities", check_fields=False)
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"each modality can be named once only, got {', '.join(value)}")
        return value


class MLPOptions(Hyperparameters):
    """Options of a multi-layer perceptron."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(256,), description="Widths of the hidden layers.")
    width: int = Field(default=128, ge=1, description="Width of the output; a shared head needs it equal everywhere.")
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="Dropout after each hidden layer.")


class BackboneOptions(Hyperparameters):
    """Options of every encoder that is built around a published network."""

    pretrained: bool | Path = Field(
        default=True,
        description="Published weights (true), random ones (false), or those in the file or folder of this path.",
    )
    frozen: bool = Field(
        default=False, description="Keep the network as it is; its features are then computed once and cached."
    )
    lr_scale: float = Field(
        default=1.0, gt=0, description="Factor on the learning rate of the network; what is put on top takes 1."
    )
    project: int | None = Field(
        default=None, ge=1, description="Width of a trainable linear layer on top, e.g. to make all widths equal."
    )
    mlp: MLPOptions | None = Field(
        default=None,
        exclude_if=lambda options: options is None,
        description="Instead of `project`: a trainable network on top, with the options of the encoder `mlp`.",
    )
    standardise: bool = Field(
        default=False,
        exclude_if=lambda standardised: not standardised,
        description="Where frozen: its features get mean 0 and deviation 1, fitted to the training samples.",
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.project is not None and self.mlp is not None:
            raise ValueError("'project' and 'mlp' are both put on top of the network; leave one of them out")
        if self.standardise and not self.frozen:
            raise ValueError("'standardise' is for features that do not change: it needs 'frozen: true'")
        return self


# What may be tried for an option. A method declares it beside the option's default:
#
#     alpha: float = Field(default=0.1, gt=0, json_schema_extra={"tune": {"low": 0.01, "high": 1.0, "log": True}})
class Values(BaseModel):
    """An interval or a list of values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: float | None = Field(default=None, description="Smallest value.")
    high: float | None = Field(default=None, description="Largest value.")
    log: bool = Field(default=False, description="Draw the logarithm uniformly.")
    choices: tuple[Any, ...] = Field(default=(), description="Instead of an interval: the values themselves.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.choices:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("has either 'choices' or 'low' and 'high'")
        elif self.low is None or self.high is None:
            raise ValueError("needs 'low' and 'high', or 'choices'")
        elif not self.low < self.high:
            raise ValueError(f"'low' must be below 'high', not {self.low} and {self.high}")
        elif self.log and self.low <= 0:
            raise ValueError(f"a logarithmic interval needs a 'low' above 0, not {self.low}")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that are allowed if all are: both ends, or every choice."""
        return self.choices or (self.low, self.high)

    def holds(self, value: Any) -> bool:
        """Whether ``value`` is among them."""
        if self.low is None or self.high is None:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high

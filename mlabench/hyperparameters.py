"""Typed, validated, documented options of methods, encoders and datasets."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Hyperparameters(BaseModel):
    """Base of every ``Config``: frozen, unknown keys refused, each field described.

    A ``Config`` is nested in its class and built from names of ``typing``, ``pydantic`` and this
    module only. Listings and suite validation can then read it from the source file without
    importing torch (see :func:`mlabench.registry.Entry.config`).

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

"""Typed, validated, documented options of methods, encoders and datasets."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Hyperparameters(BaseModel):
    """Base of every ``Config``: frozen, unknown keys refused, each field described.

    A ``Config`` is nested in its class and built from names of ``typing``, ``pydantic`` and this
    module only. Listings and suite validation can then read it from the source file without
    importing torch (see :func:`mlabench.registry.Entry.config`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

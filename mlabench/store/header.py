"""The few fields of each record that a survey of thousands of trials reads. Free of torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mlabench.record import SCHEMA_VERSION, Failure, Finite
from mlabench.trial import Training


class _Part(BaseModel):
    """Some fields of a record's object; the others are skipped while the JSON is parsed."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Named(_Part):
    name: str


class _Training(_Part):
    epochs: int = Field(default=Training().epochs, ge=1)


class TrialHeader(_Part):
    """The fields that say how long a trial may take."""

    dataset: _Named
    method: _Named
    limit: int | None = None
    training: _Training


class _Cost(_Part):
    wall_seconds_train: Finite = 0.0


class _Environment(_Part):
    method_source: str = ""


class RecordHeader(_Part):
    """A small part of a :class:`mlabench.record.Record`, read in a fifth of the time; fields have the same names."""

    schema_version: int = Field(default=SCHEMA_VERSION, le=SCHEMA_VERSION)
    trial: TrialHeader
    status: Literal["ok", "failed"]
    failure: Failure | None = None
    evaluations: dict[str, _Part] = Field(default_factory=dict)
    cost: _Cost = _Cost()
    environment: _Environment = _Environment()
    files: dict[str, str] = Field(default_factory=dict)

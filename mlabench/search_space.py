"""What may be tried for an option. Free of torch.

A method declares it beside the option's default:

    alpha: float = Field(default=0.1, gt=0, json_schema_extra={"tune": {"low": 0.01, "high": 1.0, "log": True}})
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mlabench.errors import UserError
from mlabench.registry import Entry


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


def declared(method: Entry) -> dict[str, Values]:
    """What a method declares for its options, by name.

    Raises:
        UserError: If a declaration is malformed.
    """
    found = {}
    for name, field in method.config.model_fields.items():
        extra = field.json_schema_extra
        if not isinstance(extra, dict) or "tune" not in extra:
            continue
        try:
            found[name] = Values.model_validate(extra["tune"])
        except ValidationError as error:
            raise UserError(
                f"'tune' is malformed: {error.errors()[0]['msg']}.",
                file=str(method.path),
                field=f"{method.attribute}.Config.{name}",
            ) from None
    return found

"""The card of a contribution: who made it, with what code, on data that the encoders may have seen."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from mlabench import __version__
from mlabench.errors import UserError, cannot_write
from mlabench.registry import suggest

#: The file in the folder of a contribution.
CARD = "card.yaml"
#: A longer file is not a card.
_LARGEST = 64 * 1024
#: What stands in a field that is not filled in.
_EMPTY: tuple[object, ...] = (None, "", [], [None])
_PROBLEMS = {"missing": "is required.", "empty": "is empty.", "string_type": "must be text."}

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=r"^[^\n]*$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=300)]


class Card(BaseModel):
    """What readers of a leaderboard should know of results from others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=60)] = Field(
        description="The name of the folder; the methods that it brings are called so, or so and more: name_small."
    )
    title: Line = Field(description="What tables and pages call it.")
    authors: tuple[Line, ...] = Field(min_length=1, max_length=100, description="Who made it.")
    contact: Line = Field(description="An address for questions: e-mail or URL.")
    licence: Line = Field(description="The licence of the code, as SPDX calls it, such as MIT.")
    encoder_saw_data: bool | Literal["unknown"] = Field(
        description="Whether pretraining showed the encoders these data: true, false or unknown. Encoders that are "
        "trained from scratch have seen nothing: false."
    )
    tuned: Line = Field(
        description="What was tuned, on which data and with how many tries, or: nothing. Never on test data."
    )
    mlabench: Line = Field(description="The version of mlabench that the results were made with.")
    paper: Line | None = Field(default=None, description="Its paper, as URL or citation.")
    code: Url | None = Field(default=None, description="Where the code is public; leave it out if it is not.")


def read_card(path: Path) -> Card:
    """Reads a card.

    Raises:
        UserError: If it cannot be read or is not one; names each field that is wrong.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"is too large for a card ({_LARGEST // 1024} KiB).", file=str(path))
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        remedy = "`mlabench contribute` writes a card to fill in where there is none."
        raise UserError(f"cannot be read as YAML ({reason}).", remedy=remedy, file=str(path)) from error
    try:
        return Card.model_validate(content)
    except ValidationError as error:
        mistakes = {
            detail["loc"][:1]: ("empty" if detail["input"] in _EMPTY else detail["type"], detail["msg"])
            for detail in error.errors()
        }
        raise UserError.of([_mistake(path, field, *why) for field, why in mistakes.items()]) from None


def _mistake(path: Path, location: tuple[int | str, ...], kind: str, message: str) -> UserError:
    field = str(location[0]) if location else None
    known = Card.model_fields.get(field or "")
    if known is None:
        problem = "must be a mapping of fields." if field is None else "unknown field."
        remedy = suggest(field or "", list(Card.model_fields)) or f"Fields: {', '.join(Card.model_fields)}."
        return UserError(problem, remedy=remedy, file=str(path), field=field)
    problem = _PROBLEMS.get(kind, f"{message[0].lower()}{message[1:]}.")
    return UserError(problem, remedy=known.description or "", file=str(path), field=field)


def write_template(path: Path, name: str) -> None:
    """Writes a card to fill in, with comments.

    Raises:
        UserError: If it cannot be written.
    """
    text = files("mlabench.templates").joinpath(CARD).read_text(encoding="utf-8")
    try:
        path.write_text(text.replace("my_method", name).replace("0.0.0", __version__), encoding="utf-8")
    except OSError as error:
        raise cannot_write("this card", path, error) from error

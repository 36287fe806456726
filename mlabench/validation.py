"""Checks values against pydantic models and says in plain sentences what is wrong, where, and what to write instead."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mlabench.errors import UserError
from mlabench.registry import suggest
from mlabench.yaml_source import Keys, Node, dotted

Model = TypeVar("Model", bound=BaseModel)

#: Error types whose own wording is pydantic's, not the reader's.
_SENTENCES = {
    "missing": "is required",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "needs at least {min_length} entries",
    "too_long": "takes at most {max_length} entries",
    "string_too_short": "must not be empty",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must name one of {expected_tags}",
    "value_error": "{error}",
}


class Problems:
    """Collects mistakes, so that all of them are reported at once.

    Args:
        tree: The document they are in.
    """

    def __init__(self, tree: Node) -> None:
        self.tree = tree
        self.errors: list[UserError] = []

    def add(self, path: Keys, problem: str, remedy: str = "", *, at: Keys | None = None) -> None:
        """Notes a mistake in the field ``path``, written where ``at`` (by default: the field) is."""
        origin = self.tree.nearest(path if at is None else at).origin
        self.errors.append(origin.error(problem, remedy, dotted(path) or None))

    def adopt(self, path: Keys, error: UserError, *, at: Keys | None = None) -> None:
        """Notes what somebody else complained about as a mistake in the field ``path``."""
        self.add(path, f"{error.file}: {error.problem}" if error.file else error.problem, error.remedy, at=at)

    def validate(self, model: type[Model], value: object, path: Keys = (), known: Iterable[str] = ()) -> Model | None:
        """The value as a ``model``, or None after noting its mistakes.

        Validation is strict (``"5"`` is no number and 1 is not ``true``), as JSON is, so that a
        suite means the same to this program and to an editor that holds it against the schema.

        Args:
            model: The pydantic model.
            value: Plain data.
            path: Where the value stands in the document.
            known: Fields that are not the model's but exist beside them, for suggestions.
        """
        try:
            return model.model_validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                self._rewrite(model, value, path, detail, known)
            return None

    def raise_all(self) -> None:
        """Raises what was noted, if anything.

        Raises:
            UserError: The first mistake, with the others behind it.
        """
        if self.errors:
            first, *others = self.errors
            raise UserError(
                first.problem,
                remedy=first.remedy,
                file=first.file,
                line=first.line,
                field=first.field,
                others=others,
            )

    def _rewrite(self, model: type[BaseModel], value: object, path: Keys, detail: ErrorDetails, known: Iterable[str]) -> None:
        kind, context, given = detail["type"], detail.get("ctx", {}), detail["input"]
        if kind == "too_short" and len(given) >= context["min_length"]:
            return  # an echo: entries that failed are not counted
        field = [*path, *_real(detail["loc"], value)]
        if kind == "extra_forbidden":
            *_, key = field
            fields = [*_fields(model, detail["loc"][:-1]), *(known if len(detail["loc"]) == 1 else ())]
            remedy = suggest(str(key), fields) or f"Known: {', '.join(sorted(fields)) or 'none'}."
            self.add(field, f"unknown field {key!r}.", remedy)
            return
        template = _SENTENCES.get(kind) or detail["msg"].replace("Input should be", "must be")
        sentence = template.format(**context) if kind in _SENTENCES else template
        if isinstance(given, str | int | float | None) and kind not in ("missing", "value_error"):
            sentence += f", not {json.dumps(given, ensure_ascii=False)}"
        spellings = re.findall(r"'([^']*)'", context.get("expected_tags", context.get("expected", "")))
        wrong = context.get("tag", given)
        remedy = ""
        if spellings and isinstance(wrong, str):
            remedy = suggest(wrong, spellings)
        elif str(wrong) in spellings:
            remedy = "Write it in quotes."
        if kind == "union_tag_invalid":
            field, sentence = [*field, "name"], f"{sentence}, not {json.dumps(wrong)}"
        self.add(field, f"{sentence}.", remedy)


def _real(location: Sequence[str | int], value: object) -> list[str | int]:
    """Pydantic's location without the names of union branches."""
    found: list[str | int] = []
    for at, key in enumerate(location):
        inside = isinstance(value, dict) and key in value
        if inside or (isinstance(value, list) and isinstance(key, int) and key < len(value)):
            value = value[key]  # type: ignore[index]
            found.append(key)
        elif at == len(location) - 1 and isinstance(value, dict | list):
            found.append(key)
    return found


def _fields(annotation: Any, location: Sequence[str | int]) -> list[str]:
    """The fields of the model that stands at ``location`` inside ``annotation``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not location:
            return list(annotation.model_fields)
        return _fields(annotation.model_fields[str(location[0])].annotation, location[1:])
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _fields(arguments[0], location)
    if get_origin(annotation) in (tuple, list, dict):
        return _fields(arguments[-1] if get_origin(annotation) is dict else arguments[0], location[1:])
    for branch in arguments:  # a union: the location goes on with the branch's tag
        name = branch.model_fields["name"].annotation if hasattr(branch, "model_fields") else None
        if location and get_args(name) == (location[0],) and get_origin(name) is Literal:
            return _fields(branch, location[1:])
    return []

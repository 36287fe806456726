"""Checks values against pydantic models and says in plain sentences what is wrong, where, and what to write instead."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mlabench.errors import UserError
from mlabench.registry import Entry, Options, suggest
from mlabench.suite.source import Keys, Node, dotted

Model = TypeVar("Model", bound=BaseModel)
#: The fields of the model at a location.
KnownFields = Callable[[Sequence[str | int]], list[str]]

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
    "too_short": "needs {min_length} or more entries",
    "too_long": "takes at most {max_length} entries",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must match the pattern {pattern}",
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
            self.explain(error, value, path, lambda location: _fields(model, location), known)
            return None

    def complete(self, entry: Entry, options: Mapping[str, Any], path: Keys) -> Options | None:
        """The options of a registered class with every default filled in, or None after noting their mistakes."""
        try:
            return entry.complete(options)
        except ValidationError as error:
            self.explain(error, options, path, lambda at: _fields(entry.config, at) if at else [*entry.about.options])
            return None

    def explain(
        self, error: ValidationError, value: object, path: Keys, known_at: KnownFields, known: Iterable[str] = ()
    ) -> None:
        """Notes what pydantic says about a value."""
        # The branches of a union complain about the same field, one error each.
        fields: dict[tuple[str | int, ...], list[_Complaint]] = {}
        for detail in error.errors(include_url=False):
            complaint = _rewrite(known_at, value, detail, known)
            if complaint:
                fields.setdefault((*path, *complaint.field), []).append(complaint)
        for field, complaints in fields.items():
            sentence = ", or ".join(complaint.sentence for complaint in complaints)
            self.add(field, f"{sentence}{complaints[0].given}.", complaints[0].remedy)

    def error(self) -> UserError:
        """The first mistake in reading order, with the others behind it."""
        return UserError.of(sorted(self.errors, key=lambda error: (error.file or "", error.line or 0)))


class _Complaint(NamedTuple):
    field: list[str | int]
    sentence: str
    given: str = ""
    remedy: str = ""


def _rewrite(known_at: KnownFields, value: object, detail: ErrorDetails, known: Iterable[str]) -> _Complaint | None:
    """One of pydantic's errors in plain words; None if it only echoes another one."""
    kind, context, given = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "too_short" and len(given) >= context["min_length"]:
        return None  # entries that failed are not counted
    field = _real(detail["loc"], value)
    if kind == "missing":
        return _Complaint([*field, detail["loc"][-1]], "is required")
    if kind == "extra_forbidden":
        fields = [*known_at(detail["loc"][:-1]), *(known if len(field) == 1 else ())]
        remedy = suggest(str(field[-1]), fields) or f"Known: {', '.join(sorted(fields)) or 'none'}."
        return _Complaint(field, f"unknown field {field[-1]!r}", remedy=remedy)
    sentence = (_SENTENCES.get(kind) or detail["msg"].replace("Input should be", "must be")).format(**context)
    if kind == "value_error":
        return _Complaint(field, sentence.rstrip("."))
    if kind == "union_tag_invalid":
        field, given = [*field, "name"], context["tag"]
    choices = re.findall(r"'([^']*)'", context.get("expected_tags", context.get("expected", "")))
    remedy = suggest(given, choices) if isinstance(given, str) else "Write it in quotes." * (str(given) in choices)
    shown = f", not {json.dumps(given, ensure_ascii=False)}" if isinstance(given, str | int | float | None) else ""
    return _Complaint(field, sentence, shown, remedy)


def _real(location: Sequence[str | int], value: object) -> list[str | int]:
    """Pydantic's location without the names of union branches and of what is not there."""
    found: list[str | int] = []
    for key in location:
        inside = isinstance(value, dict) and key in value
        if inside or (isinstance(value, list) and isinstance(key, int) and key < len(value)):
            value = value[key]  # type: ignore[index]
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

"""Checks values against pydantic models and says in plain sentences what is wrong, where, and what to write instead.

Checks of parts raise pydantic's own error with our sentences; pydantic puts the path of the part in front.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, reduce
from operator import or_
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

from pydantic import BaseModel, Discriminator, Field, TypeAdapter, ValidationError, WrapValidator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from mlabench.errors import UserError
from mlabench.registry import suggest
from mlabench.suite.document import Document, Keys, dotted

#: The type of errors whose context holds our ``problem`` and ``remedy``.
_OURS = "mistake"
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


class Mistakes(list[InitErrorDetails]):
    """Collects mistakes, and raises all of them where ``with`` ends."""

    def add(self, problem: str, remedy: str = "", *, field: Keys = (), at: Keys = ()) -> None:
        """Notes a mistake in ``field``, written at ``at`` below it."""
        kind = PydanticCustomError(_OURS, _OURS, {"problem": problem, "remedy": remedy, "at": at})
        self.append(InitErrorDetails(type=kind, loc=field, input=None))

    @contextmanager
    def below(self, *field: str | int) -> Iterator[None]:
        """Notes the mistakes that are raised inside as mistakes below ``field``."""
        try:
            yield
        except ValidationError as error:
            for detail in error.errors():
                self.add(**detail["ctx"], field=(*field, *detail["loc"]))

    def error(self) -> ValidationError:
        """All of them."""
        return ValidationError.from_exception_data("suite", self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self and error is None:
            raise self.error()


def mistake(problem: str | UserError, remedy: str = "", *, field: Keys = (), at: Keys = ()) -> ValidationError:
    """The error to raise about a single mistake, or about what others complained about."""
    if isinstance(problem, UserError):
        other = problem
        problem, remedy = f"{other.file}: {other.problem}" if other.file else other.problem, other.remedy
    mistakes = Mistakes()
    mistakes.add(problem, remedy, field=field, at=at)
    return mistakes.error()


def user_error(error: ValidationError, document: Document, *path: str | int) -> UserError:
    """The first mistake in what is written at ``path``, in reading order, with the others behind it."""
    found = []
    for detail in error.errors():
        field, context = (*path, *detail["loc"]), detail["ctx"]
        origin = document.origin(*field, *context["at"])
        found.append(origin.error(context["problem"], context["remedy"], dotted(field) or None))
    return UserError.of(sorted(found, key=lambda error: (error.file or "", error.line or 0)))


# -- checks ------------------------------------------------------------------------------------------


def checker(form: Any) -> Callable[..., Any]:
    """A function that checks plain data against a type.

    It is as strict as JSON (``"5"`` is not a number, 1 is not ``true``), so that editors, which know the schema, agree.
    """
    adapter = TypeAdapter(form)

    def check(value: object, context: object = None) -> Any:
        with plain_words(value, partial(fields_at, form)):
            return adapter.validate_json(json.dumps(value), strict=True, context=context)

    return check


def read_by(read: Callable[..., Any], form: Any = Any) -> WrapValidator:
    """A field's value is ``read(written, info)``; its schema is that of ``form``."""
    return WrapValidator(lambda written, _, info: read(written, info), json_schema_input_type=form)


def listed(item: Any, least: int = 1) -> WrapValidator:
    """A list; its only entry may stand alone."""
    form: Any = Annotated[tuple[item, ...], Field(min_length=least)] if least else tuple[item, ...]
    return read_by(checker(form), form | item)


def one_of(*models: type[BaseModel]) -> WrapValidator:
    """One of several models, told by its ``name``: the first where that is missing. A name may stand for a mapping."""
    names = [_names(model)[0] for model in models]
    check = checker(Annotated[union(*models), Discriminator("name")])

    def read(value: object, _: object) -> Any:
        return check({"name": names[0], **value} if isinstance(value, dict) else value)

    return read_by(read, union(Literal[tuple(names)], *models))


def union(*forms: Any) -> Any:
    """``A | B | ...``"""
    return reduce(or_, forms)


# -- sentences ---------------------------------------------------------------------------------------


class _Complaint(NamedTuple):
    field: Keys
    sentence: str
    given: str = ""
    remedy: str = ""


@contextmanager
def plain_words(value: object, known_at: Callable[[Keys], list[str]]) -> Iterator[None]:
    """What pydantic says inside about ``value`` is said in our sentences; ``known_at``: the fields at a location."""
    try:
        yield
    except ValidationError as error:
        mistakes = Mistakes()
        # The branches of a union complain about the same field, one error each.
        fields: dict[Keys, list[_Complaint]] = {}
        for detail in error.errors(include_url=False):
            if detail["type"] == _OURS:
                mistakes.add(**detail["ctx"], field=detail["loc"])
            elif complaint := _rewrite(detail, value, known_at):
                fields.setdefault(complaint.field, []).append(complaint)
        for field, complaints in fields.items():
            sentence = ", or ".join(complaint.sentence for complaint in complaints)
            mistakes.add(f"{sentence}{complaints[0].given}.", complaints[0].remedy, field=field)
        raise mistakes.error() from None


def _rewrite(detail: ErrorDetails, value: object, known_at: Callable[[Keys], list[str]]) -> _Complaint | None:
    """One of pydantic's errors in plain words; None if it only echoes another one."""
    kind, context, given = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "too_short" and len(given) >= context["min_length"]:
        return None  # entries that failed are not counted
    field = _real(detail["loc"], value)
    if kind == "missing":
        return _Complaint((*field, detail["loc"][-1]), "is required")
    if kind == "extra_forbidden":
        fields = known_at(detail["loc"][:-1])
        remedy = suggest(str(field[-1]), fields) or f"Known: {', '.join(sorted(fields)) or 'none'}."
        return _Complaint(field, f"unknown field {field[-1]!r}", remedy=remedy)
    sentence = (_SENTENCES.get(kind) or detail["msg"].replace("Input should be", "must be")).format(**context)
    if kind == "value_error":
        return _Complaint(field, sentence.rstrip("."))
    if kind == "union_tag_invalid":
        field, given = (*field, "name"), context["tag"]
    choices = re.findall(r"'([^']*)'", context.get("expected_tags", context.get("expected", "")))
    remedy = suggest(given, choices) if isinstance(given, str) else "Write it in quotes." * (str(given) in choices)
    shown = f", not {json.dumps(given, ensure_ascii=False)}" if isinstance(given, str | int | float | None) else ""
    return _Complaint(field, sentence, shown, remedy)


def _real(location: Keys, value: object) -> Keys:
    """Pydantic's location without the names of union branches and of what is not there."""
    found: list[str | int] = []
    for key in location:
        inside = isinstance(value, dict) and key in value
        if inside or (isinstance(value, list) and isinstance(key, int) and key < len(value)):
            value = value[key]  # type: ignore[index]
            found.append(key)
    return tuple(found)


def fields_at(form: Any, location: Keys) -> list[str]:
    """The fields of the model that stands at pydantic's ``location`` inside a type."""
    models = [*_models(form)]
    for key in location:  # a field, the name of a union's branch, or a place in a list or mapping
        branch = [model for model in models if "name" in model.model_fields and key in _names(model)]
        fields = [model.model_fields[key] for model in models if key in model.model_fields]
        inner = [found for field in fields for found in _models(field.annotation)]
        models = branch or inner or models
    return [name for model in models for name in (*model.model_fields, *getattr(model, "beside", ()))]


def _names(model: type[BaseModel]) -> tuple[Any, ...]:
    """What a ``name: Literal[...]`` may be."""
    return get_args(model.model_fields["name"].annotation)


def _models(form: Any) -> Iterator[type[BaseModel]]:
    if isinstance(form, type) and issubclass(form, BaseModel):
        yield form
    for argument in get_args(form):
        yield from _models(argument)

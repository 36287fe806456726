"""The rules of suites as a JSON schema, for editors that complete and check YAML."""

from __future__ import annotations

from types import GenericAlias
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from mlabench import registry
from mlabench.registry import Entry, Kind
from mlabench.suite.model import Suite
from mlabench.suite.sections import OwnTraining, Section, Settings
from mlabench.suite.validation import listed, read_by, union

_Path = Annotated[str, Field(description="Another suite: its path relative to this file, or its name.")]


class _SuiteFile(
    Suite,
    title="mlabench suite",
    json_schema_extra={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "anyOf": [{"required": ["extends"]}, {"required": ["dataset", "methods"]}, {"required": ["suites"]}],
    },
):
    """A suite of trials; see suites/README.md."""

    extends: _Path | list[_Path] = Field(default_factory=list)
    suites: Annotated[list[_Path], Field(min_length=1)] = Field(default_factory=list)


def json_schema() -> dict[str, Any]:
    """What pydantic says about a suite of any registered dataset, encoders and methods."""
    fields: dict[str, Any] = {
        "dataset": (Annotated[Any, read_by(repr, _any_of("datasets"))], Field(default_factory=dict)),
        "encoders": (Annotated[Any, read_by(repr, union(str, GenericAlias(dict, (str, _any_of("encoders")))))], "mlp"),
        "methods": (Annotated[Any, listed(_any_of("methods"))], Field(default_factory=list)),
    }
    return create_model("SuiteFile", __base__=_SuiteFile, __doc__=_SuiteFile.__doc__, **fields).model_json_schema()


def _any_of(kind: Kind) -> Any:
    """A registered class: its name, perhaps with a model behind a colon, or a mapping with that name and options."""
    bare: list[str] = []
    by_name: list[Any] = []
    others: list[Any] = []
    for entry in registry.entries(kind).values():
        fields: dict[str, Any] = {"name": (Literal[entry.name], ...)}
        if kind == "methods":
            label = Annotated[str, Field(min_length=1, description="Name in the tables.")]
            fields |= {"label": (label, ""), "training": (OwnTraining | Settings, Field(default_factory=OwnTraining))}
        options = _inlined(entry.about.config_schema)
        required = {*options.get("required", ())}
        if "model" in options.get("properties", {}):
            named = Annotated[str, Field(pattern=f"^{entry.name}(:.+)?$")]
            fields["name"] = (named, ...)
            others += [] if required - {"model"} else [named]
            others.append(_form(kind, entry, fields, options, required - {"model"}))
        else:
            bare += [] if required else [entry.name]
            by_name.append(_form(kind, entry, fields, options, required))
    return union(Literal[tuple(bare)], Annotated[union(*by_name), Field(discriminator="name")], *others)


def _form(kind: Kind, entry: Entry, fields: dict[str, Any], options: dict[str, Any], required: set[str]) -> Any:
    """A mapping with the name of a class and its options; what pydantic said of these is remembered."""

    def add_options(schema: dict[str, Any]) -> None:
        schema["properties"] |= options.get("properties", {})
        schema["required"] += sorted(required)

    extra = {"title": entry.about.title, "json_schema_extra": add_options}
    name = f"{kind}_{entry.name}"
    return create_model(name, __base__=Section, __doc__=entry.about.summary, __cls_kwargs__=extra, **fields)


def _inlined(schema: Any, definitions: Any = None, within: tuple[str, ...] = ()) -> Any:
    """A schema without references; what refers to itself may hold anything there, since only the loader checks that."""
    if isinstance(schema, list):
        return [_inlined(entry, definitions, within) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    definitions = definitions or schema.get("$defs", {})
    if (reference := schema.get("$ref")) in within:
        return {}
    if reference:
        return _inlined(definitions[reference.removeprefix("#/$defs/")], definitions, (*within, reference))
    left_out = ("$defs", "discriminator")
    return {key: _inlined(value, definitions, within) for key, value in schema.items() if key not in left_out}

"""The rules of suites as a JSON schema, for editors that complete and check YAML."""

from __future__ import annotations

import json
from typing import Any

from mlabench import registry
from mlabench.registry import Kind
from mlabench.suite.method_training import OWN_TRAINING
from mlabench.suite.model import Settings

Schema = dict[str, Any]


def json_schema() -> Schema:
    """The schema, with the options of every registered dataset, encoder and method."""
    schema = Settings.model_json_schema()
    definitions: Schema = schema.pop("$defs")
    fields: Schema = schema["properties"]
    missing: Schema = definitions["MissingSection"]["properties"]
    for section, names in ((fields, ("question", "seeds")), (missing, ("rates", "splits", "evaluate"))):
        for name in names:
            section[name] = _or_alone(section[name])
    training: Schema = definitions["Training"]["properties"]
    for name in ("optimizer", "schedule"):
        training[name] = _or_name(training[name])
    own = {name: {key: part for key, part in training[name].items() if key != "default"} for name in OWN_TRAINING}
    definitions["MethodTraining"] = {
        "title": "MethodTraining",
        "description": "What this method has instead of the suite's training.",
        "type": "object",
        "properties": own,
        "additionalProperties": False,
    }
    components = {kind: _components(kind, definitions) for kind in ("datasets", "encoders", "methods")}
    paths = {"type": "string", "description": "Another suite, relative to this file."}
    fields |= {
        "suites": {"type": "array", "items": paths, "minItems": 1},
        "extends": {"anyOf": [paths, {"type": "array", "items": paths}]},
        "dataset": components["datasets"],
        "encoders": {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": components["encoders"]}]},
        "methods": _or_alone({"type": "array", "items": components["methods"], "minItems": 1}),
    }
    del schema["required"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "mlabench suite",
        "description": "A suite of trials; see suites/README.md.",
        "anyOf": [{"required": ["extends"]}, {"required": ["dataset", "methods"]}, {"required": ["suites"]}],
        "$defs": definitions,
    }


def _or_alone(array: Schema) -> Schema:
    """A list, or its only entry without brackets."""
    about: Schema = {key: array[key] for key in ("default", "description") if key in array}
    bare = {key: value for key, value in array.items() if key not in about}
    return {**about, "anyOf": [bare, array["items"]]}


def _or_name(union: Schema) -> Schema:
    """One of several named things, or just its name."""
    names = list(union["discriminator"]["mapping"])
    return {"default": union["default"], "anyOf": [{"enum": names}, *union["oneOf"]]}


def _components(kind: Kind, definitions: Schema) -> Schema:
    """A name, or a mapping with that name and its options; the options go to ``definitions``."""
    entries = registry.entries(kind)
    names: list[Schema] = []
    for name, entry in entries.items():
        prefix = f"{kind}.{name}"
        plain = json.dumps(entry.about.config_schema)
        options = json.loads(plain.replace('"#/$defs/', f'"#/$defs/{prefix}.'))
        definitions |= {f"{prefix}.{inner}": value for inner, value in options.pop("$defs", {}).items()}
        beside = {
            "label": {"type": "string", "minLength": 1, "description": "Name in the tables."},
            "training": {"$ref": "#/$defs/MethodTraining"},
        }
        required = set(options.get("required", []))
        named: Schema = {"const": name}
        if "model" in options.get("properties", {}):
            # Written `name:model`, or with an option `model`.
            required.discard("model")
            named = {"type": "string", "pattern": f"^{name}(:.+)?$"}
        if not required:
            names.append(named)
        definitions[prefix] = {
            **options,
            "title": entry.about.title,
            "description": entry.about.summary,
            "properties": {
                "name": named,
                **(beside if kind == "methods" else {}),
                **options.get("properties", {}),
            },
            "required": ["name", *sorted(required)],
        }
    bare = {"enum": [named["const"] for named in names if "const" in named]}
    patterns = [named for named in names if "pattern" in named]
    return {"anyOf": [bare, *patterns, *({"$ref": f"#/$defs/{kind}.{name}"} for name in entries)]}

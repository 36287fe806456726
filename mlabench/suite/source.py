"""Reads YAML, with the line of each value.

The dialect is YAML 1.2's core schema: ``no`` and ``off`` are text, ``1e-3`` is a number, dates and
sexagesimals do not exist. Duplicate keys are refused.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from mlabench.errors import UserError
from mlabench.registry import suggest
from mlabench.suite.document import Document, Keys, Origin, dotted
from mlabench.suite.files import shown

#: Deeper or larger documents are mistakes (or aliases that grow without bound).
_DEEPEST, _LARGEST = 20, 100_000
_TAG = "tag:yaml.org,2002:"
_VARIABLE = re.compile(r"\$\{(?:(\w+)(?::-([^{}]*))?\})?")


def read(path: Path) -> Document:
    """Reads one YAML file that holds a mapping."""
    here = Origin(shown(path))
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise Origin(shown(path), line).error("is not UTF-8 text.", "Save the file as UTF-8.") from error
    except (OSError, ValueError) as error:
        if path.is_dir():
            raise here.error("is a folder, not a YAML file.") from error
        near = sorted(other.name for other in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        reason = "no such file." if isinstance(error, FileNotFoundError) else f"cannot be read: {error}."
        raise here.error(reason, suggest(path.name, near)) from error
    document = parse(text, shown(path))
    if document.data is None:
        raise here.error("is empty.", "A suite needs at least 'dataset' and 'methods'.")
    if not isinstance(document.data, dict):
        raise document.origin().error("must hold a mapping of fields such as 'dataset: ...'.")
    return document


def from_mapping(suite: Mapping[str, Any]) -> Document:
    """A suite given as Python data: what it holds is checked as the same YAML would be."""
    try:
        text = json.dumps(suite, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"cannot be written as YAML: {error}.", file="suite") from error
    return parse(text, "suite", numbered=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping | range):
        return dict(value) if isinstance(value, Mapping) else list(value)
    return value.tolist() if hasattr(value, "tolist") else os.fspath(value)  # NumPy; paths, or a TypeError


class _Loader(yaml.SafeLoader):
    """Composes nodes with YAML 1.2's core types and refuses duplicate keys."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  (the base class declares it so)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key.start_mark)
            line = key.start_mark.line + 1
            if key.value in seen:
                problem = f"the key {key.value!r} is already set in line {seen[key.value]}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen[key.value] = line
        return node


for _name, _pattern, _first in [
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
]:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})\\Z"), _first)


def parse(text: str, source: str, *, numbered: bool = True) -> Document:
    """Parses the YAML text of a file or a flag; ``numbered``: whether its lines mean anything to the reader."""
    origins: dict[Keys, Origin] = {}

    def at(line: int) -> Origin:
        return Origin(source, line + 1 if numbered else None)

    def build(node: yaml.Node, line: int, path: Keys) -> Any:
        """The value of a node; ``line``, counted from 0, is where its key or list item begins."""
        origin, field = at(line), dotted(path) or None
        origins[path] = origin
        if len(path) > _DEEPEST or len(origins) > _LARGEST:
            raise origin.error("is nested too deeply or too large for a suite.", field=field)
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
                loader.flatten_mapping(node)
                return {
                    _text(key.value): build(value, key.start_mark.line, (*path, key.value)) for key, value in node.value
                }
            if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
                return [build(item, item.start_mark.line, (*path, place)) for place, item in enumerate(node.value)]
            if isinstance(node, yaml.ScalarNode):
                return _scalar(node)
        except UserError as error:
            if error.file:
                raise
            raise origin.error(error.problem, error.remedy, field) from error
        raise origin.error(f"the YAML tag {node.tag!r} is not allowed.", field=field)

    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return Document(build(root, root.start_mark.line, ()), origins) if root else Document.of(None, at(0))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position)
        raise at(line).error(
            f"holds the character {chr(int(error.character))!r}, which YAML does not allow."
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = f"is not valid YAML: {error.problem or error.context}."
        remedy = "Indent with spaces, not tabs." if "'\\t'" in problem else ""
        raise at(mark.line if mark else 0).error(problem, remedy) from error
    except RecursionError as error:
        raise at(0).error("is nested too deeply.") from error


def _scalar(node: yaml.ScalarNode) -> bool | int | float | str | None:
    kind, text = node.tag.removeprefix(_TAG), node.value
    if kind in ("str", "merge"):
        return substitute(_text(text))
    if kind == "null":
        return None
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        number: int | float = {"int": int, "float": float}[kind](text)
    except (KeyError, ValueError) as error:
        raise UserError(f"{text[:40]!r} is not allowed under the YAML tag {node.tag!r}.") from error
    # What 64-bit integers and finite doubles cannot hold would not survive as JSON.
    if abs(number) >= 2**63 if isinstance(number, int) else not isfinite(number):
        raise UserError(f"the number {text[:40]} is too large.")
    return number


def _text(text: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UserError("holds half of a surrogate pair, which is not text.")
    return text


def substitute(text: str) -> str:
    """Replaces ``${VAR}`` and ``${VAR:-default}`` by the environment's value."""

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        if name is None:
            raise UserError(f"{text!r} has a '${{' that is neither ${{VAR}} nor ${{VAR:-default}}.")
        found = os.environ.get(name) or default
        if found is None:
            remedy = f"Set it, or write ${{{name}:-default}}."
            raise UserError(f"the environment variable {name!r} is empty or not set.", remedy=remedy)
        return found

    return _VARIABLE.sub(value, text)

"""Reads the file of a suite on top of the files that it extends, and checks the whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from mlabench.registry import suggest
from mlabench.suite.document import Document, Origin, merge
from mlabench.suite.files import find_suite, named_suite, shown, suites_by_name
from mlabench.suite.model import DatasetSection, InputSection, Suite
from mlabench.suite.overrides import Overrides, recommend
from mlabench.suite.source import from_mapping, read
from mlabench.suite.validation import checker, user_error
from mlabench.trial import Component

Inputs = TypeVar("Inputs", bound=DatasetSection)


def _read_layers(source: Path | Mapping[str, Any]) -> Document:
    """The whole document; a suite without a name is called after its file."""
    path = source if isinstance(source, Path) else Path("suite")
    document = _layer(path, read(source) if isinstance(source, Path) else from_mapping(source), ())
    if document.has("name"):
        return document
    # The name becomes a folder of the report, so it is simpler than a file's may be.
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem).lstrip("_.-")[:64] or "suite"
    return document.assign(("name",), Document.of(name, Origin(shown(path))))


def members(suite: str | Path) -> list[Path]:
    """The suites that a file stands for: those it lists under ``suites`` and no others, or itself.

    Raises:
        UserError: If the file cannot be read, lists something else beside suites, or a circle.
    """
    return _members(find_suite(suite), ())


def _members(path: Path, chain: tuple[Path, ...]) -> list[Path]:
    chain = (*chain, path.resolve())
    document = read(path)
    if not document.has("suites"):
        return [path]
    listed = document.at("suites")
    beside = [key for key in document.data if key != "suites"]
    if beside or not isinstance(listed.data, list) or not listed.data:
        problem = f"stands beside {beside[0]!r}" if beside else "must be a list of at least one path"
        raise listed.origin().error(f"{problem}.", "A file that lists suites holds nothing else.", "suites")
    others = _others(path, listed, chain, "suites")
    return list(dict.fromkeys(member for other in others for member in _members(other, chain)))


def _layer(path: Path, document: Document, chain: tuple[Path, ...]) -> Document:
    chain = (*chain, path.resolve())
    own = document.without("extends").completed()
    file = own.find("missing", "file")
    if isinstance(file, str) and file:  # relative to the suite that names it
        own = own.assign(("missing", "file"), Document.of(str(path.parent / file), own.origin("missing", "file")))
    inherited = Document({}, document.origins)
    if document.has("extends"):
        for other in _others(path, document.at("extends"), chain, "extends"):
            # A name is not inherited: the results of two suites would land under it.
            inherited = merge(inherited, _layer(other, read(other), chain).without("name"))
    return merge(inherited, own)


def _others(path: Path, listed: Document, chain: tuple[Path, ...], field: str) -> list[Path]:
    """The files that ``field`` of the file ``path`` names."""
    found = []
    for at, name in enumerate(listed.data if isinstance(listed.data, list) else [listed.data]):
        origin = listed.origin(at)
        if not isinstance(name, str):
            raise origin.error("must be another suite's path or name, or a list of them.", field=field)
        other = named_suite(name, path.parent) or path.parent / name
        if other.resolve() in chain:
            circle = " -> ".join(step.name for step in (*chain, other.resolve()))
            verb = "extend" if field == "extends" else "list"
            raise origin.error(f"suites {verb} each other in a circle: {circle}.", field=field)
        if not other.is_file():
            names = [] if other.suffix else suites_by_name(path.parent)
            near = suggest(other.name, [*names, *(file.name for file in other.parent.glob("*.y*ml"))])
            raise origin.error(f"there is no file {name!r}.", near, field)
        found.append(other)
    return found


def load_suite(source: Path | str | Mapping[str, Any], overrides: Overrides | None = None) -> Suite:
    """Reads, completes and checks a suite.

    Args:
        source: The path of a YAML file, the name of a suite, or what such a file holds as Python data.
        overrides: What the command line changes.

    Raises:
        UserError: If anything is wrong with the suite or the overrides; it lists all mistakes.
    """
    overrides = overrides or Overrides()
    document = overrides.apply(_read_layers(source if isinstance(source, Mapping) else find_suite(source)))
    suite = _checked(Suite, document, adapt=overrides.dataset is not None)
    suite._document = document
    return suite


def load_dataset(name: str, overrides: Overrides) -> Component:
    """A dataset with its options, from the command line alone.

    Raises:
        UserError: If an option is unknown or has a wrong value.
    """
    return _load(DatasetSection, name, overrides).dataset


def load_inputs(name: str, overrides: Overrides) -> tuple[Component, dict[str, Component]]:
    """A dataset with its options, and encoders for it, from the command line alone.

    Args:
        name: The dataset's.
        overrides: Settings of ``dataset`` and ``encoders``; by default, encoders are those that the dataset recommends.

    Raises:
        UserError: If an option is unknown or has a wrong value, or an encoder does not fit.
    """
    inputs = _load(InputSection, name, overrides)
    return inputs.dataset, inputs.encoders


def _load(form: type[Inputs], name: str, overrides: Overrides) -> Inputs:
    flag = Origin("--set")
    document = Document.of({"dataset": {"name": name}}, flag).completed()
    document = overrides.apply(recommend(document, name, flag))
    written = {field: value for field, value in document.data.items() if field in form.model_fields}
    return _checked(form, Document(written, document.origins), adapt=False)


def _checked(form: type[Inputs], document: Document, *, adapt: bool) -> Inputs:
    try:
        return checker(form)(document.data, adapt)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise user_error(error, document) from None

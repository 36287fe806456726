"""Writes the files that one starts from: a suite, a method and its test. Free of torch."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from mlabench import registry
from mlabench.errors import UserError, cannot_write

_TEMPLATES = files("mlabench.templates")


def write_suite(path: Path) -> None:
    """Writes a commented suite.

    Raises:
        UserError: If there is such a file, or it cannot be written.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise UserError("a suite's name ends in .yaml.", remedy=f"Call it {path.with_suffix('.yaml')}.", file=str(path))
    _write({path: _TEMPLATES.joinpath("suite.yaml").read_text(encoding="utf-8")})


def write_method(name: str, folder: Path) -> tuple[Path, Path]:
    """Writes a method and its test.

    Args:
        name: What suites will call it, e.g. ``my_method``.
        folder: Where; it is made if need be.

    Returns:
        The method's file and the test's.

    Raises:
        UserError: If the name is no name or taken, or a file is there, or cannot be written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise UserError(
            f"{name!r} cannot be a method's name.",
            remedy="Use lower-case letters, digits and underscores, such as my_method.",
            field="NAME",
        )
    if name in registry.entries("methods"):
        taken = registry.get("methods", name).package
        raise UserError(f"there is a method {name!r} already, from {taken}.", remedy="Choose another.", field="NAME")
    if find_spec(name) is not None:
        raise UserError(
            f"{name!r} is the name of a Python module that the new file would hide.",
            remedy="Choose another.",
            field="NAME",
        )
    names = {
        "MyMethod": "".join(word.capitalize() for word in name.split("_")),
        "my_method": name,
        "My method": name.replace("_", " ").capitalize(),
    }
    paths = folder / f"{name}.py", folder / f"test_{name}.py"
    templates = ("my_method.py", "test_my_method.py")
    contents = {}
    for path, template in zip(paths, templates, strict=True):
        text = _TEMPLATES.joinpath(template).read_text(encoding="utf-8")
        for old, new in names.items():
            text = text.replace(old, new)
        contents[path] = text
    _write(contents)
    return paths


def _write(contents: Mapping[Path, str]) -> None:
    """Writes new files: all of them or, if one is there already, none.

    Raises:
        UserError: If one is there, or cannot be written.
    """
    for path in contents:
        if path.exists():
            raise UserError("there is such a file already.", remedy="Choose another name or folder.", file=str(path))
    for path, text in contents.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise cannot_write("this file", path, error) from error

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


def write_suite(path: Path) -> None:
    """Writes a commented suite."""
    if path.suffix not in (".yaml", ".yml"):
        raise UserError("a suite's name ends in .yaml.", remedy=f"Call it {path.with_suffix('.yaml')}.", file=str(path))
    _write({path: _template("suite.yaml")})


def write_method(name: str, folder: Path) -> tuple[Path, Path]:
    """Writes a method, which suites will call ``name``, and its test. Returns their paths."""
    _check_name(name)
    new = {
        "MyMethod": "".join(word.capitalize() for word in name.split("_")),
        "my_method": name,
        "My method": name.replace("_", " ").capitalize(),
    }
    method, test = _template("my_method.py"), _template("test_my_method.py")
    for old, own in new.items():
        method, test = method.replace(old, own), test.replace(old, own)
    paths = folder / f"{name}.py", folder / f"test_{name}.py"
    _write({paths[0]: method, paths[1]: test})
    return paths


def _check_name(name: str) -> None:
    problem, remedy = "", "Choose another."
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        problem = f"{name!r} cannot be a method's name."
        remedy = "Use lower-case letters, digits and underscores, such as my_method."
    elif taken := registry.entries("methods").get(name):
        problem = f"there is a method {name!r} already, from {taken.package}."
    elif find_spec(name) is not None:
        problem = f"{name!r} is the name of a Python module that the new file would hide."
    if problem:
        raise UserError(problem, remedy=remedy, field="NAME")


def _template(name: str) -> str:
    return files("mlabench.templates").joinpath(name).read_text(encoding="utf-8")


def _write(contents: Mapping[Path, str]) -> None:
    """Writes new files: all of them or, if one is there already, none."""
    for path in contents:
        if path.exists():
            raise UserError("there is such a file already.", remedy="Choose another name or folder.", file=str(path))
    for path, text in contents.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise cannot_write("this file", path, error) from error

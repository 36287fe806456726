"""Methods, datasets and encoders from single files, as ``--plugin FILE`` names them. Free of torch.

A file registers every class at its top level that derives from :class:`mlabench.method.Method`,
:class:`mlabench.datasets.Dataset` or :class:`mlabench.encoders.Encoder`, directly or through others, unless
its name starts with an underscore. It is called by its attribute ``name``, if it has one, else by the class
name in snake case. All of that is read from the source: nothing is imported before a trial needs it.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from mlabench import registry
from mlabench.errors import UserError
from mlabench.registry import Entry, Kind, source_file

_CONTRACTS: dict[str, Kind] = {
    "mlabench.method.Method": "methods",
    "mlabench.datasets.Dataset": "datasets",
    "mlabench.encoders.Encoder": "encoders",
}


def register(files: Iterable[Path]) -> tuple[Path, ...]:
    """Registers what ``files`` define for the rest of this process.

    Returns:
        Their absolute paths, for other processes to register the same.

    Raises:
        UserError: If one is not there, is no valid Python, defines nothing, or takes a name that is taken.
    """
    paths = tuple(Path(file).expanduser().resolve() for file in files)
    registry.add(entry for path in paths for entry in read(path))
    return paths


def import_all(files: Iterable[Path]) -> None:
    """Imports what files define, so that their mistakes show before a trial is run. Imports torch, if they do.

    Args:
        files: Absolute paths.

    Raises:
        UserError: If one cannot be imported.
    """
    for path in files:
        for entry in read(path):
            entry.load()


def read(path: Path) -> list[Entry]:
    """The classes that a file defines, in its order.

    Args:
        path: An absolute path.

    Raises:
        UserError: If it is not there, is no valid Python, or defines nothing.
    """
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
        compile(tree, str(path), "exec", dont_inherit=True)  # finds what parsing does not, e.g. a stray return
    except OSError as error:
        raise UserError(f"cannot read this plugin ({error.strerror or error}).", file=str(path)) from error
    except (SyntaxError, ValueError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        problem = error.msg if isinstance(error, SyntaxError) else str(error)
        raise UserError(f"this plugin is no valid Python: {problem}.", file=str(path), line=line) from error
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    module = f"mlabench_plugin_{digest}_{path.stem}"
    found = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            kind = _kind(node.name, tree, module, seen=frozenset())
            if kind is not None:
                found.append(_entry(kind, node.name, module, path))
    if not found:
        raise UserError(
            "this plugin defines no method, dataset or encoder.",
            remedy=f"Derive a class from {', '.join(_CONTRACTS)}.",
            file=str(path),
        )
    return found


def _entry(kind: Kind, attribute: str, module: str, path: Path) -> Entry:
    unnamed = Entry(kind, snake_case(attribute), module, attribute, str(path), path)
    name = unnamed.literal("name", unnamed.name)
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w-]*", name):
        raise UserError(
            f"{name!r} is no name: it may have letters, digits, '_' and '-' only.",
            file=str(path),
            field=f"{attribute}.name",
        )
    return Entry(kind, name, module, attribute, str(path), path)


def snake_case(name: str) -> str:
    """``SumOfLogits`` as ``sum_of_logits``, ``MLAReleased`` as ``mla_released``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _kind(name: str, tree: ast.Module, module: str, seen: frozenset[tuple[str, str]]) -> Kind | None:
    """Which contract ``name`` in the module fulfils, if any, following base classes through imports.

    Args:
        name: A name, perhaps dotted, as it is written there.
        tree: The module.
        module: What the module is called.
        seen: What led here, since a module may import itself in circles.
    """
    if (name, module) in seen:
        return None
    seen = seen | {(name, module)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            kinds = (_kind(ast.unparse(base), tree, module, seen) for base in node.bases)
            return next((kind for kind in kinds if kind is not None), None)
    first, dot, rest = name.partition(".")
    target = _imports(tree, module).get(first)
    if target is None:
        return None
    full = f"{target}{dot}{rest}"
    if full in _CONTRACTS:
        return _CONTRACTS[full]
    origin, _, attribute = full.rpartition(".")
    file = source_file(origin) if origin else None
    source = file.read_bytes() if file is not None and file.suffix == ".py" else b""
    if b"mlabench" not in source:  # nothing in it derives from what it does not mention; spares reading torch
        return None
    within = f"{origin}.__init__" if file is not None and file.stem == "__init__" else origin
    return _kind(attribute, ast.parse(source), within, seen)


def _imports(tree: ast.Module, module: str) -> dict[str, str]:
    """What imported names stand for, e.g. ``{"F": "torch.nn.functional"}``."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            if source:  # a single file has no neighbours
                names |= {alias.asname or alias.name: f"{source}.{alias.name}" for alias in node.names}
    return names

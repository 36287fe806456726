"""Reads a suite file on top of the files it extends, short forms written out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlabench.errors import UserError
from mlabench.registry import suggest
from mlabench.suite.model import EVERY
from mlabench.suite.source import Node, Origin, from_mapping, merge, read
from mlabench.trial import Training

#: Suites of the checkout that mlabench is installed from.
_SHIPPED = Path(__file__).parents[2] / "suites"


def find_suite(name: str | Path) -> Path:
    """The file of a suite: a path as it is; a name is looked up in the folder ``suites`` here, then in mlabench's own.

    Raises:
        UserError: If no suite has this name.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or len(path.parts) != 1 or path.is_file():
        return path
    folders = (Path("suites"), _SHIPPED)
    for folder in folders:
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    if path.is_dir():
        return path
    known = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
    remedy = (
        suggest(str(name), known)
        or "Give the path of a YAML file, or one of the names that `mlabench ls suites` lists."
    )
    raise UserError(f"there is no suite {str(name)!r}.", remedy=remedy)


def read_layers(source: Path | Mapping[str, Any]) -> Node:
    """The whole document; a suite without a name is called after its file.

    Raises:
        UserError: If a file cannot be read, or files extend each other in a circle.
    """
    if isinstance(source, Path):
        tree = _layer(source, read(source), ())
        # The name becomes a folder of the report, so it is simpler than a file's may be.
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", source.stem).lstrip("_.-")[:64] or "suite"
        return tree if tree.child("name") else tree.assign(["name"], Node(name, Origin(str(source))))
    tree = _layer(Path("suite"), from_mapping(source), ())
    return tree if tree.child("name") else tree.assign(["name"], Node("suite", Origin("suite")))


def members(suite: str | Path) -> list[Path]:
    """The suites that a file stands for: those it lists under ``suites`` and no others, or itself.

    Raises:
        UserError: If the file cannot be read, lists something else beside suites, or a circle.
    """
    return _members(find_suite(suite), ())


def _members(path: Path, chain: tuple[Path, ...]) -> list[Path]:
    chain = (*chain, path.resolve())
    tree = read(path)
    listed = tree.child("suites")
    if listed is None:
        return [path]
    beside = [key for key in tree.value if key != "suites"] if isinstance(tree.value, dict) else []
    if beside or not isinstance(listed.value, list) or not listed.value:
        problem = f"stands beside {beside[0]!r}" if beside else "must be a list of at least one path"
        raise listed.origin.error(f"{problem}.", "A file that lists suites holds nothing else.", "suites")
    found = [
        member for reference in listed.value for member in _members(_other(path, reference, chain, "suites"), chain)
    ]
    return list(dict.fromkeys(found))


def _layer(path: Path, tree: Node, chain: tuple[Path, ...]) -> Node:
    chain = (*chain, path.resolve())
    own = _relative_to(path, write_out(tree.without("extends")))
    extends = tree.child("extends")
    if extends is None:
        return own
    inherited = Node({}, tree.origin)
    for reference in extends.value if isinstance(extends.value, list) else [extends]:
        # A name is not inherited: the results of two suites would land under it.
        base = _other(path, reference, chain, "extends")
        inherited = merge(inherited, _layer(base, read(base), chain).without("name"))
    return merge(inherited, own)


def _other(path: Path, reference: Node, chain: tuple[Path, ...], field: str) -> Path:
    """The file that ``field`` of the file ``path`` names."""
    if not isinstance(reference.value, str):
        raise reference.origin.error("must be the path of another suite, or a list of paths.", field=field)
    other = path.parent / reference.value
    if other.resolve() in chain:
        circle = " -> ".join(step.name for step in (*chain, other.resolve()))
        verb = "extend" if field == "extends" else "list"
        raise reference.origin.error(f"suites {verb} each other in a circle: {circle}.", field=field)
    if not other.is_file():
        near = suggest(other.name, [file.name for file in other.parent.glob("*.y*ml")])
        raise reference.origin.error(f"there is no file {reference.value!r}.", near, field)
    return other


def _relative_to(path: Path, tree: Node) -> Node:
    """Pattern files are relative to the suite that names them."""

    def relative(node: Node) -> Node:
        given = node.value
        return Node(str(path.parent / given), node.origin) if isinstance(given, str) and given else node

    return tree.change(["missing", "file"], relative)


def write_out(tree: Node) -> Node:
    """Short forms written out: ``Q1`` is ``[Q1]``, ``mla`` is ``{name: mla}``, ``encoders: mlp`` is ``{"*": mlp}``."""
    for path, long_form in _SHORT_FORMS:
        tree = tree.change(path, long_form)
    return tree


def name_optimizer(tree: Node) -> Node:
    """``optimizer: {lr: 0.1}`` means the default optimiser. Only when all layers are merged is it known to be meant."""
    return tree.change(["training", "optimizer"], lambda node: _with_name(node, Training().optimizer.name))


def _with_name(node: Node, name: str) -> Node:
    if not isinstance(node.value, dict) or "name" in node.value:
        return node
    return Node({"name": Node(name, node.origin), **node.value}, node.origin)


def _listed(node: Node) -> Node:
    return node if node.value is None or isinstance(node.value, dict | list) else Node([node], node.origin)


def _named(node: Node) -> Node:
    return Node({"name": node}, node.origin) if isinstance(node.value, str) else node


def _everywhere(node: Node) -> Node:
    return Node({EVERY: node}, node.origin) if isinstance(node.value, str) else node


_SHORT_FORMS: list[tuple[tuple[str | None, ...], Callable[[Node], Node]]] = [
    (("question",), _listed),
    (("seeds",), _listed),
    (("missing", "rates"), _listed),
    (("missing", "splits"), _listed),
    (("missing", "evaluate"), _listed),
    (("dataset",), _named),
    (("encoders",), _everywhere),
    (("encoders", None), _named),
    (("methods",), _listed),
    (("methods", None), _named),
    (("training", "optimizer"), _named),
    (("training", "schedule"), _named),
    (("methods", None, "training", "optimizer"), _named),
    (("methods", None, "training", "schedule"), _named),
]

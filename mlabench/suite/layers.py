"""Reads a suite file on top of the files it extends, short forms written out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from mlabench.registry import suggest
from mlabench.suite.model import EVERY
from mlabench.suite.source import Node, Origin, merge, read
from mlabench.trial import Training


def read_layers(path: Path) -> Node:
    """The whole document; a suite without a name is called after its file.

    Raises:
        UserError: If a file cannot be read, or files extend each other in a circle.
    """
    tree = _layer(path, ())
    # The name becomes a folder of the report, so it is simpler than a file's may be.
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem).lstrip("_.-")[:64] or "suite"
    return tree if tree.child("name") else tree.assign(["name"], Node(name, Origin(str(path))))


def members(path: Path) -> list[Path]:
    """The suites that a file stands for: those it lists under ``suites`` and no others, or itself.

    Raises:
        UserError: If the file cannot be read, lists something else beside suites, or a circle.
    """
    return _members(path, ())


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


def _layer(path: Path, chain: tuple[Path, ...]) -> Node:
    chain = (*chain, path.resolve())
    tree = read(path)
    own = _relative_to(path, write_out(tree.without("extends")))
    extends = tree.child("extends")
    if extends is None:
        return own
    inherited = Node({}, tree.origin)
    for reference in extends.value if isinstance(extends.value, list) else [extends]:
        # A name is not inherited: the results of two suites would land under it.
        inherited = merge(inherited, _layer(_other(path, reference, chain, "extends"), chain).without("name"))
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

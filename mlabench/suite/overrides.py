"""What the command line changes about a suite."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from mlabench import registry
from mlabench.errors import UserError
from mlabench.registry import suggest
from mlabench.suite.components import resolve_methods
from mlabench.suite.layers import write_out
from mlabench.suite.source import Node, Origin, merge, parse
from mlabench.suite.validation import Problems

_MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Overrides:
    """Values of flags; what was not given changes nothing.

    Attributes:
        settings: ``--set FIELD=VALUE``: dotted field, YAML value.
        methods: ``--method``: keep the suite's methods of these names or labels; others are added with their defaults.
        seeds: ``--seeds``: ``0-4`` or ``0,2,5``.
        rates: ``--rates``: ``0,0.5``.
        limit: ``--limit``: samples per split.
        dataset: ``--dataset``: its name. Encoders and training are those that the dataset recommends. If it
            recommends none, the suite's encoders are kept where they fit; other modalities take the suite's
            ``"*"``, or ``mlp``.
        precision: ``--precision``.
    """

    settings: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: str | None = None
    rates: str | None = None
    limit: int | None = None
    dataset: str | None = None
    precision: str | None = None

    def apply(self, tree: Node) -> Node:
        """The suite with all flags applied.

        Raises:
            UserError: If a flag's value does not parse, or names a field that cannot be set.
        """
        if self.dataset is not None:
            tree = _move(tree, self.dataset)
        for flag, path, node in self._assignments():
            try:
                tree = write_out(tree.assign(path, node))
            except KeyError as error:
                field = ".".join(map(str, path))
                raise UserError(
                    f"there is no {error.args[0]!r} in the suite's {field!r}.", file=flag, field=field
                ) from error
        return _keep_methods(tree, self.methods)

    def _assignments(self) -> list[tuple[str, list[str | int], Node]]:
        found: list[tuple[str, list[str | int], Node]] = []
        if self.seeds is not None:
            origin = Origin("--seeds")
            found.append(("--seeds", ["seeds"], Node([Node(seed, origin) for seed in _seeds(self.seeds)], origin)))
        if self.rates is not None:
            found.append(("--rates", ["missing", "rates"], parse(f"[{self.rates}]", "--rates", numbered=False)))
        if self.limit is not None:
            found.append(("--limit", ["limit"], Node(self.limit, Origin("--limit"))))
        if self.precision is not None:
            found.append(("--precision", ["training", "precision"], Node(self.precision, Origin("--precision"))))
        for assignment in self.settings:
            field, equals, value = assignment.partition("=")
            flag = f"--set {field}"
            keys: list[str | int] = [int(key) if key.isdecimal() else key for key in field.split(".")]
            if not equals or "" in keys:
                raise UserError(f"{assignment!r} is not FIELD=VALUE, such as training.epochs=5.", file="--set")
            if keys[0] == "extends":
                raise UserError("a file has to say what it extends.", remedy="Give that suite instead.", file=flag)
            found.append((flag, keys, parse(value, flag, numbered=False)))
        return found


def _move(tree: Node, dataset: str) -> Node:
    """The suite on another dataset. It has a name of its own, so that it does not take the real one's place."""
    origin = Origin("--dataset")
    before = tree.find(["dataset", "name"])
    tree = merge(tree, Node({"dataset": Node({"name": Node(dataset, origin)}, origin)}, tree.origin))
    if before is None or before.value == dataset:
        return tree
    tree = recommend(tree, dataset, "--dataset")
    name, title = tree.child("name"), tree.child("title")
    if name is not None:
        tree = tree.assign(["name"], Node(f"{name.value}.{dataset}", origin))
    return tree.assign(["title"], Node(f"{title.value} (moved to {dataset})", origin)) if title is not None else tree


def recommend(tree: Node, dataset: str, source: str) -> Node:
    """The suite with the encoders and the training that a dataset recommends, if it does.

    An unknown dataset is noticed later.
    """
    if dataset in registry.entries("datasets"):
        for field, value in registry.get("datasets", dataset).load().defaults.items():
            tree = tree.assign([field], parse(json.dumps(value), source, numbered=False))
    return tree


def _keep_methods(tree: Node, wanted: Sequence[str]) -> Node:
    """The suite with only the methods of these names or labels, in the suite's order.

    A registered method that the suite does not have is added with its defaults.

    Raises:
        UserError: If there is no such method, or the suite's own methods have mistakes.
    """
    if not wanted:
        return tree
    problems = Problems(tree)
    methods = resolve_methods(tree, problems)
    if problems.errors:
        raise problems.error()
    kept = [at for at, entry in enumerate(methods) if entry.label in wanted or entry.method.name in wanted]
    known = {name for entry in methods for name in (entry.label, entry.method.name)}
    origin = Origin("--method")
    added: list[Node] = []
    for name in dict.fromkeys(wanted):
        if name in known:
            continue
        if name not in registry.entries("methods"):
            spellings = sorted({*known, *registry.entries("methods")})
            remedy = suggest(name, spellings) or f"Known: {', '.join(spellings)}."
            raise origin.error(f"no method is called {name!r}.", remedy, "methods")
        added.append(Node({"name": Node(name, origin)}, origin))
    nodes = [node for at in kept if (node := tree.find(["methods", at]))]
    return tree.assign(["methods"], Node([*nodes, *added], nodes[0].origin if nodes else origin))


def _seeds(text: str) -> list[int]:
    """``0-4`` or ``0,2,5`` or a mixture."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            low = int(first)
            high = int(last) if dash else low
        except ValueError:
            low, high = 0, -1
        if not 0 <= low <= high:
            raise UserError(
                f"{text!r} is neither a range such as 0-4 nor a list such as 0,2,5.", file="--seeds", field="seeds"
            )
        if high - low >= _MOST_SEEDS:
            raise UserError(f"{part!r} are more than {_MOST_SEEDS:,} seeds.", file="--seeds", field="seeds")
        seeds += range(low, high + 1)
    return seeds

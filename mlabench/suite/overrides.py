"""What the command line changes about a suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from mlabench import registry
from mlabench.errors import UserError
from mlabench.registry import suggest
from mlabench.suite.document import Document, Keys, Origin
from mlabench.suite.sections import resolve_methods, shared_training
from mlabench.suite.source import parse
from mlabench.suite.validation import user_error

_MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Overrides:
    """Values of flags; what was not given changes nothing.

    Attributes:
        settings: ``--set FIELD=VALUE``: dotted field, YAML value.
        methods: ``--method``: keep the suite's methods of these names or labels; others are added with their defaults.
        seeds: ``--seeds``: ``0-4`` or ``0,2,5``.
        folds: ``--folds``: a number, a division such as ``session``, or ``none``.
        rates: ``--rates``: ``0,0.5``.
        limit: ``--limit``: samples per split.
        dataset: ``--dataset``: its name. Encoders and training are those that the dataset recommends. If it
            recommends none, the suite's encoders are kept where they fit; other modalities take the suite's
            ``"*"``, or ``mlp``.
        precision: ``--precision``.
        until_width: ``--until-width``.
        max_repeats: ``--max-repeats``.
    """

    settings: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: str | None = None
    folds: str | None = None
    rates: str | None = None
    limit: int | None = None
    dataset: str | None = None
    precision: str | None = None
    until_width: float | None = None
    max_repeats: int | None = None

    def apply(self, document: Document) -> Document:
        """The suite with all flags applied."""
        if self.dataset is not None:
            document = _move(document, self.dataset)
        for path, value in list(self._assignments()):  # a flag that cannot be read comes first
            document = document.assign(path, value)
        return _keep_methods(document, self.methods)

    def _assignments(self) -> Iterator[tuple[Keys, Document]]:
        if self.rates is not None:
            yield ("missing", "rates"), parse(f"[{self.rates}]", "--rates", numbered=False)
        if self.seeds is not None:
            yield ("seeds",), Document.of(_seeds(self.seeds), Origin("--seeds"))
        if self.folds is not None:
            yield ("folds",), parse(self.folds, "--folds", numbered=False)
        if self.limit is not None:
            yield ("limit",), Document.of(self.limit, Origin("--limit"))
        if self.precision is not None:
            yield ("training", "precision"), Document.of(self.precision, Origin("--precision"))
        if self.until_width is not None:
            yield ("until_width",), Document.of(self.until_width, Origin("--until-width"))
        if self.max_repeats is not None:
            yield ("max_repeats",), Document.of(self.max_repeats, Origin("--max-repeats"))
        for assignment in self.settings:
            field, equals, value = assignment.partition("=")
            flag = f"--set {field}"
            keys = tuple(int(key) if key.isdecimal() else key for key in field.split("."))
            if not equals or "" in keys:
                raise UserError(f"{assignment!r} is not FIELD=VALUE, such as training.epochs=5.", file="--set")
            if keys[0] == "extends":
                raise UserError("a file has to say what it extends.", remedy="Give that suite instead.", file=flag)
            yield keys, parse(value, flag, numbered=False)


def _move(document: Document, dataset: str) -> Document:
    """The suite on another dataset. It has a name of its own, so that it does not take the real one's place."""
    origin = Origin("--dataset")
    before, unnamed = document.find("dataset", "name"), isinstance(document.find("dataset"), dict)
    if before == dataset or (before is None and unnamed):
        return document.assign(("dataset", "name"), Document.of(dataset, origin))
    document = document.assign(("dataset",), Document.of({"name": dataset}, origin))
    if before is None:
        return document
    document = recommend(document, dataset, origin)
    for field, text in (("name", "{}.{}"), ("title", "{} (moved to {})")):
        if document.has(field):
            document = document.assign((field,), Document.of(text.format(document.find(field), dataset), origin))
    return document


def recommend(document: Document, dataset: str, origin: Origin) -> Document:
    """The suite with the encoders and the training that a dataset recommends, if it does.

    An unknown dataset is noticed later.
    """
    if dataset in registry.entries("datasets"):
        defaults = registry.get("datasets", dataset).load().defaults
        for field, value in defaults.items():
            document = document.assign((field,), Document.of(value, origin))
        if "training" in defaults:  # that of a method's authors suits their own data
            for path in (("settings",), *(("methods", at, "training", "settings") for at in _places(document))):
                if document.has(*path):
                    document = document.assign(path, Document.of("suite", origin))
    return document


def _places(document: Document) -> range:
    """The positions of the suite's methods, as far as it has a list of them."""
    methods = document.find("methods")
    return range(len(methods) if isinstance(methods, list) else 0)


def _keep_methods(document: Document, wanted: Sequence[str]) -> Document:
    """The suite with only the methods of these names or labels, in the suite's order.

    A registered method that the suite does not have is added with its defaults.
    """
    if not wanted:
        return document
    try:
        shared = shared_training(document.find("training"))
        methods = resolve_methods(document.find("methods"), shared, document.find("settings") or "suite")
    except ValidationError as error:
        raise user_error(error, document, "methods") from None
    names = [{entry.label, entry.method.name} for entry in methods]
    known, registered = set().union(*names), registry.entries("methods")
    kept = [document.at("methods", at) for at, own in enumerate(names) if own.intersection(wanted)]
    origin = Origin("--method")
    for name in dict.fromkeys(wanted):
        if name not in known | registered.keys():
            spellings = sorted({*known, *registered})
            remedy = suggest(name, spellings) or f"Known: {', '.join(spellings)}."
            raise origin.error(f"no method is called {name!r}.", remedy, "methods")
        if name not in known:
            kept.append(Document.of({"name": name}, origin))
    document = document.assign(("methods",), Document.of([{}] * len(kept), kept[0].origin()))
    for at, method in enumerate(kept):
        document = document.assign(("methods", at), method)
    return document


def _seeds(text: str) -> list[int]:
    """``0-4`` or ``0,2,5`` or a mixture."""
    seeds: list[int] = []
    error = Origin("--seeds").error
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            low = int(first)
            high = int(last) if dash else low
        except ValueError:
            low, high = 0, -1
        if not 0 <= low <= high:
            raise error(f"{text!r} is neither a range such as 0-4 nor a list such as 0,2,5.", field="seeds")
        if high - low >= _MOST_SEEDS:
            raise error(f"{part!r} are more than {_MOST_SEEDS:,} seeds.", field="seeds")
        seeds += range(low, high + 1)
    return seeds

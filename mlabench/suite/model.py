"""What a suite consists of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, PrivateAttr, Tag

from mlabench.hyperparameters import Values
from mlabench.missing import Missing, pattern_hash
from mlabench.suite.plan import Question, SuiteName, Tuned
from mlabench.suite.source import Node, dotted
from mlabench.trial import Component, Training

#: In ``encoders``: every modality that is not named.
EVERY = "*"

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
#: One missing rate, or one per modality.
Rate = float | Mapping[str, float]
# As pydantic checks it: choosing by form keeps the complaints to one per rate.
_CheckedRate = Annotated[
    Annotated[Fraction, Tag("rate")] | Annotated[dict[str, Fraction], Tag("rates")],
    Discriminator(lambda rate: "rates" if isinstance(rate, Mapping) else "rate"),
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MissingSection(_Section):
    """Which modalities are missing where."""

    protocol: Literal["balanced", "independent", "per_modality", "file"] = Field(
        default="balanced", description="How missing modalities are drawn."
    )
    rates: tuple[_CheckedRate, ...] = Field(
        default=(0.0,),
        min_length=1,
        description="Missing rates in [0, 1), the columns of the table; for per_modality, mappings from modality "
        "to rate.",
    )
    splits: tuple[Literal["train", "test"], ...] = Field(
        default=("train", "test"),
        min_length=1,
        description="Where modalities are missing; train includes validation.",
    )
    pattern_seed: int = Field(default=0, ge=0, description="Seed of the patterns, shared by all methods and seeds.")
    evaluate: tuple[Literal["diagonal", "matrix", "subsets"], ...] = Field(
        default=("diagonal",),
        min_length=1,
        description="Test patterns of each training: its own rate (diagonal, always there), every rate of the suite "
        "(matrix), every combination of whole modalities (subsets).",
    )
    file: str = Field(default="", description="The pattern of the protocol file; relative to the suite.")

    def conditions(self) -> list[Missing]:
        """One recipe per rate. A rate of zero is ``complete`` whatever the protocol, so that trials are shared.

        Raises:
            UserError: If the pattern file cannot be read.
        """
        if self.protocol == "file":
            return [Missing(protocol="file", file=self.file, sha256=pattern_hash(Path(self.file)))]
        return [self._recipe(rate) for rate in self.rates]

    def _recipe(self, rate: Rate) -> Missing:
        if isinstance(rate, Mapping):
            rates = {modality: value for modality, value in sorted(rate.items()) if value > 0}
            return Missing(protocol="per_modality", rates=rates, seed=self.pattern_seed) if rates else Missing()
        return Missing.at("independent" if self.protocol == "independent" else "balanced", rate, self.pattern_seed)


class TuningSection(_Section):
    """How ``mlabench tune`` searches."""

    tries: int = Field(default=20, ge=1, description="Configurations tried for each method; the first is the default.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the search.")
    space: dict[str, Values] = Field(
        default={},
        description="Fields of the suite's training that are tuned for every method, such as "
        "training.optimizer.lr; by default the learning rate and the weight decay.",
    )


class Settings(_Section):
    """The fields of a suite, apart from its dataset, encoders and methods."""

    name: SuiteName = Field(
        description="Names the plan and the report; by default the file's name. It is not inherited."
    )
    title: str = Field(default="", description="One line for headings.")
    question: tuple[Question, ...] = Field(default=(), description="Which of the paper's questions it answers.")
    missing: MissingSection = Field(default=MissingSection(), description="Which modalities are missing where.")
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1, description="One training each.")
    training: Training = Field(default=Training(), description="Budget and rules that all methods share.")
    tuning: TuningSection = Field(default=TuningSection(), description="How `mlabench tune` searches.")
    tuned: Tuned | None = Field(default=None, description="How `mlabench tune` found the values of this suite.")
    paper: str = Field(default="", description="The published table that this suite re-runs; named in its report.")
    limit: int | None = Field(
        default=None, ge=1, description="Use only so many samples per split: a smoke test, kept out of reports."
    )


class LabelledMethod(_Section):
    """A method, its name in the suite's tables, and its training: the suite's with the method's own on top."""

    label: str
    method: Component
    training: Training


class Suite(Settings):
    """A valid suite, every default filled in.

    Attributes:
        dataset: The dataset and its options.
        encoders: One per modality, in the dataset's order.
        methods: The methods, in the order of the tables' rows.
    """

    dataset: Component
    encoders: dict[str, Component]
    methods: tuple[LabelledMethod, ...]
    _tree: Node = PrivateAttr()

    @property
    def modalities(self) -> tuple[str, ...]:
        """The dataset's modalities, in its order."""
        return tuple(self.encoders)

    def resolved(self) -> dict[str, Any]:
        """Plain data that loads as the same suite again."""
        settings = self.model_dump(mode="json", include=set(Settings.model_fields))
        heading = {field: settings.pop(field) for field in ("name", "title", "question")}
        return {
            **heading,
            "dataset": _inline(self.dataset),
            "encoders": {modality: _inline(encoder) for modality, encoder in self.encoders.items()},
            "methods": [
                {"name": entry.method.name, "label": entry.label, **entry.method.config, **self._own_training(entry)}
                for entry in self.methods
            ],
            **settings,
        }

    def written(self, path: Sequence[str | int]) -> Any:
        """What a file or a flag says at ``path``, short forms written out; None if nothing."""
        node = self._tree.find(path)
        return node.plain() if node else None

    def _own_training(self, entry: LabelledMethod) -> dict[str, Any]:
        """What differs from the suite's training, under ``training``."""
        shared, training = self.training.model_dump(mode="json"), entry.training.model_dump(mode="json")
        own = {field: value for field, value in training.items() if value != shared[field]}
        return {"training": own} if own else {}

    def origin(self, path: Sequence[str | int]) -> str:
        """Where the value at ``path`` of :meth:`resolved` was written: ``file:line``, a flag, or ``default``."""
        node = self._tree.find(path)
        if path[0] == "encoders" and self._tree.find(path[:2]) is None:
            node = self._tree.find(["encoders", EVERY, *path[2:]])
        elif node is None and path[0] == "methods" and path[2] == "training":
            node = self._tree.find(path[2:])
        return str(node.origin) if node else "default"


def _inline(component: Component) -> dict[str, Any]:
    return {"name": component.name, **component.options}


def describe(suite: Suite) -> list[tuple[str, Any, str]]:
    """Every field of the resolved suite, its value, and its origin: ``file:line``, a flag, or ``default``."""
    return [(dotted(path), value, suite.origin(path)) for path, value in leaves(suite.resolved())]


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Scalars and lists of scalars, with their paths."""
    inner: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        inner = enumerate(value)
    if not inner:
        yield path, value
    for key, item in inner:
        yield from leaves(item, (*path, key))

"""What a suite consists of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, PrivateAttr

from mlabench.suite.document import EVERY, Document, dotted, leaves
from mlabench.suite.plan import Question, SuiteName, Tuned
from mlabench.suite.sections import (
    MLP,
    OWN,
    FoldsSection,
    LabelledMethod,
    MissingSection,
    Section,
    Settings,
    TuningSection,
    WrittenFolds,
    WrittenTraining,
    check_missing,
    read_dataset,
    read_encoders,
    read_folds,
    read_methods,
    read_training,
    refuse_repeated,
)
from mlabench.suite.validation import listed, read_by
from mlabench.trial import Component, Training

Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    refuse_repeated(seeds, "seed", seeds)
    return seeds


# What is read later asks what was read before, so the order of fields matters.
class DatasetSection(Section):
    """What is learned from."""

    dataset: Annotated[Component, read_by(read_dataset)] = Field(default=None, validate_default=True)


class InputSection(DatasetSection):
    """What is learned from, and the networks that read it."""

    encoders: Annotated[dict[str, Component], read_by(read_encoders)] = Field(
        default={EVERY: MLP}, validate_default=True
    )


class Suite(InputSection):
    """A valid suite, every default filled in.

    Attributes:
        dataset: The dataset and its options.
        encoders: One per modality, in the dataset's order.
        methods: The methods, in the order of the tables' rows.
    """

    #: What may stand in a file beside these fields.
    beside: ClassVar = ("extends",)

    name: SuiteName = Field(
        default_factory=lambda: "suite",
        description="Names the plan and the report; by default the file's name. It is not inherited.",
    )
    title: str = Field(default="", description="One line for headings.")
    question: Annotated[tuple[Question, ...], listed(Question, least=0)] = Field(
        default=(), description="Which of the paper's questions it answers."
    )
    missing: Annotated[MissingSection, AfterValidator(check_missing)] = Field(
        default=MissingSection(), description="Which modalities are missing where."
    )
    seeds: Annotated[tuple[Seed, ...], listed(Seed), AfterValidator(_distinct)] = Field(
        default=(0,), description="One training each."
    )
    folds: Annotated[FoldsSection | None, read_by(read_folds, WrittenFolds)] = Field(
        default=None,
        description="Divide the dataset into folds, each tested once per seed; a number, or {by: session}; none: the "
        "dataset's own split. With folds, seeds are repeats, each with its own deal of the groups.",
    )
    margin: float = Field(
        default=2.0,
        gt=0,
        lt=100,
        description="Differences below so many points are practically equal; fixed before the run.",
    )
    until_width: float | None = Field(
        default=None,
        gt=0,
        lt=100,
        description="`mlabench run` adds repeats (seeds) until the 95 % intervals of the suite's contrasts are at most "
        "so many points wide to either side.",
    )
    max_repeats: int = Field(default=10, ge=1, description="Repeats at most, with `until_width`.")
    training: Annotated[Training, read_by(read_training, WrittenTraining)] = Field(
        default=Training(), description="Budget and rules that all methods share."
    )
    settings: Settings = Field(
        default="suite",
        description="Whose training methods run under unless their entry says otherwise: the suite's, or that of their "
        "authors as far as it is known, with their epochs or without.",
    )
    methods: Annotated[tuple[LabelledMethod, ...], read_by(read_methods)] = Field(default=None, validate_default=True)
    tuning: TuningSection = Field(default=TuningSection(), description="How `mlabench tune` searches.")
    tuned: Tuned | None = Field(default=None, description="How `mlabench tune` found the values of this suite.")
    paper: str = Field(default="", description="The published table that this suite re-runs; named in its report.")
    limit: int | None = Field(
        default=None, ge=1, description="Use only so many samples per split: a smoke test, kept out of reports."
    )
    _document: Document = PrivateAttr()

    @property
    def modalities(self) -> tuple[str, ...]:
        """The dataset's modalities, in its order."""
        return tuple(self.encoders)

    def resolved(self) -> dict[str, Any]:
        """Plain data that loads as the same suite again."""
        settings = self.model_dump(mode="json", exclude={"dataset", "encoders", "methods"})
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

    def _own_training(self, entry: LabelledMethod) -> dict[str, Any]:
        """What differs from the suite's training, under ``training``; all of it where it is not the suite's."""
        shared, training = self.training.model_dump(mode="json"), entry.training.model_dump(mode="json")
        named = entry.settings != "suite"
        own = {field: training.get(field) for field in OWN if named or training.get(field) != shared.get(field)}
        if entry.settings != self.settings:
            own = {"settings": entry.settings, **own}
        return {"training": own} if own else {}

    def written(self, path: Sequence[str | int]) -> Any:
        """What a file or a flag says at ``path``; None if nothing."""
        return self._document.find(*path)

    def entry(self, at: int) -> dict[str, Any]:
        """What a file or a flag says about a method, as a mapping."""
        return dict(self.written(["methods", at]))

    def origin(self, *path: str | int) -> str:
        """Where the value at ``path`` of :meth:`resolved` comes from.

        That is ``file:line``, a flag, ``authors:`` and their source, or ``default``.
        """
        places = [path]
        if path[0] == "encoders" and not self._document.has(*path[:2]):
            places = [("encoders", EVERY, *path[2:])]
        elif path[0] == "folds":
            places = [path, path[:1]]
        elif path[0] == "methods" and path[2] == "training":
            places = [path, path[2:]]
            declared = self.methods[int(path[1])].declared
            source = declared.sources.get(str(path[3])) if declared else None
            if source and not self._document.has(*path):
                return f"authors: {source}"
        return next((str(self._document.origin(*place)) for place in places if self._document.has(*place)), "default")


def _inline(component: Component) -> dict[str, Any]:
    return {"name": component.name, **component.options}


def describe(suite: Suite) -> list[tuple[str, Any, str]]:
    """Every field of the resolved suite, its value, and its :meth:`origin <Suite.origin>`."""
    return [(dotted(path), value, suite.origin(*path)) for path, value in leaves(suite.resolved())]

"""A plan: the cells of a suite's tables, each pointing at the trial that fills it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mlabench import registry
from mlabench.missing import Missing
from mlabench.trial import Trial

Question = Literal["Q1", "Q2", "Q3", "Q4"]


def _no_device(name: str) -> str:
    """Windows has no files of such names, whatever their ending."""
    if re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE):
        raise ValueError(f"{name!r} is the name of a device on Windows, where no file can be called so")
    return name


#: Files and folders are called so.
SuiteName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"), AfterValidator(_no_device)]


class Tuned(BaseModel):
    """How the hyper-parameters of a suite were found; written by ``mlabench tune``, read by reports."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tries: int = Field(ge=1, description="Configurations tried for each method.")
    seed: int = Field(ge=0, description="Seed of the search.")
    search: Literal["TPE"] = Field(default="TPE", description="How configurations are proposed.")
    split: Literal["validation"] = Field(default="validation", description="Where they were compared.")
    objective: str = Field(description="What was maximised.")
    seeds: tuple[int, ...] = Field(min_length=1, description="Training seeds of each try.")
    missing: tuple[str, ...] = Field(min_length=1, description="Missing patterns of each try.")
    folds: int = Field(
        default=0,
        ge=0,
        exclude_if=lambda folds: not folds,
        description="Folds of each try, each compared on its own validation part; none: the dataset's own split.",
    )
    version: str = Field(description="Version of mlabench.")
    suite: str = Field(default="", exclude_if=lambda name: not name, description="Name of the suite that was tuned.")
    scores: dict[str, tuple[float | None, float]] = Field(
        default={},
        exclude_if=lambda scores: not scores,
        description="By label what was maximised, in [0, 1]: of the default, none if that failed, and of the best try.",
    )
    methods: dict[str, str] = Field(
        description="The tuned methods' labels, each with the hash of dataset, encoders, options and training that "
        "it was tuned for; whatever of these is changed afterwards counts as not tuned."
    )


class PlannedTrial(BaseModel):
    """One training of a suite and the test patterns under which it is evaluated.

    Attributes:
        label: Name of the method in this suite's tables.
        settings: Whose training it is: the suite's or the authors', and what the entry changes.
        trial: The training.
        tests: The test patterns asked for; the suite's own first, then what ``matrix`` and ``subsets`` add.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    settings: str = "suite"
    trial: Trial
    tests: tuple[Missing, ...]


class Plan(BaseModel):
    """Everything a suite asks for; saved beside the results so that a report needs no suite file.

    Attributes:
        name: The suite's name.
        title: One line for headings.
        questions: Which of Q1 to Q4 it answers.
        paper: The published table that the suite re-runs, if any.
        modalities: The dataset's modalities, in order.
        cells: The trainings, in the order of the suite's methods.
        margin: Differences below so many points are practically equal.
        until_width: Repeats were added until the contrasts' intervals were at most so wide to either side, in points;
            None if their number was fixed.
        max_repeats: With that, repeats at most.
        source: The resolved suite as YAML.
        tuned: How hyper-parameters were found; None if they were not tuned.
        command: The command line that last ran it, if one did.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: SuiteName
    title: str = ""
    questions: tuple[Question, ...] = ()
    paper: str = ""
    modalities: tuple[str, ...]
    cells: tuple[PlannedTrial, ...]
    margin: float = 2.0
    until_width: float | None = None
    max_repeats: int = 10
    source: str = Field(default="", repr=False)
    command: str = ""
    tuned: Tuned | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The methods' labels, in the suite's order."""
        return tuple(dict.fromkeys(cell.label for cell in self.cells))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds (with folds: repeats), in the suite's order."""
        return tuple(dict.fromkeys(cell.trial.seed for cell in self.cells))

    @property
    def repeat(self) -> str:
        """What a seed is called: ``repeat`` where each has several folds."""
        return "repeat" if self.folds else "seed"

    def with_seeds(self, seeds: Sequence[int]) -> Plan:
        """The plan of the same suite with other seeds."""
        first = [cell for cell in self.cells if cell.trial.seed == self.seeds[0]]
        cells = [
            cell.model_copy(update={"trial": cell.trial.with_seed(seed)})
            for _, alike in groupby(first, lambda cell: (cell.label, cell.trial.missing.key))
            for same in [list(alike)]
            for seed in seeds
            for cell in same
        ]
        source = {**yaml.safe_load(self.source), "seeds": list(seeds)}
        written = yaml.safe_dump(source, sort_keys=False, allow_unicode=True, width=120)
        return self.model_copy(update={"cells": tuple(cells), "source": written})

    @property
    def folds(self) -> tuple[str, ...]:
        """The names of the folds, in their order; empty for the dataset's own split."""
        return tuple(dict.fromkeys(cell.trial.fold.name for cell in self.cells if cell.trial.fold))

    @property
    def settings(self) -> dict[str, str]:
        """Whose training each method runs under, by label."""
        return {cell.label: cell.settings for cell in self.cells}

    def objections(self) -> dict[str, str]:
        """Why an optimiser neutralises a method, by label; nothing of methods that are not installed here."""
        found = {}
        for label, trial in {cell.label: cell.trial for cell in self.cells}.items():
            entry = registry.entries("methods").get(trial.method.name)
            unfit = entry.about.unfit_optimizers if entry else None
            optimizer = trial.training.optimizer.name
            if unfit and (reason := unfit.objection(optimizer, trial.method.config)):
                found[label] = f"{label} runs under {optimizer}: {reason}"
        return found

    def tuned_labels(self) -> tuple[str, ...]:
        """The labels of the methods that run as they were tuned, in the suite's order."""
        tuned = self.tuned.methods if self.tuned else {}
        changed = {cell.label for cell in self.cells if tuned.get(cell.label) != cell.trial.configuration}
        return tuple(label for label in self.labels if label not in changed)

    def trials(self) -> Iterator[tuple[Trial, tuple[Missing, ...]]]:
        """Each distinct trial once, with all the test patterns that any cell asks of it."""
        tests: dict[str, dict[str, Missing]] = {}
        trials: dict[str, Trial] = {}
        for cell in self.cells:
            trials[cell.trial.id] = cell.trial
            tests.setdefault(cell.trial.id, {}).update({test.key: test for test in cell.tests})
        for name, trial in trials.items():
            yield trial, tuple(tests[name].values())

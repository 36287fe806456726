"""Expands a suite into a plan: methods x training patterns x seeds x folds, each with its tests. Free of torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import yaml

from mlabench.datasets import Dataset, fold_names, open_dataset
from mlabench.errors import UserError
from mlabench.missing import Missing
from mlabench.suite.files import shown
from mlabench.suite.loading import load_suite, members
from mlabench.suite.model import Suite
from mlabench.suite.overrides import Overrides
from mlabench.suite.plan import Plan, PlannedTrial
from mlabench.suite.sections import FoldsSection
from mlabench.trial import Component, DatasetComponent, Fold, Trial


def expand(suite: Suite) -> Plan:
    """The cells of a suite's tables.

    Raises:
        UserError: If the dataset is not there, or a pattern file does not cover it.
    """
    source = open_dataset(suite.dataset)
    dataset = with_fingerprint(suite.dataset, source)
    encoders = with_content(suite.encoders)
    conditions = suite.missing.conditions()
    if suite.missing.protocol == "file":  # a mistake in it shows before the first training
        data = source.load()
        splits = {"train": [data.train, data.validation], "test": [data.test]}
        masked = suite.missing.splits if suite.folds is None else splits  # every sample is tested in some fold
        selecting = [] if suite.missing.select == "train" else [data.validation]
        for split in chain(selecting, *(splits[name] for name in masked)):
            conditions[0].pattern(suite.dataset.name, split.ids, data.task.modalities)
    folds = (None,) if suite.folds is None else folds_of(dataset.model_dump_json(), suite.folds)
    cells = [
        PlannedTrial(
            label=entry.label,
            settings=entry.origin,
            trial=Trial(
                dataset=dataset,
                encoders=encoders,
                method=entry.method,
                missing=training,
                validation=_validation(suite, training, conditions),
                seed=seed,
                fold=fold,
                training=entry.training,
                limit=suite.limit,
            ),
            tests=_tests(suite, training, conditions),
        )
        for entry in suite.methods
        for training in (conditions if "train" in suite.missing.splits else [Missing()])
        for seed in suite.seeds
        for fold in folds
    ]
    return Plan(
        # A smoke test must not take the place of the real plan, from which reports are made.
        name=suite.name if suite.limit is None else f"{suite.name}.limit{suite.limit}",
        title=suite.title,
        questions=suite.question,
        paper=suite.paper,
        modalities=suite.modalities,
        cells=tuple(cells),
        margin=suite.margin,
        until_width=suite.until_width,
        max_repeats=suite.max_repeats,
        tuned=suite.tuned,
        source=yaml.safe_dump(suite.resolved(), sort_keys=False, allow_unicode=True, width=120),
    )


@lru_cache  # suites that belong together often divide the same dataset
def folds_of(dataset: str, wanted: FoldsSection) -> tuple[Fold, ...]:
    """The folds of a dataset, which is given as JSON."""
    source = open_dataset(DatasetComponent.model_validate_json(dataset))
    names = fold_names(source, wanted.by, wanted.count)
    return tuple(Fold(by=wanted.by, count=wanted.count, name=name) for name in names)


def with_fingerprint(component: Component, dataset: Dataset) -> DatasetComponent:
    """The component and the hash of what the dataset holds.

    Raises:
        UserError: If the data are not there.
    """
    return DatasetComponent(**dict(component), fingerprint=dataset.fingerprint())


def with_content(encoders: Mapping[str, Component]) -> dict[str, Component]:
    """The encoders with a hash of each file that their options name, e.g. of weights, among their options.

    Raises:
        UserError: If there is no such file.
    """
    found = {}
    for modality, component in encoders.items():
        hashes = {}
        for option, path in component.location.items():
            try:
                hashes[option] = f"sha256:{content_hash(Path(path))}"
            except OSError as error:
                problem = f"{path} cannot be read ({error.strerror or error})."
                field = f"encoders.{modality}.{option}"
                raise UserError(problem, remedy="Correct the path.", field=field) from error
        found[modality] = component.model_copy(update={"config": {**component.config, **hashes}})
    return found


def _tests(suite: Suite, training: Missing, conditions: list[Missing]) -> tuple[Missing, ...]:
    """The training's own column of the table first, then what ``matrix`` and ``subsets`` add, without repetitions."""
    tests = _rates_tested(suite, training, conditions)
    if "subsets" in suite.missing.evaluate:
        sizes = range(len(suite.modalities) - 1, 0, -1)
        kept = chain.from_iterable(combinations(suite.modalities, size) for size in sizes)
        tests = [*tests, Missing(), *(Missing(protocol="subset", keep=keep) for keep in kept)]
    return _distinct(tests)


def _rates_tested(suite: Suite, training: Missing, conditions: list[Missing]) -> list[Missing]:
    """What a training is tested under, whole modalities left out."""
    if "test" not in suite.missing.splits:
        tests = [Missing()]
    elif "train" in suite.missing.splits:
        tests = [training]
    else:
        tests = conditions
    return tests + conditions if "matrix" in suite.missing.evaluate else tests


def _validation(suite: Suite, training: Missing, conditions: list[Missing]) -> tuple[Missing, ...]:
    """What the epoch is selected under; empty if that is the pattern of the training, so that trials are shared."""
    if suite.missing.select == "train":
        return ()
    tested = _rates_tested(suite, training, conditions)
    recipes = _distinct([training, *tested] if suite.missing.select == "mixed" else tested)
    return () if recipes == (training,) else recipes


def _distinct(recipes: Iterable[Missing]) -> tuple[Missing, ...]:
    return tuple({missing.key: missing for missing in recipes}.values())


def content_hash(path: Path) -> str:
    """First 12 hex digits of a SHA-256 over a file, or over the files of a folder."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    states = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return _hash(tuple(states), str(path))


@lru_cache
def _hash(files: tuple[tuple[str, int, int], ...], root: str) -> str:
    """The size and the time of each file stand for its content within one run of the program."""
    digest = hashlib.sha256()
    for name, *_ in files:
        digest.update(Path(name).relative_to(root).as_posix().encode())
        with open(name, "rb") as file:  # noqa: PTH123
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def load_plans(sources: Iterable[Path | str | Mapping[str, Any]], changes: Overrides | None = None) -> dict[Path, Plan]:
    """The plan of each suite; a file that lists suites stands for them. All are read before the first is run.

    Args:
        sources: Files, names, or what such files hold as Python data.
        changes: What the command line changes.

    Raises:
        UserError: If anything is wrong with any of them; it lists all mistakes, and all data that are missing.
    """
    plans: dict[Path, Plan] = {}
    errors: list[UserError] = []
    listed: dict[Path, Path | Mapping[str, Any]] = {}
    for source in sources:
        if isinstance(source, Mapping):
            listed[Path(f"suite {len(listed) + 1}" if listed else "suite")] = source
        else:
            listed.update((member, member) for member in members(source))
    for path, suite in listed.items():
        try:
            plans[path] = expand(load_suite(suite, changes))
        except UserError as error:
            errors.append(error.within(shown(path)))
    if errors:
        # Several suites that lack the same data have one problem.
        raise UserError.of(list({error.problem: error for error in reversed(errors)}.values())[::-1])
    known: dict[str, tuple[Path, Plan]] = {}
    for path, plan in plans.items():
        other, before = known.setdefault(plan.name, (path, plan))
        if before != plan:  # the results folder would remember the last one only
            remedy = "Give each suite its own name."
            raise UserError(
                f"{shown(other)} is named {plan.name!r}, too.", remedy=remedy, file=shown(path), field="name"
            )
    return plans

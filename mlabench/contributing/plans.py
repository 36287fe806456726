"""Whether a plan is what its suite asks for, and the suite what mlabench calls so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from mlabench.contributing.finding import Finding, differences, shown
from mlabench.datasets import open_dataset
from mlabench.errors import UserError
from mlabench.registry import entries
from mlabench.suite import Plan, PlannedTrial, Suite, expand, load_suite, members, own_suite
from mlabench.trial import Trial

#: Stands in for methods whose code is not to be run; what a plan says beside the method does not depend on it.
_STAND_IN = "modality_dropout"
#: Fields of a plan that are checked by themselves, or not at all.
_NOT_COMPARED = {"cells", "source", "command"}
#: The longest source that is read.
_LONGEST = 64 * 1024
#: More values than a suite has, also where YAML repeats them.
_MOST = 20_000


def is_own(method: str) -> bool:
    """Whether a method is installed, and not from a plugin file."""
    entry = entries("methods").get(method)
    return entry is not None and entry.file is None


def check_plan(file: str, plan: Plan) -> Iterator[Finding | str]:
    """Where a plan is not what its source expands into; as text, what could not be checked."""
    try:
        source = _read(plan.source)
        suite = load_suite({**source, "methods": [_runnable(*one) for one in enumerate(source["methods"])]})
    except (UserError, ValueError, TypeError, KeyError, RecursionError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        yield Finding(file, "source", f"is not a suite that is valid here: {why}")
        return
    yield from _against_its_name(file, suite)
    expected = Plan(**_heading(suite), cells=())
    try:
        open_dataset(suite.dataset).fingerprint()
    except UserError as error:
        yield f"{file}: its trials could not be derived again from its suite: {error.problem}"
    else:
        try:
            expected = expand(suite)
        except UserError as error:
            yield Finding(file, "source", f"does not expand into trials: {error}")
    stored, wanted = (one.model_dump(mode="json", exclude=_NOT_COMPARED) for one in (plan, expected))
    yield from differences(file, stored, wanted)
    asked = {method.label: method for method in suite.methods}
    written = {asked[label].label: method for label, method in zip(asked, source["methods"], strict=True)}
    yield from differences(file, [*plan.labels], [*asked], "cells.label")
    for at, cell in enumerate(plan.cells):
        if (method := written.get(cell.label)) is not None:
            yield from _of_method(file, f"cells[{at}]", cell, method, _settings(method, suite))
    if expected.cells:
        yield from differences(file, _by_place(plan.cells), _by_place(expected.cells), "cells")


def _read(text: str) -> dict[str, Any]:
    """The resolved suite; ValueError if it is not one."""
    if len(text) > _LONGEST or "${" in text:
        raise ValueError("it is too long, or asks for variables of the environment")
    source = yaml.safe_load(text)
    if not isinstance(source, dict) or not source.keys() <= Suite.model_fields.keys():
        raise ValueError("it is not a resolved suite")
    _count(source, [_MOST])
    return source


def _count(value: Any, left: list[int]) -> None:
    """Refuses a document that aliases make larger than it looks."""
    left[0] -= 1
    if left[0] < 0:
        raise ValueError("it is too large")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _count(inner, left)


def _runnable(at: int, method: Mapping[str, Any]) -> Mapping[str, Any]:
    """A method's entry, with another method in place of one whose code is not to be run."""
    if is_own(method["name"]):
        return method
    training = {**method.get("training", {}), "settings": "suite"}
    # No two of them may be the same.
    return {"name": _STAND_IN, "rate": at / 1000, "label": method["label"], "training": training}


def _settings(method: Mapping[str, Any], suite: Suite) -> str:
    """Whose training a method was asked to run under."""
    return str(method.get("training", {}).get("settings", suite.settings))


def _heading(suite: Suite) -> dict[str, Any]:
    """What a plan says beside its trials."""
    same = ("name", "title", "paper", "modalities", "margin", "until_width", "max_repeats", "tuned")
    return {"questions": suite.question, **{name: getattr(suite, name) for name in same}}


def _against_its_name(file: str, suite: Suite) -> Iterator[Finding]:
    """Where a suite that is called as one of mlabench's own has other conditions."""
    path = own_suite(suite.name)
    if path is not None and members(path) == [path]:
        for one in differences(file, _conditions(suite), _conditions(load_suite(path)), "source"):
            remedy = f"In {suite.name} it is {shown(one.recomputed)}. Give a changed suite a name of its own."
            yield Finding(file, one.field, f"{shown(one.stored)} is not what the name stands for. {remedy}")


def _conditions(suite: Suite) -> dict[str, Any]:
    """What makes results comparable: all but methods, seeds, folds and rates."""
    written = suite.resolved()
    components = {"dataset": suite.dataset, **{f"encoders.{name}": one for name, one in suite.encoders.items()}}
    pattern = {field: written["missing"][field] for field in ("protocol", "splits", "pattern_seed", "select")}
    return {
        **{name: one.model_dump(mode="json", exclude={"location"}) for name, one in components.items()},
        **{field: written[field] for field in ("question", "margin", "training")},
        "missing": pattern,
    }


def _of_method(
    file: str, field: str, cell: PlannedTrial, method: Mapping[str, Any], settings: str
) -> Iterator[Finding]:
    """Where a cell has another method than its suite says."""
    options = {key: value for key, value in method.items() if key not in ("name", "label", "training")}
    own = cell.trial.method
    yield from differences(file, own.name, method["name"], f"{field}.trial.method.name")
    yield from differences(file, own.config, options, f"{field}.trial.method.config")
    if is_own(own.name):
        yield from differences(
            file, own.version, entries("methods")[own.name].about.version, f"{field}.trial.method.version"
        )
    whose = settings.replace("_", " ")
    if not cell.settings.startswith((whose, "suite (authors' not known)")):  # what the entry changes stands behind it
        yield Finding(file, f"{field}.settings", stored=cell.settings, recomputed=whose)


def _by_place(cells: tuple[PlannedTrial, ...]) -> dict[str, Any]:
    """What each cell asks for beside the method, by its place in the suite's tables."""
    return {
        f"{cell.label}, {_place(cell.trial)}": {
            "trial": cell.trial.portable().model_dump(mode="json", exclude={"method"}),
            "tests": [test.model_dump(mode="json") for test in cell.tests],
        }
        for cell in cells
    }


def _place(trial: Trial) -> str:
    return f"{trial.missing.key}, seed {trial.seed}" + (f", fold {trial.fold_name}" if trial.fold else "")

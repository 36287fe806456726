"""Joins results folders of several machines into one; refuses those that contradict each other. Free of torch.

The sources are only read. Everything is compared before anything is written; then each trial is one atomic step, so
that the same command resumes an interrupted merge, and repeating a merge changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from mlabench.errors import UserError
from mlabench.record import Record
from mlabench.store.leases import held
from mlabench.store.outcomes import OUTCOMES, DamagedOutcomesError, TrialOutcomes
from mlabench.store.records import MODEL, PREDICTIONS, Arrays, CorruptRecordError, Store, read_record
from mlabench.suite import Plan, PlannedTrial

#: Numbers of two records that differ by less are the same: processors round differently.
TOLERANCE = 1e-6
#: Contradictions that an error message lists at most.
_LISTED = 10
#: Joins the command lines of a suite that was shared out.
_AND = " && "


@dataclass
class MergeResult:
    """What a merge did with trials; the warnings say what was left out, and why."""

    added: int = 0  # they were not there, or had failed
    completed: int = 0  # they got further evaluations, outcomes, predictions or weights
    unchanged: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Version:
    """One folder's record of a trial."""

    store: Store
    record: Record

    @property
    def folder(self) -> Path:
        return self.store.folder(self.record.trial.id)

    @property
    def worth(self) -> tuple[bool, bool, bool, int, bool]:
        """Larger for what is better to start from."""
        kept = (self.has(PREDICTIONS), self.has(OUTCOMES))
        return self.record.status == "ok", *kept, len(self.record.evaluations), self.has(MODEL)

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()


def merge_folders(folders: Sequence[Path], into: Path) -> MergeResult:
    """Joins the trials and plans of ``folders`` into ``into``.

    A good record is kept before a failed one. Records of the same trial whose trainings agree are joined: each brings
    the evaluations that the other lacks.

    Raises:
        UserError: If a folder holds no results, two records or plans contradict each other, or ``into`` cannot be
            written. Nothing has been written in the first two cases.
    """
    for folder in folders:
        if not ((folder / "trials").is_dir() or (folder / "plans").is_dir()):
            raise UserError("this folder holds no results.", file=str(folder))
        if folder.resolve() == into.resolve():
            raise UserError("a folder cannot be merged into itself.", file=str(folder), field="--into")
    target, result = Store(into), MergeResult()
    sources = [Store(folder) for folder in folders]
    plans = joined_plans([target, *sources], result)
    trial_ids = list(dict.fromkeys(trial_id for store in sources for trial_id in store.ids()))
    _refuse_contradictions({trial_id: _versions(trial_id, target, sources, result) for trial_id in trial_ids})
    for trial_id in trial_ids:
        with held(into, trial_id) as lease:
            if lease is None:
                result.warnings.append(f"{trial_id}: left out, since a run is on it; merge again when that has ended")
                continue
            target.recover(trial_id)
            _join(target, _versions(trial_id, target, sources, MergeResult()), result)
    for plan in plans:
        target.write_plan(plan)
    return result


# -- trials --------------------------------------------------------------------------------------


def _versions(trial_id: str, target: Store, sources: Sequence[Store], result: MergeResult) -> list[_Version]:
    """The records of a trial that can be read, that of the target first if it has one."""
    found = []
    for store in (target, *sources):
        folder = store.folder(trial_id)
        try:
            store.outcomes(trial_id)  # can they be read?
            found.append(_Version(store, read_record(folder)))
        except FileNotFoundError:
            continue
        except (CorruptRecordError, DamagedOutcomesError, UserError) as error:
            result.warnings.append(f"{folder}: left out: {error}")
    return found


def _refuse_contradictions(trials: Mapping[str, Sequence[_Version]]) -> None:
    """Refuses good records of one trial that differ in more than cost and environment."""
    contradictions = []
    for trial_id, versions in trials.items():
        good = [version for version in versions if version.record.status == "ok"]
        for other in good[1:]:
            where, difference = _largest_difference(good[0].record, other.record)
            if difference > TOLERANCE:
                amount = f"by {difference:.3g}" if math.isfinite(difference) else "in more than a number"
                folders = " and ".join(str(version.store.root) for version in (good[0], other))
                contradictions.append((difference, f"  {trial_id}: {where} differs {amount} between {folders}"))
    if contradictions:
        contradictions.sort(key=lambda one: -one[0])
        lines = [line for _, line in contradictions[:_LISTED]]
        more = [f"  and {len(contradictions) - _LISTED} more"] if len(contradictions) > _LISTED else []
        raise UserError(
            "these folders contradict each other, so nothing was merged.",
            remedy="\n".join(["Remove the trials that are wrong from their folder:", *lines, *more]),
        )


def _largest_difference(a: Record, b: Record) -> tuple[str, float]:
    """The number in which two records of a trial differ most, and by how much; infinite if it is not a number."""
    common = [key for key in a.evaluations if key in b.evaluations]
    first, second = (dict(_flat(_comparable(record, common))) for record in (a, b))
    differences = {name: _difference(first.get(name), second.get(name)) for name in first | second}
    place = max(differences, key=differences.__getitem__)
    return place, differences[place]


def _comparable(record: Record, evaluations: Sequence[str]) -> dict[str, Any]:
    """What must be the same for two records to be of the same training: the losses may be rounded differently."""
    return {
        "evaluations": {key: record.evaluations[key].model_dump(mode="json") for key in evaluations},
        "selected_epoch": record.selected_epoch,
        "parameters": record.parameters,
        "curves": {
            f"{epoch.stage}/{epoch.epoch}": {"validation": epoch.validation, "test": epoch.test}
            for epoch in record.curves
        },
    }


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _difference(a: object, b: object) -> float:
    if a == b:
        return 0.0
    if isinstance(a, int | float) and isinstance(b, int | float) and math.isfinite(a - b):
        return abs(a - b)
    return math.inf


def _join(target: Store, versions: Sequence[_Version], result: MergeResult) -> None:
    """Writes what the records of a trial give together, unless the target has it already."""
    if not versions:
        return
    base = max(versions, key=lambda version: version.worth)  # of several equal ones the first
    own = versions[0] if versions[0].store is target else None
    evaluations, givers = dict(base.record.evaluations), []
    others = [version for version in versions if version.record.status == "ok" and version is not base]
    for other in others:
        new = {key: value for key, value in other.record.evaluations.items() if key not in evaluations}
        lacking = [name for name in (PREDICTIONS, OUTCOMES) if base.has(name) and not other.has(name)]
        if new and lacking:
            result.warnings.append(f"{other.folder}: {', '.join(new)} left out: there is no {lacking[0]}")
        elif new:
            evaluations |= new
            givers.append(other)
    with_model = next((version for version in (base, *others) if version.has(MODEL)), base)
    if givers or with_model is not base:
        arrays: Arrays = {}
        outcomes: TrialOutcomes | None = None
        for version in (*reversed(givers), base):
            arrays |= version.store.predictions(version.record.trial.id) or {}
            if (own_outcomes := version.store.outcomes(version.record.trial.id)) is not None:
                outcomes = replace(own_outcomes, tests={**(outcomes.tests if outcomes else {}), **own_outcomes.tests})
        weights = (with_model.folder / MODEL).read_bytes() if with_model.has(MODEL) else b""
        target.write(base.record.model_copy(update={"evaluations": evaluations}), arrays or None, weights, outcomes)
    elif base is not own:
        target.adopt(base.store, base.record.trial.id)
    else:
        result.unchanged += 1
        return
    if own is not None and own.record.status == "ok":
        result.completed += 1
    else:
        result.added += 1


# -- plans ---------------------------------------------------------------------------------------


def joined_plans(stores: Sequence[Store], result: MergeResult) -> list[Plan]:
    """What was asked for in each suite, in all folders together."""
    plans: dict[str, Plan] = {}
    origin: dict[str, Path] = {}
    for store in stores:
        for plan in store.plans():
            known = plans.get(plan.name)
            plans[plan.name] = _joined_plan(known, plan, (origin[plan.name], store.root)) if known else plan
            origin.setdefault(plan.name, store.root)
        result.warnings += [f"left out: {error}" for error in store.unread]
    return list(plans.values())


def _joined_plan(a: Plan, b: Plan, folders: tuple[Path, Path]) -> Plan:
    """A plan with the cells of both, as when a suite was shared out by seeds, methods or rates, but by nothing else."""
    configurations = [{cell.label: cell.trial.configuration for cell in plan.cells} for plan in (a, b)]
    fields = ("modalities", "tuned", "questions", "paper", "margin")
    differ = [name for name in fields if getattr(a, name) != getattr(b, name)]
    divided = [{fold and (fold.by, fold.count) for fold in {one.trial.fold for one in plan.cells}} for plan in (a, b)]
    differ += ["folds"] if divided[0] != divided[1] else []
    differ += [label for label, one in configurations[0].items() if configurations[1].get(label, one) != one]
    if differ:
        raise UserError(
            f"the suite {a.name!r} is not the same in {folders[0]} and {folders[1]}: {', '.join(differ)} differ.",
            remedy="Give one of them another name and run it again, or merge them into different folders.",
        )
    cells: dict[tuple[str, str], PlannedTrial] = {}
    for cell in (*a.cells, *b.cells):
        key = (cell.label, cell.trial.id)
        tests = {test.key: test for test in (*(cells[key].tests if key in cells else ()), *cell.tests)}
        cells[key] = cell.model_copy(update={"tests": tuple(tests.values())})
    labels = list(dict.fromkeys(label for label, _ in cells))
    commands = dict.fromkeys(command for plan in (a, b) for command in plan.command.split(_AND) if command)
    return a.model_copy(
        update={
            "cells": tuple(sorted(cells.values(), key=lambda cell: labels.index(cell.label))),
            "source": a.source if a.source == b.source else _joined_source(a.source, b.source),
            "command": _AND.join(commands),
        }
    )


def _joined_source(a: str, b: str) -> str:
    """The suite that asks for what both ask for."""
    joined = _united(yaml.safe_load(a), yaml.safe_load(b))
    return yaml.safe_dump(joined, sort_keys=False, allow_unicode=True, width=120)


def _united(a: Any, b: Any) -> Any:
    if isinstance(a, dict) and isinstance(b, dict):
        return {key: _united(a[key], b[key]) if key in a and key in b else a.get(key, b.get(key)) for key in {**a, **b}}
    if isinstance(a, list) and isinstance(b, list):
        return a + [item for item in b if item not in a]
    return a

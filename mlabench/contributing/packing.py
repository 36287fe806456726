"""Packs what others need of a results folder to check it, and nothing else."""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml

from mlabench.contributing.card import CARD, read_card
from mlabench.contributing.layout import PLUGIN, SUMS, VERDICTS, files_in, sums
from mlabench.contributing.verdicts import decide_all
from mlabench.contributing.verifying import Verification, asked_of, is_absolute, verify
from mlabench.errors import UserError, cannot_write
from mlabench.store import DamagedOutcomesError, Store
from mlabench.suite import Plan

#: Trials that a message lists at most.
_LISTED = 5


@dataclass(frozen=True)
class Packed:
    """A contribution that was written.

    Attributes:
        folder: Where it lies; nothing was written if its own check found something.
        verification: What that check found.
        size: Bytes of all its files.
    """

    folder: Path
    verification: Verification
    size: int


def pack(results: Path, methods: Sequence[str], plugin: Path | None, card: Path, out: Path) -> Packed:
    """Writes the contribution ``out/NAME``, named in its card, if it agrees with itself; an older one is replaced.

    Args:
        results: The results folder.
        methods: The registered names of the methods.
        plugin: The file that defines them, if they are not mlabench's own.
        card: The card.
        out: The folder that holds one folder for each contribution.

    Raises:
        UserError: If the card has mistakes, results are missing, or the folder cannot be written.
    """
    name = read_card(card).name
    store, folder = Store(results), out / name
    plans = [portable for plan in store.plans() if (portable := _only(plan, methods)).cells]
    _require_results(store, plans, methods)
    if folder.exists() and not (folder / CARD).is_file():
        raise UserError("there is something else here.", remedy="Choose another --out.", file=str(folder))
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=out) as temporary:
            draft = Path(temporary) / name
            _write(draft, store, plans, plugin, card)
            found = verify(draft)
            size = sum((draft / file).stat().st_size for file in files_in(draft))
            if not found.findings:
                shutil.rmtree(folder, ignore_errors=True)
                draft.rename(folder)
    except OSError as error:
        raise cannot_write("this contribution", folder, error) from error
    return Packed(folder, found, size)


def _write(folder: Path, store: Store, plans: Sequence[Plan], plugin: Path | None, card: Path) -> None:
    target = Store(folder)
    for plan in plans:
        target.write_plan(plan)
    for trial_id, tests in asked_of(plans).items():
        record, outcomes = store.read(trial_id), store.outcomes(trial_id)
        if record is not None and outcomes is not None:  # as was required before
            evaluations = {key: record.evaluations[key] for key in record.evaluations if key in tests}
            kept = {key: outcomes.tests[key] for key in outcomes.tests if key in tests}
            target.write(record.model_copy(update={"evaluations": evaluations}), outcomes=replace(outcomes, tests=kept))
    shutil.copyfile(card, folder / CARD)
    if plugin is not None:
        shutil.copyfile(plugin, folder / PLUGIN)
    verdicts = json.dumps(decide_all(target, target.plans()), indent=1, ensure_ascii=False)
    (folder / VERDICTS).write_text(f"{verdicts}\n", encoding="utf-8", newline="\n")
    (folder / SUMS).write_text(sums(folder), encoding="utf-8", newline="\n")


def _only(plan: Plan, methods: Sequence[str]) -> Plan:
    """The plan of these methods alone, without the paths of this machine; without cells if it is a smoke test."""
    cells = tuple(cell for cell in plan.cells if cell.trial.method.name in methods and cell.trial.limit is None)
    labels = {cell.label for cell in cells}
    source = yaml.safe_load(plan.source)
    source["methods"] = [method for method in source["methods"] if method["label"] in labels]
    written = yaml.safe_dump(_without_paths(source), sort_keys=False, allow_unicode=True, width=120)
    command = shlex.join(_without_paths(shlex.split(plan.command)))
    return plan.model_copy(update={"cells": cells, "source": written, "command": command})


def _without_paths(value: Any) -> Any:
    """Plain data with the name alone of each file or folder that is called by an absolute path."""
    if isinstance(value, dict):
        return {key: _without_paths(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_paths(inner) for inner in value]
    return PureWindowsPath(value).name if isinstance(value, str) and is_absolute(value) else value


def _require_results(store: Store, plans: Sequence[Plan], methods: Sequence[str]) -> None:
    """Refuses what is not complete: whoever leaves out trainings can choose the best ones."""
    named = ", ".join(methods)
    if not plans:
        remedy = "Run it first: `mlabench run stamps_missing --plugin FILE --method NAME`, without --limit."
        raise UserError(f"no results of {named} in {store.root}.", remedy=remedy, field="--method")
    lacking = []
    for trial, tests in (one for plan in plans for one in plan.trials()):
        record = store.read(trial.id)
        if record is None or record.status != "ok":
            lacking.append(f"{trial.id}: {'it failed' if record else 'not run'}")
        elif missing := [test.key for test in tests if test.key not in record.evaluations]:
            lacking.append(f"{trial.id}: not tested under {', '.join(missing)}")
        elif not _has_outcomes(store, trial.id):
            lacking.append(f"{trial.id}: no outcomes, as in results of older versions")
    if lacking:
        more = [f"and {len(lacking) - _LISTED} more"] if len(lacking) > _LISTED else []
        listed = "".join(f"\n  {line}" for line in (*lacking[:_LISTED], *more))
        remedy = f"Run the suite again, with the same results folder; it resumes:{listed}"
        raise UserError(f"the results of {named} are not complete.", remedy=remedy, file=str(store.root))


def _has_outcomes(store: Store, trial_id: str) -> bool:
    try:
        return store.outcomes(trial_id) is not None
    except DamagedOutcomesError:
        return False

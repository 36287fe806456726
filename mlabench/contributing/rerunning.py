"""Runs trials of a contribution again and compares the records. Executes the contributed plugin."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlabench.contributing.finding import Finding, differences
from mlabench.contributing.layout import PLUGIN
from mlabench.errors import UserError
from mlabench.record import Record
from mlabench.registry import register
from mlabench.store import Store

#: What differs between any two runs.
_OF_THE_RUN = {"cost", "environment", "files", "schema_version"}


def chosen(records: Mapping[str, Record], wanted: str) -> list[str]:
    """The trials to run again: so many, drawn at random, or the one whose id begins so.

    Raises:
        UserError: If there are not so many, or not one of this id.
    """
    if wanted.isdecimal():
        if not 0 < int(wanted) <= len(records):
            raise UserError(f"cannot draw {wanted} of {len(records)} trials.", field="--rerun")
        return random.SystemRandom().sample(sorted(records), int(wanted))
    found = [trial_id for trial_id in records if trial_id.startswith(wanted)]
    if len(found) != 1:
        remedy = "Give a number, or enough of one trial's id."
        raise UserError(f"{len(found)} trials have an id that begins with {wanted!r}.", remedy=remedy, field="--rerun")
    return found


def rerun(folder: Path, records: Mapping[str, Record], trial_id: str) -> Iterator[Finding | str]:
    """Where a trial that is run again, on this machine's CPU, gives another record or other outcomes.

    As text, what may be the reason: another machine or other versions, with which numbers are rounded differently.

    Raises:
        UserError: If the plugin cannot be imported.
    """
    from mlabench.training import Job, RunOptions, run_trial  # imports torch

    sys.dont_write_bytecode = True  # else Python would leave a folder of its own beside the plugin
    if (folder / PLUGIN).is_file():
        register([folder / PLUGIN])
    stored, file = records[trial_id], f"trials/{trial_id}/record.json"
    tests = tuple(evaluation.missing for evaluation in stored.evaluations.values())
    with tempfile.TemporaryDirectory() as place:
        again = Store(Path(place))
        record = run_trial(Job(stored.trial, tests), again, RunOptions(device="cpu", keep="outcomes"))
        outcomes = [store.outcomes(trial_id) for store in (Store(folder), again)]
    if record.failure is not None:
        yield Finding(file, "status", f"run again, it failed: {record.failure.summary}")
        return
    first, second = (one.model_dump(mode="json", exclude=_OF_THE_RUN) for one in (stored, record))
    yield from differences(file, first, second)
    before, after = (one.tests if one else {} for one in outcomes)
    for key in before.keys() & after.keys():
        changed = int((before[key].correct != after[key].correct).any(axis=1).sum())
        if changed:
            problem = f"run again, {changed} of {len(before[key].correct)} samples have other predictions."
            yield Finding(file.replace("record.json", "outcomes.npz"), f"{key}.correct", problem)
    was, here = (_machine(one) for one in (stored, record))
    if was != here:
        yield f"{trial_id}: trained with {was}; here it is {here}, which may round differently."


def _machine(record: Record) -> str:
    environment = record.environment
    torch = dict(environment.get("packages") or {}).get("torch")
    return f"torch {torch}, {environment.get('device')}, {environment.get('processor')}, {environment.get('platform')}"

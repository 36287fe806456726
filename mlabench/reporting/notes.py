"""Sentences about a suite as a whole: its heading, what is missing, what to keep in mind, what it was made with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mlabench.reporting import wording
from mlabench.reporting.results import Results
from mlabench.suite import Plan
from mlabench.words import counted


def heading(plan: Plan) -> str:
    """The suite's name and title."""
    return f"{plan.name}: {plan.title}" if plan.title else plan.name


def shortfalls(results: Results, unused: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each kind of thing not in the tables; ``unused``: trials without usable predictions, and why."""
    planned = {cell.trial.id for cell in results.plan.cells} - set(results.left_out)
    status = {
        kind: results.scores.loc[results.scores["status"] == kind, "trial"].nunique() for kind in ("failed", "missing")
    }
    sentences = []
    if not results.plan.cells:
        sentences.append("The suite asks for no trial.")
    elif not results.records and planned:
        sentences.append(f"None of the {counted(len(planned), 'planned trial')} has a record yet.")
    else:
        if status["failed"]:
            sentences.append(f"{status['failed']} of {counted(len(planned), 'trial')} failed.")
        if status["missing"]:
            sentences.append(f"{status['missing']} of {counted(len(planned), 'trial')} have not (fully) been run.")
    if results.left_out:
        sentences.append(
            f"{counted(len(results.left_out), 'trial')} made with a limit on the samples left out; "
            "`--include-limited` shows them."
        )
    sentences += [f"Set aside: {trial}: {reason}." for trial, reason in results.set_aside]
    sentences += [f"Not read: {trial}: {reason}" for trial, reason in results.unread]
    sentences += [
        f"Without stored predictions ({reason}): {counted(len(trials), 'trial')}; their intervals are over seeds alone."
        for reason, trials in _by_reason(unused or {}).items()
    ]
    return sentences


def _by_reason(trials: Mapping[str, str]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for trial, reason in trials.items():
        reasons.setdefault(reason.rstrip("."), []).append(trial)
    return reasons


def caveats(results: Results) -> Iterator[str]:
    """What one should keep in mind about the numbers."""
    scores = results.scores
    yield wording.dataset_sentence(results.plan)
    if results.plan.paper:
        yield f"It re-runs {results.plan.paper}. Numbers of another dataset, split or encoder are not comparable."
    yield f"{wording.samples(scores)}; {wording.seeds(scores)}. {wording.spread_sentence(scores)}"
    yield wording.DEFINITIONS
    for sentence in (
        wording.selection_sentences(scores),
        wording.tuning_sentence(results.plan),
        wording.limit_sentence(scores),
    ):
        if sentence:
            yield sentence
    yield from results.plan.objections().values()
    yield from dict.fromkeys(note for record in results.records.values() for note in record.notes)


class LostTrial(NamedTuple):
    """A trial that failed or is missing, under one label."""

    label: str
    train_setting: str
    seed: int
    fold: str
    trial: str
    status: str
    reason: str

    def __str__(self) -> str:
        run = f"seed {self.seed}" + (f", fold {self.fold}" if self.fold else "")
        return f"{self.status}: {self.label}, {self.train_setting} missing, {run} ({self.trial}): {self.reason}"


def lost_trials(results: Results) -> list[LostTrial]:
    """One for each trial and outcome."""
    rows = results.scores.loc[results.scores["status"] != "ok", list(LostTrial._fields)].drop_duplicates()
    return [LostTrial(*row) for row in rows.to_numpy().tolist()]


def environments(results: Results) -> Iterator[str]:
    """Every distinct value of every entry, with the number of trials if there are several."""
    found: dict[str, Counter[str]] = {}
    for record in results.records.values():
        for name, value in _flat(record.environment):
            found.setdefault(name, Counter())[value] += 1
    for name, values in sorted(found.items()):
        listed = [
            value if len(values) == 1 else f"{value} ({counted(count, 'trial')})"
            for value, count in sorted(values.items())
        ]
        yield f"{name}: {', '.join(listed)}"


def _flat(entries: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in entries.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, str) else json.dumps(value)

"""Checks a contribution: files, seals, plans, samples, patterns, scores and verdicts. Runs nothing that is in it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from mlabench.contributing.card import CARD, Card, read_card
from mlabench.contributing.finding import Finding, differences
from mlabench.contributing.folds import Divisions, check_dealt
from mlabench.contributing.layout import PLUGIN, VERDICTS, changed, files_in, foreign
from mlabench.contributing.plans import check_plan, is_own
from mlabench.contributing.recomputed import check_curves, check_evaluations
from mlabench.contributing.verdicts import decide_all
from mlabench.errors import UserError
from mlabench.missing import Missing
from mlabench.record import Record
from mlabench.registry import source_hash
from mlabench.store import OUTCOMES, CorruptRecordError, DamagedOutcomesError, Store, TrialOutcomes, read_record
from mlabench.suite import Plan
from mlabench.trial import Trial


@dataclass
class Verification:
    """What came of checking a contribution.

    Attributes:
        folder: The contribution.
        findings: What does not agree.
        notes: What could not be checked here, and why.
        plans: Its plans.
        records: The records that could be read, by trial id.
    """

    folder: Path
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    records: dict[str, Record] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """All of it, as plain data."""
        lines = [{"file": one.file, "field": one.field, "message": str(one)} for one in self.findings]
        return {
            "folder": str(self.folder),
            "agrees": not self.findings,
            "suites": [plan.name for plan in self.plans],
            "trials": len(self.records),
            "findings": lines,
            "notes": self.notes,
        }


def verify(folder: Path) -> Verification:
    """Checks a contribution.

    Raises:
        UserError: If the folder is not a contribution.
    """
    if folder.is_symlink() or not (folder / CARD).is_file():
        remedy = "Give a folder that `mlabench contribute` wrote."
        raise UserError(f"this folder has no {CARD}.", remedy=remedy, file=str(folder))
    found = Verification(folder)
    names = files_in(folder)
    found.findings += foreign(folder, names)
    if not found.findings:  # only then is anything read
        found.findings += changed(folder, names)
        _Check(found, names).run()
    return found


class _Check:
    """All that is checked once files may be read."""

    def __init__(self, found: Verification, names: list[str]) -> None:
        self.found, self.names = found, names
        self.store, self.divisions = Store(found.folder), Divisions()
        self.outcomes: dict[str, TrialOutcomes] = {}

    def run(self) -> None:
        card = self._read_card()
        self._read_plans()
        self._read_trials()
        self.found.findings += [*self._of_methods(card), *self._of_trials(), *self._of_plans()]
        self.found.findings += check_dealt(self._tested())
        self.found.notes += [
            f"{name}: not compared with the data: {why}." for name, why in self.divisions.absent.items()
        ]
        if not self.found.findings:
            self.found.findings += self._of_verdicts()

    def _find(self, file: str, problem: str, field: str = "") -> None:
        self.found.findings.append(Finding(file, field, problem))

    # -- reading -------------------------------------------------------------------------------------

    def _read_card(self) -> Card | None:
        try:
            card = read_card(self.found.folder / CARD)
        except UserError as error:
            for one in (error, *error.others):
                self._find(CARD, f"{one.problem} {one.remedy}".strip(), one.field or "")
            return None
        if card.name != self.found.folder.resolve().name:
            self._find(CARD, f"{card.name!r} is not the name of the folder.", "name")
        return card

    def _read_plans(self) -> None:
        for name in self._named("plans"):
            try:
                plan = Plan.model_validate_json((self.found.folder / name).read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                self._find(name, f"is not a plan ({type(error).__name__}).")
                continue
            if name != f"plans/{plan.name}.json":
                self._find(name, f"is the plan of {plan.name!r}.", "name")
            self.found.plans.append(plan)
        if not self._named("plans"):
            self._find("plans", "there is no plan.")

    def _read_trials(self) -> None:
        for name in self._named("trials"):
            if name.endswith("/record.json"):
                self._read_trial(name.split("/")[1])
        used = {f"samples/{outcomes.samples.key}.npz" for outcomes in self.outcomes.values()}
        known = {f"trials/{trial_id}/outcomes.npz" for trial_id in self.found.records}
        read = {*used, *known, *(f"trials/{trial_id}/record.json" for trial_id in self.found.records)}
        left = [name for name in (*self._named("samples"), *self._named("trials")) if name not in read]
        if not self.found.findings:
            for name in left:
                self._find(name, "belongs to no record that can be read.")

    def _read_trial(self, trial_id: str) -> None:
        file = f"trials/{trial_id}/record.json"
        try:
            record = read_record(self.found.folder / "trials" / trial_id)
            outcomes = self.store.outcomes(trial_id)
        except (CorruptRecordError, DamagedOutcomesError, UserError) as error:
            problem = f"{error.problem} {error.remedy}" if isinstance(error, UserError) else f"{error}."
            self._find(file, problem.strip())
            return
        if record.status != "ok" or outcomes is None:
            self._find(file, "it failed." if record.status != "ok" else "it has no outcomes.", "status")
        elif (wrong := _wrong_samples(outcomes)) is not None:
            self._find(f"samples/{outcomes.samples.key}.npz", wrong)
        else:
            self.found.records[trial_id], self.outcomes[trial_id] = record, outcomes

    def _named(self, folder: str) -> list[str]:
        return [name for name in self.names if name.startswith(f"{folder}/")]

    def _tested(self) -> dict[str, tuple[Trial, Any]]:
        return {
            f"trials/{trial_id}/record.json": (record.trial, self.outcomes[trial_id].samples)
            for trial_id, record in self.found.records.items()
        }

    # -- checking ------------------------------------------------------------------------------------

    def _of_methods(self, card: Card | None) -> Iterator[Finding]:
        """Who wrote the methods, and whether it was this code that was run."""
        foreign = {one: record for one, record in self.found.records.items() if not is_own(record.trial.method.name)}
        plugin = self.found.folder / PLUGIN
        own = _hash_of(plugin) if PLUGIN in self.names else ""
        if foreign and not own:
            yield Finding(PLUGIN, "", "is missing, or is not Python.")
        if PLUGIN in self.names and not foreign:
            yield Finding(PLUGIN, "", "no record has a method of it.")
        for trial_id, record in foreign.items():
            file, name = f"trials/{trial_id}/record.json", record.trial.method.name
            if card and name != card.name and not name.startswith(f"{card.name}_"):
                problem = f"{name!r} must be {card.name!r} or begin with '{card.name}_'. Rename the method or the card."
                yield Finding(file, "trial.method.name", problem)
            if own:
                stored = record.environment.get("method_source")
                yield from differences(file, stored, own, "environment.method_source")
        versions = {str(record.environment.get("mlabench")) for record in self.found.records.values()}
        if card and self.found.records and card.mlabench not in versions:
            yield Finding(CARD, "mlabench", stored=card.mlabench, recomputed=", ".join(sorted(versions)))

    def _of_trials(self) -> Iterator[Finding]:
        """Everything about single trials."""
        asked, modalities = asked_of(self.found.plans), self._modalities()
        for trial_id in asked.keys() - self.found.records.keys():
            yield Finding(f"trials/{trial_id}/record.json", "", "is missing, or cannot be read.")
        for trial_id, record in self.found.records.items():
            file, outcomes = f"trials/{trial_id}/record.json", self.outcomes[trial_id]
            if trial_id not in asked:
                yield Finding(file, "", "no plan asks for this trial.")
                continue
            if outcomes.modalities != modalities[trial_id]:
                yield Finding(file, "modalities", stored=outcomes.modalities, recomputed=modalities[trial_id])
                continue
            stored = {f"evaluations.{key}.missing": one.missing for key, one in record.evaluations.items()}
            wanted = {f"evaluations.{key}.missing": missing for key, missing in asked[trial_id].items()}
            if record.last is not None:
                stored["last.missing"], wanted["last.missing"] = record.last.missing, record.trial.missing
            yield from differences(file, _dumped(stored), _dumped(wanted))
            yield from differences(file, sorted(record.files), [OUTCOMES], "files")
            if problem := _not_for_others(record):
                yield Finding(file, *problem)
                continue
            try:
                data = self.divisions.data(record.trial)
                yield from self.divisions.check(file, record.trial, outcomes.samples)
                yield from check_evaluations(file, record, outcomes, data)
            except UserError as error:  # a fold or a pattern that the dataset cannot have
                yield Finding(file, error.field or "trial", error.problem)
            yield from check_curves(file, record)

    def _modalities(self) -> dict[str, tuple[str, ...]]:
        return {trial.id: plan.modalities for plan in self.found.plans for trial, _ in plan.trials()}

    def _of_plans(self) -> Iterator[Finding]:
        for plan in self.found.plans:
            file = f"plans/{plan.name}.json"
            for one in check_plan(file, plan):
                if isinstance(one, Finding):
                    yield one
                else:
                    self.found.notes.append(one)
            for word in plan.command.split():
                if is_absolute(word):
                    yield Finding(file, "command", f"holds an absolute path: {word!r}.")

    def _of_verdicts(self) -> Iterator[Finding]:
        try:
            stored = json.loads((self.found.folder / VERDICTS).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            yield Finding(VERDICTS, "", f"cannot be read ({type(error).__name__}).")
            return
        yield from differences(VERDICTS, stored, decide_all(self.store, self.found.plans), "")


def asked_of(plans: Iterable[Plan]) -> dict[str, dict[str, Missing]]:
    """The test patterns that any plan asks of each trial, by its id and by their keys."""
    asked: dict[str, dict[str, Missing]] = {}
    for trial, tests in (one for plan in plans for one in plan.trials()):
        asked.setdefault(trial.id, {}).update({test.key: test for test in tests})
    return asked


def _dumped(recipes: Mapping[str, Missing]) -> dict[str, Any]:
    return {name: missing.model_dump(mode="json") for name, missing in recipes.items()}


def _hash_of(plugin: Path) -> str:
    try:
        return source_hash(plugin, plugin.stem)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""


def _wrong_samples(outcomes: TrialOutcomes) -> str | None:
    """Why samples cannot be scored."""
    samples = outcomes.samples
    shapes = {array.shape for array in (samples.ids, samples.groups, samples.labels)}
    kinds = (samples.ids.dtype.kind, samples.groups.dtype.kind, samples.labels.dtype.kind)
    if shapes != {(len(samples.ids),)} or kinds != ("U", "U", "i") or not len(samples.ids):
        return "does not hold an id, a group and a label for each sample."
    counts = Counter(samples.ids.tolist())
    if max(counts.values()) > 1 or samples.labels.min() < 0 or samples.labels.max() > len(samples.labels):
        return "has an id twice, or a label that is not one."
    return None


def _not_for_others(record: Record) -> tuple[str, str] | None:
    """Field and reason of what nobody else can check."""
    trial = record.trial
    if trial != trial.portable():
        return "trial", "says where files lie on a machine."
    if trial.limit is not None:
        return "trial.limit", "it was made with --limit: a smoke test."
    patterns = [trial.missing, *trial.validation, *(one.missing for one in record.evaluations.values())]
    if any(one.protocol == "file" or one.file for one in patterns):
        return (
            "trial.missing",
            "its pattern is read from a file; only patterns that have a recipe can be derived again.",
        )
    if record.failure is not None:
        return "failure", "it did not fail."
    return None


def is_absolute(word: str) -> bool:
    """Whether a word is a path from the root of some system, or from somebody's home."""
    return Path(word).is_absolute() or PureWindowsPath(word).is_absolute() or word.startswith("~")

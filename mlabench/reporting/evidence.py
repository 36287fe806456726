"""What statistics need from a suite's results: outcomes sample by sample where stored, else numbers per training."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mlabench.missing import Missing
from mlabench.record import Record
from mlabench.reporting.results import MULTIMODAL, Results, load
from mlabench.statistics import Outcomes
from mlabench.store import (
    PREDICTIONS,
    Arrays,
    DamagedOutcomesError,
    PatternOutcomes,
    SampleSet,
    Store,
    TrialOutcomes,
)
from mlabench.suite import Plan, PlannedTrial

_COMPLETE = Missing().key
_COMPLETE_SETTING = "0 %"

#: What may come of reading an archive that was damaged or removed after its record was verified.
_UNREADABLE = (OSError, ValueError, EOFError, BadZipFile, zlib.error)

#: One training: its seed and its fold, which is empty without folds.
Run = tuple[int, str]


@dataclass(frozen=True, eq=False)
class Predictions:
    """One target's predictions by one trained model, for the ``n`` samples that have it."""

    logits: NDArray[np.float32]  # [n, C]
    labels: NDArray[np.int64]  # [n]


@dataclass(frozen=True, eq=False)
class Weights:
    """How one trained model weighted the modalities of each test sample. ``[n, M]`` each

    ``correct``: whether a modality's own prediction is right; of no meaning where it is absent.
    """

    present: NDArray[np.bool_]
    weight: NDArray[np.float32]
    correct: NDArray[np.bool_]


@dataclass
class Archive:
    """What is stored of trials. Each record and each file is read once, however often it is asked for.

    ``problems`` holds trials whose predictions are of no use, with the reason; it fills as they are read. ``records``
    are those read already, by trial id.
    """

    store: Store | None
    problems: dict[str, str] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    _outcomes: dict[str, TrialOutcomes | None] = field(default_factory=dict)
    _evidence: dict[object, Evidence] = field(default_factory=dict)

    def evidence(self, plans: Sequence[Plan], *, include_limited: bool = False) -> Evidence:
        """What is known of the trials of these plans together: put together once, whoever asks."""
        asked = (*(plan.name for plan in plans), include_limited)
        if asked not in self._evidence:
            assert self.store is not None  # noqa: S101
            results = load(merged(plans), self.store, include_limited=include_limited, known=self.records)
            self._evidence[asked] = Evidence(results, self.store, self)
        return self._evidence[asked]

    def outcomes(self, trial: str, modalities: Sequence[str]) -> TrialOutcomes | None:
        """Which predictions of a trial are right; None if that was not kept."""
        if trial not in self._outcomes:
            self._outcomes[trial] = self._read(trial, tuple(modalities))
        return None if trial in self.problems else self._outcomes[trial]

    def arrays(self, trial: str, names: Sequence[str], pattern: str = "") -> Arrays:
        """Those of the named arrays of a trial's predictions that are there, and those that match a pattern."""
        if self.store is None or trial in self.problems:
            return {}
        path = self.store.folder(trial) / PREDICTIONS
        if not path.is_file():
            return {}
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                matching = [name for name in archive.files if pattern and re.search(pattern, name)]
                return {name: archive[name] for name in {*names, *matching} if name in archive}
        except _UNREADABLE as error:
            self.problems[trial] = f"{PREDICTIONS} cannot be read ({type(error).__name__})"
            return {}

    def _read(self, trial: str, modalities: tuple[str, ...]) -> TrialOutcomes | None:
        if self.store is None:
            return None
        try:
            found = self.store.outcomes(trial)
        except DamagedOutcomesError as error:
            self.problems[trial] = str(error)
            return None
        return found or self._of_predictions(trial, modalities)

    def _of_predictions(self, trial: str, modalities: tuple[str, ...]) -> TrialOutcomes | None:
        """From older records, which keep predictions alone."""
        found = self.arrays(trial, ["ids", "labels", "groups"], pattern="/(present|correct)$")
        if not {"ids", "labels"} <= found.keys():
            return None
        labels, tests = found["labels"], {}
        for name in (name for name in found if name.endswith("/present")):
            test = name.removesuffix("/present")
            correct = found.get(f"{test}/correct")
            if correct is None or correct.shape[1:] != (len(modalities) + 1,):
                targets = [f"{test}/{target}" for target in (*modalities, "fused")]
                logits, absent = self.arrays(trial, targets), np.zeros(len(labels), dtype=bool)
                right = [logits[own].argmax(axis=1) == labels if own in logits else absent for own in targets]
                correct = np.stack(right, axis=1)
            tests[test] = PatternOutcomes(found[name], correct, np.full(len(labels), np.nan, dtype=np.float32))
        samples = SampleSet(found["ids"], found.get("groups", found["ids"]), labels)
        return TrialOutcomes(samples, modalities, tests)


class Evidence:
    """What is known, training by training and sample by sample, about a suite's results.

    Only what is asked for is read, once. Runs that failed, are missing or could not be read are left out; numbers
    are in percent. Rates and settings are called as in :class:`Results`. With folds the predictions of all folds of a
    repeat are pooled, and a repeat that lacks one is left out. Without a store all numbers are per training.
    """

    def __init__(self, results: Results, store: Store | None, archive: Archive | None = None) -> None:
        self.results = results
        self.archive = archive or Archive(store)
        self.folds: tuple[str, ...] = tuple(sorted(results.scores["fold"].unique())) or ("",)
        self._outcomes: dict[tuple[str, ...], Outcomes | None] = {}
        self._places: dict[str, NDArray[np.int64] | None] = {}

    def at(self, setting: str) -> Evidence:
        """What is known at one point of the missing-rate axis."""
        return Evidence(replace(self.results, scores=self.results.on_axis(setting)), None, self.archive)

    @property
    def problems(self) -> dict[str, str]:
        """Trials of the suite whose predictions are of no use, and why."""
        return {trial: why for trial, why in self.archive.problems.items() if trial in self.results.records}

    def outcomes(self, *place: str) -> Outcomes | None:
        """Which samples a method gets right, at a label, setting and target, or as :meth:`per_training` says.

        Of a modality, over the samples that have it, and of exactly the repeats that :meth:`per_seed` has. None if
        that is impossible: there is no such repeat, or the predictions of one were not kept or are about other samples
        (then :attr:`problems` says so).
        """
        if place not in self._outcomes:
            column = self.results.targets.index(place[-1])
            runs = self._at(*place)
            found = self._gathered(runs, lambda one: one.correct[:, column])
            if found is not None and place[-1] != MULTIMODAL:
                found = self._of_those_present(found, runs, column)
            self._outcomes[place] = found
        return self._outcomes[place]

    def brier(self, label: str, setting: str) -> Outcomes | None:
        """Brier scores of the fused predictions, between 0 and 2, in place of right and wrong; None if not kept."""
        found = self._gathered(self._at(label, setting, MULTIMODAL), lambda one: one.brier.astype(np.float64))
        return None if found is None or np.isnan(found.correct).any() else found

    def per_seed(self, label: str, setting: str, target: str) -> dict[int, float]:
        """The accuracy of each repeat, in percent, by seed: over all folds, so that every sample counts once."""
        found = {}
        for seed, by_fold in self._repeats(self._at(label, setting, target)).items():
            # Runs may differ in the seed of their patterns alone.
            hits = [own[0].n * np.mean([run.accuracy for run in own]) for own in by_fold.values()]
            found[seed] = 100.0 * float(sum(hits)) / sum(own[0].n for own in by_fold.values())
        return found

    def per_training(self, *place: str) -> dict[Run, float]:
        """The accuracy of each finished training, in percent, on its own test samples.

        At a label, setting and target, or at a label, the settings of training and of test, and a target.
        """
        found: dict[Run, list[float]] = {}
        for run in self._at(*place):
            found.setdefault((run.seed, run.fold), []).append(run.accuracy)
        return {run: 100.0 * float(np.mean(accuracies)) for run, accuracies in found.items()}

    def probe(self, label: str, setting: str) -> dict[str, dict[Run, float]]:
        """Accuracy of a linear probe on each frozen encoder, complete test samples, in percent, per modality.

        Modalities without a probe are left out.
        """
        found: dict[str, dict[Run, float]] = {}
        for run in self._at(label, setting, MULTIMODAL):
            evaluation = self.results.records[run.trial].evaluations.get(_COMPLETE)
            for modality, scores in ((evaluation and evaluation.probe) or {}).items():
                found.setdefault(modality, {})[run.seed, run.fold] = 100.0 * scores.accuracy
        return found

    def predictions(self, label: str, setting: str, target: str) -> dict[Run, Predictions]:
        """The logits behind :meth:`outcomes`, in the order of a trial's own samples, where they were kept."""
        found = {}
        for run in self._at(label, setting, target):
            names = present, logits = f"{run.test}/present", _logits(run.test, target)
            if (arrays := self.archive.arrays(run.trial, [*names, "labels"])).keys() >= {*names, "labels"}:
                here = self._having(target, arrays[present])
                found[run.seed, run.fold] = Predictions(arrays[logits][here], arrays["labels"][here])
        return found

    def presence(self, label: str, setting: str) -> NDArray[np.bool_] | None:
        """Which modalities the columns of the multimodal :meth:`outcomes` have. ``[N, M]``

        None if the repeats' patterns differ, or no predictions were kept.
        """
        found = self._gathered(self._at(label, setting, MULTIMODAL), lambda one: one.present)
        if found is None or (found.correct != found.correct[0]).any():
            return None
        return np.asarray(found.correct[0], dtype=bool)

    def weights(self, label: str, setting: str) -> dict[Run, Weights] | None:
        """Fusion weights by training; None if the method has none, or they were not kept."""
        found = {}
        for run in self._at(label, setting, MULTIMODAL):
            name, tested = f"{run.test}/weight", self._tested(run)
            if tested is not None and name in (arrays := self.archive.arrays(run.trial, [name])):
                found[run.seed, run.fold] = Weights(tested.present, arrays[name], tested.correct[:, :-1])
        return found or None

    def projections(self, label: str, seed: int) -> dict[str, NDArray[np.float32]] | None:
        """The embeddings of complete test samples in two dimensions, per modality ``[n, 2]``.

        Of the training on complete data, with folds of the first; None if there is none, or they were not kept.
        """
        names = {modality: f"{_COMPLETE}/projection/{modality}" for modality in self.results.plan.modalities}
        for run in self._at(label, _COMPLETE_SETTING, _COMPLETE_SETTING, MULTIMODAL):
            if run.seed == seed:
                arrays = self.archive.arrays(run.trial, list(names.values()))
                if arrays.keys() >= set(names.values()):
                    return {modality: arrays[name] for modality, name in names.items()}
        return None

    def pooled(self, values: Mapping[Run, NDArray[Any]], label: str, setting: str) -> Outcomes | None:
        """Numbers for each test sample of each training of a method, put together as :meth:`outcomes` are.

        Each array is in the order of its trial's own samples ``[n]``; None if a training lacks one.
        """
        runs = self._at(label, setting, MULTIMODAL)
        if not all((run.seed, run.fold) in values for run in runs):
            return None
        own = iter([values[run.seed, run.fold] for one in self._repeats(runs).values() for (run,) in one.values()])
        return self._gathered(runs, lambda _: next(own))

    def partial(self) -> dict[str, list[int]]:
        """The repeats, by label, that have some folds but not all anywhere, and so are not counted there."""
        found: dict[str, set[int]] = {}
        for place, runs in self._runs.items():
            if place[-1] == MULTIMODAL and len(self.folds) > 1:
                found.setdefault(place[0], set()).update({run.seed for run in runs} - set(self._repeats(runs)))
        return {label: sorted(seeds) for label, seeds in found.items() if seeds}

    def _at(self, *place: str) -> list[_Run]:
        """The runs at a place: label, setting and target, or with the settings of both training and test."""
        return self._runs.get(place, [])

    @cached_property
    def _runs(self) -> dict[tuple[str, ...], list[_Run]]:
        """The finished runs that have an accuracy, by place."""
        scores = self.results.scores
        rows = scores[scores["status"].eq("ok") & scores["accuracy"].notna()].sort_values(
            ["seed", "fold"], kind="stable"
        )
        runs = list(map(_Run._make, zip(*(rows[name].tolist() for name in _Run._fields), strict=True)))
        found: dict[tuple[str, ...], list[_Run]] = {}
        for settings in (["setting"], ["train_setting", "test_setting"]):
            places = rows[["label", *settings, "target"]].itertuples(index=False, name=None)
            for place, run in zip(places, runs, strict=True):
                found.setdefault(place, []).append(run)
        return found

    def _repeats(self, runs: Sequence[_Run]) -> dict[int, dict[str, list[_Run]]]:
        """By seed and fold, the repeats that have all their folds."""
        found: dict[int, dict[str, list[_Run]]] = {}
        for run in runs:
            found.setdefault(run.seed, {}).setdefault(run.fold, []).append(run)
        return {seed: by_fold for seed, by_fold in found.items() if len(by_fold) == len(self.folds)}

    def _of_those_present(self, found: Outcomes, runs: Sequence[_Run], column: int) -> Outcomes | None:
        """The samples that have a modality; None unless they are the same in all repeats."""
        here = self._gathered(runs, lambda one: one.present[:, column])
        if here is None or (here.correct != here.correct[0]).any() or not here.correct[0].any():
            return None
        kept = np.asarray(here.correct[0], dtype=bool)
        folds = None if found.folds is None else found.folds[:, kept]
        return Outcomes(found.correct[:, kept], found.groups[kept], found.seeds, folds)

    def _gathered(self, runs: Sequence[_Run], pick: Callable[[PatternOutcomes], NDArray[Any]]) -> Outcomes | None:
        """Something about each sample, one row per repeat; None if it is not known of all of them. ``[R, N, ...]``"""
        repeats = self._repeats(runs)
        if not repeats or self.samples is None:
            return None
        count = len(self.samples.ids)
        rows, codes = [], np.full((len(repeats), count), -1)
        for row, by_fold in enumerate(repeats.values()):
            parts = []
            for code, fold in enumerate(self.folds):
                if len(by_fold[fold]) > 1:  # one seed under two patterns: about different samples
                    return None
                tested, places = self._tested(by_fold[fold][0]), self._places_of(by_fold[fold][0].trial)
                if tested is None or places is None:
                    return None
                codes[row, places] = code
                parts.append((places, pick(tested)))
            whole = np.zeros((count, *parts[0][1].shape[1:]), dtype=parts[0][1].dtype)
            for places, values in parts:
                whole[places] = values
            rows.append(whole)
        if (codes < 0).any():
            return None
        folds = codes if len(self.folds) > 1 else None
        return Outcomes(np.stack(rows), self._groups, tuple(repeats), folds)

    def _tested(self, run: _Run) -> PatternOutcomes | None:
        found = self.archive.outcomes(run.trial, self.results.plan.modalities)
        return None if found is None else found.tests.get(run.test)

    def _having(self, target: str, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which samples a target is about. ``[n]``"""
        if target == MULTIMODAL:
            return np.ones(len(present), dtype=bool)
        return present[:, self.results.plan.modalities.index(target)]

    @cached_property
    def samples(self) -> SampleSet | None:
        """All test samples: those of the first trial that kept its predictions, or of all folds of a repeat."""
        by_seed: dict[int, dict[str, SampleSet]] = {}
        for trial, record in self.results.records.items():
            seed, fold = record.trial.seed, record.trial.fold.name if record.trial.fold else ""
            own = by_seed.setdefault(seed, {})
            if fold in own or (found := self.archive.outcomes(trial, self.results.plan.modalities)) is None:
                continue
            own[fold] = found.samples
            if len(own) == len(self.folds):
                parts = [own[fold] for fold in self.folds]
                if len(parts) == 1:
                    return parts[0]
                return SampleSet(*(np.concatenate([getattr(part, name) for part in parts]) for name in _SAMPLES))
        return None

    @cached_property
    def _groups(self) -> NDArray[np.int64]:
        """Codes of all test samples' groups. ``[N]``"""
        groups = self.samples.groups if self.samples else np.array([], dtype=str)
        codes: NDArray[np.int64] = np.unique(groups, return_inverse=True)[1].astype(np.int64)
        return codes

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        ids = self.samples.ids if self.samples else np.array([], dtype=str)
        order: NDArray[np.int64] = np.argsort(ids)
        return order

    def _places_of(self, trial: str) -> NDArray[np.int64] | None:
        """Where a trial's samples are among all test samples; None if they are others. ``[n]``"""
        found, every = self.archive.outcomes(trial, self.results.plan.modalities), self.samples
        if found is None or every is None:
            return None
        key = found.samples.key
        if key not in self._places:
            ids = every.ids[self._order]
            at = np.minimum(np.searchsorted(ids, found.samples.ids), len(ids) - 1)
            same = np.array_equal(ids[at], found.samples.ids)
            whole = len(self.folds) > 1 or len(at) == len(ids)
            self._places[key] = np.asarray(self._order[at]) if same and whole else None
        places = self._places[key]
        if places is None:
            self.archive.problems[trial] = (
                "its test samples are not those of the other trials, so it is compared by trainings alone"
            )
        return places


def merged(plans: Sequence[Plan]) -> Plan:
    """One plan with the trials and tests of all, under the name of the first."""
    if len(plans) == 1:
        return plans[0]
    cells: dict[tuple[str, str], PlannedTrial] = {}
    for plan in plans:
        for cell in plan.cells:
            key = cell.label, cell.trial.id
            tests = {test.key: test for test in (*(cells[key].tests if key in cells else ()), *cell.tests)}
            cells[key] = cell.model_copy(update={"tests": tuple(tests.values())})
    papers = ", ".join(dict.fromkeys(plan.paper for plan in plans if plan.paper))
    return plans[0].model_copy(update={"cells": tuple(cells.values()), "paper": papers})


_SAMPLES = ("ids", "groups", "labels")


def _logits(test: str, target: str) -> str:
    """The array that holds a target's logits under a test pattern."""
    return f"{test}/{'fused' if target == MULTIMODAL else target}"


class _Run(NamedTuple):
    """One finished run under one test pattern, on ``n`` samples."""

    seed: int
    fold: str
    trial: str
    test: str
    n: int
    accuracy: float

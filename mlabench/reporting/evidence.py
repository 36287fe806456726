"""What the statistics need from a suite's results: outcomes sample by sample where stored, else numbers per seed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mlabench.missing import Missing
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.statistics import Outcomes
from mlabench.store import PREDICTIONS, Arrays, Store

_COMPLETE = Missing().key
_COMPLETE_SETTING = "0 %"

#: What may come of reading an archive that was damaged or removed after its record was verified.
_UNREADABLE = (OSError, ValueError, EOFError, BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Predictions:
    """One target's predictions by one trained model, for the ``n`` samples that have it."""

    logits: NDArray[np.float32]  # [n, C]
    labels: NDArray[np.int64]  # [n]


@dataclass(frozen=True, eq=False)
class Weights:
    """How one trained model weighted the modalities of each test sample. ``[N, M]`` each

    ``correct``: whether a modality's own prediction is right; of no meaning where it is absent.
    """

    present: NDArray[np.bool_]
    weight: NDArray[np.float32]
    correct: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Judged:
    """One trained model under one test pattern: a fraction of the logits' size.

    ``present`` is ``[N, M]``; ``correct`` is ``[N]`` by target, of no meaning where the modality is absent.
    """

    present: NDArray[np.bool_]
    correct: dict[str, NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class _Split:
    """The test samples that all trials must share: ids, and codes of independent groups."""

    ids: NDArray[np.str_]
    groups: NDArray[np.int64]


class Evidence:
    """Reads the stored predictions behind a suite's results.

    Only what is asked for is read, once. Runs that failed, are missing or could not be read are left out; numbers
    are in percent. Rates and settings are called as in :class:`Results`. Without a store all numbers are per seed.
    ``problems`` holds trials whose predictions are of no use, with the reason; it fills as predictions are read.
    """

    def __init__(self, results: Results, store: Store | None) -> None:
        self.results = results
        self.problems: dict[str, str] = {}
        self._store = store
        self._outcomes: dict[tuple[str, ...], Outcomes | None] = {}
        self._judgements: dict[tuple[str, str], _Judged | None] = {}

    def outcomes(self, label: str, setting: str, target: str) -> Outcomes | None:
        """Which samples a method gets right at one point of the missing-rate axis.

        Of a modality, over the samples that have it, and of exactly the seeds that :meth:`per_seed` has. None if that
        is impossible: there is no such seed, or the predictions of one were not kept or are about other samples (then
        :attr:`problems` says so).
        """
        return self._outcomes_at(label, setting, target)

    def outcomes_under(self, label: str, train_setting: str, test_setting: str, target: str) -> Outcomes | None:
        """The same of a method trained under one setting and tested under another."""
        return self._outcomes_at(label, train_setting, test_setting, target)

    def per_seed(self, label: str, setting: str, target: str) -> dict[int, float]:
        """The accuracy of each finished run, in percent, by seed."""
        found: dict[int, list[float]] = {}
        for run in self._at(label, setting, target):
            found.setdefault(run.seed, []).append(run.accuracy)
        # Runs may differ in the seed of their patterns alone.
        return {seed: 100.0 * float(np.mean(accuracies)) for seed, accuracies in found.items()}

    def probe(self, label: str, setting: str) -> dict[str, dict[int, float]]:
        """Accuracy of a linear probe on each frozen encoder, complete test samples, in percent, per modality and seed.

        Modalities without a probe are left out.
        """
        found: dict[str, dict[int, float]] = {}
        for seed, trial, _, _ in self._at(label, setting, MULTIMODAL):
            evaluation = self.results.records[trial].evaluations.get(_COMPLETE)
            for modality, scores in ((evaluation and evaluation.probe) or {}).items():
                found.setdefault(modality, {})[seed] = 100.0 * scores.accuracy
        return found

    def predictions(self, label: str, setting: str, target: str) -> dict[int, Predictions]:
        """The logits behind :meth:`outcomes`, by seed; without the seeds whose predictions were not kept."""
        found = {}
        for seed, trial, test, _ in self._at(label, setting, target):
            names = present, logits = f"{test}/present", _logits(test, target)
            if (arrays := self._read(trial, names)).keys() >= set(names):
                here = self._having(target, arrays[present])
                found[seed] = Predictions(arrays[logits][here], arrays["labels"][here])
        return found

    def presence(self, label: str, setting: str) -> NDArray[np.bool_] | None:
        """Which modalities the columns of the multimodal :meth:`outcomes` have. ``[N, M]``

        None if the seeds' patterns differ, or no predictions were kept.
        """
        found = None
        for _, trial, test, _ in self._at(label, setting, MULTIMODAL):
            judged = self._judged(trial, test)
            if judged is None or (found is not None and not np.array_equal(found, judged.present)):
                return None
            found = judged.present
        return found

    def weights(self, label: str, setting: str) -> dict[int, Weights] | None:
        """Fusion weights by seed; None if the method has none, or they were not recorded."""
        modalities = self.results.plan.modalities
        found = {}
        for seed, trial, test, _ in self._at(label, setting, MULTIMODAL):
            name, judged = f"{test}/weight", self._judged(trial, test)
            if judged is None or not judged.correct.keys() >= set(modalities):
                continue
            if name in (arrays := self._read(trial, [name])):
                correct = np.stack([judged.correct[modality] for modality in modalities], axis=1)
                found[seed] = Weights(judged.present, arrays[name], correct)
        return found or None

    def projections(self, label: str, seed: int) -> dict[str, NDArray[np.float32]] | None:
        """The embeddings of complete test samples in two dimensions, per modality ``[n, 2]``.

        Of the run trained on complete data; None if there is none, or they were not recorded.
        """
        names = {modality: f"{_COMPLETE}/projection/{modality}" for modality in self.results.plan.modalities}
        for own, trial, _, _ in self._at(label, _COMPLETE_SETTING, _COMPLETE_SETTING, MULTIMODAL):
            if own == seed and (arrays := self._read(trial, list(names.values()))).keys() >= set(names.values()):
                return {modality: arrays[name] for modality, name in names.items()}
        return None

    def _at(self, *place: str) -> list[_Run]:
        """The runs at a place, by seed: label, setting and target, or with the settings of both training and test."""
        return self._runs.get(place, [])

    @cached_property
    def _runs(self) -> dict[tuple[str, ...], list[_Run]]:
        """The finished runs that have an accuracy, by place."""
        scores = self.results.scores
        rows = scores[scores["status"].eq("ok") & scores["accuracy"].notna()].sort_values("seed", kind="stable")
        runs = list(map(_Run._make, zip(*(rows[name].tolist() for name in _Run._fields), strict=True)))
        found: dict[tuple[str, ...], list[_Run]] = {}
        for settings in (["setting"], ["train_setting", "test_setting"]):
            places = rows[["label", *settings, "target"]].itertuples(index=False, name=None)
            for place, run in zip(places, runs, strict=True):
                found.setdefault(place, []).append(run)
        return found

    def _outcomes_at(self, *place: str) -> Outcomes | None:
        if place not in self._outcomes:
            self._outcomes[place] = self._outcomes_of(self._at(*place), place[-1])
        return self._outcomes[place]

    def _outcomes_of(self, runs: Sequence[_Run], target: str) -> Outcomes | None:
        seeds = tuple(run.seed for run in runs)
        if not runs or len(set(seeds)) < len(seeds):  # one seed under two patterns: about different samples
            return None
        correct, here = [], None
        for _, trial, test, _ in runs:
            judged = self._judged(trial, test)
            if judged is None or target not in judged.correct:
                return None
            own = self._having(target, judged.present)
            if here is not None and not np.array_equal(own, here):
                return None
            here = own
            correct.append(judged.correct[target][here])
        split = self._split
        if split is None or here is None or not here.any():
            return None
        return Outcomes(np.stack(correct), split.groups[here], seeds)

    def _having(self, target: str, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which samples a target is about. ``[N]``"""
        if target == MULTIMODAL:
            return np.ones(len(present), dtype=bool)
        return present[:, self.results.plan.modalities.index(target)]

    def _judged(self, trial: str, test: str) -> _Judged | None:
        """What is stored of a trial under a test pattern; None if nothing is. All targets are read at once."""
        key = (trial, test)
        if key not in self._judgements:
            present, correct = f"{test}/present", f"{test}/correct"
            arrays, targets = self._read(trial, [present, correct]), self.results.targets
            self._judgements[key] = None
            if present in arrays:
                told = arrays.get(correct)
                if told is not None and told.dtype == bool and told.shape[1:] == (len(targets),):
                    right = dict(zip(targets, told.T, strict=True))
                else:
                    right = self._right(trial, test)
                self._judgements[key] = _Judged(arrays[present], right)
        return self._judgements[key]

    def _right(self, trial: str, test: str) -> dict[str, NDArray[np.bool_]]:
        """By target, which predictions are right, where an archive does not say so itself."""
        logits = {target: _logits(test, target) for target in self.results.targets}
        arrays = self._read(trial, list(logits.values()))
        return {
            target: arrays[name].argmax(axis=1) == arrays["labels"] for target, name in logits.items() if name in arrays
        }

    @cached_property
    def _split(self) -> _Split | None:
        """The test samples, from the first trial that names groups, or from the first whose predictions were kept."""
        ids = None
        for trial in self.results.records:
            found = self._arrays(trial, ["ids", "groups"])
            if found.keys() == {"ids", "groups"}:
                return _Split(found["ids"], np.unique(found["groups"], return_inverse=True)[1].astype(np.int64))
            ids = found.get("ids") if ids is None else ids
        return None if ids is None else _Split(ids, np.arange(len(ids)))

    def _read(self, trial: str, names: Sequence[str]) -> Arrays:
        """The labels and the named arrays, as far as they are there, in the order of the split's ids.

        Nothing if they are not of the split's samples.
        """
        split = self._split
        arrays = self._arrays(trial, ["ids", "labels", *names])
        if split is None or not arrays.keys() >= {"ids", "labels"}:
            return {}
        ids = arrays.pop("ids")
        if np.array_equal(ids, split.ids):
            return arrays
        order, other = np.argsort(ids), np.argsort(split.ids)
        if np.array_equal(ids[order], split.ids[other]):
            return {name: array[order[np.argsort(other)]] for name, array in arrays.items()}
        self.problems[trial] = "its test samples are not those of the other trials, so it is compared by seeds alone"
        return {}

    def _arrays(self, trial: str, names: Sequence[str]) -> Arrays:
        """Those of the named arrays of a trial that are there."""
        if self._store is None or trial in self.problems:
            return {}
        path = self._store.folder(trial) / PREDICTIONS
        if not path.is_file():
            return {}
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return {name: archive[name] for name in names if name in archive}
        except _UNREADABLE as error:
            self.problems[trial] = f"{PREDICTIONS} cannot be read ({type(error).__name__})"
            return {}


def _logits(test: str, target: str) -> str:
    """The array that holds a target's logits under a test pattern."""
    return f"{test}/{'fused' if target == MULTIMODAL else target}"


class _Run(NamedTuple):
    """One finished run under one test pattern."""

    seed: int
    trial: str
    test: str
    accuracy: float

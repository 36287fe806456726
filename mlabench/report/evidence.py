"""What the statistics need from a suite's results: outcomes sample by sample where stored, else numbers per seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlabench.missing import Missing
from mlabench.report.results import MULTIMODAL, Results
from mlabench.report.statistics import Outcomes
from mlabench.store import PREDICTIONS, Arrays, Store

_COMPLETE = Missing().key
_COMPLETE_SETTING = "0 %"

#: What may come of reading an archive that was damaged or removed after its record was verified.
_UNREADABLE = (OSError, KeyError, ValueError, BadZipFile, EOFError)


@dataclass(frozen=True, eq=False)
class Predictions:
    """One target's predictions by one trained model, for the samples that have it.

    Attributes:
        logits: ``[n, C]``
        labels: ``[n]``
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Weights:
    """How one trained model weighted the modalities of each test sample, and which of them were right.

    Attributes:
        present: Which modalities a sample has. ``[N, M]``
        weight: Their weights in the fusion. ``[N, M]``
        correct: Whether a modality's own prediction is right; of no meaning where it is absent. ``[N, M]``
    """

    present: NDArray[np.bool_]
    weight: NDArray[np.float32]
    correct: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Split:
    """The test samples that all trials must share: ids, and codes of independent groups."""

    ids: NDArray[np.str_]
    groups: NDArray[np.int64]


class Evidence:
    """Reads the stored predictions behind a suite's results.

    Only what is asked for is read, once. Runs that failed, are missing or could not be read are left out; numbers
    are in percent. Rates and settings are called as in :class:`Results`.

    Args:
        results: The plan and its records.
        store: Where the predictions lie.

    Attributes:
        results: As given.
        problems: Trials whose predictions are of no use, by id, with the reason. Filled as predictions are read.
    """

    def __init__(self, results: Results, store: Store) -> None:
        self.results = results
        self.problems: dict[str, str] = {}
        self._store = store
        self._outcomes: dict[tuple[str, ...], Outcomes | None] = {}
        self._orders: dict[str, NDArray[np.intp] | None] = {}

    def outcomes(self, label: str, setting: str, target: str) -> Outcomes | None:
        """Which samples a method gets right at one point of the missing-rate axis.

        Args:
            label: The method's label.
            setting: The point.
            target: A modality, for the samples that have it, or ``multimodal``.

        Returns:
            Outcomes of exactly the seeds that :meth:`per_seed` has, or None if that is impossible: there is no such
            seed, or of one of them no predictions were kept or they are about other samples (then :attr:`problems`
            says so).
        """
        key = (label, setting, target)
        if key not in self._outcomes:
            self._outcomes[key] = self._outcomes_of(self.results.at(*key), target)
        return self._outcomes[key]

    def outcomes_under(self, label: str, train_setting: str, test_setting: str, target: str) -> Outcomes | None:
        """The same of a method trained under one setting and tested under another."""
        key = (label, train_setting, test_setting, target)
        if key not in self._outcomes:
            self._outcomes[key] = self._outcomes_of(self.results.under(*key), target)
        return self._outcomes[key]

    def per_seed(self, label: str, setting: str, target: str, score: str = "accuracy") -> dict[int, float]:
        """A score of each finished run, in percent, by seed.

        Args:
            label: The method's label.
            setting: A point of the missing-rate axis.
            target: A modality or ``multimodal``.
            score: A column of :attr:`Results.scores` that is a share: ``accuracy``, ``macro_f1``, ``uar``, ``ece``,
                ``oracle_gap``.
        """
        rows = _finished(self.results.at(label, setting, target), score)
        means = 100.0 * rows.groupby("seed")[score].mean()  # runs may differ in the seed of their patterns alone
        return {int(str(seed)): float(mean) for seed, mean in means.items()}

    def probe(self, label: str, setting: str) -> dict[str, dict[int, float]]:
        """Accuracy of a linear probe on each frozen encoder, in percent, per modality and seed.

        It is measured on complete test samples. Modalities without a probe are left out: ``{}`` where none was
        recorded.
        """
        found: dict[str, dict[int, float]] = {}
        for row in _finished(self.results.at(label, setting, MULTIMODAL)).itertuples():
            evaluation = self.results.records[str(row.trial)].evaluations.get(_COMPLETE)
            for modality, scores in ((evaluation and evaluation.probe) or {}).items():
                found.setdefault(modality, {})[int(str(row.seed))] = 100.0 * scores.accuracy
        return found

    def predictions(self, label: str, setting: str, target: str) -> dict[int, Predictions]:
        """The logits behind :meth:`outcomes`, by seed; without the seeds whose predictions were not kept."""
        found = {}
        for row in _finished(self.results.at(label, setting, target)).itertuples():
            if (arrays := self._read(str(row.trial), _names(str(row.test), target))) is not None:
                logits, here = self._own(target, arrays, str(row.test))
                found[int(str(row.seed))] = Predictions(logits, arrays["labels"][here])
        return found

    def presence(self, label: str, setting: str) -> NDArray[np.bool_] | None:
        """Which modalities the test samples have at one point of the missing-rate axis. ``[N, M]``

        The rows are the columns of the multimodal :meth:`outcomes`; None if the seeds' patterns differ, or no
        predictions were kept.
        """
        found = None
        for row in _finished(self.results.at(label, setting, MULTIMODAL)).itertuples():
            name = f"{row.test}/present"
            arrays = self._read(str(row.trial), [name])
            if arrays is None or (found is not None and not np.array_equal(found, arrays[name])):
                return None
            found = arrays[name]
        return found

    def weights(self, label: str, setting: str) -> dict[int, Weights] | None:
        """Fusion weights by seed; None if the method has none, or they were not recorded."""
        modalities = self.results.plan.modalities
        found = {}
        for row in _finished(self.results.at(label, setting, MULTIMODAL)).itertuples():
            names = [f"{row.test}/{name}" for name in ("present", "weight", *modalities)]
            arrays = self._read(str(row.trial), names)
            if arrays is not None:
                present, weight, *logits = (arrays[name] for name in names)
                correct = np.stack([own.argmax(axis=1) == arrays["labels"] for own in logits], axis=1)
                found[int(str(row.seed))] = Weights(present, weight, correct)
        return found or None

    def projections(self, label: str, seed: int) -> dict[str, NDArray[np.float32]] | None:
        """The embeddings of complete test samples in two dimensions, per modality ``[n, 2]``.

        Of the run trained on complete data; None if there is none, or they were not recorded.
        """
        rows = _finished(self.results.under(label, _COMPLETE_SETTING, _COMPLETE_SETTING, MULTIMODAL))
        for trial in rows.loc[rows["seed"] == seed, "trial"]:
            names = {modality: f"{_COMPLETE}/projection/{modality}" for modality in self.results.plan.modalities}
            if (arrays := self._read(trial, list(names.values()))) is not None:
                return {modality: arrays[name] for modality, name in names.items()}
        return None

    def _outcomes_of(self, rows: pd.DataFrame, target: str) -> Outcomes | None:
        rows = _finished(rows)
        if rows.empty or rows["seed"].duplicated().any():  # one seed under two patterns: about different samples
            return None
        correct, here = [], None
        for row in rows.itertuples():
            arrays = self._read(str(row.trial), _names(str(row.test), target))
            if arrays is None:
                return None
            logits, own = self._own(target, arrays, str(row.test))
            if here is not None and not np.array_equal(own, here):
                return None
            here = own
            correct.append(logits.argmax(axis=1) == arrays["labels"][here])
        split = self._split
        if split is None or here is None or not here.any():
            return None
        return Outcomes(np.stack(correct), split.groups[here], tuple(int(seed) for seed in rows["seed"]))

    def _own(self, target: str, arrays: Arrays, test: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """A target's logits ``[n, C]`` for the samples that it is about, and which samples these are ``[N]``."""
        present, logits = (arrays[name] for name in _names(test, target))
        if target == MULTIMODAL:
            return logits, np.ones(len(present), dtype=bool)
        here = present[:, self.results.plan.modalities.index(target)]
        return logits[here], here

    @cached_property
    def _split(self) -> _Split | None:
        """The test samples, from the first trial that names groups, or from the first whose predictions were kept."""
        ids = None
        for trial in self.results.records:
            found = self._arrays(trial, ["ids"]) if ids is None else None
            ids = ids if found is None else found["ids"]
            if (named := self._arrays(trial, ["ids", "groups"])) is not None:
                return _Split(named["ids"], np.unique(named["groups"], return_inverse=True)[1].astype(np.int64))
        return None if ids is None else _Split(ids, np.arange(len(ids)))

    def _read(self, trial: str, names: Sequence[str]) -> Arrays | None:
        """The labels and the named arrays of a trial, in the order of the split's ids; None if not all are there."""
        if trial not in self._orders:
            self._orders[trial] = self._order(trial)
        order = self._orders[trial]
        arrays = None if order is None else self._arrays(trial, ["labels", *names])
        return None if arrays is None else {name: array[order] for name, array in arrays.items()}

    def _order(self, trial: str) -> NDArray[np.intp] | None:
        """Where the split's samples are among those of a trial; None if they are not the same samples."""
        arrays = self._arrays(trial, ["ids"])
        if arrays is None or self._split is None:
            return None
        ids, expected = arrays["ids"], self._split.ids
        if np.array_equal(ids, expected):
            return np.arange(len(ids))
        order, other = np.argsort(ids), np.argsort(expected)
        if np.array_equal(ids[order], expected[other]):
            return order[np.argsort(other)]
        self.problems[trial] = "its test samples are not those of the other trials, so it is compared by seeds alone"
        return None

    def _arrays(self, trial: str, names: Sequence[str]) -> dict[str, NDArray[Any]] | None:
        """Only these arrays of a trial; None if one is not there."""
        path = self._store.folder(trial) / PREDICTIONS
        if trial in self.problems or not path.is_file():
            return None
        try:
            # Opened here, for NumPy leaves a file open that turns out to be no archive.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                if any(name not in archive for name in names):
                    return None
                return {name: archive[name] for name in names}
        except _UNREADABLE as error:
            self.problems[trial] = f"{PREDICTIONS} cannot be read ({type(error).__name__})"
            return None


def _names(test: str, target: str) -> tuple[str, str]:
    """The arrays that hold a test pattern, and a target's logits under it."""
    return f"{test}/present", f"{test}/{'fused' if target == MULTIMODAL else target}"


def _finished(rows: pd.DataFrame, score: str = "accuracy") -> pd.DataFrame:
    """The rows of runs that have a score, by seed."""
    return rows[(rows["status"] == "ok") & rows[score].notna()].sort_values("seed", kind="stable")

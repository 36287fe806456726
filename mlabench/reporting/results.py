"""A plan and a store as one tidy table: every number that the plan asks for is a row, measured or not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mlabench.errors import UserError
from mlabench.missing import Missing
from mlabench.record import Record, Scores
from mlabench.store import Store
from mlabench.suite import Plan, PlannedTrial

#: The target of the fused prediction; the other targets are the modalities.
MULTIMODAL = "multimodal"

#: Columns of :attr:`Results.scores`.
SCORE_COLUMNS = (
    "label", "method", "train", "test", "train_setting", "test_setting", "setting", "rate", "realised_rate",
    "seed", "fold", "target", "n", "accuracy", "macro_f1", "uar", "ece", "oracle_gap", "last_accuracy", "bayes",
    "selected_epoch", "status", "reason", "selection", "limit", "trial",
)  # fmt: skip

#: Columns of :attr:`Results.curves`.
CURVE_COLUMNS = ("label", "train_setting", "seed", "fold", "target", "epoch", "accuracy", "selected", "trial")


@dataclass(frozen=True)
class Results:
    """What a suite asked for, and the outcome.

    Attributes:
        plan: The plan.
        scores: One row per (label, training pattern, test pattern, seed, target), where the target is
            ``multimodal`` or a modality. ``status`` is ``ok``, ``failed`` or ``missing``. ``setting`` names the
            point of the missing-rate axis that the row belongs to; it is empty for rows beside that axis (other
            test rates than the training rate, whole-modality subsets). Accuracies lie in [0, 1]; a modality
            that is present nowhere has n = 0 and no accuracy. ``last_accuracy`` is that of the last epoch, where the
            record has it: under the pattern of the training. ``bayes`` is the best accuracy that any method can
            have, where that is known.
        curves: Validation accuracy after each epoch of the last training stage, one row per target.
        records: The records read, by trial id.
        left_out: Ids of trials left out because they were made with a limit on the samples.
        set_aside: Corrupt records of this plan, which were moved out of the way, as (trial id, reason).
        unread: Records of this plan that this version or this user cannot read, as (trial id, reason).
    """

    plan: Plan
    scores: pd.DataFrame
    curves: pd.DataFrame
    records: dict[str, Record]
    left_out: tuple[str, ...]
    set_aside: tuple[tuple[str, str], ...]
    unread: tuple[tuple[str, str], ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """The modalities, then the fused prediction."""
        return (*self.plan.modalities, MULTIMODAL)

    @cached_property
    def settings(self) -> tuple[str, ...]:
        """The points of the missing-rate axis: by rate, those without a single rate last."""
        points = self.scores.loc[self.scores["setting"] != "", ["setting", "rate"]].drop_duplicates("setting")
        return tuple(points.sort_values("rate", kind="stable", na_position="last")["setting"])

    @cached_property
    def rates(self) -> dict[str, float]:
        """The settings that have a rate of their own, ascending: of several protocols those of the first."""
        points = self.on_axis()[["setting", "rate"]].dropna().drop_duplicates("rate").sort_values("rate")
        return dict(zip(points["setting"], points["rate"], strict=True))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The methods that have a row, in the suite's order."""
        return tuple(self.scores["label"].unique())

    def on_axis(self, *settings: str) -> pd.DataFrame:
        """The rows at these points of the missing-rate axis; at all of its points if none is named."""
        return self.scores[self.scores["setting"].isin(settings or self.settings)]

    @cached_property
    def _by_place(self) -> dict[Any, pd.DataFrame]:
        on_axis = self.scores.groupby(["label", "setting", "target"], sort=False)
        anywhere = self.scores.groupby(["label", "train_setting", "test_setting", "target"], sort=False)
        return {**dict(iter(on_axis)), **dict(iter(anywhere))}

    def at(self, *place: str) -> pd.DataFrame:
        """The rows (one per training) at a label, setting and target, or at the settings of both training and test."""
        return self._by_place.get(place, self.scores.iloc[:0])


def load(plan: Plan, store: Store, *, include_limited: bool = False, known: dict[str, Record] | None = None) -> Results:
    """Reads each record of a plan once and lays its numbers out; without those made with a limit, unless asked for.

    Records that are ``known`` are not read again, and those that are read become known.
    """
    already_set_aside = len(store.set_aside)
    cells = [cell for cell in plan.cells if include_limited or cell.trial.limit is None]
    trials = dict.fromkeys(cell.trial.id for cell in cells)
    records, unread = read_all(store, trials, known)
    naming = _Naming(plan)
    scores = [row for cell in cells for row in _score_rows(cell, records.get(cell.trial.id), plan, naming)]
    curves = [row for cell in cells for row in _curve_rows(cell, records.get(cell.trial.id), naming)]
    return Results(
        plan=plan,
        # Two cells may ask the same of the same trial; it still is one run.
        scores=pd.DataFrame(scores, columns=list(SCORE_COLUMNS))
        .drop_duplicates(["label", "trial", "test", "target"], ignore_index=True)
        .astype({"n": "int64", "selected_epoch": "Int64", "limit": "Int64"}),
        curves=pd.DataFrame(curves, columns=list(CURVE_COLUMNS)).drop_duplicates(
            ["label", "trial", "target", "epoch"], ignore_index=True
        ),
        records=records,
        left_out=tuple(dict.fromkeys(cell.trial.id for cell in plan.cells if cell.trial.id not in trials)),
        set_aside=tuple(store.set_aside[already_set_aside:]),
        unread=unread,
    )


def read_all(
    store: Store, trials: Iterable[str], known: dict[str, Record] | None = None
) -> tuple[dict[str, Record], tuple[tuple[str, str], ...]]:
    """The records of these trials, and those that this version or this user cannot read, with the reason."""
    known = {} if known is None else known
    records: dict[str, Record] = {}
    unread = []
    for trial in trials:
        try:
            record = known.get(trial) or store.read(trial)
        except UserError as error:  # of a newer schema
            unread.append((trial, f"{error.problem} {error.remedy}".strip()))
        except OSError as error:
            unread.append((trial, f"{error.strerror or type(error).__name__}."))
        else:
            if record is not None:
                records[trial] = known[trial] = record
    return records, tuple(unread)


class _Naming:
    """Names the patterns of a plan, and says which of them lie on the missing-rate axis.

    Several training patterns: the axis is the training pattern, and a training counts where it is tested
    under its own pattern (or, if that was not asked for, on complete samples). Complete training only: the
    axis is the test pattern. Patterns that differ in their seed alone are runs of the same setting.
    """

    def __init__(self, plan: Plan) -> None:
        self._by_test = all(cell.trial.missing.protocol == "complete" for cell in plan.cells)
        self._asked = {trial.id: [test.key for test in tests] for trial, tests in plan.trials()}
        patterns = [pattern for cell in plan.cells for pattern in (cell.trial.missing, *cell.tests)]
        self._several_protocols = {"balanced", "independent"} <= {pattern.protocol for pattern in patterns}

    def name(self, pattern: Missing) -> str:
        """A name for readers, e.g. ``30 %`` or ``audio + image``."""
        match pattern.protocol:
            case "complete":
                return "0 %"
            case "subset":
                return " + ".join(pattern.keep)
            case "per_modality":
                return ", ".join(f"{modality} {100 * rate:g} %" for modality, rate in sorted(pattern.rates.items()))
            case "file":
                return pattern.key
        suffix = f" ({pattern.protocol})" if self._several_protocols else ""
        return f"{100 * pattern.rate:g} %{suffix}"

    def axis(self, cell: PlannedTrial, test: Missing) -> Missing | None:
        """The pattern that gives this cell and test its place on the axis, or None beside the axis."""
        if self._by_test:
            return test if test.protocol != "subset" else None
        train = cell.trial.missing
        asked = self._asked[cell.trial.id]
        own = next(key for key in (train.key, Missing().key, *asked) if key in asked)
        return train if test.key == own else None

    def rate(self, pattern: Missing | None) -> float:
        """The nominal rate, NaN where no single number says it."""
        return pattern.rate if pattern and pattern.protocol in ("complete", "balanced", "independent") else np.nan


def _score_rows(cell: PlannedTrial, record: Record | None, plan: Plan, naming: _Naming) -> list[tuple[object, ...]]:
    trial = cell.trial
    rows: list[tuple[object, ...]] = []
    for test in cell.tests:
        evaluation = record.evaluations.get(test.key) if record and record.status == "ok" else None
        axis = naming.axis(cell, test)
        fold = trial.fold_name
        pattern = (trial.missing.key, test.key, naming.name(trial.missing), naming.name(test))
        place = (naming.name(axis) if axis else "", naming.rate(axis))
        realised = evaluation.missing_rate if evaluation else np.nan
        origin = (*_status(record, measured=evaluation is not None), trial.training.selection, trial.limit, trial.id)
        for target in (*plan.modalities, MULTIMODAL):
            scores, gap = None, None
            if evaluation and target == MULTIMODAL:
                scores, gap = evaluation.multimodal, record.oracle_gap(test.key) if record else None
            elif evaluation:
                scores = evaluation.unimodal.get(target)
            epoch = record.selected_epoch if record and evaluation else None
            last = _last_accuracy(record, test, target) if record and evaluation else np.nan
            best = evaluation.bayes.get(target, np.nan) if evaluation else np.nan
            measured = (*_numbers(scores), np.nan if gap is None else gap, last, best, epoch)
            run = (cell.label, trial.method.name, *pattern, *place, realised, trial.seed, fold)
            rows.append((*run, target, *measured, *origin))
    return rows


def _last_accuracy(record: Record, test: Missing, target: str) -> float:
    """Of the last epoch; NaN if it was not evaluated under this pattern."""
    evaluation = record.last if record.last is not None and record.last.missing.key == test.key else None
    if record.trial.training.selection == "last":
        evaluation = record.evaluations[test.key]
    if evaluation is None:
        return np.nan
    scores = evaluation.multimodal if target == MULTIMODAL else evaluation.unimodal.get(target)
    return scores.accuracy if scores else np.nan


def _numbers(scores: Scores | None) -> tuple[float, ...]:
    if scores is None:
        return (0, np.nan, np.nan, np.nan, np.nan)
    return (scores.n, scores.accuracy, scores.macro_f1, scores.uar, scores.ece)


def _status(record: Record | None, *, measured: bool) -> tuple[str, str]:
    if measured:
        return "ok", ""
    if record is None:
        return "missing", "no record"
    if record.status == "failed":
        failure = record.failure
        return "failed", f"{failure.kind}: {failure.message}" if failure else "no reason was recorded"
    return "missing", "not evaluated under this test pattern"


def _curve_rows(cell: PlannedTrial, record: Record | None, naming: _Naming) -> list[tuple[object, ...]]:
    if record is None or record.status != "ok" or not record.curves:
        return []
    trial = cell.trial
    place = cell.label, naming.name(trial.missing), trial.seed, trial.fold_name
    return [
        (*place, target, point.epoch, accuracy, point.epoch == record.selected_epoch, trial.id)
        for point in record.curves
        if point.stage == record.curves[-1].stage
        for target, accuracy in point.validation.items()
    ]

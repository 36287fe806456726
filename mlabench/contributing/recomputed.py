"""What follows from a trial's test samples and from which of its predictions are right: patterns and scores."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlabench.contributing.finding import Finding, differences
from mlabench.datasets import Data, best_accuracies
from mlabench.missing import missing_rate, pattern_sha256
from mlabench.record import Evaluation, Record
from mlabench.store import TrialOutcomes


def check_evaluations(file: str, record: Record, outcomes: TrialOutcomes, data: Data | None) -> Iterator[Finding]:
    """Where the evaluations of a record are not what its samples and outcomes give.

    Args:
        file: The record's file, for messages.
        record: A record of status ``ok``.
        outcomes: Its outcomes.
        data: The dataset, if it is there.
    """
    yield from differences(file, sorted(record.evaluations), sorted(outcomes.tests), "evaluations")
    for key in record.evaluations.keys() & outcomes.tests.keys():
        evaluation, found = record.evaluations[key], outcomes.tests[key]
        field, beside = f"evaluations.{key}", file.replace("record.json", "outcomes.npz")
        pattern = _pattern(record, evaluation, outcomes)
        if not np.array_equal(found.present, pattern):
            rows = int((found.present != pattern).any(axis=1).sum())
            yield Finding(
                beside, f"{key}.present", f"{rows} samples do not have the modalities that {key} leaves them."
            )
        yield from _of_pattern(file, field, evaluation, pattern, outcomes.modalities, data)
        yield from _of_outcomes(file, field, evaluation, outcomes, key)
        if evaluation.probe is not None:
            sizes = {modality: scores.n for modality, scores in evaluation.probe.items()}
            yield from differences(file, sizes, dict.fromkeys(outcomes.modalities, len(pattern)), f"{field}.probe")
    if record.last is not None:
        pattern = _pattern(record, record.last, outcomes)
        yield from _of_pattern(file, "last", record.last, pattern, outcomes.modalities, data)
        yield from differences(file, _sizes(record.last), _counts(pattern, outcomes.modalities), "last")


def _pattern(record: Record, evaluation: Evaluation, outcomes: TrialOutcomes) -> NDArray[np.bool_]:
    """Which modalities the test samples have, derived again from their ids."""
    ids = outcomes.samples.ids.tolist()
    return evaluation.missing.pattern(record.trial.dataset.name, ids, outcomes.modalities)


def _of_pattern(
    file: str,
    field: str,
    evaluation: Evaluation,
    pattern: NDArray[np.bool_],
    modalities: tuple[str, ...],
    data: Data | None,
) -> Iterator[Finding]:
    """What follows from the pattern alone."""
    stored: dict[str, Any] = {
        "missing_rate": evaluation.missing_rate,
        "pattern_sha256": evaluation.pattern_sha256,
    }
    recomputed: dict[str, Any] = {
        "missing_rate": missing_rate(pattern),
        "pattern_sha256": pattern_sha256(pattern),
    }
    if data is not None:
        stored["bayes"] = evaluation.bayes
        recomputed["bayes"] = best_accuracies(data.bayes, modalities, pattern) if data.bayes else {}
    seen = [modality for modality, count in _counts(pattern, modalities)["unimodal"].items() if count]
    if evaluation.fusion_weight is not None:
        stored["fusion_weight"], recomputed["fusion_weight"] = [*evaluation.fusion_weight], seen
    pairs = {f"{first}|{second}" for first, second in combinations(seen, 2)}
    for pair in evaluation.modality_gap.keys() - pairs:
        yield Finding(file, f"{field}.modality_gap.{pair}", "one of these modalities is in no sample.")
    yield from differences(file, stored, recomputed, field)


def _of_outcomes(file: str, field: str, evaluation: Evaluation, outcomes: TrialOutcomes, key: str) -> Iterator[Finding]:
    """What follows from which predictions are right."""
    found, labels = outcomes.tests[key], outcomes.samples.labels
    targets = {"multimodal": evaluation.multimodal} | {
        f"unimodal.{modality}": scores for modality, scores in evaluation.unimodal.items()
    }
    here = {"multimodal": np.ones(len(labels), dtype=bool)} | {
        f"unimodal.{modality}": found.present[:, column] for column, modality in enumerate(outcomes.modalities)
    }
    columns = {
        **{f"unimodal.{modality}": column for column, modality in enumerate(outcomes.modalities)},
        "multimodal": -1,
    }
    stored = {
        target: scores and scores.model_dump(include={"n", "accuracy", "uar"}) for target, scores in targets.items()
    }
    recomputed = {
        target: _scores(found.correct[present, columns[target]], labels[present]) if present.any() else None
        for target, present in here.items()
    }
    yield from differences(file, stored, recomputed, field)
    brier, whole = found.brier, evaluation.missing.protocol != "subset"
    if np.isnan(brier).any() if whole else not np.isnan(brier).all():
        problem = f"must hold {'a number' if whole else 'no number'} for each sample."
        yield Finding(file.replace("record.json", "outcomes.npz"), f"{key}.brier", problem)
    elif whole:
        rounding = float(np.spacing(brier.astype(np.float16)).astype(float).mean())  # they are kept in half precision
        mean = float(brier.astype(float).mean())
        yield from differences(
            file, evaluation.multimodal.brier, mean, f"{field}.multimodal.brier", max(rounding, 1e-6)
        )


def _scores(correct: NDArray[np.bool_], labels: NDArray[np.int64]) -> dict[str, float]:
    """``n``, ``accuracy`` and ``uar`` of which of ``n`` predictions are right. ``[n]`` each"""
    support, hits = np.bincount(labels), np.bincount(labels, weights=correct)
    recall = hits[support > 0] / support[support > 0]
    return {"n": len(labels), "accuracy": float(correct.mean()), "uar": float(recall.mean())}


def _sizes(evaluation: Evaluation) -> dict[str, Any]:
    unimodal = {modality: scores.n if scores else 0 for modality, scores in evaluation.unimodal.items()}
    return {"multimodal": evaluation.multimodal.n, "unimodal": unimodal}


def _counts(pattern: NDArray[np.bool_], modalities: tuple[str, ...]) -> dict[str, Any]:
    """How many samples there are, and how many have each modality."""
    return {"multimodal": len(pattern), "unimodal": dict(zip(modalities, pattern.sum(axis=0).tolist(), strict=True))}


# -- learning curves -----------------------------------------------------------------------------


def check_curves(file: str, record: Record) -> Iterator[Finding]:
    """Where the selected epoch is not the one that the learning curves select, or scored otherwise in them."""
    epochs = [epoch for epoch in record.curves if epoch.stage == record.curves[-1].stage]
    if not epochs or record.selected_epoch is None:
        yield Finding(file, "curves" if not epochs else "selected_epoch", "is missing.")
        return
    selection = record.trial.training.selection
    scores = [
        next(iter(epoch.test.values()), 0.0) if selection == "best_test" else epoch.validation.get("multimodal", 0.0)
        for epoch in epochs
    ]
    best = len(epochs) if selection == "last" else 1 + scores.index(max(scores))
    if record.selected_epoch not in (best, len(epochs)):  # of a stage that selects nothing it is the last one
        yield Finding(file, "selected_epoch", stored=record.selected_epoch, recomputed=best)
    own = record.trial.missing.key
    kept = record.evaluations.get(own)
    if selection == "best_val" and record.selected_epoch == len(epochs) and record.last and kept:
        last, same = (one.model_dump(mode="json", exclude={"probe"}) for one in (record.last, kept))
        yield from differences(file, last, same, "last")
    watched = {record.selected_epoch: kept, len(epochs): record.last}
    for number, evaluation in watched.items():
        seen = epochs[number - 1].test.get(own)
        if seen is not None and evaluation is not None:
            field = f"curves[{len(record.curves) - len(epochs) + number - 1}].test.{own}"
            yield from differences(file, seen, evaluation.multimodal.accuracy, field)

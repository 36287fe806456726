"""From predictions to metrics. Free of torch: stored predictions can be scored again anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlabench.missing import Missing, missing_rate, pattern_sha256
from mlabench.record import Evaluation, Scores
from mlabench.statistics import brier_scores

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]

#: Bins of the expected calibration error (Guo et al., 2017).
CALIBRATION_BINS = 15


class NotFiniteError(ValueError):
    """Predictions contain NaN or infinity."""


def evaluate(
    missing: Missing,
    modalities: Sequence[str],
    labels: Labels,
    present: NDArray[np.bool_],
    fused: Floats,
    unimodal: Mapping[str, Floats],
    embedding: Mapping[str, Floats],
    weight: Floats | None,
) -> Evaluation:
    """Scores one model's predictions under one test pattern.

    Multimodal scores are over all ``N`` samples; a modality's own are over those that have it. ``labels [N]``;
    ``present [N, M]`` has ``modalities`` as columns; logits are ``[N, C]``, embeddings ``[N, d]``, weights ``[N, M]``.
    """
    here = {modality: present[:, column] for column, modality in enumerate(modalities)}
    seen = [modality for modality in modalities if here[modality].any()]
    _require_numbers("the fused prediction", fused)
    for modality in seen:
        _require_numbers(f"the prediction of {modality!r}", unimodal[modality][here[modality]])
    return Evaluation(
        missing=missing,
        missing_rate=missing_rate(present),
        pattern_sha256=pattern_sha256(present),
        multimodal=score(fused, labels),
        unimodal={
            modality: score(unimodal[modality][here[modality]], labels[here[modality]]) if modality in seen else None
            for modality in modalities
        },
        fusion_weight=None
        if weight is None
        else {m: float(weight[here[m], column].mean()) for column, m in enumerate(modalities) if m in seen},
        modality_gap={
            f"{first}|{second}": modality_gap(embedding[first][here[first]], embedding[second][here[second]])
            for first, second in combinations(seen, 2)
            if embedding[first].shape[1] == embedding[second].shape[1]
        },
    )


def _require_numbers(what: str, logits: Floats) -> None:
    """A logit of minus infinity is a probability of zero; all else that is not finite has no meaning."""
    if not np.isfinite(logits.max(axis=1)).all():
        raise NotFiniteError(f"{what} is not a finite number for some test samples")


def score(logits: Floats, labels: Labels) -> Scores:
    """What :class:`mlabench.record.Scores` says of ``logits [n, C]`` on ``labels [n]``."""
    classes = logits.shape[1]
    predicted = logits.argmax(axis=1)
    confusion = np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    hits, support, claimed = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    occurs = support > 0
    # F1 = 2 TP / (support + claimed); a class that neither occurs nor is predicted does not count.
    counted = (support + claimed) > 0
    return Scores(
        n=len(labels),
        accuracy=float(hits.sum() / len(labels)),
        macro_f1=float((2 * hits[counted] / (support + claimed)[counted]).mean()),
        uar=float((hits[occurs] / support[occurs]).mean()),
        ece=calibration_error(logits, predicted == labels),
        brier=float(brier_scores(softmax(logits), labels).mean()),
    )


def softmax(logits: Floats) -> Floats:
    """Probabilities ``[n, C]`` of ``logits [n, C]``, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    result: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return result


def calibration_error(logits: Floats, correct: NDArray[np.bool_]) -> float:
    """Expected calibration error: mean |accuracy - confidence| over equal-width bins, weighted by their size."""
    confidence = softmax(logits).max(axis=1)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gap = np.bincount(bins, weights=correct - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gap).sum() / len(correct))


def modality_gap(first: Floats, second: Floats) -> float:
    """Distance between the centroids of L2-normalised embeddings ``[n, d]`` and ``[k, d]`` (Liang et al., 2022)."""

    def centroid(embedding: Floats) -> Floats:
        rows = embedding.astype(np.float64)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        mean: Floats = (rows / np.where(norms > 0, norms, 1.0)).mean(axis=0)
        return mean

    return float(np.linalg.norm(centroid(first) - centroid(second)))

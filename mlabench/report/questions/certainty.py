"""Part of Q3: is entropy a good guide? Fusion weights against correctness, and fusion by them against the average."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from mlabench.evaluation import softmax
from mlabench.report import wording
from mlabench.report.answer import Chart, Finding, Panel, Series
from mlabench.report.evidence import Evidence, Weights
from mlabench.report.questions import common
from mlabench.report.results import MULTIMODAL, Results
from mlabench.report.statistics import Comparison, Outcomes, contrast, summarise
from mlabench.report.table import Cell, Column, Row, Table

#: Equal-width bins of the reliability diagram, and the fewest predictions for which a bin is drawn.
BINS, FEWEST = 10, 20

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


# -- fixed against dynamic fusion on the same trained models ------------------------------------


def average_and_dynamic(unimodal: Floats, present: Bools) -> tuple[Floats, Floats]:
    """Fused logits by a plain average and by entropy, as :mod:`mlabench.fusion` computes them, in float64.

    Args:
        unimodal: Logits; anything at absent modalities. ``[N, M, C]``
        present: ``[N, M]``

    Returns:
        Both fused logits. ``[N, C]``
    """
    logits = np.where(present[:, :, None], unimodal, 0.0).astype(np.float64)
    probability = softmax(logits.reshape(-1, logits.shape[2])).reshape(logits.shape)
    entropy = -np.where(probability > 0, probability * np.log(np.maximum(probability, 1e-300)), 0.0).sum(axis=2)
    certain = softmax(np.where(present, -entropy, -np.inf))
    average = present / present.sum(axis=1, keepdims=True)
    return (average[:, :, None] * logits).sum(axis=1), (certain[:, :, None] * logits).sum(axis=1)

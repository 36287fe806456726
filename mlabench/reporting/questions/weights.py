"""Part of Q3: is entropy a good guide? Fusion weights against correctness, and fusion by them against the average."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlabench.reporting.charts import Chart, Panel, Series
from mlabench.reporting.evidence import Evidence, Run
from mlabench.reporting.questions import common
from mlabench.reporting.questions.inquiry import Inquiry
from mlabench.reporting.results import MULTIMODAL
from mlabench.reporting.table import Cell, Column, Row, Table, measure, unranked
from mlabench.statistics import Outcomes, compare, summarise
from mlabench.training import softmax

#: Equal-width bins of the reliability diagram, and the fewest predictions for which a bin is drawn.
BINS, FEWEST = 10, 20

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]


def tables(inquiry: Inquiry, design: Sequence[str], settings: Sequence[str]) -> tuple[Table, ...]:
    """Averaging against dynamic fusion, and how well weights tell right from wrong; none where they were not kept."""
    return (*_fusion_table(inquiry, design, settings), *_weights_table(inquiry, design[0]))


def charts(inquiry: Inquiry, label: str) -> tuple[Chart, ...]:
    """The reliability diagram at the lowest and at the highest setting."""
    guides = measure_weights(inquiry.evidence, label, inquiry.results.settings)
    shown = dict.fromkeys([*list(guides)[:1], *list(guides)[-1:]])
    if not shown:
        return ()
    chart = Chart(
        name="reliability",
        title=f"Is entropy a good guide? Accuracy against fusion weight, {label}",
        caption="How often a modality's own prediction is right, by the weight it gets: means of ten equal bins of the "
        "samples that have two modalities or more, all trainings together, without bins of fewer than "
        f"{FEWEST} predictions. A rising line: the weight is a good guide. Diagonal: it is the share of right ones.",
        kind="line",
        x="Fusion weight (%)",
        y="Right predictions (%)",
        panels=tuple(Panel(f"{setting} missing", _reliability(guides[setting]), diagonal=True) for setting in shown),
    )
    return (chart,)


# -- the average against dynamic fusion, on the same trained models -----------------------------


def average_and_dynamic(unimodal: Floats, present: Bools) -> tuple[Floats, Floats]:
    """Fused logits ``[N, C]`` by a plain average and by entropy, as :mod:`mlabench.fusion` defines them, in float64.

    Of unimodal logits ``[N, M, C]``, whatever they hold where a modality is absent, ``[N, M]``.
    """
    logits = np.where(present[:, :, None], unimodal, 0.0).astype(np.float64)
    probability = softmax(logits.reshape(-1, logits.shape[2])).reshape(logits.shape)
    # A probability of 0 adds nothing to the entropy.
    entropy = -(probability * np.log(np.where(probability > 0, probability, 1.0))).sum(axis=2)
    average = present / present.sum(axis=1, keepdims=True)
    dynamic = softmax(np.where(present, -entropy, -np.inf))
    return (average[:, :, None] * logits).sum(axis=1), (dynamic[:, :, None] * logits).sum(axis=1)


def fusions(evidence: Evidence, label: str, setting: str) -> tuple[Outcomes, Outcomes] | None:
    """Outcomes of the average and of dynamic fusion of the same predictions; None unless all were kept."""
    weights = evidence.weights(label, setting) or {}
    fused = evidence.predictions(label, setting, MULTIMODAL)
    own = [evidence.predictions(label, setting, modality) for modality in evidence.results.plan.modalities]
    correct: list[dict[Run, Bools]] = [{}, {}]
    for run, one in weights.items():
        if run not in fused:
            continue
        unimodal = np.zeros((*one.present.shape, fused[run].logits.shape[1]))
        for column, by_run in enumerate(own):
            if run in by_run:
                unimodal[one.present[:, column], column] = by_run[run].logits
        for found, logits in zip(correct, average_and_dynamic(unimodal, one.present), strict=True):
            found[run] = logits.argmax(axis=1) == fused[run].labels
    average, dynamic = (evidence.pooled(found, label, setting) for found in correct)
    return None if average is None or dynamic is None else (average, dynamic)


def _fusion_table(inquiry: Inquiry, design: Sequence[str], settings: Sequence[str]) -> Iterator[Table]:
    rows = []
    for setting in settings:
        for label in design:
            if pair := fusions(inquiry.evidence, label, setting):
                means = [Cell(summary=summarise(100.0 * one.correct.mean(axis=1))) for one in pair]
                difference = common.difference_cell(compare(pair[1], pair[0]))
                rows.append(Row((setting, label), (*means, difference), group=setting))
    if rows:
        yield Table(
            name="fusion",
            title="Averaging against dynamic fusion on the same trained models",
            note="Fused accuracy in percent, computed from the stored unimodal predictions of each variant, and the "
            "difference in points with its 95 % interval: dynamic fusion alone, apart from the epoch that it selects.",
            conditions=inquiry.conditions(*settings),
            heads=("Missing", "Trained as"),
            columns=(*unranked("Average", "Dynamic"), Column("Dynamic − average")),
            rows=tuple(rows),
            detail=True,
        )


# -- weights against correctness ----------------------------------------------------------------


@dataclass(frozen=True)
class Guide:
    """How well the weights of one training tell right from wrong, where at least two modalities are present.

    ``weight`` and ``correct`` hold each prediction, by modality. ``concordance``: of all pairs of a right and a wrong
    prediction on one sample, the share in which the right one has the larger weight (ties count half), NaN without
    such a pair. ``by_modality``: the same if each modality always had its mean weight.
    """

    weight: Mapping[str, Floats]
    correct: Mapping[str, Bools]
    concordance: float
    by_modality: float


def guide(modalities: Sequence[str], present: Bools, weight: Floats, correct: Bools) -> Guide:
    """Of one training; each array ``[N, M]``, ``correct`` for each modality's own prediction."""
    # A modality on its own has all the weight, whatever it says.
    shown = present & (present.sum(axis=1, keepdims=True) > 1)
    right, wrong = shown & correct, shown & ~correct
    pairs = right[:, :, None] & wrong[:, None, :]
    columns = [shown[:, column] for column in range(len(modalities))]
    means = np.array([weight[here, place].mean() if here.any() else 0.0 for place, here in enumerate(columns)])
    return Guide(
        weight={name: weight[columns[place], place].astype(np.float64) for place, name in enumerate(modalities)},
        correct={name: correct[columns[place], place] for place, name in enumerate(modalities)},
        concordance=_concordance(weight, pairs),
        by_modality=_concordance(np.broadcast_to(means, weight.shape), pairs),
    )


def _concordance(weight: Floats, pairs: Bools) -> float:
    """Share of the pairs ``[N, M, M]`` of a sample's modalities whose first has the larger weight ``[N, M]``."""
    margin = np.sign(weight[:, :, None] - weight[:, None, :])[pairs]
    return float((margin + 1).mean() / 2) if margin.size else float("nan")


def auroc(score: Floats, correct: Bools) -> float:
    """Probability that a right prediction has a larger score than a wrong one; NaN if all are right, or none is."""
    right = int(correct.sum())
    wrong = correct.size - right
    if not right or not wrong:
        return float("nan")
    # Mann and Whitney's U, ties counting half.
    ranks = pd.Series(score).rank().to_numpy()
    return float((ranks[correct].sum() - right * (right + 1) / 2) / (right * wrong))


#: Guides by setting and training.
Guides = dict[str, dict[Run, Guide]]


def measure_weights(evidence: Evidence, label: str, settings: Iterable[str]) -> Guides:
    """The guides of one method at the settings for which its weights were kept."""
    modalities = evidence.results.plan.modalities
    found: Guides = {}
    for setting in settings:
        weights = evidence.weights(label, setting) or {}
        guides = {run: guide(modalities, one.present, one.weight, one.correct) for run, one in weights.items()}
        kept = {run: one for run, one in guides.items() if any(values.size for values in one.weight.values())}
        if kept:
            found[setting] = kept
    return found


def _weights_table(inquiry: Inquiry, label: str) -> Iterator[Table]:
    """Weights, what they say about correctness, and calibration."""
    results = inquiry.results
    guides = measure_weights(inquiry.evidence, label, results.settings)
    rows = []
    for setting, by_run in guides.items():
        for modality in results.plan.modalities:
            pairs = [(one.weight[modality], one.correct[modality]) for one in by_run.values()]
            pairs = [pair for pair in pairs if pair[0].size]
            cells = (
                _over_trainings(100.0 * weight.mean() for weight, _ in pairs),
                _over_trainings(100.0 * correct.mean() for _, correct in pairs),
                _over_trainings((auroc(*pair) for pair in pairs), "z.2f"),
                *[Cell(text="—")] * 2,
                measure(results.at(label, setting, modality), "ece"),
            )
            rows.append(Row((setting, modality), cells, group=setting))
        fused = (
            *[Cell(text="—")] * 3,
            _over_trainings(100.0 * one.concordance for one in by_run.values()),
            _over_trainings(100.0 * one.by_modality for one in by_run.values()),
            measure(results.at(label, setting, MULTIMODAL), "ece"),
        )
        rows.append(Row((setting, "fused"), fused, group=setting))
    if rows:
        yield Table(
            name="weights",
            title=f"Is entropy a good guide? Fusion weights of {label} against correctness",
            note="Over the samples that have two modalities or more: mean fusion weight of a modality and accuracy of "
            "its own prediction in percent; how well its weight tells its right predictions from its wrong ones (area "
            "under the ROC curve: 0.50 is chance). Right over wrong: in how many percent of the pairs of a right and a "
            "wrong prediction on one sample the right one has the larger weight; by modality: if each modality had its "
            "mean weight. ECE: expected calibration error in percent, 15 bins, over all samples with the modality.",
            conditions=inquiry.conditions(*guides),
            heads=("Missing", "Prediction"),
            columns=unranked("Weight", "Accuracy", "AUROC", "Right over wrong", "By modality", "ECE"),
            rows=tuple(rows),
        )


def _over_trainings(values: Iterable[float], form: str = "z.1f") -> Cell:
    return Cell(summary=summarise(values), form=form)


def _reliability(by_run: Mapping[Run, Guide]) -> tuple[Series, ...]:
    series = []
    for modality in next(iter(by_run.values())).weight:
        weight = np.concatenate([one.weight[modality] for one in by_run.values()])
        correct = np.concatenate([one.correct[modality] for one in by_run.values()])
        bins = np.minimum((weight * BINS).astype(int), BINS - 1)
        counts = np.bincount(bins, minlength=BINS)
        kept = [place for place in range(BINS) if counts[place] >= FEWEST]
        series.append(
            Series(
                modality,
                [float(100.0 * weight[bins == place].mean()) for place in kept],
                [float(100.0 * correct[bins == place].mean()) for place in kept],
                text=[f"{counts[place]:,} predictions" for place in kept],
            )
        )
    return tuple(series)

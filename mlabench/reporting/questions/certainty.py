"""Part of Q3: is entropy a good guide? Fusion weights against correctness, and fusion by them against the average."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlabench.reporting import wording
from mlabench.reporting.charts import Chart, Panel, Series
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.former import Finding
from mlabench.reporting.questions import common
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import Cell, Column, Row, Table, measure, unranked
from mlabench.statistics import Comparison, Outcomes, contrast, summarise
from mlabench.training import softmax
from mlabench.words import counted

#: Equal-width bins of the reliability diagram, and the fewest predictions for which a bin is drawn.
BINS, FEWEST = 10, 20

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]


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


@dataclass(frozen=True)
class Fusions:
    """Outcomes of both ways of fusing the same unimodal predictions, average and dynamic, by setting and label."""

    outcomes: Mapping[tuple[str, str], tuple[Outcomes, Outcomes]]

    @classmethod
    def of(cls, evidence: Evidence, labels: Sequence[str], settings: Sequence[str]) -> Fusions:
        """From the predictions that are stored."""
        found = {
            (setting, label): pair
            for setting in settings
            for label in labels
            if (pair := _fuse(evidence, label, setting)) is not None
        }
        return cls(found)

    @property
    def pooled(self) -> Comparison | None:
        """Dynamic fusion minus the average, over all settings and labels and the seeds that all have."""
        pairs = list(self.outcomes.values())
        if not pairs or not set.intersection(*(set(average.seeds) for average, _ in pairs)):
            return None
        share = 1.0 / len(pairs)
        return contrast([one for pair in pairs for one in pair], [-share, share] * len(pairs))

    def findings(self) -> Iterator[Finding]:
        """What choosing the fusion after training does."""
        pooled = self.pooled
        if pooled is not None:
            yield Finding(
                f"On the same trained models ({counted(len(self.outcomes), 'combination')} of variant and missing "
                "rate), weighing unimodal predictions by entropy instead of averaging them changes the fused accuracy "
                f"by {wording.points(pooled.difference)} ({common.basis(pooled)}): DF alone, apart from the epoch that "
                "it selects.",
                common.verdict(pooled.difference),
                pooled.difference,
            )

    def tables(self, results: Results) -> Iterator[Table]:
        """Both accuracies and their difference."""
        if not self.outcomes:
            return
        rows = [
            Row(
                (setting, label),
                (
                    Cell(summary=summarise(100.0 * average.correct.mean(axis=1))),
                    Cell(summary=summarise(100.0 * dynamic.correct.mean(axis=1))),
                    common.difference_cell(contrast((dynamic, average), (1.0, -1.0))),
                ),
                group=setting,
            )
            for (setting, label), (average, dynamic) in self.outcomes.items()
        ]
        yield Table(
            name="fusion",
            title="Averaging against dynamic fusion on the same trained models",
            note="Fused accuracy in percent, computed from the stored unimodal predictions of each variant, and the "
            "difference in points with its 95 % interval. A variant's epoch was selected under its own way of fusing.",
            conditions=wording.conditions(results.plan, _rows(results, self.outcomes)),
            heads=("Missing", "Trained as"),
            columns=(*unranked("Average", "Dynamic"), Column("Dynamic − average")),
            rows=tuple(rows),
        )


def _fuse(evidence: Evidence, label: str, setting: str) -> tuple[Outcomes, Outcomes] | None:
    """Outcomes of the average and of dynamic fusion, of the seeds whose predictions are stored with their weights."""
    stored = evidence.outcomes(label, setting, MULTIMODAL)
    weights = evidence.weights(label, setting)
    if stored is None or weights is None:
        return None
    fused = evidence.predictions(label, setting, MULTIMODAL)
    own = [evidence.predictions(label, setting, modality) for modality in evidence.results.plan.modalities]
    correct = []
    for seed, one in weights.items():
        logits, labels = fused[seed].logits, fused[seed].labels
        unimodal = np.zeros((*one.present.shape, logits.shape[1]))
        for column, by_seed in enumerate(own):
            if seed in by_seed:
                unimodal[one.present[:, column], column] = by_seed[seed].logits
        correct.append([both.argmax(axis=1) == labels for both in average_and_dynamic(unimodal, one.present)])
    average, dynamic = (np.stack(rows) for rows in zip(*correct, strict=True))
    seeds = tuple(weights)
    return Outcomes(average, stored.groups, seeds), Outcomes(dynamic, stored.groups, seeds)


def _rows(results: Results, places: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """The rows of these settings and labels, for a table's conditions."""
    settings, labels = zip(*places, strict=True)
    scores = results.scores
    return scores[scores["setting"].isin(settings) & scores["label"].isin(labels)]


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
    means = np.array(
        [
            weight[shown[:, column], column].mean() if shown[:, column].any() else 0.0
            for column in range(len(modalities))
        ]
    )
    return Guide(
        weight={name: weight[shown[:, column], column].astype(np.float64) for column, name in enumerate(modalities)},
        correct={name: correct[shown[:, column], column] for column, name in enumerate(modalities)},
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


def correlation(score: Floats, correct: Bools) -> float:
    """Pearson's correlation with being right; NaN if either never varies."""
    if np.ptp(score) == 0 or correct.all() or not correct.any():
        return float("nan")
    return float(np.corrcoef(score, correct)[0, 1])


#: Guides by setting and seed.
Guides = dict[str, dict[int, Guide]]


def measure_weights(evidence: Evidence, label: str, settings: Sequence[str]) -> Guides:
    """The guides of one method at the settings for which its weights were recorded."""
    modalities = evidence.results.plan.modalities
    found: Guides = {}
    for setting in settings:
        weights = evidence.weights(label, setting)
        guides = {
            seed: guide(modalities, one.present, one.weight, one.correct) for seed, one in (weights or {}).items()
        }
        kept = {seed: one for seed, one in guides.items() if any(values.size for values in one.weight.values())}
        if kept:
            found[setting] = kept
    return found


def findings(guides: Guides, label: str) -> Iterator[Finding]:
    """Whether the modality that is right has the larger weight."""
    if not guides:
        yield Finding(f"The fusion weights of {label} were not recorded.", "not decided")
        return
    own = _mean_over_settings(guides, lambda one: one.concordance)
    by_modality = _mean_over_settings(guides, lambda one: one.by_modality)
    test = common.over_seeds(own, dict.fromkeys(own, 50.0))
    constant = summarise(by_modality.values()).mean
    if test is not None and constant is not None:
        yield Finding(
            "Where one modality of a sample is right and another wrong, the right one has the larger weight in "
            f"{wording.number(50.0 + test.difference.estimate)} % of the pairs, {wording.points(test.difference)} from "
            f"chance (averaged over missing rates ({', '.join(guides)}), {common.basis(test)}); it would be "
            f"{wording.number(constant)} % if each modality always had its mean weight.",
            common.verdict(test.difference),
            test.difference,
        )


def _mean_over_settings(guides: Guides, share: Callable[[Guide], float]) -> dict[int, float]:
    """A share in percent, per seed that has it at every setting."""
    seeds = set.intersection(*(set(by_seed) for by_seed in guides.values()))
    means = {seed: 100.0 * float(np.mean([share(by_seed[seed]) for by_seed in guides.values()])) for seed in seeds}
    return {seed: mean for seed, mean in sorted(means.items()) if not np.isnan(mean)}


def tables(evidence: Evidence, guides: Guides, label: str) -> Iterator[Table]:
    """Weights, what they say about correctness, and calibration."""
    results = evidence.results
    rows = []
    for setting, by_seed in guides.items():
        for modality in results.plan.modalities:
            weights = [(one.weight[modality], one.correct[modality]) for one in by_seed.values()]
            weights = [pair for pair in weights if pair[0].size]
            cells = (
                _over_seeds(100.0 * weight.mean() for weight, _ in weights),
                _over_seeds(100.0 * correct.mean() for _, correct in weights),
                _over_seeds((auroc(*pair) for pair in weights), "z.2f"),
                _over_seeds((correlation(*pair) for pair in weights), "z.2f"),
                Cell(text="—"),
                measure(results.at(label, setting, modality), "ece"),
            )
            rows.append(Row((setting, modality), cells, group=setting))
        fused = (
            *[Cell(text="—")] * 4,
            _over_seeds(100.0 * one.concordance for one in by_seed.values()),
            measure(results.at(label, setting, MULTIMODAL), "ece"),
        )
        rows.append(Row((setting, "fused"), fused, group=setting))
    if rows:
        yield Table(
            name="weights",
            title=f"Is entropy a good guide? Fusion weights of {label} against correctness",
            note="Over the samples that have two modalities or more: mean fusion weight of a modality and accuracy of "
            "its own prediction in percent; how well its weight tells its right predictions from its wrong ones (area "
            "under the ROC curve: 0.50 is chance; correlation). Right over wrong: in how many percent of the pairs of "
            "a right and a wrong prediction on one sample the right one has the larger weight. ECE: expected "
            "calibration error in percent, 15 bins, over all samples that have the modality.",
            conditions=wording.conditions(results.plan, _rows(results, [(setting, label) for setting in guides])),
            heads=("Missing", "Prediction"),
            columns=unranked("Weight", "Accuracy", "AUROC", "Correlation", "Right over wrong", "ECE"),
            rows=tuple(rows),
        )


def charts(guides: Guides, label: str) -> Iterator[Chart]:
    """The reliability diagram at the lowest and at the highest setting."""
    settings = list(guides)
    shown = dict.fromkeys(settings[:1] + settings[-1:])
    if not shown:
        return
    yield Chart(
        name="reliability",
        title=f"Is entropy a good guide? Accuracy against fusion weight, {label}",
        caption="For each modality, its predictions in bins of their fusion weight: how many of them are right. "
        f"Samples with two modalities or more, all seeds together; bins of fewer than {FEWEST} predictions are left "
        "out. A rising line: the weight is a good guide. Diagonal: the weight equals the share of right predictions.",
        kind="line",
        x="Fusion weight (%)",
        y="Right predictions (%)",
        panels=tuple(Panel(f"{setting} missing", _reliability(guides[setting]), diagonal=True) for setting in shown),
    )


def _over_seeds(values: Iterable[float], form: str = "z.1f") -> Cell:
    return Cell(summary=summarise(values), form=form)


def _reliability(by_seed: Mapping[int, Guide]) -> tuple[Series, ...]:
    series = []
    for modality in next(iter(by_seed.values())).weight:
        weight = np.concatenate([one.weight[modality] for one in by_seed.values()])
        correct = np.concatenate([one.correct[modality] for one in by_seed.values()])
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

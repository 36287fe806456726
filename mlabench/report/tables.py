"""The tables that answer Q1 to Q3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from mlabench.report import wording
from mlabench.report.results import MULTIMODAL, Results
from mlabench.report.statistics import summarise
from mlabench.report.table import Cell, Column, Row, Table, measure

_BEST = "Best in bold among the cells without a failed or missing run; what rounds to the same is the same."


def build_tables(results: Results) -> list[Table]:
    """All tables that the plan's results can fill, most important first."""
    if not results.settings:
        return []
    tables = []
    if results.plan.questions != ("Q3",):
        tables.append(main_table(results))
    if "Q3" in results.plan.questions:
        tables.append(ablation_table(results))
    if len(results.settings) > 1:
        tables += [rates_table(results, target) for target in (MULTIMODAL, *results.plan.modalities)]
    tables += [*_matrix_tables(results), *_subset_tables(results)]
    return [table.with_best() for table in tables]


def main_table(results: Results) -> Table:
    """Q1: what each modality and their fusion reach with the fewest modalities missing."""
    setting = results.settings[0]
    scores = results.scores[results.scores["setting"] == setting]
    rows = []
    for label in results.labels:
        fused = results.at(label, setting, MULTIMODAL)
        accuracies = [measure(results.at(label, setting, target)) for target in results.targets]
        rows.append(Row((label,), (*accuracies, measure(fused, "macro_f1"), measure(fused, "oracle_gap"))))
    condition = "complete modalities" if setting == "0 %" else f"{setting} missing"
    return Table(
        name="main",
        title=f"Unimodal and multimodal accuracy, {condition}",
        caption=wording.caption(
            results.plan,
            scores,
            f"Accuracy and macro-F1 (of the fused prediction) in percent, {condition}.",
            "Oracle gap: what choosing the epoch on the test split would have added to the multimodal accuracy, "
            "in points.",
            _BEST,
        ),
        heads=("Method",),
        columns=(*_target_columns(results), Column("Macro-F1"), Column("Oracle gap", ranked=False)),
        rows=tuple(rows),
    )


def ablation_table(results: Results) -> Table:
    """Q3: the variants of a method at every missing rate."""
    rows = [
        Row(
            (setting, label),
            tuple(measure(results.at(label, setting, target)) for target in results.targets),
            group=setting,
        )
        for setting in results.settings
        for label in results.labels
    ]
    return Table(
        name="ablation",
        title="Ablation: what each part contributes",
        caption=wording.caption(
            results.plan, _axis(results), f"Accuracy in percent. {_realised(results)}", f"Per missing rate: {_BEST}"
        ),
        heads=("Missing", "Variant"),
        columns=_target_columns(results),
        rows=tuple(rows),
    )


def rates_table(results: Results, target: str) -> Table:
    """Q2: the accuracy of one target at every missing rate, and its mean over the rates."""
    rows = []
    for label in results.labels:
        points = [results.at(label, setting, target) for setting in results.settings]
        rows.append(Row((label,), (*map(measure, points), _mean_over(points))))
    multimodal = target == MULTIMODAL
    return Table(
        name="rates" if multimodal else f"rates_{target}",
        title=f"{'Multimodal' if multimodal else f'Unimodal ({target})'} accuracy against the missing rate",
        caption=wording.caption(
            results.plan,
            _axis(results),
            f"{'Multimodal' if multimodal else f'Unimodal ({target})'} accuracy in percent per missing rate.",
            _realised(results),
            "Mean: over the rates, then over seeds.",
            _BEST,
        ),
        heads=("Method",),
        columns=(*map(Column, results.settings), Column("Mean")),
        rows=tuple(rows),
        detail=not multimodal,
    )


def _matrix_tables(results: Results) -> Iterator[Table]:
    """Training rate × test rate, if the suite asked for tests at other rates than the training rate."""
    rates = results.scores[~results.scores["test_setting"].isin(_subsets(results))]
    trains = [setting for setting in results.settings if (rates["train_setting"] == setting).any()]
    if len(trains) < 2 or (rates["setting"] != "").all():
        return
    tests = list(dict.fromkeys([*results.settings, *rates["test_setting"]]))
    rows = [
        Row(
            (label, train),
            tuple(measure(results.under(label, train, test, MULTIMODAL)) for test in tests),
            group=label,
        )
        for label in results.labels
        for train in trains
    ]
    yield Table(
        name="matrix",
        title="Multimodal accuracy: training rate (rows) × test rate (columns)",
        caption=wording.caption(
            results.plan,
            rates,
            "Multimodal accuracy in percent of models trained at one missing rate and tested at another.",
            f"Per method, the best training rate for each test rate: {_BEST}",
        ),
        heads=("Method", "Trained at"),
        columns=tuple(map(Column, tests)),
        rows=tuple(rows),
    )


def _subset_tables(results: Results) -> Iterator[Table]:
    """Accuracy with whole modalities removed at test time, one table per training setting."""
    subsets = _subsets(results)
    removed = results.scores[results.scores["test_setting"].isin(subsets)]
    for train in removed["train_setting"].unique():
        scores = removed[removed["train_setting"] == train]
        rows = [
            Row((label,), tuple(measure(results.under(label, train, test, MULTIMODAL)) for test in subsets))
            for label in results.labels
        ]
        yield Table(
            name="subsets" if train == "0 %" else f"subsets_{train.removesuffix(' %')}",
            title=f"Multimodal accuracy when only some modalities are there, trained at {train} missing",
            caption=wording.caption(
                results.plan,
                scores,
                "Multimodal accuracy in percent with exactly the named modalities present in every test sample.",
                _BEST,
            ),
            heads=("Method",),
            columns=tuple(map(Column, subsets)),
            rows=tuple(rows),
        )


def _target_columns(results: Results) -> tuple[Column, ...]:
    return (*map(Column, results.plan.modalities), Column("Multimodal"))


def _subsets(results: Results) -> list[str]:
    """Names of the whole-modality subsets beside the axis, small ones first."""
    scores = results.scores
    removed = scores[(scores["setting"] == "") & scores["test"].str.startswith("subset-")]
    return sorted(removed["test_setting"].unique(), key=lambda name: name.count("+"))


def _axis(results: Results) -> pd.DataFrame:
    return results.scores[results.scores["setting"] != ""]


def _mean_over(points: Sequence[pd.DataFrame]) -> Cell:
    """The mean over rates of each seed, then over seeds; a seed that lacks a rate counts as failed or missing."""
    if any(point.empty for point in points):  # not asked for at every rate: no mean to compare with others
        return Cell()
    runs = pd.concat(points).groupby("seed")
    failed = runs["status"].agg(lambda status: (status == "failed").any())
    missing = runs["status"].agg(lambda status: (status == "missing").any()) & ~failed
    means = runs["accuracy"].agg(lambda accuracy: accuracy.mean(skipna=False))
    return Cell(
        summary=summarise(100.0 * means[~failed & ~missing]),
        planned=len(means),
        failed=int(failed.sum()),
        missing=int(missing.sum()),
    )


def _realised(results: Results) -> str:
    """The realised missing rates of the test patterns, where there are several settings or one that misses something."""
    realised = _axis(results).groupby("setting", sort=False)["realised_rate"].mean()
    shown = [
        f"{100 * realised[setting]:.1f} % at {setting}"
        for setting in results.settings
        if not np.isnan(realised[setting])
    ]
    return f"Realised missing rate of the test split: {', '.join(shown)}." if shown else ""

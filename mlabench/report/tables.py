"""The tables that answer Q1 to Q3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from mlabench.report import wording
from mlabench.report.results import MULTIMODAL, Results
from mlabench.report.statistics import summarise
from mlabench.report.table import Cell, Column, Row, Table, measure

_BEST = "Bold: the best of a column (after rounding) among the cells that lack no run."
_BEST_OF_GROUP = "Bold: the best of a column within its group (after rounding) among the cells that lack no run."

#: Longer tables are left to the files and the page.
_TERMINAL_ROWS = 24


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
    tables += [*_matrix_table(results), *_subset_table(results)]
    return [table.with_best() for table in tables]


def main_table(results: Results) -> Table:
    """Q1: what each modality and their fusion reach with the fewest modalities missing."""
    setting = results.settings[0]
    rows = []
    for label in results.labels:
        fused = results.at(label, setting, MULTIMODAL)
        accuracies = [measure(results.at(label, setting, target)) for target in results.targets]
        rows.append(Row((label,), (*accuracies, measure(fused, "macro_f1"), measure(fused, "oracle_gap"))))
    condition = "complete modalities" if setting == "0 %" else f"{setting} missing"
    return Table(
        name="main",
        title=f"Unimodal and multimodal accuracy, {condition}",
        note="Accuracy, and macro-F1 of the fused prediction, in percent. Oracle gap: what choosing the epoch on the "
        f"test split would have added to the multimodal accuracy, in points. {_BEST}",
        conditions=wording.conditions(results.plan, results.scores[results.scores["setting"] == setting]),
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
        note=f"Accuracy in percent. {_realised(results)}{_BEST_OF_GROUP}",
        conditions=wording.conditions(results.plan, _axis(results)),
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
    kind = "Multimodal accuracy" if multimodal else f"Unimodal accuracy ({target})"
    return Table(
        name="rates" if multimodal else f"rates_{target}",
        title=f"{kind} against the missing rate",
        note=f"{kind} in percent. {_realised(results)}Mean: over the rates, then over seeds. {_BEST}",
        conditions=wording.conditions(results.plan, _axis(results)),
        heads=("Method",),
        columns=(*map(Column, results.settings), Column("Mean")),
        rows=tuple(rows),
        detail=not multimodal,
    )


def _matrix_table(results: Results) -> Iterator[Table]:
    """Training rate × test rate, if the suite asked for tests at other rates than the training rate."""
    rates = results.scores[~results.scores["test_setting"].isin(_subsets(results))]
    trains = [setting for setting in results.settings if (rates["train_setting"] == setting).any()]
    # A test on complete samples alone belongs to the subsets.
    if len(trains) < 2 or ((rates["setting"] != "") | (rates["test"] == "complete")).all():
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
        note="Multimodal accuracy in percent of models trained at one missing rate and tested at another. "
        f"{_BEST_OF_GROUP}",
        conditions=wording.conditions(results.plan, rates),
        heads=("Method", "Trained at"),
        columns=tuple(map(Column, tests)),
        rows=tuple(rows),
        detail=len(rows) > _TERMINAL_ROWS,
    )


def _subset_table(results: Results) -> Iterator[Table]:
    """Accuracy with whole modalities removed at test time."""
    subsets = _subsets(results)
    removed = results.scores[results.scores["test_setting"].isin(subsets)]
    if removed.empty:
        return
    tests = [*subsets, "0 %"]
    rows = [
        Row(
            (train, label),
            tuple(measure(results.under(label, train, test, MULTIMODAL)) for test in tests),
            group=train,
        )
        for train in removed["train_setting"].unique()
        for label in results.labels
    ]
    yield Table(
        name="subsets",
        title="Multimodal accuracy when only some modalities are there",
        note="Multimodal accuracy in percent with exactly the named modalities present in every test sample. "
        f"{_BEST_OF_GROUP}",
        conditions=wording.conditions(results.plan, removed),
        heads=("Trained at", "Method"),
        columns=(*map(Column, subsets), Column("all")),
        rows=tuple(rows),
        detail=len(rows) > _TERMINAL_ROWS,
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
    failed = runs["status"].agg(lambda status: bool((status == "failed").any()))
    missing = runs["status"].agg(lambda status: bool((status == "missing").any())) & ~failed
    means = runs["accuracy"].agg(lambda accuracy: accuracy.mean(skipna=False))
    return Cell(
        summary=summarise(100.0 * means[~failed & ~missing]),
        planned=len(means),
        failed=int(failed.sum()),
        missing=int(missing.sum()),
    )


def _realised(results: Results) -> str:
    """Where modalities are missing, and the missing rates that the test patterns have in fact."""
    axis = _axis(results)
    where = wording.where_missing(axis)
    missing = f"Modalities are missing in {where}. " if where else ""
    means = axis.groupby("setting")["realised_rate"].mean().dropna()
    realised = {str(setting): 100.0 * rate for setting, rate in means.items()}
    shown = [f"{realised[setting]:.1f} % at {setting}" for setting in results.settings if setting in realised]
    return f"{missing}Realised missing rate of the test split: {', '.join(shown)}. " if shown else missing

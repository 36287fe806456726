"""The tables of a suite."""

from __future__ import annotations

from collections.abc import Iterator

from mlabench.reporting import wording
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.questions import common
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import TERMINAL_ROWS, Cell, Column, Row, Table, measure, unranked
from mlabench.reporting.tables.cost import cost_table
from mlabench.reporting.tables.variants import variant_tables
from mlabench.reporting.tables.verification import verification_tables


def build_tables(evidence: Evidence) -> list[Table]:
    """All tables that the plan's results can fill, most important first."""
    results = evidence.results
    if not results.settings:
        return []
    tables = main_tables(evidence)
    if len(results.settings) > 1:
        tables += [rates_table(evidence, modality).with_best() for modality in results.plan.modalities]
    more = [*_matrix_table(evidence), *_subset_table(evidence), *verification_tables(evidence), *cost_table(results)]
    return [*tables, *(table.with_best() for table in more), *variant_tables(evidence)]


def main_tables(evidence: Evidence) -> list[Table]:
    """What the methods reach with the fewest modalities missing, and at every missing rate."""
    results = evidence.results
    if not results.settings:
        return []
    tables = []
    if results.plan.questions != ("Q3",):
        tables.append(main_table(evidence))
    if "Q3" in results.plan.questions:
        tables.append(ablation_table(evidence))
    if len(results.settings) > 1:
        tables.append(rates_table(evidence, MULTIMODAL))
    return [table.with_best() for table in tables]


def main_table(evidence: Evidence) -> Table:
    """Q1: what each modality and their fusion reach with the fewest modalities missing."""
    results = evidence.results
    setting = results.settings[0]
    known = results.scores["bayes"].notna().any()
    rows = []
    for label in results.labels:
        fused = results.at(label, setting, MULTIMODAL)
        accuracies = [_at(evidence, label, setting, target) for target in results.targets]
        share = [measure(fused.assign(share=fused["accuracy"] / fused["bayes"]), "share")] if known else []
        rows.append(Row((label,), (*accuracies, measure(fused, "macro_f1"), measure(fused, "oracle_gap"), *share)))
    condition = "complete modalities" if setting == "0 %" else f"{setting} missing"
    return Table(
        name="main",
        title=f"Unimodal and multimodal accuracy, {condition}",
        note="Accuracy, and macro-F1 of the fused prediction, in percent. Oracle gap: what choosing the epoch on the "
        "test split would have added to the multimodal accuracy, in points."
        + (" Of Bayes: the multimodal accuracy as a share of the best possible one." if known else ""),
        conditions=wording.conditions(results.plan, results.on_axis(setting)),
        heads=("Method",),
        columns=(
            *_target_columns(results),
            Column("Macro-F1"),
            *unranked("Oracle gap", *(["Of Bayes"] if known else [])),
        ),
        rows=tuple(rows),
    )


def ablation_table(evidence: Evidence) -> Table:
    """Q3: the variants of a method at every missing rate."""
    results = evidence.results
    rows = [
        Row(
            (setting, label),
            tuple(_at(evidence, label, setting, target) for target in results.targets),
            group=setting,
        )
        for setting in results.settings
        for label in results.labels
    ]
    return Table(
        name="ablation",
        title="Ablation: what each part contributes",
        note=f"Accuracy in percent. {_realised(results)}",
        conditions=wording.conditions(results.plan, results.on_axis()),
        heads=("Missing", "Variant"),
        columns=_target_columns(results),
        rows=tuple(rows),
    )


def rates_table(evidence: Evidence, target: str) -> Table:
    """Q2: the accuracy of one target at every missing rate, and its mean over the rates."""
    results = evidence.results
    multimodal = target == MULTIMODAL
    rows = []
    for label in results.labels:
        cells = [_at(evidence, label, setting, target) for setting in results.settings]
        rows.append(Row((label,), (*cells, common.mean_cell(evidence, label, target))))
    kind = "Multimodal accuracy" if multimodal else f"Unimodal accuracy ({target})"
    return Table(
        name="rates" if multimodal else f"rates_{target}",
        title=f"{kind} against the missing rate",
        note=f"{kind} in percent. {_realised(results)}Mean: over the rates, then over seeds.",
        conditions=wording.conditions(results.plan, results.on_axis()),
        heads=("Method",),
        columns=(*map(Column, results.settings), Column("Mean")),
        rows=tuple(rows),
        detail=not multimodal,
    )


def _matrix_table(evidence: Evidence) -> Iterator[Table]:
    """Training rate × test rate, if the suite asked for tests at other rates than the training rate."""
    results = evidence.results
    rates = results.scores[~results.scores["test_setting"].isin(_subsets(results))]
    trains = [setting for setting in results.settings if (rates["train_setting"] == setting).any()]
    # A test on complete samples alone belongs to the subsets.
    if len(trains) < 2 or ((rates["setting"] != "") | (rates["test"] == "complete")).all():
        return
    tests = list(dict.fromkeys([*results.settings, *rates["test_setting"]]))
    rows = [
        Row(
            (label, train),
            tuple(_under(evidence, label, train, test) for test in tests),
            group=label,
        )
        for label in results.labels
        for train in trains
    ]
    yield Table(
        name="matrix",
        title="Multimodal accuracy: training rate (rows) × test rate (columns)",
        note="Multimodal accuracy in percent of models trained at one missing rate and tested at another.",
        conditions=wording.conditions(results.plan, rates),
        heads=("Method", "Trained at"),
        columns=tuple(map(Column, tests)),
        rows=tuple(rows),
        detail=len(rows) > TERMINAL_ROWS,
    )


def _subset_table(evidence: Evidence) -> Iterator[Table]:
    """Accuracy with whole modalities removed at test time."""
    results = evidence.results
    subsets = _subsets(results)
    removed = results.scores[results.scores["test_setting"].isin(subsets)]
    if removed.empty:
        return
    tests = [*subsets, "0 %"]
    rows = [
        Row(
            (train, label),
            tuple(_under(evidence, label, train, test) for test in tests),
            group=train,
        )
        for train in removed["train_setting"].unique()
        for label in results.labels
    ]
    yield Table(
        name="subsets",
        title="Multimodal accuracy when only some modalities are there",
        note="Multimodal accuracy in percent with exactly the named modalities present in every test sample.",
        conditions=wording.conditions(results.plan, removed),
        heads=("Trained at", "Method"),
        columns=(*map(Column, subsets), Column("all")),
        rows=tuple(rows),
        detail=len(rows) > TERMINAL_ROWS,
    )


def _at(evidence: Evidence, label: str, setting: str, target: str) -> Cell:
    return measure(evidence.results.at(label, setting, target), outcomes=evidence.outcomes(label, setting, target))


def _under(evidence: Evidence, label: str, train: str, test: str) -> Cell:
    return measure(
        evidence.results.under(label, train, test, MULTIMODAL),
        outcomes=evidence.outcomes_under(label, train, test, MULTIMODAL),
    )


def _target_columns(results: Results) -> tuple[Column, ...]:
    return (*map(Column, results.plan.modalities), Column("Multimodal"))


def _subsets(results: Results) -> list[str]:
    """Names of the whole-modality subsets beside the axis, small ones first."""
    scores = results.scores
    removed = scores[(scores["setting"] == "") & scores["test"].str.startswith("subset-")]
    return sorted(removed["test_setting"].unique(), key=lambda name: name.count("+"))


def _realised(results: Results) -> str:
    """Where modalities are missing, and the missing rates that the test patterns have in fact."""
    axis = results.on_axis()
    where = wording.where_missing(axis)
    missing = f"Modalities are missing in {where}. " if where else ""
    means = axis.groupby("setting")["realised_rate"].mean().dropna()
    realised = {str(setting): 100.0 * rate for setting, rate in means.items()}
    shown = [f"{realised[setting]:.1f} % at {setting}" for setting in results.settings if setting in realised]
    return f"{missing}Realised missing rate of the test split: {', '.join(shown)}. " if shown else missing

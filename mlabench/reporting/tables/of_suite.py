"""The tables of a suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    tables += [table.with_best() for table in (*_matrix_table(evidence), *_subset_table(evidence))]
    return [*tables, *verification_tables(evidence), *cost_table(results), *variant_tables(evidence)]


def main_tables(evidence: Evidence) -> list[Table]:
    """What the methods reach with the fewest modalities missing, and at every missing rate."""
    results = evidence.results
    if not results.settings:
        return []
    tables = [main_table(evidence)] if results.plan.questions != ("Q3",) else []
    if "Q3" in results.plan.questions:
        tables.append(ablation_table(evidence))
    if len(results.settings) > 1:
        tables.append(rates_table(evidence, MULTIMODAL))
    return [table.with_best() for table in tables]


def main_table(evidence: Evidence) -> Table:
    """Q1: what each modality and their fusion reach with the fewest modalities missing."""
    results = evidence.results
    setting = results.settings[0]
    more = {"macro_f1": "Macro-F1", "ece": "ECE", "oracle_gap": "Oracle gap"}
    known = results.scores["bayes"].notna().any()
    rows = []
    for label in results.labels:
        fused = results.at(label, setting, MULTIMODAL)
        cells = [*_accuracies(evidence, label, setting), *(measure(fused, score) for score in more)]
        if known:
            cells.append(measure(fused.assign(share=fused["accuracy"] / fused["bayes"]), "share"))
        rows.append(Row((label,), tuple(cells)))
    condition = "complete modalities" if setting == "0 %" else f"{setting} missing"
    return Table(
        name="main",
        title=f"Unimodal and multimodal accuracy, {condition}",
        note="Accuracy, and of the fused prediction macro-F1 and expected calibration error (15 bins), in percent. "
        "Oracle gap: what choosing the epoch on the test split would have added to the multimodal accuracy, in points."
        + (" Of Bayes: the multimodal accuracy as a share of the best possible one." if known else ""),
        conditions=wording.conditions(results.plan, results.on_axis(setting)),
        heads=("Method",),
        columns=(
            *_target_columns(results),
            Column("Macro-F1"),
            *unranked("ECE", "Oracle gap", *(["Of Bayes"] if known else [])),
        ),
        rows=tuple(rows),
    )


def ablation_table(evidence: Evidence) -> Table:
    """Q3: the variants of a method at every missing rate."""
    results = evidence.results
    return Table(
        name="ablation",
        title="Ablation: what each part contributes",
        note=f"Accuracy in percent. {_realised(results)}",
        conditions=wording.conditions(results.plan, results.on_axis()),
        heads=("Missing", "Variant"),
        columns=_target_columns(results),
        rows=tuple(
            Row((setting, label), _accuracies(evidence, label, setting), group=setting)
            for setting in results.settings
            for label in results.labels
        ),
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
        note=f"{kind} in percent. {_realised(results)}Mean: over the rates.",
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
        Row((label, train), _under(evidence, label, train, tests), group=label)
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
    rows = [
        Row((train, label), _under(evidence, label, train, [*subsets, "0 %"]), group=train)
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


def _accuracies(evidence: Evidence, label: str, setting: str) -> tuple[Cell, ...]:
    return tuple(_at(evidence, label, setting, target) for target in evidence.results.targets)


def _under(evidence: Evidence, label: str, train: str, tests: Sequence[str]) -> tuple[Cell, ...]:
    """Fused accuracies of a method trained under one setting and tested under others."""
    places = [(label, train, test, MULTIMODAL) for test in tests]
    return tuple(measure(evidence.results.under(*at), outcomes=evidence.outcomes_under(*at)) for at in places)


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

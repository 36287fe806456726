"""The tables of a suite."""

from __future__ import annotations

from collections.abc import Iterator

from mlabench.reporting import wording
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.questions import common
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import Cell, Column, Row, Table, measure, unranked
from mlabench.reporting.tables.cost import cost_table
from mlabench.reporting.tables.last_epoch import last_epoch_table
from mlabench.reporting.tables.tuning import tuning_tables
from mlabench.reporting.tables.variants import variant_tables
from mlabench.reporting.tables.verification import verification_tables


def build_tables(evidence: Evidence) -> list[Table]:
    """All tables that the plan's results can fill, most important first."""
    results = evidence.results
    if not results.settings:
        return []
    tables = [main_table(evidence)]
    if len(results.settings) > 1:
        tables += [rates_table(evidence, target) for target in (MULTIMODAL, *results.plan.modalities)]
    tables += _crossed_table(evidence)
    more = (*verification_tables(evidence), *cost_table(results), *variant_tables(evidence), *tuning_tables(evidence))
    more = (*more, *last_epoch_table(results))
    return [*(table.with_best() for table in tables), *more]


def main_table(evidence: Evidence) -> Table:
    """Q1: what each modality and their fusion reach with the fewest modalities missing."""
    results = evidence.results
    setting = results.settings[0]
    more = {"macro_f1": "Macro-F1", "ece": "ECE", "oracle_gap": "Oracle gap"}
    known = results.scores["bayes"].notna().any()
    trained = results.plan.settings
    several = {*trained.values()} != {"suite"}
    rows = []
    for label in results.labels:
        fused = results.at(label, setting, MULTIMODAL)
        cells = [_at(evidence, label, setting, target) for target in results.targets]
        cells += [measure(fused, score) for score in more]
        if known:
            cells.append(measure(fused.assign(share=fused["accuracy"] / fused["bayes"]), "share"))
        if several:
            cells.append(Cell(text=trained[label]))
        rows.append(Row((label,), tuple(cells)))
    condition = "complete modalities" if setting == "0 %" else f"{setting} missing"
    return Table(
        name="main",
        title=f"Unimodal and multimodal accuracy, {condition}",
        note="Accuracy, and of the fused prediction macro-F1 and expected calibration error (15 bins), in percent. "
        "Oracle gap: what choosing the epoch on the test split would have added to the multimodal accuracy, in points."
        + (" Of Bayes: the multimodal accuracy as a share of the best possible one." if known else "")
        + (
            " Settings: whose training it is, the suite's or that of the method's authors, and what was changed."
            * several
        ),
        conditions=wording.conditions(results.plan, results.on_axis(setting)),
        heads=("Method",),
        columns=(
            *map(Column, (*results.plan.modalities, "Multimodal")),
            Column("Macro-F1"),
            *unranked("ECE", "Oracle gap", *(["Of Bayes"] if known else []), *(["Settings"] if several else [])),
        ),
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
        note=f"{kind} in percent. {_realised(results)}{common.mean_note(results)}",
        conditions=wording.conditions(results.plan, results.on_axis()),
        heads=("Method",),
        columns=(*map(Column, results.settings), Column("Mean")),
        rows=tuple(rows),
        detail=not multimodal,
    )


def _crossed_table(evidence: Evidence) -> Iterator[Table]:
    """Training × test setting, if the suite asked for tests at other settings than that of the training."""
    results = evidence.results
    scores = results.scores
    subsets = _subsets(results)
    beside = scores[(scores["setting"] == "") & (scores["test"] != "complete")]
    if beside.empty:
        return
    trains = list(dict.fromkeys(beside["train_setting"]))
    tests = list(dict.fromkeys([*results.settings, *beside["test_setting"], *subsets]))
    tests = [test for test in tests if test not in subsets] + subsets
    rows = [
        Row((label, train), tuple(_at(evidence, label, train, test, MULTIMODAL) for test in tests), group=train)
        for train in trains
        for label in results.labels
    ]
    yield Table(
        name="crossed",
        title="Multimodal accuracy, tested under other settings than in training",
        note="Multimodal accuracy in percent, by what is missing in training (rows) and at test (columns)."
        + (" Modalities as a column: exactly these are present in every test sample." if subsets else ""),
        conditions=wording.conditions(results.plan, scores),
        heads=("Method", "Trained at"),
        columns=tuple(map(Column, tests)),
        rows=tuple(rows),
        detail=True,
    )


def _at(evidence: Evidence, *place: str) -> Cell:
    return measure(evidence.results.at(*place), outcomes=evidence.outcomes(*place))


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

"""What selecting the epoch on the validation split was worth, against keeping the last one."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from mlabench.reporting import wording
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import Cell, Row, Table, measure, unranked
from mlabench.statistics import summarise


def last_epoch_table(results: Results) -> Iterator[Table]:
    """Fused accuracies of both epochs with the fewest modalities missing; none if no record holds them."""
    setting = results.settings[0]
    found = {label: _with_both(results.at(label, setting, MULTIMODAL)) for label in results.labels}
    known = {label: rows for label, rows in found.items() if rows["last_accuracy"].notna().any()}
    if not known:
        return
    yield Table(
        name="last_epoch",
        title="Best on validation and last epoch",
        note=f"Accuracy of the fused prediction in percent, {setting} missing, of the epoch that the validation split "
        "selects and of the last one of the same trainings; a training of which the last epoch was not evaluated "
        "counts as missing. Difference: last minus selected, in points.",
        conditions=wording.conditions(results.plan, results.on_axis(setting)),
        heads=("Method",),
        columns=unranked("Best on validation", "Last epoch", "Difference", "Selected epoch"),
        rows=tuple(Row((label,), _cells(rows)) for label, rows in known.items()),
        detail=True,
    )


def _with_both(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of trainings that select by validation; without numbers where the last epoch is not known."""
    rows = rows[rows["selection"] == "best_val"].copy()
    unknown = (rows["status"] == "ok") & rows["last_accuracy"].isna()
    rows.loc[unknown, "status"] = "missing"
    rows.loc[unknown, "accuracy"] = float("nan")
    rows["difference"] = rows["last_accuracy"] - rows["accuracy"]
    return rows


def _cells(rows: pd.DataFrame) -> tuple[Cell, ...]:
    best, last, difference = (measure(rows, score) for score in ("accuracy", "last_accuracy", "difference"))
    epoch = summarise(rows.loc[rows["last_accuracy"].notna(), "selected_epoch"].astype(float))
    return best, last, Cell(difference.summary, form="+z.1f"), Cell(epoch)

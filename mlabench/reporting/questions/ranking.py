"""How methods rank over tasks, such as missing rates, with a critical-difference diagram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlabench.reporting import wording
from mlabench.reporting.charts import Chart, Panel, Series
from mlabench.reporting.table import Cell, Row, Table, unranked
from mlabench.statistics import critical_difference

Floats = NDArray[np.floating[Any]]

_DEPENDENT = "Missing rates on one dataset are not independent, so this is a description rather than a test."


def ranking(
    labels: Sequence[str], scores: Floats, conditions: str, over: str = "missing rates"
) -> tuple[list[Table], list[Chart]]:
    """The mean ranks of two methods or more, as a table and as a critical-difference diagram.

    ``scores`` are mean accuracies ``[R tasks, M methods]``; the tasks are called ``over``.
    """
    if len(labels) < 2:
        return [], []
    ranks = critical_difference(scores)
    order = np.argsort(ranks.mean_ranks, kind="stable")
    rows = []
    for place in order:
        peers = sorted({peer for group in ranks.groups if place in group for peer in group} - {place})
        told = ", ".join(labels[peer] for peer in peers) or "none"
        rows.append(Row((labels[place],), (Cell(text=f"{ranks.mean_ranks[place]:.2f}"), Cell(text=told))))
    table = Table(
        name="ranks",
        title=f"Ranks of the methods over the {over}",
        note=f"Rank by mean fused accuracy over seeds, averaged over {ranks.tasks} {over}; 1 is best. "
        f"Friedman's test: {wording.p_value(ranks.friedman_p)}. Mean ranks closer than {ranks.critical_difference:.2f} "
        f"(Nemenyi, 5 %) are statistically indistinguishable, and so are all if Friedman's test finds nothing. "
        f"{_DEPENDENT}",
        conditions=conditions,
        heads=("Method",),
        columns=unranked("Mean rank", "Indistinguishable from"),
        rows=tuple(rows),
    )
    half = ranks.critical_difference / 2
    means = [ranks.mean_ranks[place] for place in order]
    diagram = Chart(
        name="ranks",
        title="Critical-difference diagram",
        caption=f"Mean rank over {ranks.tasks} {over}, 1 is best; bars: half the critical difference to either "
        f"side (Nemenyi, 5 %). Methods whose bars overlap are statistically indistinguishable. {_DEPENDENT} "
        f"{conditions}",
        kind="row",
        x="",
        y="Mean rank",
        panels=(
            Panel(
                "",
                tuple(
                    Series(labels[place], [""], [mean], [mean - half], [mean + half])
                    for place, mean in zip(order, means, strict=True)
                ),
            ),
        ),
    )
    return [table], [diagram]

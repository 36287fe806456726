"""How methods rank over tasks, such as missing rates: win rates, and a critical-difference diagram."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlabench.report.answer import Chart, Panel, Series
from mlabench.report.questions import common
from mlabench.report.table import Cell, Row, Table, unranked
from mlabench.statistics import critical_difference, win_rates

Floats = NDArray[np.floating[Any]]

_DEPENDENT = "Missing rates on one dataset are not independent, so this is a description rather than a test."


def tables(labels: Sequence[str], scores: Floats, conditions: str, over: str = "missing rates") -> Iterator[Table]:
    """The mean ranks of two methods or more; ``scores``: their mean accuracies ``[R tasks, M methods]``."""
    if len(labels) < 2:
        return
    ranks = critical_difference(scores)
    rows = []
    for place in np.argsort(ranks.mean_ranks, kind="stable"):
        peers = sorted({peer for group in ranks.groups if place in group for peer in group} - {place})
        told = ", ".join(labels[peer] for peer in peers) or "none"
        rows.append(Row((labels[place],), (Cell(text=f"{ranks.mean_ranks[place]:.2f}"), Cell(text=told))))
    yield Table(
        name="ranks",
        title=f"Ranks of the methods over the {over}",
        note=f"Rank by mean fused accuracy over seeds, averaged over {ranks.tasks} {over}; 1 is best. "
        f"Friedman's test: {common.p_value(ranks.friedman_p)}. Mean ranks closer than {ranks.critical_difference:.2f} "
        f"(Nemenyi, 5 %) are statistically indistinguishable, and so are all if Friedman's test finds nothing. "
        f"{_DEPENDENT}",
        conditions=conditions,
        heads=("Method",),
        columns=unranked("Mean rank", "Indistinguishable from"),
        rows=tuple(rows),
    )


def charts(labels: Sequence[str], scores: Floats, conditions: str, over: str = "missing rates") -> Iterator[Chart]:
    """The critical-difference diagram and the matrix of win rates, if there are two methods or more; as above."""
    if len(labels) < 2:
        return
    ranks = critical_difference(scores)
    half = ranks.critical_difference / 2
    order = np.argsort(ranks.mean_ranks, kind="stable")
    means = [ranks.mean_ranks[place] for place in order]
    yield Chart(
        name="ranks",
        title="Critical-difference diagram",
        caption=f"Mean rank over {ranks.tasks} {over}, 1 is best; bars: half the critical difference to either "
        f"side (Nemenyi, 5 %). Methods whose bars overlap are statistically indistinguishable. {_DEPENDENT} "
        f"{conditions}",
        kind="row",
        x="Mean rank",
        y="Method",
        panels=(
            Panel(
                "",
                tuple(
                    Series(labels[place], ["mean"], [mean], [mean - half], [mean + half])
                    for place, mean in zip(order, means, strict=True)
                ),
            ),
        ),
    )
    wins = 100 * win_rates(scores)
    np.fill_diagonal(wins, nan)
    yield Chart(
        name="win_rates",
        title="How often one method beats another",
        caption=f"Share of the {over} at which the row's method has a higher mean fused accuracy than the column's, in "
        f"percent; a tie is half a win. {conditions}",
        kind="grid",
        x="is beaten",
        y="Method",
        panels=(
            Panel("", tuple(Series(label, labels, row) for label, row in zip(labels, wins.tolist(), strict=True))),
        ),
    )

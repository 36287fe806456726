"""The methods of a suite in order of their mean accuracies, and which are indistinguishable from the best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mlabench.reporting import wording
from mlabench.reporting.charts import HIGHLIGHT, Chart, Panel, Series
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.questions import common
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import Cell, Row, Table, unranked
from mlabench.reporting.tables.cost import relative_times
from mlabench.reporting.tables.variants import difference, reference

#: Of more methods, only those on the front are set against time.
_CROWD = 10


@dataclass(frozen=True)
class Leaderboard:
    """The ranking of a suite's methods: its table, and charts in the same order and against the time of training."""

    table: Table
    charts: tuple[Chart, ...]


def leaderboard(evidence: Evidence) -> Leaderboard | None:
    """Ranks the methods by their fused accuracy, averaged over the missing rates.

    None with fewer than two methods that have all their runs, and for suites about the variants of one method.
    """
    results = evidence.results
    cells = {
        label: common.mean_cell(evidence, label)
        for label in common.asked_for(results, results.labels, results.settings)
        if results.settings
    }
    whole = {label: cell for label, cell in cells.items() if cell.complete}
    if len(whole) < 2 or results.plan.questions == ("Q3",) or reference(results.plan) is not None:
        return None
    order = sorted(whole, key=lambda label: -(whole[label].number or 0.0))
    best, *others = order
    tests = {label: difference(evidence, label, best, results.settings, MULTIMODAL) for label in others}
    (family,) = common.corrected(tests)
    distinct = {label: p is not None and p < common.LEVEL for label, p in family.p_values.items()}
    shown = {
        label: replace(common.with_interval(cell, cell.outcomes), best=cell.complete and not distinct.get(label))
        for label, cell in cells.items()
    }
    rows = [Row(("1", best), (shown[best], Cell(text="—"), Cell(text="—"), Cell(text="best")))]
    for label in others:
        rank = 1 + sum((whole[other].number or 0.0) > (whole[label].number or 0.0) for other in order)
        behind, p, _ = family.cells(label)
        words = Cell(text="yes" if distinct[label] else "no")
        rows.append(Row((str(rank), label), (shown[label], behind, p, words)))
    nothing = (Cell(text="—"),) * 3
    rows += [Row(("—", label), (shown[label], *nothing)) for label in cells if label not in whole]
    over = f", averaged over the missing rates {wording.listed(results.settings)}" if len(results.settings) > 1 else ""
    conditions = wording.conditions(results.plan, results.on_axis())
    table = Table(
        name="leaderboard",
        title="Leaderboard",
        note=f"Fused accuracy in percent{over}. {common.INTERVALS} Behind the best: paired difference from it, in "
        f"points; p: after Holm's correction over the {len(others)} comparisons. Bold: the best, and what is "
        f"statistically indistinguishable from it (p ≥ {common.LEVEL:g}, or not to be tested). The best is found in "
        "the same numbers, which flatters it. Methods that lack a run have no rank.",
        conditions=conditions,
        heads=("Rank", "Method"),
        columns=unranked("Accuracy", "Behind the best", "p (Holm)", "Distinguishable from it"),
        rows=tuple(rows),
    )
    chart = Chart(
        name="leaderboard",
        title=f"Leaderboard: fused accuracy{over}",
        caption=f"Methods in the order of their fused accuracy{over}. {common.WHISKERS} Intervals that overlap may "
        f"still differ: methods are compared in pairs, in the table. {conditions}",
        kind="row",
        x="",
        y="Fused accuracy (%)",
        form="z.1f",
        panels=(Panel("", tuple(common.series(label, [""], [shown[label]]) for label in order)),),
    )
    ranked = {label: shown[label] for label in order}
    return Leaderboard(table, (chart, *_against_time(results, ranked, over, conditions)))


def _against_time(results: Results, shown: Mapping[str, Cell], over: str, conditions: str) -> Iterator[Chart]:
    """What the accuracy of each method, the best first, costs; nothing if that was measured of fewer than two."""
    measured, times = relative_times(results)
    points = {label: (times[label], cell.number or 0.0) for label, cell in shown.items() if label in times}
    if len(points) < 2:
        return
    reference, which = next(iter(times)), ""
    if len(points) > _CROWD:
        front, always = _front(points), [label for label in dict.fromkeys((HIGHLIGHT, reference)) if label in points]
        which = f"Of {len(points)} methods those that none beats in both, with {wording.listed(always)}. "
        points = {label: place for label, place in points.items() if label in front or label in always}
    unit = f"in units of {reference}"
    yield Chart(
        name="accuracy_and_time",
        title=f"Fused accuracy{over} and time of training",
        caption=f"Up is accurate, left is cheap. {which}Time of a training step, {unit}, "
        f"{measured}, as in the table of cost; where encoders are "
        "small, each step's overhead counts for much. Intervals of the accuracies are in the chart of the leaderboard. "
        f"{conditions}",
        kind="scatter",
        x=f"Time per step, {unit}",
        y="Fused accuracy (%)",
        panels=(Panel("", tuple(Series(label, [time], [number]) for label, (time, number) in points.items())),),
    )


def _front(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """The methods, as (time, accuracy), that no other one beats in both."""
    return {
        label
        for label, (time, accuracy) in points.items()
        if not any(other < time and better > accuracy for other, better in points.values())
    }

"""The methods of a suite in order of their mean accuracies, and how far that order can be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import nan
from statistics import fmean

from mlabench.reporting import wording
from mlabench.reporting.charts import HIGHLIGHT, Chart, Panel, Series, difference_chart, intervals
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.questions import common
from mlabench.reporting.results import MULTIMODAL
from mlabench.reporting.table import Cell, Column, Row, Table, measure, unranked
from mlabench.reporting.tables.cost import relative_times
from mlabench.reporting.tables.variants import reference
from mlabench.statistics import (
    Interval,
    Outcomes,
    Ranking,
    averaged,
    compare,
    mean_over_datasets,
    probability_better,
    rank_intervals,
)

_DASH = Cell(text="—")


@dataclass(frozen=True)
class Leaderboard:
    """The ranking of a suite's methods: its table, and a chart in the same order.

    ``outcomes`` are those of the ranked methods, best first, averaged over the missing rates, where they are known;
    ``ranking`` is made from them, None if they are known of fewer than two.
    """

    table: Table
    chart: Chart
    outcomes: Mapping[str, Outcomes]
    ranking: Ranking | None


def leaderboard(evidence: Evidence) -> Leaderboard | None:
    """Ranks the methods by their fused accuracy, averaged over the missing rates.

    None with fewer than two methods that have all their runs, and for suites about the variants of one method.
    """
    results = evidence.results
    labels = common.asked_for(results, results.labels, results.settings) if results.settings else ()
    means = {label: common.mean_cell(evidence, label) for label in labels}
    cells = {label: common.with_interval(mean, mean.outcomes) for label, mean in means.items()}
    whole = {label: cell.number or 0.0 for label, cell in cells.items() if cell.complete}
    if len(whole) < 2 or results.plan.questions == ("Q3",) or reference(results.plan) is not None:
        return None
    order = sorted(whole, key=lambda label: -whole[label])
    outcomes = {label: own for label in order if (own := cells[label].outcomes) is not None}
    ranking = _ranked(outcomes)
    top = ranking.top_group if ranking else ()
    method = common.method_in_question(results.plan)
    times = relative_times(results)
    columns = {
        "Places": _told(ranking),
        f"P({method} > it)": f"P({method} > it): how probably a training of {method} beats its twin on the same fold "
        "and seed, in percent.",
        "Brier": "Brier: mean score of the fused prediction times 100, from 0, which is perfect, to 200.",
        "ECE": "ECE: its expected calibration error (15 bins), in percent.",
        "Time ×": f"Time: of a training step, in units of {next(iter(times), '')}.",
    }
    found = {}
    for label in (*order, *(label for label in cells if label not in whole)):
        numbers = (
            _place(ranking, label),
            _beaten(outcomes, method, label),
            *_reliability(evidence, label),
            Cell(text=f"{times[label]:.2f}") if label in times else _DASH,
        )
        found[label] = dict(zip(columns, numbers, strict=True))
    shown = [name for name in columns if name == "Places" or any(own[name] != _DASH for own in found.values())]
    rows = [
        Row(
            (str(1 + sum(whole[other] > whole[label] for other in order)) if label in whole else "—", label),
            (replace(cells[label], best=label in top), *(own[name] for name in shown)),
        )
        for label, own in found.items()
    ]
    several = len(results.settings) > 1
    over = f", averaged over the missing rates {wording.listed(results.settings)}" if several else ""
    mean = f" {common.mean_note(results)}" if several else ""
    table = Table(
        name="leaderboard",
        title="Leaderboard",
        note=f"Fused accuracy in percent{over}.{mean} {common.INTERVALS} {' '.join(columns[name] for name in shown)} "
        "Methods that lack a run have no rank.",
        conditions=wording.conditions(results.plan, results.on_axis()),
        heads=("Rank", "Method"),
        columns=(Column("Accuracy"), *unranked(*shown)),
        rows=tuple(rows),
    )
    chart = Chart(
        name="leaderboard",
        title=f"Leaderboard: fused accuracy{over}",
        caption="Methods in the order of their fused accuracy; whiskers: 95 % intervals. Intervals that overlap may "
        "still differ: methods are compared in pairs.",
        kind="row",
        x="",
        y="Fused accuracy (%)",
        form="z.1f",
        panels=(Panel("", tuple(_dot(label, cells[label], _place(ranking, label)) for label in order)),),
    )
    return Leaderboard(table, chart, outcomes, ranking)


def standings(boards: Mapping[str, Leaderboard], conditions: str, margin: float) -> tuple[Table, Chart | None] | None:
    """How the methods stand over several datasets, by the name of each; None if no two datasets share two methods.

    Of the methods that are ranked on all of them: the place on each, and how far the method in question is from each
    of the others on average, as a random-effects mean.
    """
    ranked = {name: board for name, board in boards.items() if board.ranking is not None}
    if len(ranked) < 2:
        return None
    shared = set.intersection(*(set(board.outcomes) for board in ranked.values()))
    if len(shared) < 2:
        return None
    places = {label: fmean(list(board.outcomes).index(label) + 1 for board in ranked.values()) for label in shared}
    order = sorted(shared, key=lambda label: (places[label], label))
    effects = {label: _over_datasets(ranked.values(), label) for label in order}
    rows = [
        Row(
            (label,),
            (
                Cell(text=f"{places[label]:.1f}"),
                *(_place(board.ranking, label) for board in ranked.values()),
                _DASH if effects[label] is None else Cell(interval=effects[label], form="+z.1f"),
            ),
        )
        for label in order
    ]
    table = Table(
        name="standings",
        title="Standings over all datasets",
        note="Mean place: over the datasets, among all methods that are ranked on each. By dataset: the places that a "
        f"method may have there (95 %). {HIGHLIGHT} minus it: fused accuracy in points, random-effects mean over "
        "the datasets; its 95 % interval covers the draw of the datasets.",
        conditions=conditions,
        heads=("Method",),
        columns=unranked("Mean place", *ranked, f"{HIGHLIGHT} minus it"),
        rows=tuple(rows),
    )
    shown = [intervals(label, [""], [effect]) for label, effect in effects.items() if effect is not None]
    title = f"{HIGHLIGHT} minus the other methods, mean over {wording.listed(ranked)}"
    caption = "Random-effects means and their 95 % intervals."
    chart = difference_chart("standings", title, HIGHLIGHT, shown, margin=margin, caption=caption) if shown else None
    return table, chart


def _over_datasets(boards: Iterable[Leaderboard], label: str) -> Interval | None:
    """The mean over datasets of how far the method in question is from another; None if it is not on all."""
    pairs = [(board.outcomes.get(HIGHLIGHT), board.outcomes[label]) for board in boards]
    known = {str(place): compare(own, other).difference for place, (own, other) in enumerate(pairs) if own is not None}
    if label == HIGHLIGHT or len(known) < len(pairs):
        return None
    return mean_over_datasets(known).mean


def _ranked(outcomes: Mapping[str, Outcomes]) -> Ranking | None:
    if len(outcomes) < 2:
        return None
    try:
        return rank_intervals(outcomes)
    except ValueError:  # not of the same samples, or without a seed in common
        return None


def _told(ranking: Ranking | None) -> str:
    """How far the order can be trusted, in words."""
    if ranking is None:
        return "Places are not known: too few methods have stored predictions of the same samples."
    count = len(ranking.intervals)
    pairs = count * (count - 1) // 2
    return (
        "Places: those that a method may have (95 %, all pairs of methods together, so that no verdict contradicts "
        "them; with fewer comparisons, a verdict may distinguish more); bold: who may be first. "
        f"Separability: {100 * ranking.separability:.0f} % of the {pairs} pairs of methods are distinguishable."
    )


def _place(ranking: Ranking | None, label: str) -> Cell:
    """``2–5``"""
    if ranking is None or label not in ranking.intervals:
        return _DASH
    own = ranking.intervals[label]
    return Cell(text=f"{own.low}–{own.high}" if own.low < own.high else str(own.low))


def _beaten(outcomes: Mapping[str, Outcomes], method: str | None, label: str) -> Cell:
    """How probably a training of the method in question is better, in percent."""
    if method is None or label == method or not {label, method} <= outcomes.keys():
        return _DASH
    found = probability_better(outcomes[method], outcomes[label])
    return Cell(interval=Interval(100 * found.estimate, 100 * found.low, 100 * found.high), form="z.0f")


def _reliability(evidence: Evidence, label: str) -> tuple[Cell, Cell]:
    """Brier score and calibration error, averaged over the missing rates."""
    results = evidence.results
    weights = common.mean_weights(results)
    brier = averaged([evidence.brier(label, setting) for setting in results.settings], weights)
    errors = [measure(results.at(label, setting, MULTIMODAL), "ece").summary.mean for setting in results.settings]
    known = [(error, weight) for error, weight in zip(errors, weights, strict=True) if error is not None]
    return (
        _DASH if brier is None else Cell(text=f"{brier.accuracy:.1f}"),
        Cell(text=f"{fmean(*zip(*known, strict=True)):.1f}") if known else _DASH,
    )


def _dot(label: str, cell: Cell, places: Cell) -> Series:
    found = cell.interval or Interval(nan if cell.number is None else cell.number, nan, nan)
    return intervals(label, [""], [found], [f"places {places.text}"])

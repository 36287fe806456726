"""Colours, markers and dashes: a name has the same style in all figures of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from mlabench.reporting.answer import Chart
from mlabench.suite import Plan

#: Method that all figures point out.
HIGHLIGHT = "MLA"

#: Text, axes, grid lines and paper; the colours of low and high numbers in grids.
INK, QUIET, RULE, PAPER = "#1c2126", "#59626b", "#d9dde2", "#ffffff"
LOW, HIGH = "#d98a4e", "#4c94c6"

#: After Okabe and Ito; the pale ones are darker, and yellow is left out.
_VERMILION = "#d55e00"
_COLOURS = ("#0072b2", "#009e73", "#b5598f", "#3a9bd9", "#a67c00", "#666666")
_MARKERS = ("s", "^", "D", "v", "P", "X", "h", "<", ">", "p", "*")
_DASHES = ("-", "--", ":", "-.")
_HATCHES = ("", "////", "....", "xxxx")

#: The variables of report.css that replace colours on the page: it knows whether the screen is light or dark.
VARIABLES = {INK: "ink", QUIET: "quiet", RULE: "rule", PAPER: "paper", LOW: "low", HIGH: "high"} | {
    colour: f"series-{place}" for place, colour in enumerate((_VERMILION, *_COLOURS))
}


@dataclass(frozen=True)
class Style:
    """How one name is drawn, in matplotlib's notation."""

    colour: str
    marker: str
    dashes: str
    hatch: str
    width: float
    layer: int

    def line(self) -> dict[str, Any]:
        """Arguments of ``Axes.plot`` for a line with markers."""
        return {**self.dots(), "linestyle": self.dashes, "linewidth": self.width}

    def dots(self) -> dict[str, Any]:
        """Arguments of ``Axes.plot`` for markers alone."""
        return {"color": self.colour, "marker": self.marker, "linestyle": "", "zorder": self.layer}

    def bar(self) -> dict[str, Any]:
        """Arguments of ``Axes.bar``."""
        return {"facecolor": self.colour, "hatch": self.hatch, "edgecolor": PAPER, "linewidth": 0}


def styles(plans: Sequence[Plan], charts: Iterable[Chart] = ()) -> dict[str, Style]:
    """One style per method over all plans of a report, and per other name in its charts.

    Methods of the most plans get a colour first. When colours run out, they are shared by names that never meet in a
    plan or a chart before lines get dashed. Charts change nothing about the methods.
    """
    rivals: dict[str, set[str]] = {}
    charted = [[series.label for panel in chart.panels for series in panel.series] for chart in charts]
    for group in (*(plan.labels for plan in plans), *charted):
        for label in group:
            rivals.setdefault(label, set()).update(group)
    places: dict[str, int] = {}
    cycle = len(_COLOURS)
    often = Counter(label for plan in plans for label in plan.labels)
    for label in sorted(set(rivals) - {HIGHLIGHT}, key=lambda label: (-often[label], label)):
        taken = {places[rival] for rival in rivals[label] if rival in places}
        unused = [place for place in range(cycle) if place not in places.values()]
        places[label] = unused[0] if unused else next(place for place in count() if place not in taken)
    chosen = {
        label: Style(
            colour=_COLOURS[place % cycle],
            marker=_MARKERS[place % len(_MARKERS)],
            dashes=_DASHES[place // cycle % len(_DASHES)],
            hatch=_HATCHES[place // cycle % len(_HATCHES)],
            width=1.2,
            layer=3,
        )
        for label, place in places.items()
    }
    return {**chosen, HIGHLIGHT: Style(_VERMILION, "o", "-", "", width=1.8, layer=4)}

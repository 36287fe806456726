"""Colours, markers and dashes: a name looks the same wherever it is drawn, with plotly or with matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from mlabench.report.answer import Chart
from mlabench.suite import Plan

#: Method that all figures point out.
HIGHLIGHT = "MLA"

_HIGHLIGHT_COLOUR = "#D55E00"
#: After Okabe and Ito; the pale ones are darker, since names are written in them, and yellow is left out.
_COLOURS = ("#0072B2", "#009E73", "#B5598F", "#3A9BD9", "#A67C00", "#666666")
_MARKERS = ("s", "^", "D", "v", "P", "X", "h", "<", ">", "p", "*")
_DASHES = ("-", "--", ":", "-.")
_HATCHES = ("", "////", "....", "xxxx")


@dataclass(frozen=True)
class Look:
    """How one name is drawn, in every figure; marker, dashes and hatch in matplotlib's notation."""

    colour: str
    marker: str
    dashes: str
    hatch: str
    width: float
    layer: int

    def line(self) -> dict[str, Any]:
        """Arguments of ``Axes.plot``."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "linestyle": self.dashes,
            "linewidth": self.width,
            "zorder": self.layer,
        }

    def bar(self) -> dict[str, Any]:
        """Arguments of ``Axes.bar``."""
        return {"facecolor": self.colour, "hatch": self.hatch, "edgecolor": "white", "linewidth": 0}


def looks(plans: Sequence[Plan], charts: Iterable[Chart] = ()) -> dict[str, Look]:
    """One look per method over all plans of a report, and per other name in its charts.

    When colours run out, they are shared by names that never meet in a plan or a chart before lines get
    dashed. Charts change nothing about the methods.
    """
    methods = {label for plan in plans for label in plan.labels}
    rivals: dict[str, set[str]] = {}
    charted = [[series.label for panel in chart.panels for series in panel.series] for chart in charts]
    for group in (*(plan.labels for plan in plans), *charted):
        for label in group:
            rivals.setdefault(label, set()).update(group)
    places: dict[str, int] = {}
    cycle = len(_COLOURS)
    for label in sorted(set(rivals) - {HIGHLIGHT}, key=lambda label: (label not in methods, label)):
        taken = {places[rival] for rival in rivals[label] if rival in places}
        unused = [place for place in range(cycle) if place not in places.values()]
        places[label] = unused[0] if unused else next(place for place in count() if place not in taken)
    chosen = {
        label: Look(
            colour=_COLOURS[place % cycle],
            marker=_MARKERS[place % len(_MARKERS)],
            dashes=_DASHES[place // cycle % len(_DASHES)],
            hatch=_HATCHES[place // cycle % len(_HATCHES)],
            width=1.2,
            layer=3,
        )
        for label, place in places.items()
    }
    return {**chosen, HIGHLIGHT: Look(_HIGHLIGHT_COLOUR, "o", "-", "", width=1.8, layer=4)}


def short(label: str) -> str:
    """A name that leaves room for the panel."""
    return label if len(label) <= 22 else f"{label[:21]}…"

"""Colours, markers and dashes: a name has the same style in all figures of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from mlabench.reporting.charts.chart import Chart
from mlabench.suite import Plan

#: Method that all figures point out.
HIGHLIGHT = "MLA"

#: Text, axes, grid lines and paper; names that no colour is left for.
INK, QUIET, RULE, PAPER, GREY = "#1c2126", "#59626b", "#d9dde2", "#ffffff", "#8a929a"

#: Found by a search for colours that stay apart with each kind of colour blindness; the first is the highlight's.
COLOURS = ("#d55e00", "#3029db", "#00b364", "#8f4fac", "#567eff", "#751f00", "#510093", "#43514c")
_MARKERS = ("s", "^", "D", "v", "P", "X", "h", "<", ">", "p", "*")
_DASHES = ("--", "-.", ":", "-")

#: The variables of report.css that replace colours on the page: it knows whether the screen is light or dark.
VARIABLES = {INK: "ink", QUIET: "quiet", RULE: "rule", PAPER: "paper", GREY: "others"} | {
    colour: f"series-{place}" for place, colour in enumerate(COLOURS)
}


@dataclass(frozen=True)
class Style:
    """How one name is drawn, in matplotlib's notation."""

    colour: str
    marker: str
    dashes: str
    width: float
    layer: int

    def line(self) -> dict[str, Any]:
        """Arguments of ``Axes.plot`` for a line with markers."""
        return {**self.dots(), "linestyle": self.dashes, "linewidth": self.width}

    def dots(self) -> dict[str, Any]:
        """Arguments of ``Axes.plot`` for markers alone."""
        return {"color": self.colour, "marker": self.marker, "linestyle": "", "zorder": self.layer}


def styles(plans: Sequence[Plan], charts: Iterable[Chart] = ()) -> dict[str, Style]:
    """One style per method over all plans of a report, and per other name in its charts.

    Methods of the most plans get a colour first. When colours run out, they are shared by names that never meet in a
    plan or a chart, before the rest are grey and differ by marker and dashes. Charts change nothing about the methods.
    """
    rivals: dict[str, set[str]] = {}
    charted = [[series.label for panel in chart.panels for series in panel.series] for chart in charts]
    for group in (*(plan.labels for plan in plans), *charted):
        for label in group:
            rivals.setdefault(label, set()).update(group)
    places: dict[str, int] = {}
    often = Counter(label for plan in plans for label in plan.labels)
    for label in sorted(set(rivals) - {HIGHLIGHT}, key=lambda label: (-often[label], label)):
        taken = {places[rival] for rival in rivals[label] if rival in places}
        unused = [place for place in range(len(COLOURS) - 1) if place not in places.values()]
        places[label] = unused[0] if unused else next(place for place in count() if place not in taken)
    return {
        **{label: _style(place) for label, place in places.items()},
        HIGHLIGHT: Style(COLOURS[0], "o", "-", width=1.8, layer=5),
    }


def _style(place: int) -> Style:
    marker = _MARKERS[place % len(_MARKERS)]
    if place < len(COLOURS) - 1:
        return Style(COLOURS[place + 1], marker, _DASHES[place % len(_DASHES)], width=1.2, layer=4)
    return Style(GREY, marker, _DASHES[place // len(_MARKERS) % len(_DASHES)], width=0.8, layer=3)

"""The axes of a chart: what stands along them, and their ranges, equal in all its panels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from mlabench.reporting.answer import Chart, Panel, Series
from mlabench.reporting.charts.styles import HIGHLIGHT

#: More series than this have no room side by side over a category, nor their bands on one another.
CROWD = 10


def with_room(chart: Chart) -> Chart:
    """The chart as it can still be read where its series are many.

    Bars and dots over categories become rows, with a panel per category. Of lines, only the method that all figures
    point out keeps its band.
    """
    if max((len(panel.series) for panel in chart.panels), default=0) <= CROWD:
        return chart
    if chart.kind == "line":
        caption = f"{chart.caption} Intervals are drawn for {HIGHLIGHT} alone."
        return replace(chart, caption=caption, panels=tuple(map(_with_one_band, chart.panels)))
    if chart.kind not in ("bar", "dot"):
        return chart
    panels = [
        replace(panel, title=", ".join(filter(None, [panel.title, name])), series=tuple(_only(panel, name)))
        for panel in chart.panels
        for name in categories(chart) or ()
    ]
    return replace(chart, kind="row", x=chart.y, y="", panels=tuple(panels))


def row_names(chart: Chart) -> list[str]:
    """The names of a chart's series, in order of appearance."""
    return list(dict.fromkeys(series.label for panel in chart.panels for series in panel.series))


def categories(chart: Chart) -> list[str] | None:
    """The names on the horizontal axes, in order of appearance; None if there are numbers."""
    names = [x for panel in chart.panels for series in panel.series for x in series.x]
    named = chart.kind in ("bar", "dot", "row", "grid") or any(isinstance(name, str) for name in names)
    return list(dict.fromkeys(map(str, names))) if named else None


def x_range(chart: Chart) -> tuple[float, float]:
    """The range of the horizontal axes: categories at 0, 1, 2, ..., or everything drawn and a little room."""
    names = categories(chart)
    if names is not None:
        return -0.5, max(len(names), 1) - 0.5
    values = [float(x) for panel in chart.panels for series in panel.series for x in series.x]
    return _padded([value for value in values if math.isfinite(value)], 0.04)


def value_range(chart: Chart) -> tuple[float, float]:
    """The range of the vertical axes (horizontal ones of rows): everything drawn, zero under bars, a little room."""
    heights = [float(value) for panel in chart.panels for series in panel.series for value in _heights(series)]
    drawn = [value for value in heights if math.isfinite(value)]
    drawn += [panel.reference for panel in chart.panels if panel.reference is not None]
    if chart.kind != "bar":
        return _padded(drawn, 0.06)
    low, high = _padded([0.0, *drawn], 0.06)
    low = low if min(drawn, default=0.0) < 0 else 0.0
    return low, high if low == 0 or max(drawn) > 0 else 0.0


def grid_range(chart: Chart, panel: Panel) -> tuple[float, float]:
    """Lowest and highest number of a grid's colours, equal in all panels; as far below its reference as above it."""
    values = [float(y) for panel in chart.panels for series in panel.series for y in series.y if math.isfinite(y)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if panel.reference is None:
        return low, high
    reach = max(abs(high - panel.reference), abs(low - panel.reference)) or 1.0
    return panel.reference - reach, panel.reference + reach


def _with_one_band(panel: Panel) -> Panel:
    bare = (one if one.label == HIGHLIGHT else replace(one, low=(), high=()) for one in panel.series)
    return replace(panel, series=tuple(bare))


def _only(panel: Panel, name: str) -> Iterator[Series]:
    """What a panel's series have over one category."""
    for series in panel.series:
        if name in (names := list(map(str, series.x))):
            here = slice(at := names.index(name), at + 1)
            numbers = series.y[here], series.low[here], series.high[here]
            marks = tuple(mark for mark in series.marks if str(mark[0]) == name)
            yield Series(series.label, [name], *numbers, series.text[here], marks)


def _padded(values: Sequence[float], share: float) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = share * (high - low) or 0.5
    return low - room, high + room


def _heights(series: Series) -> Iterator[float]:
    yield from series.y
    yield from series.low
    yield from series.high
    yield from (y for _, y in series.marks)

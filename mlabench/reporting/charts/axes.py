"""The axes of a chart: what stands along them, and their ranges, equal in all its panels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from mlabench.reporting.charts.chart import Chart, Panel, Series


def with_panel_per_name(chart: Chart) -> Chart:
    """A chart of rows with a panel of its own for each name along its x axis; other charts as they are."""
    if chart.kind != "row":
        return chart
    return replace(chart, panels=tuple(one for panel in chart.panels for one in _by_name(panel)))


def _by_name(panel: Panel) -> Iterator[Panel]:
    names = _names(panel)
    if len(names) < 2:
        yield panel
        return
    for name in names:
        title = ", ".join(filter(None, [panel.title, name]))
        yield replace(panel, title=title, series=tuple(_only(panel, name)))


def _names(*panels: Panel) -> list[str]:
    """The names along the x axis, in order of appearance."""
    return list(dict.fromkeys(str(x) for panel in panels for series in panel.series for x in series.x))


def row_names(chart: Chart) -> list[str]:
    """The names of a chart's series, in order of appearance."""
    return list(dict.fromkeys(series.label for panel in chart.panels for series in panel.series))


def categories(chart: Chart) -> list[str] | None:
    """The names on the horizontal axes, in order of appearance; None if there are numbers."""
    names = [x for panel in chart.panels for series in panel.series for x in series.x]
    return _names(*chart.panels) if chart.kind == "row" or any(isinstance(name, str) for name in names) else None


def x_range(chart: Chart) -> tuple[float, float]:
    """The range of the horizontal axes: categories at 0, 1, 2, ..., or everything drawn and a little room."""
    names = categories(chart)
    if names is not None:
        return -0.5, max(len(names), 1) - 0.5
    values = [float(x) for panel in chart.panels for series in panel.series for x in series.x]
    known = [value for value in values if math.isfinite(value)]
    if chart.logarithmic:
        low, high = _padded([math.log(value) for value in known], 0.06)
        return math.exp(low), math.exp(high)
    return _padded(known, 0.06)


def on_one_scale(chart: Chart, panel: Panel) -> bool:
    """Whether a panel has the range of all; others have their own, so that their axes show the numbers."""
    return panel.reference is not None or panel.diagonal or chart.kind == "scatter"


def value_range(chart: Chart, panel: Panel) -> tuple[float, float]:
    """The range of a panel's vertical axis (horizontal one of rows): everything drawn, and a little room."""
    drawn = list[float]()
    for one in chart.panels if on_one_scale(chart, panel) else [panel]:
        drawn += [float(value) for series in one.series for value in (*series.y, *series.low, *series.high)]
        if one.reference is not None:
            drawn += [one.reference + sign * one.band for sign in (-1, 1)]
    return _padded([value for value in drawn if math.isfinite(value)], 0.06)


def _only(panel: Panel, name: str) -> Iterator[Series]:
    """What a panel's series have at one name."""
    for series in panel.series:
        if name in (names := list(map(str, series.x))):
            here = slice(at := names.index(name), at + 1)
            yield Series(series.label, [name], series.y[here], series.low[here], series.high[here], series.text[here])


def _padded(values: Sequence[float], share: float) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = share * (high - low) or 0.5
    return low - room, high + room

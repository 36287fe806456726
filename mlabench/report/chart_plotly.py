"""Charts as figures of plotly.js: one figure per panel, so that panels can wrap on a narrow screen.

Colours are written ``light|dark``; the page's script takes the half that its reader's screen asks for. Plotly
reads markup and placeholders in every text, so :func:`escape` takes both from names that may hold anything.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlabench.report.answer import Chart, Panel, Series
from mlabench.report.chart_axes import categories, grid_scale, row_names, value_range, x_range
from mlabench.report.looks import HIGHLIGHT, Look, short

#: Plotly's names of matplotlib's markers, dashes and hatches.
SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross", "X": "x",
    "h": "hexagon", "<": "triangle-left", ">": "triangle-right", "p": "pentagon", "*": "star",
}  # fmt: skip
_DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
_HATCHES = {"": "", "////": "/", "....": ".", "xxxx": "x"}

_INK, _LINE, _PAPER = "#3b4148|#c3c9d0", "#59626b|#a3acb6", "#ffffff|#161a1f"
_GRID, _RULE = "#e4e7ea|#30363d", "#8a9199|#7d858e"

#: Points beyond which a cloud is drawn small and pale.
_MANY = 40


def panels(chart: Chart, looks: Mapping[str, Look]) -> list[dict[str, Any]]:
    """One figure (``data`` and ``layout``, ready for JSON) per panel, all with the same axes.

    Args:
        chart: The chart.
        looks: A look for each of its names.
    """
    values = value_range(chart)
    ranges = {"grid": {}, "row": {"x": values}}.get(chart.kind, {"x": x_range(chart), "y": values})
    return [
        {"data": list(_traces(chart, panel, looks)), "layout": _layout(chart, panel, ranges)} for panel in chart.panels
    ]


def themed(colour: str) -> str:
    """A colour for light paper, ``|``, and its paler sister for dark paper."""
    channels = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return f"{colour}|#{''.join(f'{round(channel + 0.4 * (255 - channel)):02x}' for channel in channels)}"


def escape(text: str) -> str:
    """Takes the meaning from markup and from placeholders."""
    return html.escape(" ".join(text.split()), quote=False).replace("%", "&#37;")


def _traces(chart: Chart, panel: Panel, looks: Mapping[str, Look]) -> Iterator[dict[str, Any]]:
    if chart.kind == "grid":
        yield _grid(chart, panel)
        return
    # What is drawn last lies on top.
    for series in sorted(panel.series, key=lambda series: looks[series.label].layer):
        look = looks[series.label]
        if chart.kind == "row":
            yield _row(chart, series, look)
            continue
        if chart.kind == "line" and series.low:
            yield from _bands(chart, series, look)
        yield {**_described(chart, series), **_drawn(chart, series, look)}


def _described(chart: Chart, series: Series) -> dict[str, Any]:
    """Name and numbers of a series, and what hovering over its points shows."""
    x = "%{x}" if categories(chart) is not None else "%{x:.4~g}"
    lines = [f"<b>{escape(series.label)}</b>", f"{escape(chart.x)}: {x}", f"{escape(chart.y)}: %{{y:.3~f}}"]
    more = [
        "<br>".join(filter(None, [_interval(series, place), escape(series.text[place]) if series.text else ""]))
        for place in range(len(series.y))
    ]
    return {
        "name": escape(series.label),
        "meta": series.label,
        "x": _positions(chart, series),
        "y": [_number(y) for y in series.y],
        "customdata": more if any(more) else None,
        "hovertemplate": "<br>".join([*lines, "%{customdata}"] if any(more) else lines) + "<extra></extra>",
    }


def _positions(chart: Chart, series: Series) -> list[str] | list[float | None]:
    if categories(chart) is not None:
        return [escape(str(x)) for x in series.x]
    return [_number(float(x)) for x in series.x]


def _interval(series: Series, place: int) -> str:
    if not series.low or math.isnan(series.low[place]):
        return ""
    return f"interval [{series.low[place]:.4g}, {series.high[place]:.4g}]".replace("-", "−")


def _drawn(chart: Chart, series: Series, look: Look) -> dict[str, Any]:
    colour = themed(look.colour)
    if chart.kind == "bar":
        marker: dict[str, Any] = {"color": colour}
        if look.hatch:
            marker["pattern"] = {"shape": _HATCHES[look.hatch], "fgcolor": _PAPER, "size": 5}
        return {"type": "bar", "marker": marker, "offsetgroup": series.label} | _whiskers(series, _INK)
    cloud = chart.kind == "scatter" and len(series.y) > _MANY
    emphasis = series.label == HIGHLIGHT
    marker = {
        "color": colour,
        "symbol": SYMBOLS[look.marker],
        "size": 4 if cloud else (9 if emphasis else 7.5) + (-1.5 if chart.kind == "line" else 1),
        "opacity": 0.55 if cloud else 1,
    }
    if chart.kind == "line":
        line = {"color": colour, "dash": _DASHES[look.dashes], "width": 3 if emphasis else 1.8}
        return {"type": "scatter", "mode": "lines+markers", "line": line, "marker": marker, "connectgaps": False}
    grouped = {"offsetgroup": series.label} if chart.kind == "dot" else {}
    return {"type": "scatter", "mode": "markers", "marker": marker, **grouped} | _whiskers(series, colour)


def _row(chart: Chart, series: Series, look: Look) -> dict[str, Any]:
    """A series as a row: its numbers along the horizontal axis, at its name."""
    described = _described(chart, series)
    hover = [f"<b>{escape(series.label)}</b>", f"{escape(chart.x)}: %{{x:.3~f}}"]
    hover += ["%{customdata}"] if described["customdata"] else []
    place = {"x": described["y"], "y": [escape(series.label)] * len(series.y)}
    drawn = _drawn(chart, series, look)
    drawn["error_x"] = drawn.pop("error_y", None)
    return {**described, **place, **drawn, "hovertemplate": "<br>".join(hover) + "<extra></extra>"}


def _whiskers(series: Series, colour: str) -> dict[str, Any]:
    if not series.low:
        return {}
    ends = list(zip(series.low, series.y, series.high, strict=True))
    return {
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [_number(high - y) for _, y, high in ends],
            "arrayminus": [_number(y - low) for low, y, _ in ends],
            "color": colour,
            "thickness": 1.6,
            "width": 3,
        }
    }


def _bands(chart: Chart, series: Series, look: Look) -> Iterator[dict[str, Any]]:
    """The intervals along a line as closed outlines, one per stretch without a gap."""
    stretches: list[list[tuple[Any, float, float]]] = [[]]
    for x, low, high in zip(_positions(chart, series), series.low, series.high, strict=True):
        if math.isfinite(low) and math.isfinite(high):
            stretches[-1].append((x, low, high))
        elif stretches[-1]:
            stretches.append([])
    for stretch in filter(None, stretches):
        there, back = stretch, stretch[::-1]
        yield {
            "type": "scatter",
            "meta": series.label,
            "x": [x for x, _, _ in (*there, *back)],
            "y": [_number(low) for _, low, _ in there] + [_number(high) for _, _, high in back],
            "mode": "lines",
            "line": {"width": 0},
            "fill": "toself",
            "fillcolor": "|".join(f"{half}26" for half in themed(look.colour).split("|")),  # 15 % opaque
            "hoverinfo": "skip",
        }


def _grid(chart: Chart, panel: Panel) -> dict[str, Any]:
    names = categories(chart) or []
    rows = [dict(zip(map(str, series.x), series.y, strict=True)) for series in panel.series]
    texts = [dict(zip(map(str, series.x), series.text or [""] * len(series.x), strict=True)) for series in panel.series]
    low, high, scale = grid_scale(chart, panel)
    return {
        "type": "heatmap",
        "x": list(map(escape, names)),
        "y": [escape(series.label) for series in panel.series],
        "z": [[_number(row.get(name, math.nan)) for name in names] for row in rows],
        "customdata": [["<br>" + escape(text[name]) if text.get(name) else "" for name in names] for text in texts],
        "hovertemplate": f"{escape(chart.y)}: %{{y}}<br>{escape(chart.x)}: %{{x}}<br><b>%{{z:.3~f}}</b>"
        "%{customdata}<extra></extra>",
        "texttemplate": "%{z:.3~g}",
        "hoverongaps": False,
        "xgap": 2,
        "ygap": 2,
        "zmin": low,
        "zmax": high,
        "colorscale": [list(stop) for stop in scale],
        "showscale": False,
    }


def _named(names: Sequence[str]) -> dict[str, Any]:
    """An axis of categories, whose long names are cut."""
    places = list(map(escape, names))
    texts = [f"<b>{escape(name)}</b>" if name == HIGHLIGHT else escape(short(name)) for name in names]
    ticks = {"tickmode": "array", "tickvals": places, "ticktext": texts}
    return {"type": "category", "categoryarray": places, "showgrid": False, **ticks}


def _layout(chart: Chart, panel: Panel, ranges: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "automargin": True,
        "gridcolor": _GRID,
        "zeroline": False,
        "linecolor": _RULE,
        "ticks": "outside",
    }
    axis |= {"tickcolor": _RULE, "ticklen": 4}
    x = {**axis, "title": {"standoff": 8, "text": escape(chart.x)}}
    y = {**axis, "title": {"standoff": 8, "text": escape(chart.y)}}
    names = categories(chart)
    if chart.kind == "row":
        y |= {**_named(row_names(chart)), "range": [len(row_names(chart)) - 0.5, -0.5], "showgrid": True}
        x["range"] = list(map(_number, ranges["x"]))
    elif names is not None:
        x |= _named(names)
    if chart.kind == "grid":
        y |= {**_named([series.label for series in panel.series]), "autorange": "reversed"}
        y |= {"ticks": "", "linecolor": _PAPER}
        x |= {"ticks": "", "linecolor": _PAPER}
    elif chart.kind != "row":
        x["range"], y["range"] = list(map(_number, ranges["x"])), list(map(_number, ranges["y"]))
    return {
        "xaxis": x,
        "yaxis": y,
        "shapes": list(_lines(chart, panel)),
        "showlegend": False,
        "barmode": "group",
        "bargap": 0.25,
        **({"scattermode": "group", "scattergap": 0.35} if chart.kind == "dot" else {}),
        "hovermode": "closest",
        "autosize": True,
        "margin": {"l": 8, "r": 10, "t": 8, "b": 8},
        "font": {"family": "system-ui, sans-serif", "size": 12.5, "color": _INK},
        "paper_bgcolor": _PAPER,
        "plot_bgcolor": _PAPER,
        "hoverlabel": {"bgcolor": _PAPER, "bordercolor": _RULE, "font": {"color": _INK}, "align": "left"},
    }


def _lines(chart: Chart, panel: Panel) -> Iterator[dict[str, Any]]:
    line = {"color": _LINE, "width": 1.2}
    if panel.reference is not None and chart.kind != "grid":
        at = _number(panel.reference)
        along, across = "yx" if chart.kind == "row" else "xy"
        ends = {f"{along}ref": "paper", f"{along}0": 0, f"{along}1": 1, f"{across}0": at, f"{across}1": at}
        yield {"type": "line", **ends, "line": line, "layer": "below"}
    if panel.diagonal:
        low, high = max(x_range(chart)[0], value_range(chart)[0]), min(x_range(chart)[1], value_range(chart)[1])
        ends = {"x0": low, "y0": low, "x1": high, "y1": high}
        yield {"type": "line", **ends, "line": {**line, "dash": "dot"}, "layer": "below"}


def _number(value: float) -> float | None:
    """Six significant digits; nothing for what is no number."""
    return float(f"{value:.6g}") if math.isfinite(value) else None

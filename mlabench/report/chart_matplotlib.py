"""Charts as figures for papers, and as pictures where no script runs: the page's charts drawn with matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from textwrap import fill

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from mlabench.report.answer import Chart, Panel, Series
from mlabench.report.chart_axes import categories, grid_scale, row_names, value_range, x_range
from mlabench.report.figure_layout import OnePass, arrange
from mlabench.report.looks import HIGHLIGHT, Look, short
from mlabench.report.plots import STYLE, WIDTH, label_ends, name_rows, spread_labels

#: Series with more points than this are clouds: small, pale, named in a legend.
_FEW = 5

#: Names over columns with room for fewer letters than this are turned.
_UPRIGHT = 6

#: Where a name may stand beside its point, as (x, y) offsets in points and alignments, the best first.
_PLACES = (
    (6, 0, "left", "center"), (-6, 0, "right", "center"), (0, 6, "center", "bottom"), (0, -6, "center", "top"),
    (5, 5, "left", "bottom"), (5, -5, "left", "top"), (-5, 5, "right", "bottom"), (-5, -5, "right", "top"),
    (12, 12, "left", "bottom"), (12, -12, "left", "top"), (-12, 12, "right", "bottom"), (-12, -12, "right", "top"),
    (0, 20, "center", "bottom"), (0, -20, "center", "top"), (24, 24, "left", "bottom"), (24, -24, "left", "top"),
)  # fmt: skip


#: By alignment, which share of a text lies before the point that it is aligned to.
_BEFORE = {"left": 0.0, "center": 0.5, "right": 1.0, "bottom": 0.0, "top": 1.0}


def draw(chart: Chart, looks: Mapping[str, Look]) -> Figure:
    """The chart as a figure of a paper's text width.

    Args:
        chart: The chart.
        looks: A look for each of its names.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _axes(chart)
        one_by_one = {"line": _line, "bar": _bars, "dot": _dots, "scatter": _points, "row": _rows, "grid": _grid}[
            chart.kind
        ]
        for place, (panel, own) in enumerate(zip(chart.panels, axes, strict=True)):
            # About 0.075 inches per bold letter.
            room = int(0.8 * WIDTH / _columns(chart) / 0.075)
            own.set_title(fill(panel.title, room), loc="left", fontweight="bold")
            own.set_xlabel(chart.x)
            own.set_ylabel(chart.y)
            if chart.kind == "row":
                own.set_xlim(value_range(chart))
                own.set_ylim(max(len(row_names(chart)), 1) - 0.5, -0.5)
            elif chart.kind != "grid":
                own.set_xlim(x_range(chart))
                own.set_ylim(value_range(chart))
            one_by_one(chart, panel, own, looks)
            if panel.reference is not None and chart.kind != "grid":
                line = own.axvline if chart.kind == "row" else own.axhline
                line(panel.reference, color="#8A9199", linewidth=0.8, zorder=1)
            if panel.diagonal:
                own.axline((0, 0), slope=1, color="#8A9199", linewidth=0.8, linestyle=":", zorder=1)
            if chart.kind in ("row", "grid") and place % _columns(chart):
                own.set_yticklabels([])
                own.set_ylabel("")
        figure.suptitle(fill(chart.title, 88), x=0.01, ha="left", fontsize=8)
        _name(chart, figure, looks)
    return figure


def _columns(chart: Chart) -> int:
    """How many panels stand side by side."""
    if chart.kind == "row":
        return len(chart.panels) if 0 < len(chart.panels) < 5 else 3
    crowded = chart.kind in ("bar", "dot", "grid") and len(categories(chart) or ()) > 3
    return min(len(chart.panels), 1 if crowded else 3 if chart.kind == "scatter" and not _direct(chart) else 2) or 1


def _axes(chart: Chart) -> tuple[Figure, Sequence[Axes]]:
    columns = _columns(chart)
    rows = -(-len(chart.panels) // columns) or 1
    height = 2.0
    if chart.kind == "line":
        height = max(1.9, 0.14 * max((len(panel.series) for panel in chart.panels), default=0) + 0.5)
    elif chart.kind == "row":
        height = 0.15 * len(row_names(chart)) + 0.6
    elif chart.kind == "grid":
        height = 0.26 * max((len(panel.series) for panel in chart.panels), default=0) + 0.9
    elif columns == 1:
        height = 2.4
    figure = Figure(figsize=(WIDTH, rows * height + 0.5), layout=OnePass())
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in grid[len(chart.panels) :]:
        unused.remove()
    return figure, list(grid[: len(chart.panels)])


def _line(chart: Chart, panel: Panel, axes: Axes, looks: Mapping[str, Look]) -> None:
    ends: dict[str, tuple[float, float] | None] = {}
    names = categories(chart)
    for series in panel.series:
        look = looks[series.label]
        x = [names.index(str(value)) for value in series.x] if names else np.asarray(series.x, dtype=float)
        y = np.asarray(series.y, dtype=float)
        axes.plot(x, y, **look.line())
        if series.low:
            axes.fill_between(x, series.low, series.high, color=look.colour, alpha=0.15, linewidth=0, zorder=2)
        known = np.flatnonzero(np.isfinite(y))
        ends[series.label] = (float(x[known[-1]]), float(y[known[-1]])) if known.size else None
    if names:
        axes.set_xticks(range(len(names)), names)
    label_ends(axes, ends, looks)


def _bars(chart: Chart, panel: Panel, axes: Axes, looks: Mapping[str, Look]) -> None:
    _grouped(chart, panel, axes, lambda series, x, width: _bar(axes, series, x, width, looks[series.label]))


def _bar(axes: Axes, series: Series, x: Sequence[float], width: float, look: Look) -> None:
    axes.bar(x, series.y, 0.9 * width, **look.bar())
    _whiskers(axes, series, x, "#222222")


def _dots(chart: Chart, panel: Panel, axes: Axes, looks: Mapping[str, Look]) -> None:
    def dots(series: Series, x: Sequence[float], width: float) -> None:  # noqa: ARG001
        look = looks[series.label]
        axes.plot(x, series.y, linestyle="", marker=look.marker, markersize=4.6, color=look.colour, zorder=look.layer)
        _whiskers(axes, series, x, look.colour)

    _grouped(chart, panel, axes, dots)


def _grouped(chart: Chart, panel: Panel, axes: Axes, one: Callable[[Series, Sequence[float], float], None]) -> None:
    """Draws series side by side over each category."""
    names = categories(chart) or []
    width = 0.84 / max(len(panel.series), 1)
    for place, series in enumerate(panel.series):
        offset = (place - (len(panel.series) - 1) / 2) * width
        one(series, [names.index(str(x)) + offset for x in series.x], width)
    # About 0.062 inches per letter.
    room = max(6, int(0.8 * WIDTH / _columns(chart) / max(len(names), 1) / 0.062))
    axes.set_xticks(range(len(names)), [fill(name, room) for name in names])
    axes.grid(visible=False, axis="x")


def _points(chart: Chart, panel: Panel, axes: Axes, looks: Mapping[str, Look]) -> None:
    few = _direct(chart)
    for series in panel.series:
        look = looks[series.label]
        axes.plot(
            series.x, series.y, linestyle="", marker=look.marker, color=look.colour, zorder=look.layer,
            markersize=4.6 if few else 2.2, markeredgewidth=1 if few else 0, alpha=1 if few else 0.6,
        )  # fmt: skip
        _whiskers(axes, series, list(map(float, series.x)), look.colour)


def _whiskers(axes: Axes, series: Series, at: Sequence[float], colour: str, *, along_x: bool = False) -> None:
    if series.low:
        ends = np.array([series.low, series.high], dtype=float)
        low, high = np.where(np.isfinite(ends).all(axis=0), ends, np.nan)
        # About the middle: an estimate may lie outside of its interval.
        middle, half = (low + high) / 2, (high - low) / 2
        place = {"x": middle, "y": at, "xerr": half} if along_x else {"x": at, "y": middle, "yerr": half}
        axes.errorbar(**place, linestyle="", color=colour, elinewidth=1.0, capsize=1.8, zorder=5)


def _rows(chart: Chart, panel: Panel, axes: Axes, looks: Mapping[str, Look]) -> None:
    names = row_names(chart)
    for series in panel.series:
        look, at = looks[series.label], [names.index(series.label)] * len(series.y)
        axes.plot(series.y, at, linestyle="", marker=look.marker, markersize=4.6, color=look.colour, zorder=look.layer)
        _whiskers(axes, series, at, look.colour, along_x=True)
    name_rows(axes, names, looks)


def _grid(chart: Chart, panel: Panel, axes: Axes, looks: Mapping[str, Look]) -> None:
    names = categories(chart) or []
    if not names or not panel.series:
        return
    low, high, scale = grid_scale(chart, panel)
    colours = LinearSegmentedColormap.from_list("", [(stop, colour.split("|")[0]) for stop, colour in scale])
    numbers = [dict(zip(map(str, series.x), series.y, strict=True)) for series in panel.series]
    values = np.array([[row.get(name, math.nan) for name in names] for row in numbers], dtype=float)
    width = 0.75 * WIDTH / _columns(chart) / len(names)
    narrow = width < 0.25
    axes.imshow(values, cmap=colours, vmin=low, vmax=high or 1.0, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if math.isfinite(value):
            red, green, blue, _ = colours((value - low) / ((high - low) or 1.0))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
            colour = "white" if dark else "#222222"
            text = f"{value:.0f}" if narrow else f"{value:.3g}"
            axes.text(column, row, text, ha="center", va="center", fontsize=5 if narrow else 7, color=colour)
    room = int(width / 0.062)
    if room < _UPRIGHT:
        axes.set_xticks(range(len(names)), list(map(short, names)), rotation=90)
    else:
        axes.set_xticks(range(len(names)), [fill(name, room) for name in names])
    name_rows(axes, [series.label for series in panel.series], looks)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(panel.series) + 1) - 0.5, minor=True)
    axes.grid(visible=False)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _direct(chart: Chart) -> bool:
    """Whether names stand beside what they name: always for lines, and for points if there are few."""
    few = all(len(series.y) <= _FEW for panel in chart.panels for series in panel.series)
    return chart.kind == "line" or (chart.kind == "scatter" and few)


def _name(chart: Chart, figure: Figure, looks: Mapping[str, Look]) -> None:
    """Writes the names of the series: beside lines and points, else in a legend below."""
    if chart.kind == "line":
        spread_labels(figure)
    elif _direct(chart):
        arrange(figure)
        for panel, axes in zip(chart.panels, figure.axes, strict=True):
            _name_points(panel, axes, looks, figure.dpi / 72)
    elif chart.kind not in ("row", "grid"):
        labels = list(dict.fromkeys(series.label for panel in chart.panels for series in panel.series))
        if len(labels) > 1:
            _legend(chart, figure, {label: looks[label] for label in labels})


def _legend(chart: Chart, figure: Figure, looks: Mapping[str, Look]) -> None:
    handles: list[Patch | Line2D] = [
        Patch(**look.bar(), label=short(label))
        if chart.kind == "bar"
        else Line2D([], [], linestyle="", marker=look.marker, color=look.colour, label=short(label))
        for label, look in looks.items()
    ]
    # About 0.066 inches per letter, and 0.35 for a patch and the space around it.
    columns = max(1, int(WIDTH / (0.066 * max(len(short(label)) for label in looks) + 0.35)))
    figure.set_figheight(figure.get_figheight() + 0.17 * -(-len(handles) // columns))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False,
        handlelength=1.2, handletextpad=0.4, columnspacing=1.2,
    )  # fmt: skip


def _name_points(panel: Panel, axes: Axes, looks: Mapping[str, Look], scale: float) -> None:
    """Writes each series' name beside its last point, where it hides neither a name nor a point if possible."""
    points = [point for series in panel.series for point in _known(series)]
    taken = [Bbox.from_bounds(x - 3, y - 3, 6, 6) for x, y in axes.transData.transform(np.array(points or [(0, 0)]))]
    inside = axes.get_window_extent()
    for series in panel.series:
        known = _known(series)
        if not known:
            continue
        colour = looks[series.label].colour
        label = axes.annotate(
            short(series.label),
            xy=known[-1],
            xytext=(0, 0),
            textcoords="offset points",
            horizontalalignment="left",
            verticalalignment="bottom",
            fontsize=7,
            color=colour,
            fontweight="bold" if series.label == HIGHLIGHT else "normal",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3},
        )
        taken.append(_settle(label, taken, inside, scale))


def _known(series: Series) -> list[tuple[float, float]]:
    points = [(float(series.x[place]), float(y)) for place, y in enumerate(series.y)]
    return [point for point in points if all(map(math.isfinite, point))]


def _settle(label: Annotation, taken: Sequence[Bbox], inside: Bbox, scale: float) -> Bbox:
    """Moves a name to the first of the places where it fits, else where it hides least; returns what it covers.

    Args:
        label: The name, with its lower left corner at its point.
        taken: What should not be hidden, in pixels.
        inside: Where it should be, in pixels.
        scale: Pixels in a point.
    """
    label.get_window_extent()  # puts the text in its place; covers the leader too
    size = Text.get_window_extent(label)

    def covered(place: tuple[float, float, str, str]) -> Bbox:
        x, y, horizontal, vertical = place
        left = size.x0 + scale * x - size.width * _BEFORE[horizontal]
        low = size.y0 + scale * y - size.height * _BEFORE[vertical]
        return Bbox.from_bounds(left, low, size.width, size.height)

    def cost(place: tuple[float, float, str, str]) -> float:
        box = covered(place)
        hidden = [Bbox.intersection(box, other) for other in taken]
        outside = box.width * box.height - _area(Bbox.intersection(box, inside))
        return sum(map(_area, hidden)) + outside

    best = x, y, horizontal, vertical = min(_PLACES, key=cost)  # the first of equals
    label.set(position=(x, y), horizontalalignment=horizontal, verticalalignment=vertical)
    return covered(best)


def _area(box: Bbox | None) -> float:
    return 0.0 if box is None else float(box.width * box.height)

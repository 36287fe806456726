"""Charts drawn with matplotlib, once for all formats: SVG for the page, PNG and PDF for papers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import StringIO
from itertools import pairwise
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from mlabench.reporting.charts.axes import (
    categories,
    on_one_scale,
    row_names,
    value_range,
    with_panel_per_name,
    x_range,
)
from mlabench.reporting.charts.chart import Chart, Panel, Series
from mlabench.reporting.charts.styles import GREY, HIGHLIGHT, INK, QUIET, RULE, Style
from mlabench.reporting.charts.svg import page_ready

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

#: Text width of a one-column paper, in inches; font sizes are chosen for it.
_WIDTH = 5.5

#: Inches that a letter of a label takes, about.
_LETTER = 0.06

#: Lines with more points than this have no markers.
_MARKED = 12

#: As many different numbers along an axis each have a tick.
_TICKS = 6

#: Series with more points than this are clouds: small and pale.
_FEW = 40

#: More intervals than this have no room side by side.
_CROWD = 8

_STYLE: dict[RcKeyType, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs everywhere
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titley": 1.0,  # where it would be; to find that out, all ticks would be measured each time
    "legend.fontsize": 7,
    "legend.frameon": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": QUIET,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.markersize": 3.6,
    "text.parse_math": False,  # a label may hold a dollar sign
    "pdf.fonttype": 42,  # editable, and what publishers ask for
    "svg.fonttype": "none",  # text stays text
}


class ChartFigure(Figure):
    """A figure that knows what its marks say when one points at them."""

    def __init__(self, chart: Chart, height: float) -> None:
        super().__init__(figsize=(_WIDTH, height), layout="constrained")
        self.chart = chart
        #: By the id of a group in its SVG: what the whole group says, then each of its marks.
        self.titles: dict[str, tuple[str, ...]] = {}

    def explain(self, shown: Artist, *titles: str) -> None:
        """Says what an artist and each of its marks say."""
        name = f"values-{len(self.titles)}"
        shown.set_gid(name)
        self.titles[name] = titles


def draw(chart: Chart, styles: Mapping[str, Style]) -> ChartFigure:
    """The chart as a figure of a paper's text width; ``styles`` has each of its names."""
    chart = with_panel_per_name(chart)
    one = {"line": _line, "scatter": _points, "row": _row}[chart.kind]
    with mpl.rc_context(_STYLE):
        columns = _columns(chart)
        rows = -(-len(chart.panels) // columns) or 1
        figure = ChartFigure(chart, rows * _height(chart, columns) + 0.5)
        places = figure.subplots(rows, columns, squeeze=False).ravel()
        for place, axes in enumerate(places):
            if place >= len(chart.panels):
                axes.remove()
                continue
            _frame(chart, chart.panels[place], axes, columns)
            one(figure, chart.panels[place], axes, styles)
            rows_shown, shared = chart.kind == "row", on_one_scale(chart, chart.panels[place])
            if place % columns and (rows_shown or shared):
                axes.tick_params(labelleft=False)
            below = place + columns < len(chart.panels)
            if below and (shared or not rows_shown):
                axes.tick_params(labelbottom=False)
            elif _has_legend(chart) and not below:
                axes.set_xlabel(chart.x)  # a label of the whole figure would lie on the legend
        figure.supylabel("" if chart.kind == "row" else chart.y, fontsize=8)
        if not _has_legend(chart):
            figure.supxlabel(chart.y if chart.kind == "row" else chart.x, fontsize=8)
        lines = [chart.title, *chart.subtitle.splitlines()]
        title = figure.suptitle("\n".join(fill(line, 88) for line in lines), x=0.01, ha="left", fontsize=8)
        title.set_gid("title")
        if _has_legend(chart):
            _legend(figure, styles)
    return figure


def save(figure: ChartFigure, png: Path, pdf: Path) -> str:
    """Writes a figure's files and returns its SVG for the page; the same figure gives the same bytes.

    No two figures of a page have an id in common, if their pictures have different names or folders.
    """
    with mpl.rc_context(_STYLE):
        _lay_out(figure)
        figure.savefig(png, dpi=200, metadata={"Software": None})
        figure.savefig(pdf, metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return as_svg(figure, "/".join(png.parts[-3:]))


def as_svg(figure: ChartFigure, name: str) -> str:
    """A figure's SVG for the page, without files; no two of a page may have the same name."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        _lay_out(figure)
        svg = StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        (title,) = (text for text in figure.texts if text.get_gid() == "title")
        header = 72 * (figure.get_figheight() - title.get_window_extent().y0 / figure.dpi)
    return page_ready(svg.getvalue(), figure.titles, described(figure.chart), header)


def _lay_out(figure: ChartFigure) -> None:
    """Once for all formats: with an engine, each would be drawn twice."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)
    figure.set_layout_engine(None)


def described(chart: Chart) -> str:
    """What a figure shows, for those who cannot see it: its numbers, too, where they are few."""
    chart = with_panel_per_name(chart)
    said = [f"{chart.title}.", chart.caption]
    shown = [(panel, series) for panel in chart.panels for series in panel.series]
    if sum(len(series.y) for _, series in shown) <= _FEW:
        for panel, series in shown:
            points = "; ".join(title.replace("\n", ", ") for title in _titles(chart, series, named=False))
            said.append(f"{', '.join(filter(None, [panel.title, series.label]))}: {points or 'nothing measured'}.")
    return " ".join(filter(None, said))


def short(label: str, most: int = 22) -> str:
    """A name of so many letters that it leaves room for the panel."""
    return label if len(label) <= most else f"{label[: most - 1]}…"


def _columns(chart: Chart) -> int:
    """How many panels stand side by side."""
    most = {"line": 4 if _one_each(chart) else 2, "scatter": 3, "row": 4}[chart.kind]
    panels = len(chart.panels) or 1
    return min(panels, 3 if most == 4 and panels in (5, 6, 9) else most)


def _one_each(chart: Chart) -> bool:
    """Whether each panel is of one series, and its title names it."""
    return len(chart.panels) > 1 and all(len(panel.series) < 2 for panel in chart.panels)


def _has_legend(chart: Chart) -> bool:
    return chart.kind != "row" and not _one_each(chart)


def _height(chart: Chart, columns: int) -> float:
    """Inches for a row of panels, the legend apart."""
    names = len(row_names(chart))
    if chart.kind == "row":
        return 0.15 * names + 0.6
    if columns > 2:
        return 1.4
    return 2.4 if columns == 1 or names > _CROWD else 1.9


def _frame(chart: Chart, panel: Panel, axes: Axes, columns: int) -> None:
    """Title, names and ranges of the axes, and what lies below the data."""
    across = chart.kind == "row"
    axes.set_title(fill(panel.title, int(0.8 * _WIDTH / columns / 0.075)), loc="left")
    values = value_range(chart, panel)
    if chart.logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(values if across else x_range(chart))
    axes.set_ylim((max(len(row_names(chart)), 1) - 0.5, -0.5) if across else values)
    if across and columns > 1:
        axes.xaxis.set_major_locator(MaxNLocator(3))
    if panel.reference is not None:
        (axes.axvline if across else axes.axhline)(panel.reference, color=QUIET, linewidth=0.8, zorder=1)
        if panel.band:
            ends = panel.reference - panel.band, panel.reference + panel.band
            (axes.axvspan if across else axes.axhspan)(*ends, color=QUIET, alpha=0.12, linewidth=0, zorder=0.5)
    if panel.diagonal:
        axes.axline((0, 0), slope=1, color=QUIET, linewidth=0.8, linestyle=":", zorder=1)


def _line(figure: ChartFigure, panel: Panel, axes: Axes, styles: Mapping[str, Style]) -> None:
    names, widest = categories(figure.chart), x_range(figure.chart)
    step = (widest[1] - widest[0]) / 120
    for place, series in enumerate(panel.series):
        style = styles[series.label]
        x = np.array([names.index(str(value)) for value in series.x] if names else series.x, dtype=float)
        many = len(series.y) > _MARKED
        crowd = len(panel.series) > _CROWD
        if series.low and (not crowd or series.label == HIGHLIGHT):
            beside = 0.0 if crowd else step * (place - (len(panel.series) - 1) / 2)
            x = x + beside  # intervals side by side
            _whiskers(axes, series, x, style.colour)
        (line,) = axes.plot(x, np.asarray(series.y, dtype=float), **style.line() | ({"marker": ""} if many else {}))
        figure.explain(line, series.label, *([] if many else _titles(figure.chart, series)))
    numbers = [] if names else [float(x) for series in panel.series for x in series.x]
    distinct = sorted(set(filter(math.isfinite, numbers)))
    if names:
        axes.set_xticks(range(len(names)), names)
    elif len(distinct) <= _TICKS:
        axes.set_xticks(distinct)
    elif all(number.is_integer() for number in numbers):
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))  # there is no half epoch
    if panel is figure.chart.panels[0]:
        _name_lines(figure, panel, axes, styles)


def _named_beside(panel: Panel, styles: Mapping[str, Style]) -> dict[str, float]:
    """Where the grey lines of a panel end, by name."""
    found = {}
    for series in panel.series:
        drawn = [y for y in series.y if math.isfinite(y)]
        if drawn and styles[series.label].colour == GREY:
            found[series.label] = drawn[-1]
    return found


def _name_lines(figure: ChartFigure, panel: Panel, axes: Axes, styles: Mapping[str, Style]) -> None:
    """Names at the right end of the grey lines, each at its height or as near to it as there is room."""
    ends = sorted(_named_beside(panel, styles).items(), key=lambda end: end[1])
    low, high = axes.get_ylim()
    gap = (high - low) * 0.09 / (0.8 * _height(figure.chart, 2))  # a line of text of 0.09 inches
    places = [-math.inf]
    for _, y in ends:
        places.append(max(y, places[-1] + gap))
    place = high + gap
    for (label, y), wanted in zip(reversed(ends), reversed(places), strict=False):
        place = min(wanted, place - gap)
        start, end = ((height - low) / (high - low) for height in (y, place))
        leader = axes.plot([1, 1.03], [start, end], transform=axes.transAxes, color=RULE, linewidth=0.5)
        leader[0].set_clip_on(False)
        axes.text(1.04, end, short(label), transform=axes.transAxes, fontsize=5.5, va="center", color=QUIET)


def _points(figure: ChartFigure, panel: Panel, axes: Axes, styles: Mapping[str, Style]) -> None:
    for series in panel.series:
        style, few = styles[series.label], len(series.y) <= _FEW
        size: dict[str, Any] = {"markersize": 4.6} if few else {"markersize": 2.2, "markeredgewidth": 0, "alpha": 0.6}
        (dots,) = axes.plot(series.x, series.y, **style.dots(), **size)
        figure.explain(dots, series.label, *(_titles(figure.chart, series) if few else []))
        _whiskers(axes, series, list(map(float, series.x)), style.colour)
    _name_points(figure, panel, axes)


def _name_points(figure: ChartFigure, panel: Panel, axes: Axes) -> None:
    """Names beside points, on the left where the next point with a name is too near on the right."""
    named = sorted(
        (x, y, name, series.label)
        for series in panel.series
        for x, y, name in zip(map(float, series.x), series.y, series.names, strict=False)
        if name
    )
    places = [axes.transData.transform((x, y))[0] / axes.bbox.width for x, y, *_ in named] + [math.inf]
    for (x, y, name, label), (here, following) in zip(named, pairwise(places), strict=True):
        side = -1 if following - here < 0.01 * len(name) else 1
        beside = axes.annotate(
            name,
            (x, y),
            xytext=(4 * side, 2),
            textcoords="offset points",
            fontsize=5.5,
            ha="right" if side < 0 else "left",
        )
        figure.explain(beside, label)


def _row(figure: ChartFigure, panel: Panel, axes: Axes, styles: Mapping[str, Style]) -> None:
    """Each series in a row of its own, its number along the horizontal axis; beside a single panel in words, too."""
    names, alone = row_names(figure.chart), len(figure.chart.panels) == 1
    for series in panel.series:
        style, at = styles[series.label], [names.index(series.label)] * len(series.y)
        (dots,) = axes.plot(series.y, at, **style.dots(), markersize=4.6)
        figure.explain(dots, series.label, *_titles(figure.chart, series))
        _whiskers(axes, series, at, style.colour, along_x=True)
        if alone and len(series.y) == 1 and math.isfinite(series.y[0]):
            text = _with_ends(figure.chart, series.y[0], (series.low[0], series.high[0]) if series.low else ())
            axes.text(1.02, at[0], text, transform=axes.get_yaxis_transform(), va="center", fontsize=6.5)
    axes.grid(visible=False, axis="y")
    axes.set_yticks(range(len(names)), [short(name, 30 if alone else 22) for name in names])
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        if name == HIGHLIGHT:
            tick.set_color(styles[HIGHLIGHT].colour)


def _whiskers(axes: Axes, series: Series, at: Sequence[float] | Any, colour: str, *, along_x: bool = False) -> None:
    """The intervals, below the marks that say them."""
    if series.low:
        ends = np.array([series.low, series.high], dtype=float)
        low, high = np.where(np.isfinite(ends).all(axis=0), ends, np.nan)
        # About the middle: an estimate may lie outside of its interval.
        middle, half = (low + high) / 2, (high - low) / 2
        place = {"x": middle, "y": at, "xerr": half} if along_x else {"x": at, "y": middle, "yerr": half}
        axes.errorbar(**place, linestyle="", color=colour, elinewidth=1.0, capsize=1.8, zorder=2)


def _legend(figure: ChartFigure, styles: Mapping[str, Style]) -> None:
    """The names that nothing else in the figure says, below the panels."""
    chart = figure.chart
    line = chart.kind == "line"
    beside = _named_beside(chart.panels[0], styles) if line and chart.panels else {}
    names = [name for name in row_names(chart) if name not in beside]
    if not names:
        return
    handles = [
        Line2D([], [], label=short(name), **(style.line() if line else {**style.dots(), "markersize": 4.6}))
        for name in names
        for style in (styles[name],)
    ]
    widths = [0.5 + _LETTER * len(short(name)) for name in names]
    columns = len(names) if sum(widths) < _WIDTH else max(1, int(_WIDTH / max(widths)))
    figure.set_figheight(figure.get_figheight() + 0.15 * -(-len(names) // columns))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, handlelength=3.0, handletextpad=0.5,
        columnspacing=1.4,
    )  # fmt: skip


def _titles(chart: Chart, series: Series, *, named: bool = True) -> list[str]:
    """What the points of a series say, of those that are drawn."""
    said = []
    for place, y in enumerate(series.y):
        x = series.x[place]
        if math.isfinite(y) and (categories(chart) is not None or math.isfinite(float(x))):
            ends = (series.low[place], series.high[place]) if series.low else ()
            place_x = x if isinstance(x, str) else _number(x)
            at = "" if chart.kind == "row" else ": ".join(filter(None, [chart.x, place_x]))
            lines = [series.label if named else "", at, f"{chart.y}: {_with_ends(chart, y, ends)}"]
            said.append("\n".join(filter(None, [*lines, series.text[place] if series.text else ""])))
    return said


def _with_ends(chart: Chart, value: float, ends: Sequence[float]) -> str:
    """``81.2 [79.5, 82.9]``"""
    number = _number(value, chart.form)
    if not ends or any(map(math.isnan, ends)):
        return number
    return f"{number} [{', '.join(_number(end, chart.form.lstrip('+')) for end in ends)}]"


def _number(value: float, form: str = ".4g") -> str:
    return format(value, form).replace("-", "−")

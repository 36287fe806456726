"""Charts drawn with matplotlib, once for all formats: SVG for the page, PNG and PDF for papers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from mlabench.reporting.answer import Chart, Panel, Series
from mlabench.reporting.charts.axes import CROWD, categories, grid_range, row_names, value_range, x_range
from mlabench.reporting.charts.styles import HIGH, HIGHLIGHT, INK, LOW, PAPER, QUIET, RULE, Style
from mlabench.reporting.charts.svg import page_ready

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

#: Text width of a one-column paper, in inches; font sizes are chosen for it.
_WIDTH = 5.5

#: Inches that a letter of a label takes, about.
_LETTER = 0.06

#: Names over columns with room for fewer letters than this are turned.
_UPRIGHT = 6

#: Lines with more points than this have no markers.
_MARKED = 12

#: Series with more points than this are clouds: small and pale.
_FEW = 40

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
    "hatch.linewidth": 0.6,
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
    one = {"line": _line, "bar": _grouped, "dot": _grouped, "scatter": _points, "row": _row, "grid": _grid}[chart.kind]
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
            if place % columns:
                axes.tick_params(labelleft=False)
                axes.set_ylabel("")
            if place + columns < len(chart.panels):
                axes.tick_params(labelbottom=False)
                axes.set_xlabel("")
        lines = [chart.title, *chart.subtitle.splitlines()]
        title = figure.suptitle("\n".join(fill(line, 88) for line in lines), x=0.01, ha="left", fontsize=8)
        title.set_gid("title")
        if chart.kind not in ("row", "grid"):
            _legend(figure, styles)
    return figure


def save(figure: ChartFigure, png: Path, pdf: Path) -> str:
    """Writes a figure's files and returns its SVG for the page; the same figure gives the same bytes.

    No two figures of a page have an id in common, if their pictures have different names or folders.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": "/".join(png.parts[-3:])}):
        if engine := figure.get_layout_engine():
            engine.execute(figure)
        figure.set_layout_engine(None)  # laid out once for all formats: with an engine, each would be drawn twice
        figure.savefig(png, dpi=200, metadata={"Software": None})
        figure.savefig(pdf, metadata={"CreationDate": None, "Creator": None, "Producer": None})
        svg = StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        header = 72 * (figure.get_figheight() - figure.texts[0].get_window_extent().y0 / figure.dpi)
    return page_ready(svg.getvalue(), figure.titles, f"{figure.chart.title}. {figure.chart.caption}", header)


def short(label: str) -> str:
    """A name that leaves room for the panel."""
    return label if len(label) <= 22 else f"{label[:21]}…"


def _columns(chart: Chart) -> int:
    """How many panels stand side by side."""
    if chart.kind == "row":
        return len(chart.panels) if 0 < len(chart.panels) < 5 else 3
    crowded = chart.kind in ("bar", "dot", "grid") and len(categories(chart) or ()) > 3
    return min(len(chart.panels), 1 if crowded else 3 if chart.kind == "scatter" else 2) or 1


def _height(chart: Chart, columns: int) -> float:
    """Inches for a row of panels, the legend apart."""
    names = len(row_names(chart))
    if chart.kind == "row":
        return 0.15 * names + 0.6
    if chart.kind == "grid":
        return 0.26 * names + 0.9
    return 2.4 if columns == 1 or names > CROWD else 1.9


def _frame(chart: Chart, panel: Panel, axes: Axes, columns: int) -> None:
    """Title, names and ranges of the axes, and what lies below the data."""
    axes.set_title(fill(panel.title, int(0.8 * _WIDTH / columns / 0.075)), loc="left")
    axes.set_xlabel(chart.x)
    axes.set_ylabel(chart.y)
    if chart.kind == "grid":
        return
    across = chart.kind == "row"
    axes.set_xlim(value_range(chart) if across else x_range(chart))
    axes.set_ylim((max(len(row_names(chart)), 1) - 0.5, -0.5) if across else value_range(chart))
    if panel.reference is not None:
        (axes.axvline if across else axes.axhline)(panel.reference, color=QUIET, linewidth=0.8, zorder=1)
    if panel.diagonal:
        axes.axline((0, 0), slope=1, color=QUIET, linewidth=0.8, linestyle=":", zorder=1)


def _line(figure: ChartFigure, panel: Panel, axes: Axes, styles: Mapping[str, Style]) -> None:
    names = categories(figure.chart)
    for series in panel.series:
        style = styles[series.label]
        x = [names.index(str(value)) for value in series.x] if names else np.asarray(series.x, dtype=float)
        many = len(series.y) > _MARKED
        (line,) = axes.plot(x, np.asarray(series.y, dtype=float), **style.line() | ({"marker": ""} if many else {}))
        figure.explain(line, series.label, *([] if many else _titles(figure.chart, series)))
        if series.low:
            axes.fill_between(x, series.low, series.high, color=style.colour, alpha=0.15, linewidth=0, zorder=2)
        _marks(figure, axes, series, style, [float(x) for x, _ in series.marks])
    if names:
        axes.set_xticks(range(len(names)), names)
    elif all(float(x).is_integer() for series in panel.series for x in series.x):
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))  # there is no half epoch


def _grouped(figure: ChartFigure, panel: Panel, axes: Axes, styles: Mapping[str, Style]) -> None:
    """Bars or dots: the series side by side over each category."""
    names = categories(figure.chart) or []
    width = 0.84 / max(len(panel.series), 1)
    for place, series in enumerate(panel.series):
        style, middle = styles[series.label], (place - (len(panel.series) - 1) / 2) * width
        x = [names.index(str(name)) + middle for name in series.x]
        if figure.chart.kind == "bar":
            bars = axes.bar(x, series.y, 0.9 * width, **style.bar())
            drawn = [bar for bar, y in zip(bars, series.y, strict=True) if math.isfinite(y)]
            for bar, title in zip(drawn, _titles(figure.chart, series), strict=True):
                figure.explain(bar, title)
            _whiskers(axes, series, x, INK, layer=5)
        else:
            (dots,) = axes.plot(x, series.y, **style.dots(), markersize=4.6)
            figure.explain(dots, series.label, *_titles(figure.chart, series))
            _whiskers(axes, series, x, style.colour)
        beside = _beside([str(name) for name, _ in series.marks], 0.6 * width)
        at = [names.index(str(name)) + middle + own for (name, _), own in zip(series.marks, beside, strict=True)]
        _marks(figure, axes, series, style, at)
    room = max(6, int(0.8 * _WIDTH / _columns(figure.chart) / max(len(names), 1) / _LETTER))
    axes.set_xticks(range(len(names)), [fill(name, room) for name in names])
    axes.grid(visible=False, axis="x")


def _beside(names: Sequence[str], width: float) -> Iterator[float]:
    """Offsets that put what belongs to one name side by side."""
    counts, seen = Counter(names), Counter[str]()
    for name in names:
        yield width * (seen[name] / (counts[name] - 1) - 0.5) if counts[name] > 1 else 0.0
        seen[name] += 1


def _points(figure: ChartFigure, panel: Panel, axes: Axes, styles: Mapping[str, Style]) -> None:
    for series in panel.series:
        style, few = styles[series.label], len(series.y) <= _FEW
        size: dict[str, Any] = {"markersize": 4.6} if few else {"markersize": 2.2, "markeredgewidth": 0, "alpha": 0.6}
        (dots,) = axes.plot(series.x, series.y, **style.dots(), **size)
        figure.explain(dots, series.label, *(_titles(figure.chart, series) if few else []))
        _whiskers(axes, series, list(map(float, series.x)), style.colour)


def _row(figure: ChartFigure, panel: Panel, axes: Axes, styles: Mapping[str, Style]) -> None:
    """Each series in a row of its own, its numbers along the horizontal axis."""
    names = row_names(figure.chart)
    for series in panel.series:
        style, at = styles[series.label], [names.index(series.label)] * len(series.y)
        (dots,) = axes.plot(series.y, at, **style.dots(), markersize=4.6)
        figure.explain(dots, series.label, *_titles(figure.chart, series))
        _whiskers(axes, series, at, style.colour, along_x=True)
        _marks(figure, axes, series, style, at * len(series.marks))
    _name_rows(axes, names, styles)


def _name_rows(axes: Axes, names: Sequence[str], styles: Mapping[str, Style]) -> None:
    axes.set_yticks(range(len(names)), list(map(short, names)))
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        if name == HIGHLIGHT:
            tick.set_color(styles[HIGHLIGHT].colour)


def _marks(figure: ChartFigure, axes: Axes, series: Series, style: Style, at: Sequence[float]) -> None:
    """Open circles."""
    values = [y for _, y in series.marks]
    if not values:
        return
    place = (values, at) if figure.chart.kind == "row" else (at, values)
    colour = INK if figure.chart.kind == "bar" else style.colour
    (marks,) = axes.plot(
        *place, linestyle="", marker="o" if figure.chart.kind in ("bar", "row") else style.marker, markersize=2.2,
        markerfacecolor=PAPER, markeredgecolor=colour, markeredgewidth=0.5, zorder=style.layer + 3,
    )  # fmt: skip
    figure.explain(
        marks, series.label, *(_title(figure.chart, series.label, x, y) for x, y in series.marks if math.isfinite(y))
    )


def _whiskers(
    axes: Axes, series: Series, at: Sequence[float], colour: str, *, layer: int = 2, along_x: bool = False
) -> None:
    """The intervals, below the marks that say them; above bars."""
    if series.low:
        ends = np.array([series.low, series.high], dtype=float)
        low, high = np.where(np.isfinite(ends).all(axis=0), ends, np.nan)
        # About the middle: an estimate may lie outside of its interval.
        middle, half = (low + high) / 2, (high - low) / 2
        place = {"x": middle, "y": at, "xerr": half} if along_x else {"x": at, "y": middle, "yerr": half}
        axes.errorbar(**place, linestyle="", color=colour, elinewidth=1.0, capsize=1.8, zorder=layer)


def _grid(figure: ChartFigure, panel: Panel, axes: Axes, styles: Mapping[str, Style]) -> None:
    """A cell for each number, darker the further it is from the reference, or from the lowest number."""
    chart, names = figure.chart, categories(figure.chart) or []
    if not names or not panel.series:
        return
    low, high = grid_range(chart, panel)
    middle = low if panel.reference is None else panel.reference
    width = 0.75 * _WIDTH / _columns(chart) / len(names)
    narrow = width < 0.25
    colours = np.zeros((len(panel.series), len(names), 4))
    titles = np.full(colours.shape[:2], "", dtype=object)
    for row, series in enumerate(panel.series):
        for place, (x, value) in enumerate(zip(series.x, series.y, strict=True)):
            if math.isfinite(value):
                column = names.index(str(x))
                shade = abs(value - middle) / ((high - middle) or 1.0)
                colours[row, column] = to_rgba(HIGH if value >= middle else LOW, 0.05 + 0.95 * shade)
                more = series.text[place] if series.text else ""
                titles[row, column] = "\n".join(filter(None, [series.label, f"{chart.x}: {x}", _number(value), more]))
                text = f"{value:.0f}" if narrow else f"{value:.3g}"
                axes.text(column, row, text, ha="center", va="center_baseline", fontsize=5 if narrow else 7)
    cells = axes.pcolormesh(range(len(names)), range(len(panel.series)), colours, shading="nearest", zorder=0)
    cells.set(edgecolor=PAPER, linewidth=1.5)
    figure.explain(cells, "", *titles.ravel())
    axes.invert_yaxis()
    room = int(width / 0.062)
    turned = room < _UPRIGHT
    axes.set_xticks(range(len(names)), [short(name) if turned else fill(name, room) for name in names])
    axes.tick_params("x", rotation=90 if turned else 0)
    _name_rows(axes, [series.label for series in panel.series], styles)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _legend(figure: ChartFigure, styles: Mapping[str, Style]) -> None:
    """The names of all series, below the panels."""
    names = row_names(figure.chart)
    if not names:
        return
    draw_one: Callable[[str], Artist] = {
        "bar": lambda name: Patch(**styles[name].bar(), label=short(name)),
        "line": lambda name: Line2D([], [], **styles[name].line(), label=short(name)),
    }.get(figure.chart.kind, lambda name: Line2D([], [], **styles[name].dots(), markersize=4.6, label=short(name)))
    widths = [0.5 + _LETTER * len(short(name)) for name in names]
    columns = len(names) if sum(widths) < _WIDTH else max(1, int(_WIDTH / max(widths)))
    figure.set_figheight(figure.get_figheight() + 0.15 * -(-len(names) // columns))
    figure.legend(
        handles=list(map(draw_one, names)), loc="outside lower center", ncols=columns, handlelength=2.4,
        handletextpad=0.5, columnspacing=1.4,
    )  # fmt: skip


def _titles(chart: Chart, series: Series) -> list[str]:
    """What the points of a series say, of those that are drawn."""
    said = []
    for place, y in enumerate(series.y):
        if math.isfinite(y) and (categories(chart) is not None or math.isfinite(float(series.x[place]))):
            ends = (series.low[place], series.high[place]) if series.low else ()
            text = series.text[place] if series.text else ""
            said.append(_title(chart, series.label, series.x[place], y, ends, text))
    return said


def _title(chart: Chart, label: str, x: float | str, y: float, ends: Sequence[float] = (), text: str = "") -> str:
    at = "" if chart.kind == "row" else ": ".join(filter(None, [chart.x, x if isinstance(x, str) else _number(x)]))
    interval = f" [{', '.join(map(_number, ends))}]" if ends and not any(map(math.isnan, ends)) else ""
    value = f"{chart.x if chart.kind == 'row' else chart.y}: {_number(y)}{interval}"
    return "\n".join(filter(None, [label, at, value, text]))


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")

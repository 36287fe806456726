"""Where the panels of a figure stand: as large as leaves room for titles, labels and legends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import LayoutEngine
from matplotlib.transforms import Bbox, TransformedBbox

#: Around each panel and what belongs to it, in points.
_PAD = 3.0

#: Beyond that, between panels; a share of the room of one.
_GAP = 0.02


@dataclass
class _Margins:
    """What surrounds the panels of a row or a column, before and after them, in pixels."""

    before: float = 0.0
    after: float = 0.0

    def hold(self, before: float, after: float) -> None:
        self.before, self.after = max(self.before, before), max(self.after, after)


class OnePass(LayoutEngine):
    """Panels of one size in a grid, with a title above and a legend below them all.

    matplotlib's constrained layout does this and more, but measures everything twice, which takes a fifth of the
    time of a figure. Measuring once is enough where little changes with the size of a panel.
    """

    _adjust_compatible = False
    _colorbar_gridspec = False

    def execute(self, fig: Figure) -> None:
        """Moves the panels, and the title of the figure."""
        grid = fig.axes[0].get_gridspec() if fig.axes else None
        if grid is None:
            return
        renderer = cast("RendererAgg", FigureCanvasAgg(fig).get_renderer())  # type: ignore[no-untyped-call]
        pad = _PAD * fig.dpi / 72
        rows, columns = ([_Margins() for _ in range(count)] for count in (grid.nrows, grid.ncols))
        for axes in fig.axes:
            _measure(axes, renderer, rows, columns)
        header = max((text.get_window_extent(renderer).height + 2 * pad for text in fig.texts), default=0.0)
        footer = max((legend.get_window_extent(renderer).height + 2 * pad for legend in fig.legends), default=0.0)
        for text in fig.texts:
            text.set_y(1 - pad / fig.bbox.height)
        lefts, width = _along(columns, fig.bbox.width, pad)
        tops, height = _along(rows, fig.bbox.height - header - footer, pad)
        for axes in fig.axes:
            row, column = _place(axes)
            bottom = fig.bbox.height - header - tops[row] - height
            panel = Bbox.from_bounds(lefts[column], bottom, width, height)
            axes.set_position(TransformedBbox(panel, fig.transFigure.inverted()).bounds)


def arrange(figure: Figure) -> None:
    """Lays a figure out for good."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)
    figure.set_layout_engine(None)  # with any, each format would first be drawn once more, for nothing


def _place(axes: Axes) -> tuple[int, int]:
    """Row and column."""
    spec = axes.get_subplotspec()
    if spec is None:
        raise ValueError("these axes are not in a grid")
    return spec.rowspan.start, spec.colspan.start


def _measure(axes: Axes, renderer: RendererAgg, rows: list[_Margins], columns: list[_Margins]) -> None:
    row, column = _place(axes)
    inner, outer = axes.bbox, axes.get_tightbbox(renderer, for_layout_only=True)
    if outer is not None:
        rows[row].hold(outer.y1 - inner.y1, inner.y0 - outer.y0)
        columns[column].hold(inner.x0 - outer.x0, outer.x1 - inner.x1)


def _along(margins: list[_Margins], length: float, pad: float) -> tuple[list[float], float]:
    """Where panels begin along one direction, and how long each is."""
    gap = _GAP * length / len(margins)
    taken = sum(own.before + own.after + 2 * pad for own in margins) + gap * (len(margins) - 1)
    size = max((length - taken) / len(margins), pad)
    begins, at = [], 0.0
    for own in margins:
        begins.append(at + pad + own.before)
        at = begins[-1] + size + own.after + pad + gap
    return begins, size

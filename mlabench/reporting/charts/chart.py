"""What a figure shows, apart from how it is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Series:
    """One method's, or one group's, points of a chart; methods have the same colour in all charts.

    ``y`` is NaN where there is nothing; ``low`` and ``high`` are the ends of intervals, ``text`` is shown on hovering,
    ``names`` beside the points of a scatter; each of these may be empty.
    """

    label: str
    x: Sequence[float] | Sequence[str]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    text: Sequence[str] = ()
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    ``reference`` is a line at one y, ``diagonal`` the line y = x. ``band``: shaded, as far to either side of the
    reference as values are practically equal to it.
    """

    title: str
    series: tuple[Series, ...]
    reference: float | None = None
    diagonal: bool = False
    band: float = 0.0


@dataclass(frozen=True)
class Chart:
    """A figure.

    ``kind``: lines over numbers or names; points; or rows, one for each series, where a dot and its interval lie along
    the horizontal axis, with a panel for each name in ``x``. ``caption`` says what is peculiar to the figure,
    ``subtitle`` what a picture that stands alone must say (data, seeds, warnings). ``form`` is how y is written.
    ``logarithmic``: the horizontal axis of points.
    """

    name: str
    title: str
    caption: str
    kind: Literal["line", "scatter", "row"]
    x: str
    y: str
    panels: tuple[Panel, ...]
    subtitle: str = ""
    form: str = ".4g"
    logarithmic: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it was measured."""
        return not any(math.isfinite(y) for panel in self.panels for series in panel.series for y in series.y)

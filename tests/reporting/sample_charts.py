"""Charts of every kind, with made-up numbers."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.axis import Tick, XTick
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from mlabench.reporting.charts import Chart, Panel, Series, difference_chart, styles
from mlabench.reporting.charts.figure import draw, save

METHODS = ("Concat", "Late fusion", "QMF", "MMIN", "MLA")
RATES = (0.0, 20.0, 40.0, 60.0, 80.0)

#: A name that means something to HTML, JavaScript, XML and Python's format language.
HOSTILE = (
    """</script><script>document.title="taken"</script><img src=x onerror=document.title="taken"> "'&amp;|%{y}$x$"""
)


def line_chart(labels: tuple[str, ...] = METHODS) -> Chart:
    panels = []
    for shift, title in enumerate(("multimodal", "audio", "image", "text")):
        series = []
        for place, label in enumerate(labels):
            y = [70 + 3 * place - 8 * shift - (0.2 + 0.04 * place) * rate for rate in RATES]
            if place == 1:
                y[2] = math.nan
            low, high = [value - 2 for value in y], [value + 2 for value in y]
            series.append(Series(label, RATES, y, low, high, ["note"] * len(y) if place == 0 else ()))
        panels.append(Panel(title, tuple(series), reference=9.1 if shift == 0 else None))
    caption = "Lines: mean over 5 seeds; whiskers: 95 % intervals. Grey: chance."
    return Chart("rates", "Accuracy against the missing rate", caption, "line", "missing rate (%)",
                 "accuracy (%)", tuple(panels))  # fmt: skip


def dot_chart(labels: tuple[str, ...] = METHODS) -> Chart:
    x = ("audio", "image", "text")
    series = tuple(
        Series(label, x, y := [place * 2 - 6.0, 1.0 - place, 0.5 * place], [v - 1.5 for v in y], [v + 1.5 for v in y])
        for place, label in enumerate(labels)
    )
    caption = "Below zero: less than the encoder reaches alone."
    panels = (Panel("own predictions", series, reference=0.0), Panel("linear probe", series, reference=0.0))
    return Chart(
        "laziness", "Gap to the same encoder trained alone", caption, "row", "modality", "gap (points)", panels
    )


def scatter_chart(labels: tuple[str, ...] = METHODS) -> Chart:
    series = tuple(
        Series(
            label,
            [0.4 + 0.05 * place],
            [78.0 + (place % 3) * 0.6],
            [77.0 + (place % 3) * 0.6],
            [79.5 + (place % 3) * 0.6],
        )
        for place, label in enumerate(labels)
    )
    return Chart("gap", "Modality gap and accuracy", "One point per method.", "scatter", "modality gap (audio, image)",
                 "accuracy (%)", (Panel("", series),))  # fmt: skip


def cloud_chart(points: int = 100) -> Chart:
    generator = np.random.default_rng(0)
    clouds = {
        (panel, name): generator.normal(place + panel, 0.5, (2, points)).round(3)
        for panel in range(3)
        for place, name in enumerate(("audio", "image", "text"))
    }
    panels = tuple(
        Panel(
            title,
            tuple(Series(name, clouds[panel, name][0].tolist(), clouds[panel, name][1].tolist())
                  for name in ("audio", "image", "text")),
        )
        for panel, title in enumerate(("Concat", "Late fusion", "MLA"))
    )  # fmt: skip
    return Chart("projection", "Embeddings of the test samples", "Two principal components.", "scatter", "first",
                 "second", panels)  # fmt: skip


def reliability_chart() -> Chart:
    x = [0.1, 0.3, 0.5, 0.7, 0.9]
    series = (Series("audio", x, [0.2, 0.25, 0.4, 0.5, 0.7]), Series("image", x, [0.1, 0.35, 0.55, 0.75, 0.88]))
    return Chart("reliability", "Is confidence a good guide?", "Dotted: perfectly calibrated.", "line", "confidence",
                 "accuracy", (Panel("", series, diagonal=True),))  # fmt: skip


def row_chart(labels: tuple[str, ...] = METHODS) -> Chart:
    series = tuple(
        Series(label, [""], [y], [y - 2], [y + 3])
        for label, y in zip(labels, range(60, 60 + 2 * len(labels), 2), strict=True)
    )
    return Chart("ranking", "Methods in order", "Whiskers: 95 % intervals.", "row", "", "accuracy (%)",
                 (Panel("", series, reference=62.0),))  # fmt: skip


def differences(labels: tuple[str, ...] = METHODS[:-1], rates: tuple[float, ...] = RATES) -> Chart:
    """Of MLA from each of the others: by missing rate, or at one rate."""
    series = []
    for place, label in enumerate(labels):
        y = [0.5 * place - 0.3 * step for step in range(len(rates))]
        x = rates if len(rates) > 1 else [""]
        series.append(Series(label, x, y, [value - 1.2 for value in y], [value + 1.2 for value in y]))
    name = "differences" if len(rates) > 1 else "differences_complete"
    return difference_chart(name, "MLA minus the other methods", "MLA", series, margin=2.0)


def all_charts() -> list[Chart]:
    """One of every kind and use."""
    return [
        line_chart(), dot_chart(), row_chart(), reliability_chart(), scatter_chart(), cloud_chart(), differences(),
        differences(rates=(0.0,)),
    ]  # fmt: skip


def svg(chart: Chart, name: str = "figure") -> str:
    """The chart as it stands in the page."""
    with TemporaryDirectory() as folder:
        (own := Path(folder) / "suite" / "figures").mkdir(parents=True)
        return save(draw(chart, styles([], [chart])), own / f"{name}.png", own / f"{name}.pdf")


def overlapping_texts(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts of which one lies on the other."""
    figure.draw_without_rendering()
    ticks = [tick for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for tick in axis.get_major_ticks()]
    hidden = {tick.label1 for tick in ticks if not _in_view(tick)}
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text not in hidden]
    shared = [(one, other, Bbox.intersection(a, b)) for (one, a), (other, b) in combinations(boxes, 2)]
    return [(one, other) for one, other, box in shared if box is not None and box.width >= 1 and box.height >= 1.5]


def _in_view(tick: Tick) -> bool:
    """Others are there but not drawn."""
    ends = tick.axes.get_xlim() if isinstance(tick, XTick) else tick.axes.get_ylim()
    return bool(min(ends) <= tick.get_loc() <= max(ends))

"""Charts in HTML: panels that the page's script draws when they come into view, and a picture of them for print."""

from __future__ import annotations

from collections.abc import Mapping

from mlabench.report.answer import Chart
from mlabench.report.chart_plotly import panels, themed
from mlabench.report.html_elements import Markup, data, element, identifier, joined, picture, prose
from mlabench.report.looks import HIGHLIGHT, Look

#: Markers in a box from -8 to 8, as in matplotlib and plotly.
_MARKERS = {
    "o": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0", "s": "M-4.5-4.5h9v9h-9z", "^": "M0-5.5L5.5 4.5H-5.5z",
    "D": "M0-6L6 0L0 6L-6 0z", "v": "M0 5.5L5.5-4.5H-5.5z", "P": "M-2-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
    "X": "M-5.5-3L-3-5.5L0-2.5L3-5.5L5.5-3L2.5 0L5.5 3L3 5.5L0 2.5L-3 5.5L-5.5 3L-2.5 0z",
    "h": "M0-6L5.2-3V3L0 6L-5.2 3V-3z", "<": "M-5.5 0L4.5-5.5V5.5z", ">": "M5.5 0L-4.5-5.5V5.5z",
    "p": "M0-6L5.7-1.9L3.5 4.9H-3.5L-5.7-1.9z",
    "*": "M0-6.5L1.9-2L6.5-2L2.9 1.1L4.1 6L0 3.2L-4.1 6L-2.9 1.1L-6.5-2L-1.9-2z",
}  # fmt: skip
_DASHES = {"-": "", "--": "5 3", ":": "1.5 2.5", "-.": "6 2 1.5 2"}


def chart(shown: Chart, looks: Mapping[str, Look], place: str, drawing: bytes | None) -> Markup:
    """A chart: title, names, panels, caption.

    Args:
        shown: The chart.
        looks: A look for each of its names.
        place: What its id begins with.
        drawing: PNG of it; without one, readers without scripts are told that there is nothing to see.
    """
    name = identifier(place, "figure", shown.name)
    # Two by two rather than three and one.
    narrowest = {1: "100%", 2: "26rem", 4: "26rem"}.get(len(shown.panels), "20rem")
    rows = max((len(panel.series) for panel in shown.panels), default=0)
    boxes = [
        element(
            "div",
            element("p", panel.title, class_="panel-title") if panel.title else "",
            element(
                "div",
                class_="plot",
                role="img",
                aria_label=". ".join(filter(None, [shown.title, panel.title, shown.caption])),
            ),
            class_="panel",
        )
        for panel in shown.panels
    ]
    instead: str = element("p", "This chart is drawn by a script, which does not run here.", class_="drawing")
    if drawing:
        instead = picture(drawing, f"{shown.title}. {shown.caption}", class_="drawing")
    return element(
        "figure",
        element("h4", shown.title, id=f"{name}-title"),
        _legend(shown, looks),
        element("div", *boxes, class_="panels", style=f"--rows: {rows}; --narrowest: {narrowest}"),
        instead,
        element("figcaption", prose(shown.caption)),
        data(panels(shown, looks)),
        id=name,
        class_=f"chart {shown.kind}-chart",
        aria_labelledby=f"{name}-title",
    )


def static(title: str, caption: str, png: bytes) -> Markup:
    """A figure that is only a picture."""
    return element(
        "figure",
        element("h4", title),
        picture(png, f"{title}. {caption}"),
        element("figcaption", prose(caption)),
        class_="picture",
    )


def _legend(shown: Chart, looks: Mapping[str, Look]) -> Markup:
    """The names; each is a button that hides and shows its series in all panels."""
    names = dict.fromkeys(series.label for panel in shown.panels for series in panel.series)
    if shown.kind in ("row", "grid") or not names:
        return Markup("")
    buttons = [
        element(
            "button",
            _swatch(shown, looks[name]),
            element("span", name),
            type="button",
            aria_pressed="true",
            data_name=name,
            class_="highlight" if name == HIGHLIGHT else False,
        )
        for name in names
    ]
    return element("div", *buttons, class_="legend", role="group", aria_label="Show or hide")


def _swatch(shown: Chart, look: Look) -> Markup:
    light, dark = themed(look.colour).split("|")
    shape: str = element("path", d=_MARKERS[look.marker])
    if shown.kind == "bar":
        shape = element("rect", x="-6", y="-6", width="12", height="12", rx="1")
    elif shown.kind == "line":
        dashes = _DASHES[look.dashes]
        line = element("line", x1="-14", x2="14", y1="0", y2="0", stroke_dasharray=dashes or False)
        shape = joined(line, shape)
    box = "-14 -8 28 16" if shown.kind == "line" else "-8 -8 16 16"
    return element("svg", shape, viewBox=box, aria_hidden="true", style=f"--light: {light}; --dark: {dark}")

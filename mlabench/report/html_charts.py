"""Charts in HTML: title, figure, caption."""

from __future__ import annotations

from mlabench.report.answer import Chart
from mlabench.report.html_elements import Markup, element, identifier, prose


def chart(shown: Chart, place: str, svg: str) -> Markup:
    """A chart.

    Args:
        shown: The chart.
        place: What its id begins with.
        svg: Its drawing, from :func:`mlabench.report.chart_figure.save`, which has escaped all texts.
    """
    name = identifier(place, "figure", shown.name)
    return element(
        "figure",
        element("h4", shown.title, id=f"{name}-title"),
        element("div", Markup(svg), class_="drawing"),
        element("figcaption", prose(shown.caption)),
        id=name,
        class_=f"chart {shown.kind}-chart",
        aria_labelledby=f"{name}-title",
    )

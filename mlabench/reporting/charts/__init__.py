"""Charts: what they show of a suite's numbers, their axes, the style of each name, and their drawing by matplotlib.

A suite's report makes charts; :mod:`mlabench.reporting.charts.figure` draws each once: PNG and PDF files, and SVG for
the page.
"""

from mlabench.reporting.charts.chart import Chart, Panel, Series
from mlabench.reporting.charts.of_results import difference_chart, intervals, result_charts, with_facts
from mlabench.reporting.charts.styles import HIGHLIGHT, Style, styles

__all__ = [
    "HIGHLIGHT",
    "Chart",
    "Panel",
    "Series",
    "Style",
    "difference_chart",
    "intervals",
    "result_charts",
    "styles",
    "with_facts",
]

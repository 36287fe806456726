"""Charts: what they show of a suite's numbers, their axes, the style of each name, and their drawing by matplotlib.

A suite's report makes charts and gives them room; :mod:`mlabench.reporting.charts.figure` draws its files as PNG and
PDF, and as SVG for the page.
"""

from mlabench.reporting.charts.axes import CROWD, with_room
from mlabench.reporting.charts.of_results import result_charts
from mlabench.reporting.charts.styles import HIGHLIGHT, Style, styles

__all__ = ["CROWD", "HIGHLIGHT", "Style", "result_charts", "styles", "with_room"]

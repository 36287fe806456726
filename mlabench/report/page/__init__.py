"""The report as one HTML file that needs no network, filled into Jinja templates, which escape every text.

The report and the comparison of two folders call :func:`render_page` and :func:`render_comparison`.
"""

from mlabench.report.page.render import TOGETHER, PageContent, render_comparison, render_page

__all__ = ["TOGETHER", "PageContent", "render_comparison", "render_page"]

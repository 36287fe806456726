"""The pages: all suites in one HTML file that needs no network, and each suite in Markdown.

They are Jinja templates; those of HTML escape every text. The report and the comparison of two folders call
:func:`render_page`, :func:`render_markdown` and :func:`render_comparison`, the leaderboard :func:`filled`.
"""

from mlabench.reporting.page.render import (
    BY_ENCODERS,
    TOGETHER,
    PageContent,
    filled,
    render_comparison,
    render_markdown,
    render_page,
)

__all__ = ["BY_ENCODERS", "TOGETHER", "PageContent", "filled", "render_comparison", "render_markdown", "render_page"]

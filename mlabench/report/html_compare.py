"""Two results folders side by side, as one HTML file in the style of the report."""

from __future__ import annotations

from collections.abc import Sequence

from mlabench.report import html_tables
from mlabench.report.html_document import commands, document
from mlabench.report.html_elements import Markup, bullets, element
from mlabench.report.table import Table


def render_comparison(
    folders: tuple[str, str],
    verdict: Sequence[str],
    shortfalls: Sequence[str],
    tables: Sequence[Table],
    version: str,
) -> str:
    """The page; the same content gives the same text.

    Args:
        folders: A and B.
        verdict: What was reproduced and what was changed, in sentences.
        shortfalls: What could not be compared, in sentences.
        tables: The evidence.
        version: Version of mlabench that made it.
    """
    made = commands([f"mlabench report --compare {' '.join(folders)}"])
    contents = [("Summary", "summary"), ("Tables", "tables"), ("How this page was made", "commands")]
    shown = element("section", element("h2", "Tables"), *html_tables.tables(tables, "table"), id="tables")
    sections = [_summary(folders, verdict, shortfalls), shown, made]
    return document("mlabench: two results folders side by side", version, contents, sections)


def _summary(folders: tuple[str, str], verdict: Sequence[str], shortfalls: Sequence[str]) -> Markup:
    terms = [part for name, folder in zip("AB", folders, strict=True) for part in (("dt", name), ("dd", folder))]
    parts = [
        element("h2", "Summary"),
        element("dl", *(element(name, text) for name, text in terms), class_="terms"),
        *(element("p", sentence, class_="headline") for sentence in verdict),
    ]
    if shortfalls:
        parts.append(bullets(list(shortfalls), class_="alarm"))
    return element("section", *parts, id="summary")

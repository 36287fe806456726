"""What the HTML page shows, apart from how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlabench.report.all_suites import AllSuites
from mlabench.report.answer import Answer
from mlabench.report.suite_report import SuiteReport

#: How the numbers of all answers are made.
DEFINITIONS = (
    "All methods of a suite share seeds, splits and missing patterns, so every comparison is paired: the same seeds, "
    "the same test samples.",
    "An interval covers 95 %: the error from the draw of the test samples by bootstrap, where samples that are not "
    "independent (of one concept, speaker or dialogue) are drawn together, and that from the draw of the seeds by "
    "Student's t. Where predictions are not stored, it is over seeds alone, and it says so.",
    "A p-value belongs to the paired comparison and interval beside it, corrected by Holm's method for the number of "
    "tests of its question.",
    "± is the standard deviation over seeds (ddof = 1).",
    "Bold: the best of its column, or statistically indistinguishable from it. Cells that lack a run do not compete, "
    "and say what they lack.",
    "A verdict follows from the rule written beside it, and holds for the dataset named beside it, nothing else.",
)


@dataclass(frozen=True)
class PageContent:
    """The page.

    Attributes:
        title: Its title.
        version: Version of mlabench that made it.
        suites: The suites, in order; their figures lie in their folders.
        together: What is said about all suites together; None if there is nothing.
        commands: The commands that made the results and the page.
        records: Address of the folder of trials as seen from the page.
        drawings: SVG of each chart by (suite, name of the chart).
        definitions: How the numbers are made, one sentence each.
    """

    title: str
    version: str
    suites: tuple[SuiteReport, ...] = ()
    together: AllSuites | None = None
    commands: tuple[str, ...] = ()
    records: str = ""
    drawings: Mapping[tuple[str, str], str] = field(default_factory=dict)
    definitions: Sequence[str] = DEFINITIONS

    @property
    def answers(self) -> list[Answer]:
        """The answers of all suites, in the order of the questions."""
        return sorted((one for suite in self.suites for one in suite.answers), key=lambda one: one.question)

"""What the HTML page shows, apart from how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlabench.report.answer import Answer, Chart
from mlabench.report.looks import Look
from mlabench.report.results import Results
from mlabench.report.table import Table

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
    "Bold: the best of its column or not separable from it. Cells that lack a run do not compete, and say what they "
    "lack.",
    "A verdict follows from the rule written beside it, and holds for the dataset named beside it, nothing else.",
)


@dataclass(frozen=True)
class Picture:
    """A figure that is only a picture.

    Attributes:
        title: One line.
        caption: All that one must know to read it.
        png: The picture.
    """

    title: str
    caption: str
    png: bytes


@dataclass(frozen=True)
class TrialLine:
    """One trial of a suite.

    Attributes:
        label: Name of its method.
        setting: What was missing in training.
        seed: Its seed.
        trial: Its id.
        status: ``ok``, ``failed`` or ``missing``.
        reason: Why it is not ok.
        record: Address of its record as seen from the page; empty if there is none.
    """

    label: str
    setting: str
    seed: int
    trial: str
    status: str
    reason: str = ""
    record: str = ""


@dataclass(frozen=True)
class SuiteContent:
    """A suite's numbers and what one should know about them.

    Attributes:
        name: Its name.
        heading: Its name and title.
        tables: Its tables.
        charts: Its charts beyond those of the answers.
        pictures: Its figures that are only pictures.
        shortfalls: One sentence for each kind of thing that is not there.
        caveats: What to keep in mind.
        trials: All its trials.
        environment: Versions, device, commit: one line each.
        source: The suite as YAML.
    """

    name: str
    heading: str
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    pictures: tuple[Picture, ...] = ()
    shortfalls: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    trials: tuple[TrialLine, ...] = ()
    environment: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class PageContent:
    """The page.

    Attributes:
        title: Its title.
        version: Version of mlabench that made it.
        looks: A look for every name in its charts.
        answers: The answers, in the order of the questions.
        suites: The suites, in order.
        across: What is said about all suites together, as if they were one; None if there is nothing.
        commands: The commands that made the results and the page.
        drawings: PNG of each chart by (suite, name of the chart), for print and for readers without scripts.
        definitions: How the numbers are made, one sentence each.
    """

    title: str
    version: str
    looks: Mapping[str, Look] = field(default_factory=dict)
    answers: tuple[Answer, ...] = ()
    suites: tuple[SuiteContent, ...] = ()
    across: SuiteContent | None = None
    commands: tuple[str, ...] = ()
    drawings: Mapping[tuple[str, str], bytes] = field(default_factory=dict)
    definitions: Sequence[str] = DEFINITIONS


def trial_lines(results: Results, folder: str) -> tuple[TrialLine, ...]:
    """One line per trial and thing that came of it.

    Args:
        results: The numbers.
        folder: Address of the folder of trials as seen from the page.
    """
    names = ["label", "train_setting", "seed", "trial", "status", "reason"]
    rows = results.scores[names].drop_duplicates(["label", "trial", "status", "reason"]).to_numpy().tolist()
    return tuple(
        TrialLine(label, setting, seed, trial, status, reason, f"{folder}/{trial}/record.json" if made else "")
        for label, setting, seed, trial, status, reason in rows
        for made in (trial in results.records,)
    )

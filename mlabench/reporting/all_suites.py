"""The methods over all datasets of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlabench.reporting import wording
from mlabench.reporting.charts import Chart
from mlabench.reporting.results import Results
from mlabench.reporting.suite_report import SuiteReport
from mlabench.reporting.table import Table


@dataclass(frozen=True)
class AllSuites:
    """What is said about several suites together; ``notes`` say what it rests on."""

    folder: Path
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    notes: tuple[str, ...]


def rank_all(suites: Sequence[SuiteReport], folder: Path) -> AllSuites | None:
    """How methods stand over the datasets; None if no two datasets have ranked two methods of the same name."""
    from mlabench.reporting.tables.leaderboard import standings  # with SciPy, which takes a moment to import

    chosen = _largest(suites)
    results = [suite.results for suite in chosen.values()]
    boards = {dataset: suite.board for dataset, suite in chosen.items() if suite.board}
    found = standings(boards, _conditions(results), results[0].plan.margin) if results else None
    if found is None:
        return None
    table, chart = found
    shared = [row.heads[0] for row in table.rows]
    return AllSuites(folder, (table,), (chart,) if chart else (), tuple(_notes(suites, chosen, shared)))


def _conditions(suites: Sequence[Results]) -> str:
    """What the captions say about data, seeds and selection."""
    parts = [(wording.dataset_sentence(own.plan), f"{own.plan.name}: {wording.seeds(own.scores)}") for own in suites]
    data, seeds = (list(dict.fromkeys(kind)) for kind in zip(*parts, strict=True))
    selection = dict.fromkeys(wording.selection_sentences(own.scores) for own in suites)
    return " ".join([*data, f"{'; '.join(seeds)}.", *selection])


def _largest(suites: Sequence[SuiteReport]) -> dict[str, SuiteReport]:
    """By dataset, the suite whose leaderboard ranks the most methods, of these the one with the most rates."""
    chosen: dict[str, tuple[tuple[int, int], SuiteReport]] = {}
    for suite in suites:
        if suite.board and suite.board.ranking:
            dataset = wording.datasets(suite.results.plan)
            size = len(suite.board.ranking.intervals), len(suite.results.settings)
            if dataset not in chosen or size > chosen[dataset][0]:
                chosen[dataset] = size, suite
    return {dataset: suite for dataset, (_, suite) in chosen.items()}


def _notes(suites: Sequence[SuiteReport], chosen: Mapping[str, SuiteReport], shared: Sequence[str]) -> Iterator[str]:
    yield f"Ranked: {', '.join(f'{dataset} ({suite.name})' for dataset, suite in chosen.items())}."
    labels = dict.fromkeys(label for suite in chosen.values() for label in suite.results.labels)
    if others := [label for label in labels if label not in shared]:
        yield f"Methods left out, which have not all their runs on each of these: {', '.join(others)}."
    if doubled := [one.name for one in suites if one.board and all(one is not own for own in chosen.values())]:
        yield f"Suites left out, which rank fewer methods on the same dataset: {', '.join(doubled)}."

"""The methods over all datasets of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mlabench.reporting import wording
from mlabench.reporting.charts import Chart
from mlabench.reporting.results import Results
from mlabench.reporting.suite_report import SuiteReport
from mlabench.reporting.table import Table
from mlabench.reporting.wording import LEARNING


@dataclass(frozen=True)
class AllSuites:
    """What is said about several suites together; ``notes`` say what it rests on."""

    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    notes: tuple[str, ...]


def rank_all(suites: Sequence[SuiteReport]) -> AllSuites | None:
    """How methods stand over the datasets; None if no two datasets have ranked two methods of the same name.

    Datasets whose encoders learn in different ways are ranked apart, and of those with the same samples there is one.
    """
    from mlabench.reporting.tables.leaderboard import standings  # with SciPy, which takes a moment to import

    chosen = _largest(suites)
    ways = {encoders for encoders, _ in chosen}
    tables, charts, notes = list[Table](), list[Chart](), list[str]()
    for way in [*LEARNING, *sorted(ways - LEARNING.keys())]:
        own = {dataset: suite for (encoders, dataset), suite in chosen.items() if encoders == way}
        results = [suite.results for suite in own.values()]
        boards = {dataset: suite.board for dataset, suite in own.items() if suite.board}
        found = standings(boards, _conditions(results), results[0].plan.margin) if results else None
        if found is not None:
            table, chart = found
            notes += _notes(own, [row.heads[0] for row in table.rows])
            if len(ways) > 1:
                name = f"standings_{way.replace(' ', '_')}"
                table = replace(table, name=name, title=f"{table.title} ({LEARNING.get(way, way).lower()})")
                chart = chart and replace(chart, name=name)
            tables.append(table)
            charts += [chart] if chart else []
    if not tables:
        return None
    ranked = [*chosen.values()]
    if doubled := [one.name for one in suites if one.board and all(one is not own for own in ranked)]:
        notes.append(f"Suites left out, which rank fewer methods on the same samples: {', '.join(doubled)}.")
    return AllSuites(tuple(tables), tuple(charts), tuple(notes))


def _conditions(suites: Sequence[Results]) -> str:
    """What the captions say about data, seeds and selection."""
    parts = [(wording.dataset_sentence(own.plan), f"{own.plan.name}: {wording.seeds(own.scores)}") for own in suites]
    data, seeds = (list(dict.fromkeys(kind)) for kind in zip(*parts, strict=True))
    selection = dict.fromkeys(wording.selection_sentences(own.scores) for own in suites)
    return " ".join([*data, f"{'; '.join(seeds)}.", *selection])


def _largest(suites: Sequence[SuiteReport]) -> dict[tuple[str, str], SuiteReport]:
    """The suite whose leaderboard ranks the most methods, of these the one with the most rates.

    By how encoders learn and by dataset, of those with the same samples one.
    """
    chosen: dict[tuple[str, str], tuple[tuple[int, int], SuiteReport]] = {}
    for suite in suites:
        if suite.board and suite.board.ranking:
            plan = suite.results.plan
            place = wording.encoders(plan), wording.counted_as(wording.datasets(plan))
            size = len(suite.board.ranking.intervals), len(suite.results.settings)
            if place not in chosen or size > chosen[place][0]:
                chosen[place] = size, suite
    return {(encoders, wording.datasets(suite.results.plan)): suite for (encoders, _), (_, suite) in chosen.items()}


def _notes(chosen: Mapping[str, SuiteReport], shared: Sequence[str]) -> Iterator[str]:
    yield f"Ranked: {', '.join(f'{dataset} ({suite.name})' for dataset, suite in chosen.items())}."
    labels = dict.fromkeys(label for suite in chosen.values() for label in suite.results.labels)
    if others := [label for label in labels if label not in shared]:
        yield f"Methods left out, which have not all their runs on each of these: {', '.join(others)}."

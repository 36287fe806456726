"""One ranking of the methods over all suites of a report: over every dataset and missing rate that they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlabench.reporting import wording
from mlabench.reporting.charts import Chart
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import Cell, Row, Table, measure, unranked

#: What is ranked over.
_OVER = "pairs of dataset and missing rate"


@dataclass(frozen=True)
class Block:
    """One dataset at one missing rate, as one suite measured it.

    ``patterns`` is what is missing, exactly, in training and at test; ``cells`` holds the fused accuracy of the methods
    whose planned runs are all there, ``partial`` names the others.
    """

    dataset: str
    setting: str
    suite: str
    patterns: tuple[str, str]
    cells: Mapping[str, Cell]
    partial: tuple[str, ...]


@dataclass(frozen=True)
class AllSuites:
    """What is said about several suites together; ``notes`` say what was left out, and why."""

    folder: Path
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    notes: tuple[str, ...]


def blocks(results: Results) -> Iterator[Block]:
    """The blocks of one suite, by rate."""
    datasets = wording.datasets(results.plan)
    name = f"{datasets} ({', '.join(results.plan.modalities)})"
    for setting in results.settings:
        measured = {label: results.at(label, setting, MULTIMODAL) for label in results.labels}
        runs = [own for own in measured.values() if not own.empty]
        patterns = str(runs[0]["train"].iloc[0]), str(runs[0]["test"].iloc[0])
        cells = {label: measure(own) for label, own in measured.items() if not own.empty}
        whole = {label: cell for label, cell in cells.items() if cell.complete}
        partial = tuple(label for label in cells if label not in whole)
        yield Block(name, setting, results.plan.name, patterns, whole, partial)


def rank_all(suites: Sequence[Results], folder: Path) -> AllSuites | None:
    """Ranks the methods over the blocks that share them; None if no two datasets share two methods."""
    from mlabench.reporting.questions.ranking import ranking  # with SciPy's statistics, which take a moment to import

    distinct, doubled = _distinct([block for results in suites for block in blocks(results)])
    labels, ranked = _shared(distinct)
    if not labels:
        return None
    scores = np.array([[block.cells[label].number for label in labels] for block in ranked], dtype=float)
    caption = _conditions(suites)
    tables, charts = ranking(labels, scores, caption, _OVER)
    return AllSuites(
        folder=folder,
        tables=(*tables, _ranked_table(labels, ranked, caption)),
        charts=tuple(charts),
        notes=tuple(_notes(labels, ranked, distinct, doubled)),
    )


def _conditions(suites: Sequence[Results]) -> str:
    """What the captions say about data, seeds and selection."""
    parts = [(wording.dataset_sentence(own.plan), f"{own.plan.name}: {wording.seeds(own.scores)}") for own in suites]
    data, seeds = (list(dict.fromkeys(kind)) for kind in zip(*parts, strict=True))
    selection = dict.fromkeys(wording.selection_sentences(own.scores) for own in suites)
    return " ".join([*data, f"{'; '.join(seeds)}.", *selection])


def _distinct(found: Sequence[Block]) -> tuple[list[Block], list[Block]]:
    """One block for each dataset and rate, that with the most methods; and those that would count double."""
    best: dict[tuple[str, tuple[str, str]], Block] = {}
    for block in found:
        place = block.dataset, block.patterns
        if place not in best or len(block.cells) > len(best[place].cells):
            best[place] = block
    return list(best.values()), [block for block in found if best[block.dataset, block.patterns] is not block]


def _shared(distinct: Sequence[Block]) -> tuple[list[str], list[Block]]:
    """The methods, and the blocks of two datasets or more that have all of them, with the most comparisons."""
    candidates: set[frozenset[str]] = set()
    for own in {frozenset(block.cells) for block in distinct}:
        candidates |= {own, *(own & other for other in candidates)}
    most, best = 0, (list[str](), list[Block]())
    for methods in sorted(candidates, key=lambda methods: (-len(methods), sorted(methods))):
        having = [block for block in distinct if methods <= block.cells.keys()]
        comparisons = len(methods) * (len(methods) - 1) // 2 * len(having)
        if comparisons > most and len({block.dataset for block in having}) > 1:
            most, best = comparisons, ([label for label in having[0].cells if label in methods], having)
    return best


def _ranked_table(labels: Sequence[str], ranked: Sequence[Block], caption: str) -> Table:
    return Table(
        name="blocks",
        title="What was ranked",
        note="Fused accuracy in percent, mean ± standard deviation over seeds.",
        conditions=caption,
        heads=("Dataset", "Missing", "Suite"),
        columns=unranked(*labels),
        rows=tuple(
            Row((block.dataset, block.setting, block.suite), tuple(block.cells[label] for label in labels))
            for block in ranked
        ),
        detail=True,
    )


def _notes(
    labels: Sequence[str], ranked: Sequence[Block], distinct: Sequence[Block], doubled: Sequence[Block]
) -> Iterator[str]:
    datasets = dict.fromkeys(block.dataset for block in ranked)
    yield (
        f"Ranked: {len(labels)} methods over {len(ranked)} {_OVER}, of {len(datasets)} datasets, with equal weight: "
        "a dataset with more rates counts more. No other methods and blocks, each method with each block, have more "
        "comparisons of two methods."
    )
    methods = dict.fromkeys(label for block in distinct for label in (*block.cells, *block.partial))
    if others := [label for label in methods if label not in labels]:
        yield f"Methods left out, since not all of these blocks have all their runs: {', '.join(others)}."
    lacking: dict[tuple[str, ...], list[Block]] = {}
    for block in distinct:
        if lacks := [label for label in labels if label not in block.cells]:
            told = [f"{label} (runs failed or are missing)" if label in block.partial else label for label in lacks]
            lacking.setdefault(tuple(told), []).append(block)
    for why, lost in lacking.items():
        yield f"Left out, lacking {', '.join(why)}: {_named(lost)}."
    if doubled:
        yield f"Left out, for dataset and rate are there already: {_named(doubled)}."


def _named(found: Sequence[Block]) -> str:
    settings: dict[tuple[str, str], list[str]] = {}
    for block in found:
        settings.setdefault((block.dataset, block.suite), []).append(block.setting)
    return "; ".join(f"{data} at {', '.join(rates)} ({suite})" for (data, suite), rates in settings.items())

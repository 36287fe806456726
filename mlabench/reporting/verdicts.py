"""All verdicts of a report together: what was found in one line, and the grid of questions by datasets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, get_args

from mlabench.reporting.answer import TOPICS, Answer, Topic
from mlabench.reporting.table import Cell, Row, Table, unranked
from mlabench.reporting.wording import LEARNING, listed
from mlabench.statistics import Verdict
from mlabench.words import counted


def lead(answers: Sequence[Answer]) -> str:
    """What was found, in one line."""
    if not answers:
        return "None of Q1 to Q4 is answered here. What was measured stands below."
    found = Counter(one.verdict for one in answers)
    parts = [f"{verdict} in {found[verdict]}" for verdict in (*get_args(Verdict), "mixed") if found[verdict]]
    return f"{counted(len(answers), 'answer')} on {listed(datasets(answers))}. MLA is {', '.join(parts)}."


class GridRow(NamedTuple):
    """A row of the grid: its answers, and in ``cells`` one for each dataset, None where it was not asked."""

    topic: Topic
    answers: list[Answer]
    cells: list[Answer | None]


def grid(answers: Sequence[Answer]) -> list[GridRow]:
    """The questions that were asked, in their order, by dataset."""
    rows = []
    for half, topic in TOPICS.items():
        by_dataset = {one.dataset: one for one in answers if one.half == half}
        if by_dataset:
            cells = [by_dataset.get(dataset) for dataset in datasets(answers)]
            rows.append(GridRow(topic, [one for one in cells if one], cells))
    return rows


def by_encoders(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    """The answers by how encoders learn, in the order of :data:`LEARNING`."""
    kinds = dict.fromkeys([*LEARNING, *(one.encoders for one in answers)])
    groups = {kind: [one for one in answers if one.encoders == kind] for kind in kinds}
    return {kind: own for kind, own in groups.items() if own}


def datasets(answers: Sequence[Answer]) -> list[str]:
    """The datasets that something was asked on, by how encoders learn there."""
    return list(dict.fromkeys(one.dataset for own in by_encoders(answers).values() for one in own))


def column_groups(answers: Sequence[Answer]) -> list[tuple[str, int]]:
    """What stands above the columns of the grid: how encoders learn, and on how many datasets; nothing if all alike."""
    groups = [
        (LEARNING.get(encoders, encoders), len({one.dataset for one in own}))
        for encoders, own in by_encoders(answers).items()
    ]
    return groups if len(groups) > 1 else []


def verdict_table(answers: Sequence[Answer]) -> Table:
    """One row per answer: its verdict, and the difference that it turns on."""
    rows = []
    for one in [one for row in grid(answers) for one in row.answers]:
        turns = one.family.deciding
        needed = one.family.needed if one.verdict == "undecided" else None
        cells = (
            Cell(text=one.verdict),
            Cell(interval=one.effect, form=f"+z.{turns.digits if turns else 1}f"),
            Cell(text=turns.other if turns else "—"),
            Cell(text=str(needed) if needed else "—"),
            Cell(text=turns.unit if turns else "—"),
        )
        rows.append(Row((f"{one.topic.question} {one.topic.name}", one.dataset), cells))
    return Table(
        name="verdicts",
        title="Verdicts",
        note="Difference: the method in question minus the one that the verdict turns on, with its 95 % interval. More "
        "trainings: about so many per method would decide.",
        conditions="",
        heads=("Question", "Dataset"),
        columns=unranked("Verdict", "Difference", "Against", "More trainings", "Unit"),
        rows=tuple(rows),
    )

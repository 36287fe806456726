"""Two results folders side by side: before and after a change, or two machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from mlabench.display import counted
from mlabench.errors import UserError, cannot_write
from mlabench.plan import Plan
from mlabench.report import render
from mlabench.report.results import MULTIMODAL, Results, load, read_all
from mlabench.report.statistics import Comparison, compare, difference_of_means, holm
from mlabench.report.table import Cell, Column, Row, Table, measure
from mlabench.store import Store
from mlabench.trial import Evaluation, Record, Trial

#: A cell of a suite: suite, label, missing pattern of the training, seed.
Place = tuple[str, str, str, int]

#: Largest p-value, after Holm's correction, at which a difference counts.
LEVEL = 0.05

#: Longer tables are left to the files.
_TERMINAL_ROWS = 24

_NO_VALUE = "none"


@dataclass(frozen=True)
class Repeated:
    """A trial that both folders have.

    Attributes:
        trial: Its id.
        same_status: Whether it came to an end, or failed, in both.
        differences: Accuracy in B minus in A, in points, by test pattern and target; what only one side
            measured is left out.
        devices: What it ran on in A and in B.
    """

    trial: str
    same_status: bool
    differences: Mapping[str, float]
    devices: tuple[str, str]

    @property
    def equal(self) -> bool:
        """Whether nothing differs at all."""
        return self.same_status and not any(self.differences.values())

    @property
    def must_be_equal(self) -> bool:
        """Whether it ran on a CPU both times, where trials are reproducible to the bit."""
        return set(self.devices) <= {"cpu"}


@dataclass
class Findings:
    """What differs between two folders.

    Attributes:
        repeated: Trials of the same id, with a record in both.
        changed: Cells that both ask for, but as different trials: what is different about them.
        only: Cells, by folder, that have a record in that one only.
        unread: Records, by folder, that could not be read, as (trial id, reason).
    """

    repeated: list[Repeated] = field(default_factory=list)
    changed: dict[Place, tuple[str, ...]] = field(default_factory=dict)
    only: tuple[list[Place], list[Place]] = field(default_factory=lambda: ([], []))
    unread: tuple[list[tuple[str, str]], list[tuple[str, str]]] = field(default_factory=lambda: ([], []))


def compare_folders(a: Path, b: Path, out: Path | None, console: Console) -> int:
    """Prints how two results folders differ, and writes it to ``out/compare.md`` and tables as CSV.

    Args:
        a: A results folder.
        b: Another, which is held against ``a``.
        out: Folder to write to; None to print only.
        console: Where to print.

    Returns:
        1 if a trial did not come out the same on two CPUs, else 0.

    Raises:
        UserError: If a folder has no results, or ``out`` cannot be written.
    """
    stores = _open(a), _open(b)
    plans = tuple({plan.name: plan for plan in store.plans()} for store in stores)
    findings = find(stores, plans)
    means = [
        table
        for name in plans[0]
        if name in plans[1] and (table := means_table(plans[0][name], plans[1][name], stores)) is not None
    ]
    tables = [*filter(None, [_repeated_table(findings), _changed_table(findings), _only_table(findings)]), *means]
    lines = [f"A: {a}", f"B: {b}", *verdict(findings), *_shortfalls(findings)]
    for line in lines:
        console.print(Text(line), soft_wrap=True)
    for table in tables:
        if not table.detail:
            console.print(render.terminal(table), crop=False)
    if more := [table.name for table in tables if table.detail]:
        where = f"in {out}" if out else "written with --out"
        console.print(Text(f"More tables, {where}: {', '.join(more)}.", style="dim"))
    if out is not None:
        _write(out, lines, tables)
    return int(any(trial.must_be_equal and not trial.equal for trial in findings.repeated))


def find(stores: tuple[Store, Store], plans: tuple[Mapping[str, Plan], Mapping[str, Plan]]) -> Findings:
    """Holds the records and the plans of two folders against each other."""
    findings = Findings()
    records: list[dict[str, Record]] = []
    for store, unread in zip(stores, findings.unread, strict=True):
        already = len(store.set_aside)
        read, refused = read_all(store, store.ids())
        records.append(read)
        unread += [*refused, *store.set_aside[already:]]
    findings.repeated = [_repeated(records[0][trial], records[1][trial]) for trial in records[0] if trial in records[1]]
    cells = [_cells(own) for own in plans]
    for place in cells[0]:
        if place in cells[1] and cells[0][place].id != cells[1][place].id:
            findings.changed[place] = tuple(changes(cells[0][place], cells[1][place]))
    for side, own in enumerate(findings.only):
        there, other = records[side], records[1 - side]
        for place, trial in cells[side].items():
            twin = cells[1 - side].get(place, trial)
            if trial.id in there and twin.id not in other:
                own.append(place)
    return findings


def changes(before: Trial, after: Trial) -> Iterator[str]:
    """The fields of two trials that differ: ``training.epochs: 30 → 40``."""
    old, new = dict(_flat(before.identity())), dict(_flat(after.identity()))
    for name in dict.fromkeys([*old, *new]):
        if old.get(name, _NO_VALUE) != new.get(name, _NO_VALUE):
            yield f"{name}: {old.get(name, _NO_VALUE)} → {new.get(name, _NO_VALUE)}"


def verdict(findings: Findings) -> Iterator[str]:
    """One sentence on trials that both have, and one on those that were changed."""
    repeated = findings.repeated
    differ = [trial for trial in repeated if not trial.equal]
    if not repeated:
        yield "No trial is in both folders: nothing was repeated."
    elif not differ:
        yield f"Reproduced: {counted(len(repeated), 'trial')} in both folders, all with the same accuracies to the bit."
    else:
        sizes = [abs(value) for trial in differ for value in trial.differences.values()]
        largest = max(sizes, default=0.0)
        wrong = sum(trial.must_be_equal for trial in differ)
        where = f"{wrong} of them on CPUs, where none should" if wrong else "none of them on CPUs alone"
        yield (
            f"{'NOT reproduced' if wrong else 'Not the same'}: {len(differ)} of {counted(len(repeated), 'trial')} in both "
            f"folders differ, {where}; the largest difference is {largest:.2f} points of accuracy."
        )
    if findings.changed:
        yield f"Changed: {counted(len(findings.changed), 'cell')} of the same suite, label, setting and seed."


def means_table(a: Plan, b: Plan, stores: tuple[Store, Store]) -> Table | None:
    """Means of both folders and their difference, for what a suite's two versions both ask for."""
    sides = tuple(load(plan, store, include_limited=True) for plan, store in zip((a, b), stores, strict=True))
    compared = list(_compared(sides, stores))
    if not compared:
        return None
    corrected = iter(holm([one.comparison.p_value for one in compared if one.comparison is not None]))
    rows = tuple(
        Row(
            (one.label, one.setting, one.target),
            (*one.means, *_difference_cells(one.comparison, next(corrected) if one.comparison else None)),
        )
        for one in compared
    )
    return Table(
        name=f"means_{a.name}",
        title=f"{a.name}: accuracy in A and in B",
        note="Accuracy in percent, mean ± standard deviation over seeds. Difference: B minus A in points, with the 95 % "
        "interval in pairs over the seeds that both have (and over the test samples, where both kept their predictions "
        "and have the same ones). p: two-sided, with Holm's correction over this table; no p where nothing differs.",
        conditions=f"Trials with a limit on the samples are included. Seeds: {_seeds(sides[0])} in A, "
        f"{_seeds(sides[1])} in B.",
        heads=("Method", "Missing", "Target"),
        columns=tuple(Column(name, ranked=False) for name in ("A", "B", "Difference", "p", "Seeds in both")),
        rows=rows,
        detail=len(rows) > _TERMINAL_ROWS,
    )


@dataclass(frozen=True)
class _Compared:
    """One method, setting and target in both folders; ``comparison`` is None where no number differs."""

    label: str
    setting: str
    target: str
    means: tuple[Cell, Cell]
    comparison: Comparison | None


def _compared(sides: Sequence[Results], stores: Sequence[Store]) -> Iterator[_Compared]:
    from mlabench.report.evidence import Evidence

    evidence = [Evidence(results, store) for results, store in zip(sides, stores, strict=True)]
    for label in sides[0].labels:
        for setting in sides[0].settings:
            for target in sides[0].targets:
                rows = [results.at(label, setting, target) for results in sides]
                if any(own.empty for own in rows):
                    continue
                cells = (measure(rows[0]), measure(rows[1]))
                numbers = [own.per_seed(label, setting, target) for own in evidence]
                seeds = [seed for seed in numbers[0] if seed in numbers[1]]
                if any(numbers[0][seed] != numbers[1][seed] for seed in seeds):
                    outcomes = [own.outcomes(label, setting, target) for own in evidence]
                    yield _Compared(label, setting, target, cells, _paired(sides, numbers, outcomes))
                else:
                    yield _Compared(label, setting, target, cells, None)


def _paired(
    sides: Sequence[Results], numbers: Sequence[Mapping[int, float]], outcomes: Sequence[Any]
) -> Comparison:
    """B minus A over seeds and samples; over seeds alone if the samples are not known to be the same."""
    data = [{cell.trial.dataset.model_dump_json() for cell in results.plan.cells} for results in sides]
    if data[0] == data[1] and all(own is not None for own in outcomes):
        try:
            return compare(outcomes[1], outcomes[0])
        except ValueError:  # not the same samples have the modality
            pass
    percent = [{seed: 100.0 * value for seed, value in own.items()} for own in numbers]
    return difference_of_means(percent[1], percent[0])

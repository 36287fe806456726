"""Two results folders side by side: before and after a change, or two machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from mlabench import __version__
from mlabench.errors import UserError, cannot_write
from mlabench.record import Evaluation, Record
from mlabench.report import render
from mlabench.report.files import write_text
from mlabench.report.results import MULTIMODAL, Results, load, read_all
from mlabench.report.table import Cell, Column, Row, Table, measure
from mlabench.statistics import Comparison, Outcomes, compare, difference_of_means, holm
from mlabench.store import Store
from mlabench.suite import Plan
from mlabench.trial import Trial
from mlabench.words import counted

#: A cell of a suite: suite, label, missing pattern of the training, seed.
Place = tuple[str, str, str, int]

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
    """Prints how two results folders differ, and writes it to ``out``: HTML, Markdown, and tables as CSV.

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
    first, second = ({plan.name: plan for plan in store.plans()} for store in stores)
    plans = first, second
    findings = find(stores, plans)
    means = [
        table
        for name in plans[0]
        if name in plans[1] and (table := means_table(plans[0][name], plans[1][name], stores)) is not None
    ]
    tables = [*filter(None, [_repeated_table(findings), _changed_table(findings), _only_table(findings)]), *means]
    told = list(verdict(findings)), list(_shortfalls(findings))
    for line in (f"A: {a}", f"B: {b}", *chain(*told)):
        console.print(Text(line), soft_wrap=True)
    for table in tables:
        if not table.detail:
            console.print(render.terminal(table), crop=False)
            if table.conditions:
                console.print(Text(table.conditions, style="dim"))
    if more := [table.name for table in tables if table.detail]:
        where = f"in {out}" if out else "written with --out"
        console.print(Text(f"More tables, {where}: {', '.join(more)}.", style="dim"))
    if out is not None:
        _write(out, (str(a), str(b)), told, tables)
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
            f"{'NOT reproduced' if wrong else 'Not the same'}: of {counted(len(repeated), 'trial')} in both folders, "
            f"{len(differ)} differ, {where}; the largest difference is {largest:.2f} points of accuracy."
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
            (*one.means, *_difference_cells(one, next(corrected) if one.comparison else None)),
        )
        for one in compared
    )
    return Table(
        name=f"means_{a.name}",
        title=f"{a.name}: accuracy in A and in B",
        note="Accuracy in percent, mean ± standard deviation over seeds. Difference: B minus A in points, with the "
        "95 % interval in pairs over the seeds that both have, and over the test samples if both kept predictions of "
        "the same ones. p: two-sided, with Holm's correction over this table; none where no number differs.",
        conditions=f"Trials with a limit on the samples are included. Seeds: {_seeds(sides[0])} in A, "
        f"{_seeds(sides[1])} in B.",
        heads=("Method", "Missing", "Target"),
        columns=tuple(Column(name, ranked=False) for name in ("A", "B", "Difference", "p", "Seeds in both")),
        rows=rows,
        detail=len(rows) > _TERMINAL_ROWS,
    )


@dataclass(frozen=True)
class _Compared:
    """One method, setting and target in both folders.

    Attributes:
        label: The method.
        setting: The point of the missing-rate axis.
        target: A modality or the fused prediction.
        means: In A and in B.
        seeds: Seeds that both have.
        comparison: B minus A; None if no number differs, or there is none to compare.
    """

    label: str
    setting: str
    target: str
    means: tuple[Cell, Cell]
    seeds: int
    comparison: Comparison | None


def _compared(sides: Sequence[Results], stores: Sequence[Store]) -> Iterator[_Compared]:
    from mlabench.report.evidence import Evidence

    evidence = [Evidence(results, store) for results, store in zip(sides, stores, strict=True)]
    for label, setting, target in product(sides[0].labels, sides[0].settings, sides[0].targets):
        rows = [results.at(label, setting, target) for results in sides]
        if any(own.empty for own in rows):
            continue
        before, after = (own.per_seed(label, setting, target) for own in evidence)
        seeds = [seed for seed in before if seed in after]
        comparison = None
        if any(before[seed] != after[seed] for seed in seeds):
            outcomes = [own.outcomes(label, setting, target) for own in evidence]
            comparison = _of_outcomes(sides, outcomes) or difference_of_means(after, before)
        yield _Compared(label, setting, target, (measure(rows[0]), measure(rows[1])), len(seeds), comparison)


def _of_outcomes(sides: Sequence[Results], outcomes: Sequence[Outcomes | None]) -> Comparison | None:
    """B minus A over seeds and samples; None if the samples are not known to be the same."""
    data = [{cell.trial.dataset.fingerprint for cell in results.plan.cells} for results in sides]
    before, after = outcomes
    if data[0] != data[1] or before is None or after is None:
        return None
    try:
        return compare(after, before)
    except ValueError:  # another missing pattern: not the same samples have the modality
        return None


def _difference_cells(one: _Compared, p_value: float | None) -> tuple[Cell, ...]:
    seeds = Cell(text=str(one.seeds))
    if one.comparison is None or p_value is None:
        return (Cell(text="0" if one.seeds else "—"), Cell(text="—"), seeds)
    return (Cell(interval=one.comparison.difference, form="+z.1f"), Cell(text=f"{p_value:.3f}"), seeds)


def _open(folder: Path) -> Store:
    store = Store(folder)
    if not store.trials.is_dir() and not (folder / "plans").is_dir():
        raise UserError(
            "no results here.", remedy="Give a folder that `mlabench run --results` wrote to.", file=str(folder)
        )
    return store


def _cells(plans: Mapping[str, Plan]) -> dict[Place, Trial]:
    return {
        (name, cell.label, cell.trial.missing.key, cell.trial.seed): cell.trial
        for name, plan in plans.items()
        for cell in plan.cells
    }


def _repeated(a: Record, b: Record) -> Repeated:
    keys = [key for key in a.evaluations if key in b.evaluations]
    differences = {
        f"{key} {target}": 100.0 * (after - before)
        for key in keys
        for target, before, after in _accuracies(a.evaluations[key], b.evaluations[key])
    }
    first, second = (str(record.environment.get("device", "?")).partition(":")[0] for record in (a, b))
    return Repeated(a.trial.id, a.status == b.status, differences, (first, second))


def _accuracies(a: Evaluation, b: Evaluation) -> Iterator[tuple[str, float, float]]:
    yield MULTIMODAL, a.multimodal.accuracy, b.multimodal.accuracy
    for modality, before in a.unimodal.items():
        after = b.unimodal.get(modality)
        if before is not None and after is not None:
            yield modality, before.accuracy, after.accuracy


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, str) else json.dumps(value)


def _repeated_table(findings: Findings) -> Table | None:
    """Each trial of both folders that did not come out the same."""
    rows = []
    for trial in findings.repeated:
        if trial.equal:
            continue
        largest = max(trial.differences.items(), key=lambda item: abs(item[1]), default=("", 0.0))
        number = f"{largest[1]:+.2f} ({largest[0]})" if largest[1] else "—"
        status = "same" if trial.same_status else "failed in one"
        rows.append(Row((trial.trial,), tuple(Cell(text=text) for text in (number, status, " / ".join(trial.devices)))))
    return _texts(
        "repeated",
        "Trials in both folders that differ",
        "Largest difference in accuracy, B minus A, in points, and where (test pattern and target). One run each.",
        ("Trial",),
        ("Largest difference", "Status", "Device in A / B"),
        rows,
    )


def _changed_table(findings: Findings) -> Table | None:
    """Cells that became other trials, by what was changed about them."""
    by_change: dict[tuple[str, ...], list[Place]] = {}
    for place, fields in findings.changed.items():
        by_change.setdefault(fields, []).append(place)
    rows = [
        Row((_listed(place[0] for place in places), _listed(place[1] for place in places)), (
            Cell(text=str(len(places))), Cell(text="; ".join(fields)),
        ))
        for fields, places in by_change.items()
    ]  # fmt: skip
    return _texts(
        "changed",
        "The same cells, other trials",
        "Cells of the same suite, label, missing rate and seed whose trials differ, and in what (A → B).",
        ("Suite", "Methods"),
        ("Cells", "Changed"),
        rows,
    )


def _only_table(findings: Findings) -> Table | None:
    """Cells that one folder has a record for, and the other lacks."""
    rows = [
        Row((side, suite, label, missing, str(seed)), ())
        for side, places in zip("AB", findings.only, strict=True)
        for suite, label, missing, seed in places
    ]
    return _texts(
        "only",
        "In one folder only",
        "Cells with a record in one folder and none in the other.",
        ("In", "Suite", "Method", "Missing", "Seed"),
        (),
        rows,
    )


def _texts(
    name: str, title: str, note: str, heads: tuple[str, ...], columns: tuple[str, ...], rows: Sequence[Row]
) -> Table | None:
    if not rows:
        return None
    shown = tuple(Column(column, ranked=False) for column in columns)
    return Table(name, title, note, "", heads, shown, tuple(rows), detail=len(rows) > _TERMINAL_ROWS)


def _shortfalls(findings: Findings) -> Iterator[str]:
    for side, unread in zip("AB", findings.unread, strict=True):
        for trial, reason in unread:
            yield f"Not read in {side}: {trial}: {reason}"
    for side, places in zip("AB", findings.only, strict=True):
        if places:
            yield f"Only in {side}: {counted(len(places), 'cell')}."


def _write(
    out: Path, folders: tuple[str, str], told: tuple[Sequence[str], Sequence[str]], tables: Sequence[Table]
) -> None:
    from mlabench.report.html_compare import render_comparison

    lines = [f"A: {folders[0]}", f"B: {folders[1]}", *chain(*told)]
    text = "".join(f"- {render.escape_markdown(line)}\n" for line in lines)
    body = "\n".join(["# Two results folders side by side\n", text, *map(render.markdown, tables)])
    try:
        for table in tables:
            write_text(out / f"tables/{render.file_name(table.name)}.csv", render.csv(table))
        write_text(out / "compare.md", body)
        write_text(out / "compare.html", render_comparison(folders, *told, tables, __version__))
    except OSError as error:
        raise cannot_write("the comparison", out, error) from error


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _seeds(results: Results) -> str:
    return ", ".join(map(str, sorted(set(results.scores["seed"])))) or "none"

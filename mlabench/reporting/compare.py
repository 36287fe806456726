"""Two results folders side by side: before and after a change, or two machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich.console import Console
from rich.text import Text

from mlabench import __version__
from mlabench.errors import UserError, cannot_write
from mlabench.record import Record
from mlabench.reporting.files import write_text
from mlabench.reporting.results import MULTIMODAL, load, read_all
from mlabench.reporting.table import TERMINAL_ROWS, Cell, Row, Table, measure, unranked
from mlabench.reporting.tables import formats
from mlabench.statistics import Comparison, Outcomes, compare, difference_of_means, holm
from mlabench.store import Store
from mlabench.suite import Plan
from mlabench.trial import Trial
from mlabench.words import counted

_NO_VALUE = "none"


class _Place(NamedTuple):
    """A cell of a suite."""

    suite: str
    label: str
    missing: str
    seed: int
    fold: str


class _Side(NamedTuple):
    """One results folder; ``unread`` are records that could not be read, as (trial id, reason)."""

    name: str
    store: Store
    plans: Mapping[str, Plan]
    records: Mapping[str, Record]
    unread: Sequence[tuple[str, str]]
    cells: Mapping[_Place, Trial]


def compare_folders(a: Path, b: Path, out: Path | None, console: Console) -> int:
    """Prints how ``b`` differs from ``a``, and writes it to ``out``, if given: HTML, Markdown, and tables as CSV.

    Returns 1 if a trial did not come out the same on two CPUs, else 0.
    """
    sides = _read("A", a), _read("B", b)
    repeated = _repeated(*(side.records for side in sides))
    changed = _changed(*(side.cells for side in sides))
    only = [(side.name, place) for side, other in (sides, sides[::-1]) for place in _only(side, other)]
    tables = [*filter(None, [_repeated_table(repeated), _changed_table(changed), _only_table(only)])]
    tables += filter(None, (_means_table(name, sides) for name in sides[0].plans if name in sides[1].plans))
    verdict = list(_verdict(repeated, len(changed)))
    shortfalls = [f"Not read in {side.name}: {trial}: {why}" for side in sides for trial, why in side.unread]
    counts = {side.name: sum(name == side.name for name, _ in only) for side in sides}
    shortfalls += [f"Only in {name}: {counted(count, 'cell')}." for name, count in counts.items() if count]
    for line in (f"A: {a}", f"B: {b}", *verdict, *shortfalls):
        console.print(Text(line), soft_wrap=True)
    for table in tables:
        if not table.detail:
            console.print(formats.terminal(table), crop=False)
            if table.conditions:
                console.print(Text(table.conditions, style="dim"))
    if more := [table.name for table in tables if table.detail]:
        where = f"in {out}" if out else "written with --out"
        console.print(Text(f"More tables, {where}: {', '.join(more)}.", style="dim"))
    if out is not None:
        _write(out, (str(a), str(b)), verdict, shortfalls, tables)
    return int((repeated["differs"] & repeated["on_cpus"]).any())


def changes(before: Trial, after: Trial) -> Iterator[str]:
    """The fields of two trials that differ: ``training.epochs: 30 → 40``."""
    old, new = dict(_flat(before.identity())), dict(_flat(after.identity()))
    for name in dict.fromkeys([*old, *new]):
        if old.get(name, _NO_VALUE) != new.get(name, _NO_VALUE):
            yield f"{name}: {old.get(name, _NO_VALUE)} → {new.get(name, _NO_VALUE)}"


def _read(name: str, folder: Path) -> _Side:
    store = Store(folder)
    if not store.trials.is_dir() and not (folder / "plans").is_dir():
        raise UserError(
            "no results here.", remedy="Give a folder that `mlabench run --results` wrote to.", file=str(folder)
        )
    plans = {plan.name: plan for plan in store.plans()}
    already = len(store.set_aside)
    records, refused = read_all(store, store.ids())
    cells = {
        _Place(suite, cell.label, cell.trial.missing.key, cell.trial.seed, cell.trial.fold_name): cell.trial
        for suite, plan in plans.items()
        for cell in plan.cells
    }
    return _Side(name, store, plans, records, [*refused, *store.set_aside[already:]], cells)


def _repeated(a: Mapping[str, Record], b: Mapping[str, Record]) -> pd.DataFrame:
    """The trials that have a record in both folders: devices, and the accuracy that differs most, in points."""
    both = [trial for trial in a if trial in b]
    accuracies = _accuracies(a[trial] for trial in both).merge(
        _accuracies(b[trial] for trial in both), on=["trial", "where"], suffixes=("_a", "_b")
    )
    accuracies["difference"] = 100.0 * (accuracies["accuracy_b"] - accuracies["accuracy_a"])
    largest = accuracies.loc[accuracies["difference"].abs().groupby(accuracies["trial"]).idxmax()].set_index("trial")
    devices = [[_device(records[trial]) for records in (a, b)] for trial in both]
    found = pd.DataFrame({"same_status": [a[trial].status == b[trial].status for trial in both]}, index=both)
    found["difference"] = largest["difference"].reindex(both).fillna(0.0)
    found["where"] = largest["where"].reindex(both)
    found["devices"] = [" / ".join(pair) for pair in devices]
    # There, trials are reproducible to the bit.
    found["on_cpus"] = [set(pair) <= {"cpu"} for pair in devices]
    found["differs"] = ~found["same_status"].astype(bool) | (found["difference"] != 0)
    return found


def _accuracies(records: Iterable[Record]) -> pd.DataFrame:
    rows = [
        (record.trial.id, f"{test} {target}", scores.accuracy)
        for record in records
        for test, evaluation in record.evaluations.items()
        for target, scores in {MULTIMODAL: evaluation.multimodal, **evaluation.unimodal}.items()
        if scores is not None
    ]
    return pd.DataFrame(rows, columns=["trial", "where", "accuracy"])


def _device(record: Record) -> str:
    return str(record.environment.get("device", "?")).partition(":")[0]


def _changed(a: Mapping[_Place, Trial], b: Mapping[_Place, Trial]) -> dict[_Place, tuple[str, ...]]:
    """The cells that both ask for, but as different trials: what is different about them."""
    return {place: tuple(changes(a[place], b[place])) for place in a if place in b and a[place].id != b[place].id}


def _only(side: _Side, other: _Side) -> Iterator[_Place]:
    """The cells that have a record in this folder only."""
    for place, trial in side.cells.items():
        if trial.id in side.records and other.cells.get(place, trial).id not in other.records:
            yield place


def _verdict(repeated: pd.DataFrame, changed: int) -> Iterator[str]:
    """One sentence on trials that both have, and one on those that were changed."""
    trials, differ = counted(len(repeated), "trial"), repeated[repeated["differs"]]
    if repeated.empty:
        yield "No trial is in both folders: nothing was repeated."
    elif differ.empty:
        yield f"Reproduced: {trials} in both folders, all with the same accuracies to the bit."
    else:
        wrong = int(differ["on_cpus"].sum())
        where = f"{wrong} of them on CPUs, where none should" if wrong else "none of them on CPUs alone"
        yield (
            f"{'NOT reproduced' if wrong else 'Not the same'}: of {trials} in both folders, {len(differ)} differ, "
            f"{where}; the largest difference is {differ['difference'].abs().max():.2f} points of accuracy."
        )
    if changed:
        yield f"Changed: {counted(changed, 'cell')} of the same suite, label, setting, seed and fold."


def _means_table(suite: str, sides: Sequence[_Side]) -> Table | None:
    """Means of both folders and their difference, for what a suite's two versions both ask for."""
    from mlabench.reporting.evidence import Evidence

    plans = [side.plans[suite] for side in sides]
    results = [load(plan, side.store, include_limited=True) for plan, side in zip(plans, sides, strict=True)]
    evidence = [Evidence(own, side.store) for own, side in zip(results, sides, strict=True)]
    first, second = ({cell.trial.dataset.fingerprint for cell in plan.cells} for plan in plans)
    heads, means, tests = [], [], []
    for place in product(results[0].labels, results[0].settings, results[0].targets):
        runs = [own.at(*place) for own in results]
        if any(own.empty for own in runs):
            continue
        before, after = (own.per_seed(*place) for own in evidence)
        seeds = [seed for seed in before if seed in after]
        test = None
        if any(before[seed] != after[seed] for seed in seeds):
            outcomes = [own.outcomes(*place) if first == second else None for own in evidence]
            test = _of_outcomes(*outcomes) or difference_of_means(after, before)
        heads.append(place)
        means.append((measure(runs[0]), measure(runs[1]), len(seeds)))
        tests.append(test)
    if not heads:
        return None
    corrected = iter(holm([test.p_value for test in tests if test is not None]))
    rows = []
    for place, (a, b, shared), test in zip(heads, means, tests, strict=True):
        if test is None:
            difference = Cell(text="0" if shared else "—"), Cell(text="—")
        else:
            difference = Cell(interval=test.difference, form="+z.1f"), Cell(text=f"{next(corrected):.3f}")
        rows.append(Row(place, (a, b, *difference, Cell(text=str(shared)))))
    asked = [", ".join(map(str, sorted(set(own.scores["seed"])))) or "none" for own in results]
    return _table(
        f"means_{suite}",
        f"{suite}: accuracy in A and in B",
        "Accuracy in percent, mean ± standard deviation over seeds. Difference: B minus A in points, with the "
        "95 % interval in pairs over the seeds that both have, and over the test samples if both kept predictions of "
        "the same ones. p: two-sided, with Holm's correction over this table; none where no number differs.",
        ("Method", "Missing", "Target"),
        ("A", "B", "Difference", "p", "Seeds in both"),
        rows,
        f"Trials with a limit on the samples are included. Seeds: {asked[0]} in A, {asked[1]} in B.",
    )


def _of_outcomes(before: Outcomes | None, after: Outcomes | None) -> Comparison | None:
    """B minus A over seeds and samples; None if the samples are not known to be the same."""
    if before is None or after is None:
        return None
    try:
        return compare(after, before)
    except ValueError:  # another missing pattern: not the same samples have the modality
        return None


def _repeated_table(repeated: pd.DataFrame) -> Table | None:
    """Each trial of both folders that did not come out the same."""
    rows = []
    for trial, own in repeated[repeated["differs"]].to_dict("index").items():
        number = f"{own['difference']:+.2f} ({own['where']})" if own["difference"] else "—"
        texts = number, "same" if own["same_status"] else "failed in one", own["devices"]
        rows.append(Row((str(trial),), tuple(Cell(text=text) for text in texts)))
    return _table(
        "repeated",
        "Trials in both folders that differ",
        "Largest difference in accuracy, B minus A, in points, and where (test pattern and target). One run each.",
        ("Trial",),
        ("Largest difference", "Status", "Device in A / B"),
        rows,
    )


def _changed_table(changed: Mapping[_Place, tuple[str, ...]]) -> Table | None:
    """Cells that became other trials, by what was changed about them."""
    by_change: dict[tuple[str, ...], list[_Place]] = {}
    for place, fields in changed.items():
        by_change.setdefault(fields, []).append(place)
    rows = []
    for fields, places in by_change.items():
        names = (dict.fromkeys(place.suite for place in places), dict.fromkeys(place.label for place in places))
        cells = Cell(text=str(len(places))), Cell(text="; ".join(fields))
        rows.append(Row(tuple(map(", ".join, names)), cells))
    return _table(
        "changed",
        "The same cells, other trials",
        "Cells of the same suite, label, missing rate, seed and fold whose trials differ, and in what (A → B).",
        ("Suite", "Methods"),
        ("Cells", "Changed"),
        rows,
    )


def _only_table(only: Iterable[tuple[str, _Place]]) -> Table | None:
    return _table(
        "only",
        "In one folder only",
        "Cells with a record in one folder and none in the other.",
        ("In", "Suite", "Method", "Missing", "Seed", "Fold"),
        (),
        [Row((side, *map(str, place)), ()) for side, place in only],
    )


def _table(
    name: str,
    title: str,
    note: str,
    heads: tuple[str, ...],
    columns: tuple[str, ...],
    rows: Sequence[Row],
    conditions: str = "",
) -> Table | None:
    if not rows:
        return None
    return Table(
        name, title, note, conditions, heads, unranked(*columns), tuple(rows), detail=len(rows) > TERMINAL_ROWS
    )


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, str) else json.dumps(value)


def _write(
    out: Path, folders: tuple[str, str], verdict: Sequence[str], shortfalls: Sequence[str], tables: Sequence[Table]
) -> None:
    from mlabench.reporting.page import render_comparison

    lines = [f"A: {folders[0]}", f"B: {folders[1]}", *verdict, *shortfalls]
    text = "".join(f"- {formats.escape_markdown(line)}\n" for line in lines)
    body = "\n".join(["# Two results folders side by side\n", text, *map(formats.markdown, tables)])
    try:
        for table in tables:
            write_text(out / "tables" / f"{formats.file_name(table.name)}.csv", formats.csv(table))
        write_text(out / "compare.md", body)
        write_text(out / "compare.html", render_comparison(folders, verdict, shortfalls, tables, __version__))
    except OSError as error:
        raise cannot_write("the comparison", out, error) from error

"""The table *published | ours | difference* of a suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import sqrt

from mlabench import registry
from mlabench.errors import UserError
from mlabench.reporting import wording
from mlabench.reporting.mla_parts import OFF
from mlabench.reporting.published.numbers import DATASETS, Number, datasets_in
from mlabench.reporting.published.protocol import departures
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import TERMINAL_ROWS, Cell, Column, Row, Table, measure
from mlabench.trial import Component
from mlabench.words import counted

_NOT_SOURCED = "not sourced"


@dataclass(frozen=True)
class _Line:
    """A cell of the published tables that one of our labels fills: MLA's own number, independent ones, and ours."""

    dataset: str
    label: str
    method: str
    target: str
    setting: str
    paper: Number | None
    reruns: Sequence[Number]
    ours: Cell


def published_table(results: Results, numbers: Sequence[Number]) -> Table | None:
    """What others published beside what was measured here.

    On a stand-in there is no difference to show: the numbers are of different data. None if nothing was published
    about the suite's dataset, or what it stands in for, and its methods.
    """
    names = list(dict.fromkeys(cell.trial.dataset.name for cell in results.plan.cells))
    if len(names) != 1 or not results.settings:
        return None
    (name,) = names
    twin = wording.twin_of(name)
    ours = {ours: theirs for theirs, ours in DATASETS.items()}
    datasets = {own: ours[own] for own in ([name] if name in ours else datasets_in(twin))}
    lines = list(_lines(results, datasets, numbers))
    if not lines:
        return None
    departs = [] if twin else departures(results.plan.cells)
    run = wording.run(results.scores)
    theirs, several = " and ".join(datasets.values()), len(datasets) > 1
    columns = ["MLA paper", "Re-runs by others", f"Ours, on {name}" if twin else "Ours"]
    if not twin:
        columns.append("Difference, other protocol" if departs else "Difference")
    return Table(
        name="published",
        title=f"Published on {theirs}, and ours"
        + (f" on {name}, which is NOT {theirs}: no reproduction" if twin else ""),
        note=" ".join([
            *(_of_stand_in(name, theirs) if twin else _compared(departs, run)),
            *([] if twin else _sampling(lines, results)),
            *_sources(lines),
        ]),
        conditions=wording.conditions(results.plan, results.on_axis()),
        heads=(*(["Published on"] if several else []), "Method", "Target", "Missing"),
        columns=tuple(Column(column, ranked=False) for column in columns),
        rows=tuple(_row(line, run, several=several, compared=not twin) for line in lines),
        detail=len(lines) > TERMINAL_ROWS,
    )  # fmt: skip


def _lines(results: Results, datasets: dict[str, str], numbers: Sequence[Number]) -> Iterator[_Line]:
    """Where a number was published, or is known to be, and we have planned one."""
    used = {cell.label: cell.trial.method for cell in results.plan.cells}
    methods = {label: _published_method(method) for label, method in used.items()}
    rates = results.scores.drop_duplicates("setting").set_index("setting")["rate"].dropna()
    settings = [setting for setting in results.settings if setting in rates]
    for dataset, label, target, setting in product(datasets, results.labels, results.targets, settings):
        rate = round(100.0 * rates[setting], 6)
        found = [
            number
            for number in numbers
            if (number.dataset, number.method, number.target) == (dataset, methods[label], target)
            and number.rate in (rate, None)  # one without a rate belongs to every rate
        ]
        if found:
            known = [number for number in found if number.accuracy is not None]
            paper = next((number for number in known if number.origin == "paper"), None)
            # A study may print the same number in several tables.
            reruns = {(number.study, number.accuracy): number for number in known if number.origin == "re-run"}
            ours = measure(results.at(label, setting, target))
            yield _Line(datasets[dataset], label, methods[label], target, setting, paper, [*reruns.values()], ours)


def _row(line: _Line, run: str, *, several: bool, compared: bool) -> Row:
    texts = [
        f"{line.paper.shown} ({line.paper.confidence})" if line.paper else _NOT_SOURCED,
        _range(line.reruns),
        _ours(line.ours, run),
        *([_difference(line.paper, line.ours)] if compared else []),
    ]
    heads = (*([line.dataset] if several else []), line.label, line.target, line.setting)
    return Row(heads, tuple(Cell(text=text) for text in texts), group=line.dataset if several else "")


def _range(reruns: Sequence[Number]) -> str:
    """``72.30 to 79.43 (2 re-runs)``. What is hardly to be trusted widens no range; the sources name it."""
    trusted = sorted((one for one in reruns if one.confidence != "low"), key=lambda number: number.accuracy or 0)
    if not trusted:
        return "none"
    ends = [trusted[0].shown, *([trusted[-1].shown] if len(trusted) > 1 else [])]
    return f"{' to '.join(ends)} ({counted(len(trusted), 're-run')})"


def _ours(ours: Cell, run: str) -> str:
    if not ours.mean:
        return ours.status
    return f"{ours.mean} ± {ours.std or '—'} ({'; '.join(filter(None, [counted(ours.summary.n, run), ours.status]))})"


def _difference(paper: Number | None, ours: Cell) -> str:
    """Ours minus the paper's, with the spread of ours; a dash without both."""
    if paper is None or paper.accuracy is None or ours.summary.mean is None:
        return "—"
    spread = f" ± {ours.std}" if ours.std else ""
    return f"{ours.summary.mean - paper.accuracy:+z.1f}{spread}".replace("-", "−")


_COMMON = (
    "In this literature, protocols differ more than methods do, so no column can be read against another.",
    "Accuracy in percent. MLA paper: one number of the paper's own tables, and how sure its source makes it; "
    f"“{_NOT_SOURCED}”: not filled in (`--published FILE`).",
)


def _of_stand_in(name: str, theirs: str) -> Iterator[str]:
    yield (
        f"OURS ARE NUMBERS ON {name.upper()}, A STAND-IN, NOT ON {theirs.upper()}: other data, other encoders, "
        "other splits. No difference is shown, since none would mean anything."
    )
    yield from _COMMON


def _compared(departs: Sequence[str], run: str) -> Iterator[str]:
    if departs:
        yield f"OUR PROTOCOL IS NOT THE PAPER'S: {'; '.join(departs)}."
    yield from _COMMON
    yield f"Difference: ours minus the paper's, in points, ± our standard deviation over {run}s (the paper has none)."


def _sampling(lines: Sequence[_Line], results: Results) -> Iterator[str]:
    """How far a single published number may be off for the choice of test samples alone (normal approximation)."""
    paper = next((line.paper for line in lines if line.paper), None)
    samples = results.scores.loc[results.scores["target"] == MULTIMODAL, "n"].max()
    if paper is None or paper.accuracy is None or not samples:
        return
    share = paper.accuracy / 100.0
    error = 196.0 * sqrt(share * (1.0 - share) / samples)
    yield (
        f"On {samples:,} test samples, as here, one run at {paper.shown} % has a 95 % interval of ±{error:.1f} points "
        "from the choice of samples alone."
    )


def _sources(lines: Sequence[_Line]) -> Iterator[str]:
    """Where the numbers of all rows come from, by source."""
    found: dict[str, dict[str, None]] = {}
    for line in lines:
        for number in [*([line.paper] if line.paper else []), *line.reruns]:
            who = "MLA paper" if number.origin == "paper" else ", ".join(filter(None, [number.study, number.venue]))
            left_out = "not in the range" if number.origin == "re-run" and number.confidence == "low" else ""
            facts = [number.source, number.protocol, f"confidence {number.confidence}", left_out]
            cell = f"{number.shown} for {line.method} on {line.dataset}, {line.target}, {line.setting} missing"
            found.setdefault(f"{who} ({'; '.join(filter(None, facts))})", {})[cell] = None
    for source, cells in found.items():
        yield f"{source}: {'; '.join(cells)}."


#: Options with which MLA's code runs a baseline, on one dataset or another: published numbers are of these, too.
_AS_MLA_RAN_IT = {"qmf": {"rank_weight": 0.1, "fused_loss": False}}


def _published_method(method: Component) -> str:
    """The name under which published numbers would know a method; itself with its options if none would."""
    theirs = _AS_MLA_RAN_IT.get(method.name, {})
    changed = {
        name: value
        for name, value in method.config.items()
        if _default(method.name, name) != value and not (name in theirs and theirs[name] == value)
    }
    off = [option for option, value in OFF.values() if changed.get(option) == value]
    off += sorted(option for option, value in changed.items() if value is False)
    if not changed:
        return method.name
    if len(off) == len(changed):
        return f"{method.name} without {', '.join(off)}"
    return f"{method.name} {sorted(changed)}"


@cache
def _default(method: str, option: str) -> object:
    try:
        return registry.get("methods", method).about.defaults.get(option)
    except UserError:  # of a package that is not installed here
        return None

"""The table *published | ours | difference* of a suite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt

from mlabench import registry
from mlabench.errors import UserError
from mlabench.report import wording
from mlabench.report.parts import OFF
from mlabench.report.published import DATASETS, Number, datasets_in
from mlabench.report.published.protocol import departures
from mlabench.report.results import MULTIMODAL, Results
from mlabench.report.table import Cell, Column, Row, Table, measure
from mlabench.suite import PlannedTrial
from mlabench.trial import Component

_NOT_SOURCED = "not sourced"

#: Longer tables are left to the files and the page.
_TERMINAL_ROWS = 24


@dataclass(frozen=True)
class _Place:
    """A cell of the published tables that one of our labels fills."""

    dataset: str
    label: str
    method: str
    target: str
    rate: float
    setting: str

    def holds(self, number: Number) -> bool:
        """Whether a number belongs here; one without a rate does at every rate."""
        return (
            (number.dataset, number.method, number.target) == (self.dataset, self.method, self.target)
            and (number.rate == self.rate or number.rate is None)
        )  # fmt: skip


def published_table(results: Results, numbers: Sequence[Number]) -> Table | None:
    """What others published beside what was measured here.

    On a stand-in there is no difference to show: the numbers are of different data.

    Args:
        results: The results of a suite.
        numbers: See :func:`~mlabench.report.published.load_published`.

    Returns:
        None if nothing was published about the suite's dataset, or what it stands in for, and its methods.
    """
    cells = {cell.label: cell for cell in results.plan.cells}
    names = list(dict.fromkeys(cell.trial.dataset.name for cell in results.plan.cells))
    if len(names) != 1 or not results.settings:
        return None
    (name,) = names
    twin = wording.twin_of(name)
    datasets = [name] if name in DATASETS.values() else list(datasets_in(twin))
    numbers = [number for number in numbers if number.dataset in datasets]
    places = list(_places(results, cells, datasets, numbers))
    if not places:
        return None
    compared = not twin
    departs = departures(results.plan.cells) if compared else []
    rows = [_row(place, results, numbers, compared=compared, several=len(datasets) > 1) for place in places]
    heads = ("Published on", "Method", "Target", "Missing") if len(datasets) > 1 else ("Method", "Target", "Missing")
    theirs = " and ".join(_published_name(dataset) for dataset in datasets)
    published = next((paper for place in places if (paper := _paper(place, numbers))), None) if compared else None
    columns = ["MLA paper", "Re-runs by others", f"Ours, on {name}" if twin else "Ours"]
    if compared:
        columns.append("Difference, other protocol" if departs else "Difference")
    return Table(
        name="published",
        title=f"Published on {theirs}, and ours on {name}, which is NOT {theirs}: no reproduction"
        if twin
        else f"Published on {theirs}, and ours",
        note=" ".join(
            [
                *_notes(name, theirs, departs, compared=compared),
                *_sampling(published, results),
                *_sources(places, numbers),
            ]
        ),
        conditions=wording.conditions(results.plan, results.scores[results.scores["setting"] != ""]),
        heads=heads,
        columns=tuple(Column(column, ranked=False) for column in columns),
        rows=tuple(rows),
        detail=len(rows) > _TERMINAL_ROWS,
    )


def _places(
    results: Results, cells: dict[str, PlannedTrial], datasets: Iterable[str], numbers: Sequence[Number]
) -> Iterator[_Place]:
    """Where a number was published, or is known to be, and we have planned one."""
    scores = results.scores
    rates = scores.loc[scores["setting"] != "", ["setting", "rate"]].drop_duplicates("setting").dropna()
    settings = dict(zip(rates["setting"], rates["rate"], strict=True))
    for dataset in datasets:
        for label in results.labels:
            method = _published_method(cells[label].trial.method)
            for target in results.targets:
                for setting in results.settings:
                    if setting not in settings:
                        continue
                    place = _Place(dataset, label, method, target, round(100.0 * settings[setting], 6), setting)
                    if any(map(place.holds, numbers)):
                        yield place


def _row(place: _Place, results: Results, numbers: Sequence[Number], *, compared: bool, several: bool) -> Row:
    ours = measure(results.at(place.label, place.setting, place.target))
    paper = _paper(place, numbers)
    cells = [
        Cell(text=f"{paper.shown} ({paper.confidence})" if paper else _NOT_SOURCED),
        Cell(text=_range(_reruns(place, numbers))),
        Cell(text=_ours(ours)),
    ]
    if compared:
        cells.append(Cell(text=_difference(paper, ours)))
    heads = (place.label, place.target, place.setting)
    if several:
        return Row((_published_name(place.dataset), *heads), tuple(cells), group=place.dataset)
    return Row(heads, tuple(cells))


def _paper(place: _Place, numbers: Sequence[Number]) -> Number | None:
    """MLA's own number, if it is known."""
    found = [
        number for number in numbers if number.origin == "paper" and number.accuracy is not None and place.holds(number)
    ]
    return found[0] if found else None


def _reruns(place: _Place, numbers: Sequence[Number]) -> list[Number]:
    """Independent measurements, each once: a study may print the same number in several tables."""
    found = [number for number in numbers if number.origin == "re-run" and number.accuracy and place.holds(number)]
    return list({(number.study, number.accuracy): number for number in found}.values())


def _range(reruns: Iterable[Number]) -> str:
    """``72.30 to 79.43 (2 re-runs)``. What is hardly to be trusted widens no range; the sources name it."""
    trusted = sorted(
        (number for number in reruns if number.confidence != "low"), key=lambda number: number.accuracy or 0
    )
    if not trusted:
        return "none"
    if len(trusted) == 1:
        return f"{trusted[0].shown} (1 re-run)"
    return f"{trusted[0].shown} to {trusted[-1].shown} ({len(trusted)} re-runs)"


def _ours(ours: Cell) -> str:
    if not ours.mean:
        return ours.status
    seeds = f"{ours.summary.n} seed{'' if ours.summary.n == 1 else 's'}"
    return f"{ours.mean} ± {ours.spread} ({seeds}{f'; {ours.status}' if ours.status else ''})"


def _difference(paper: Number | None, ours: Cell) -> str:
    """Ours minus the paper's, with the spread of ours; a dash without both."""
    if paper is None or paper.accuracy is None or ours.summary.mean is None:
        return "—"
    spread = f" ± {ours.std}" if ours.std else ""
    return f"{ours.summary.mean - paper.accuracy:+z.1f}{spread}".replace("-", "−")


def _notes(name: str, theirs: str, departs: Sequence[str], *, compared: bool) -> Iterator[str]:
    if not compared:
        yield (
            f"OURS ARE NUMBERS ON {name.upper()}, A STAND-IN, NOT ON {theirs.upper()}: other data, other encoders, "
            "other splits. No difference is shown, since none would mean anything."
        )
    elif departs:
        yield f"OUR PROTOCOL IS NOT THE PAPER'S: {'; '.join(departs)}."
    yield "In this literature, protocols differ more than methods do, so no column can be read against another."
    yield (
        "Accuracy in percent. MLA paper: one number of the paper's own tables, and how sure its source makes it; "
        f"“{_NOT_SOURCED}”: nobody filled it in (`--published FILE`)."
    )
    if compared:
        yield "Difference: ours minus the paper's, in points, ± our standard deviation over seeds (the paper has none)."


def _sources(places: Iterable[_Place], numbers: Sequence[Number]) -> Iterator[str]:
    """Where the numbers of all rows come from, by source."""
    found: dict[str, list[str]] = {}
    for place in places:
        paper = _paper(place, numbers)
        for number in [*([paper] if paper else []), *_reruns(place, numbers)]:
            who = "MLA paper" if number.origin == "paper" else ", ".join(filter(None, [number.study, number.venue]))
            left_out = "not in the range" if number.origin == "re-run" and number.confidence == "low" else ""
            facts = [number.source, number.protocol, f"confidence {number.confidence}", left_out]
            cell = f"{place.method} on {_published_name(place.dataset)}, {place.target}, {place.setting} missing"
            found.setdefault(f"{who} ({'; '.join(filter(None, facts))})", []).append(f"{number.shown} for {cell}")
    for source, cells in found.items():
        yield f"{source}: {'; '.join(dict.fromkeys(cells))}."


def _sampling(paper: Number | None, results: Results) -> Iterator[str]:
    """How far a single published number may be off for the choice of test samples alone (normal approximation)."""
    samples = results.scores.loc[results.scores["target"] == MULTIMODAL, "n"].max()
    if paper is None or paper.accuracy is None or not samples:
        return
    share = paper.accuracy / 100.0
    error = 196.0 * sqrt(share * (1.0 - share) / samples)
    yield (
        f"On {samples:,} test samples, as here, one run at {paper.shown} % has a 95 % interval of ±{error:.1f} points "
        "from the choice of samples alone."
    )


def _published_name(dataset: str) -> str:
    return next(theirs for theirs, ours in DATASETS.items() if ours == dataset)


def _published_method(method: Component) -> str:
    """The name under which published numbers would know a method; itself with its options if none would."""
    changed = {name: value for name, value in method.config.items() if _default(method.name, name) != value}
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

"""What is ranked: the methods of each suite, and those of other folders that ran under the same protocol."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from mlabench.reporting import wording
from mlabench.reporting.charts import HIGHLIGHT, Chart, Panel, Series
from mlabench.reporting.evidence import Archive, Evidence
from mlabench.reporting.explorer.families import CONTRIBUTED, FAMILIES, family_of
from mlabench.reporting.explorer.folder import AUTHORS, SUITE, TUNED, Folder
from mlabench.reporting.table import Cell
from mlabench.reporting.tables.cost import relative_times
from mlabench.reporting.tables.formats import file_name
from mlabench.reporting.tables.leaderboard import Leaderboard, leaderboard
from mlabench.statistics import Ranking, RankInterval
from mlabench.store import Together
from mlabench.suite import Plan, PlannedTrial

#: Further below the highest accuracy than so many points, a method has no place in the figure, which would be flat.
_DRAWN = 5.0


#: Costs that differ by more than this factor lie on a logarithmic axis.
_WIDE = 4.0

#: Columns of the report's leaderboard that this one shows otherwise, or has no room for.
_ELSEWHERE = ("Places", "Brier", "ECE")


@dataclass(frozen=True, eq=False)
class Entry:
    """One method of a ranking: the cells of the report's leaderboard, its rank among all and among its family."""

    label: str
    family: str
    page: str
    settings: str
    accuracy: Cell
    more: Mapping[str, Cell]
    places: RankInterval | None
    among_family: RankInterval | None
    cost: float | None


@dataclass(frozen=True)
class View:
    """A ranking at one missing rate, or over all. ``name`` is for readers, ``place`` its address on the page."""

    name: str
    place: str
    entries: tuple[Entry, ...]
    columns: tuple[str, ...]
    caption: str
    found: str
    top: tuple[str, ...]
    separability: float | None
    chart: Chart | None

    @property
    def ranked(self) -> tuple[Entry, ...]:
        """The methods that have a place."""
        return tuple(entry for entry in self.entries if entry.places)

    @property
    def highlighted(self) -> RankInterval | None:
        """The rank of the method that all figures point out."""
        return next((entry.places for entry in self.entries if entry.label == HIGHLIGHT), None)


@dataclass(frozen=True)
class Board:
    """One suite's rankings. ``guests`` are the folders of methods that the suite did not have, by label."""

    plan: Plan
    evidence: Evidence
    guests: Mapping[str, Folder]
    views: tuple[View, ...]

    @property
    def dataset(self) -> str:
        """The names of its datasets."""
        return wording.datasets(self.plan)

    @property
    def settings(self) -> str:
        """Whose hyper-parameters its methods run with."""
        if self.plan.tuned_labels():
            return TUNED
        return AUTHORS if any(one.startswith("authors") for one in self.plan.settings.values()) else SUITE

    @property
    def design(self) -> str:
        """How often methods are trained, and on how many samples they are tested."""
        scores = self.evidence.results.on_axis()
        return f"{wording.seeds(scores)}, {wording.samples(scores)}"


@dataclass
class _Draft:
    """A suite and the methods that joined it."""

    plan: Plan
    guests: dict[str, Folder] = field(default_factory=dict)

    @cached_property
    def trials(self) -> set[tuple[str, str]]:
        return {(cell.label, cell.trial.id) for cell in self.plan.cells}

    def join(self, folder: Folder, plan: Plan) -> bool:
        """Adds the methods of a plan that the suite lacks, if they ran under its protocol."""
        if _protocol(plan) != _protocol(self.plan) or _tries(plan) != _tries(self.plan):
            return False
        known = {cell.trial.method.name for cell in self.plan.cells}
        asked = {_place(cell) for cell in self.plan.cells}
        cells = [cell for cell in plan.cells if cell.trial.method.name not in known and _place(cell) in asked]
        whole = {(missing, test) for missing, test, _ in asked}
        labels = [
            label
            for label in dict.fromkeys(cell.label for cell in cells)
            if {_place(cell)[:2] for cell in cells if cell.label == label} == whole
        ]
        named = {label: f"{label} ({folder.title or plan.name})" if label in self.plan.labels else label
                 for label in labels}  # fmt: skip
        joined = [cell.model_copy(update={"label": named[cell.label]}) for cell in cells if cell.label in named]
        tuned = self.plan.tuned
        if tuned and plan.tuned:
            own = {named[label]: value for label, value in plan.tuned.methods.items() if label in named}
            tuned = tuned.model_copy(update={"methods": {**tuned.methods, **own}})
        self.plan = self.plan.model_copy(update={"cells": (*self.plan.cells, *joined), "tuned": tuned})
        self.guests |= dict.fromkeys(named.values(), folder)
        return bool(named)


def boards(folders: Sequence[Folder]) -> tuple[list[Board], list[str]]:
    """The rankings of all suites, and a sentence for each plan of others that could not be ranked.

    A plan joins the suites before it that have its protocol and lack its methods; one of ours that joins none is a
    suite of its own, unless another one has all its trainings. Tuned suites come first, then those of most methods.
    """
    drafts, notes = list[_Draft](), list[str]()
    archive = Archive(Together([folder.store.root for folder in folders]))
    for folder in folders:
        own = []
        for plan in folder.plans:
            joined = [draft.join(folder, plan) for draft in drafts]
            if not any(joined) and not folder.title:
                taken = any(plan.name == draft.plan.name for draft in drafts)
                name = f"{plan.name} ({folder.store.root.name})" if taken else plan.name
                own.append(_Draft(plan.model_copy(update={"name": name})))
            elif not any(joined):
                notes.append(f"{folder.title}: its suite {plan.name} has the protocol of none that is ranked here.")
        drafts += own
    kept = [one for place, one in enumerate(drafts) if not _elsewhere(one, drafts[:place], drafts[place + 1 :])]
    made = [board for draft in kept if (board := _board(draft, archive)) is not None]
    order = (TUNED, AUTHORS, SUITE)
    return sorted(made, key=lambda one: (order.index(one.settings), -len(one.plan.labels))), notes


def _elsewhere(draft: _Draft, before: Sequence[_Draft], after: Sequence[_Draft]) -> bool:
    """Whether another suite has all trainings of this one; of two alike, the first stays."""
    return any(draft.trials <= other.trials for other in before) or any(draft.trials < other.trials for other in after)


def _protocol(plan: Plan) -> set[str]:
    """What methods must share to be ranked together, apart from seeds and missing patterns."""
    shared = set()
    for trial in {cell.trial.id: cell.trial for cell in plan.cells}.values():
        fold = trial.fold and trial.fold.model_copy(update={"name": ""})
        parts = (trial.dataset, *(encoder for _, encoder in sorted(trial.encoders.items())), fold)
        written = (part.model_dump_json() if part else "" for part in parts)
        shared.add("|".join([*written, str(trial.limit), trial.training.selection]))
    return shared


def _tries(plan: Plan) -> int:
    """How many tries each method's hyper-parameters had."""
    return plan.tuned.tries if plan.tuned and plan.tuned_labels() else 0


def _place(cell: PlannedTrial) -> tuple[str, str, int]:
    """Missing patterns of training and tests, and the seed."""
    tests = sorted(test.model_dump_json() for test in cell.tests)
    return cell.trial.missing.model_dump_json(), "|".join(tests), cell.trial.seed


def _board(draft: _Draft, archive: Archive) -> Board | None:
    evidence = archive.evidence([draft.plan])
    views = tuple(_views(draft, evidence))
    return Board(draft.plan, evidence, draft.guests, views) if views else None


def _views(draft: _Draft, evidence: Evidence) -> Iterator[View]:
    settings = evidence.results.settings
    asked = {"mean": evidence} if len(settings) > 1 else {}
    asked |= {setting: evidence.at(setting) for setting in settings}
    for setting, own in asked.items():
        found = leaderboard(own)
        if found is not None:
            name = f"mean over {wording.listed(settings)}" if own is evidence else setting
            yield _view(draft, own, found, name, f"{file_name(draft.plan.name)}-{file_name(setting)}")


def _view(draft: _Draft, evidence: Evidence, found: Leaderboard, name: str, place: str) -> View:
    plan, ranking = draft.plan, found.ranking
    methods = {cell.label: cell.trial.method.name for cell in plan.cells}
    families = {
        label: CONTRIBUTED if label in draft.guests and draft.guests[label].title else family_of(method)
        for label, method in methods.items()
    }
    among, pages = dict[str, RankInterval](), _pages(plan)
    if ranking:
        for family in FAMILIES:
            among |= ranking.among(label for label in ranking.intervals if families[label] == family).intervals
    costs = relative_times(evidence.results)
    accuracy, *columns = (column.name for column in found.table.columns)
    entries = []
    for row in found.table.rows:
        label = row.heads[1]
        cells = dict(zip((accuracy, *columns), row.cells, strict=True))
        entries.append(
            Entry(
                label,
                families[label],
                pages[label],
                plan.settings[label],
                cells.pop(accuracy),
                cells,
                ranking.intervals.get(label) if ranking else None,
                among.get(label),
                costs.get(label),
            )
        )
    top = ranking.top_group if ranking else ()
    first = entries[0]
    return View(
        name=name,
        place=place,
        entries=tuple(entries),
        columns=tuple(column for column in columns if column not in _ELSEWHERE),
        caption=found.table.caption,
        found=_found(first, ranking),
        top=top,
        separability=ranking.separability if ranking else None,
        chart=_against_cost(entries, next(iter(costs), ""), place, name),
    )


def _pages(plan: Plan) -> dict[str, str]:
    """Where the page of each method lies; no two names differ in case alone."""
    names: dict[str, str] = {}
    for label in plan.labels:
        name = file_name(label)
        while name.lower() in map(str.lower, names.values()):
            name += "_"
        names[label] = name
    return {label: f"methods/{file_name(plan.name)}/{name}.html" for label, name in names.items()}


def _found(first: Entry, ranking: Ranking | None) -> str:
    """What a ranking shows, in words."""
    highest = f"{first.label} has the highest accuracy, {' '.join(text for _, text in first.accuracy.parts)} %."
    if ranking is None:
        return f"{highest} Who may be first is not known: too few predictions of the same samples are stored."
    count, top = len(ranking.intervals), len(ranking.top_group)
    if top == 1:
        return f"{highest} No other of the {count} methods may be first."
    share = f"{100 * ranking.separability:.0f} % of the pairs of methods are distinguishable"
    return f"{highest} Yet {'all' if top == count else f'{top} of'} {count} methods may be first: {share}."


def _against_cost(entries: Sequence[Entry], unit: str, place: str, name: str) -> Chart | None:
    """Accuracy against the time of a training step; None where fewer than two methods have both."""
    known = {entry: (entry.cost, entry.accuracy.number) for entry in entries if entry.places}
    points = {entry: (x, y) for entry, (x, y) in known.items() if x is not None and y is not None}
    if len(points) < 2:
        return None
    highest = max(y for _, y in points.values())
    below = {entry: y for entry, (_, y) in points.items() if y < highest - _DRAWN}
    drawn = {entry: at for entry, at in points.items() if entry not in below}
    series = []
    for family in FAMILIES:
        own = {entry: at for entry, at in drawn.items() if entry.family == family}
        if own:
            x, y = zip(*own.values(), strict=True)
            said = [f"{one.label}, rank [{one.places.low}, {one.places.high}]" for one in own if one.places]
            named = [
                entry.label if _in_front(at, drawn.values()) or entry.label == HIGHLIGHT else ""
                for entry, at in own.items()
            ]
            series.append(Series(family, x, y, text=said, names=named))
    left_out = ", ".join(f"{entry.label} ({y:.1f})" for entry, y in below.items())
    return Chart(
        name=place,
        title=f"Accuracy against cost, {name} missing",
        caption="Cost: time of a training step as measured, in units of "
        f"{unit}. Named: {HIGHLIGHT}, and whoever no cheaper method exceeds, by estimates alone: how far these can be "
        "trusted stands under Rank." + (f" Too low for the figure: {left_out}." if left_out else ""),
        kind="scatter",
        x=f"Time of a training step (× {unit})",
        y="Fused accuracy (%)",
        panels=(Panel("", tuple(series)),),
        form="z.1f",
        logarithmic=max(x for x, _ in drawn.values()) > _WIDE * min(x for x, _ in drawn.values()),
    )


def _in_front(point: tuple[float, float], points: Collection[tuple[float, float]]) -> bool:
    """Whether no other point is at most as costly and more accurate."""
    return not any(x <= point[0] and y > point[1] for x, y in points)

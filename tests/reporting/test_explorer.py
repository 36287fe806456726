"""What the leaderboard's site ranks, against the report's leaderboards, comparisons in pairs and single folders."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from rich.console import Console

from mlabench.errors import UserError
from mlabench.registry import entries
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.explorer import Folder, build_leaderboard
from mlabench.reporting.explorer.boards import Board, View, boards
from mlabench.reporting.explorer.families import BALANCED, CONTRIBUTED, FUSION, MISSING, MLA, OTHERS, family_of
from mlabench.reporting.explorer.folder import SUITE, TUNED
from mlabench.reporting.explorer.site import rank_bar, who_may_be_first
from mlabench.reporting.results import MULTIMODAL, load
from mlabench.reporting.tables.leaderboard import leaderboard
from mlabench.statistics import RankInterval, compare, holm, rank_intervals
from mlabench.store.records import Store
from mlabench.suite.plan import Plan, Tuned
from mlabench.trial import Component
from tests.reporting.predicted import Skill, sweep
from tests.reporting.sample_charts import HOSTILE

RATES = (0.0, 0.5)
#: Of all suites here; each method finds other samples easy.
DESIGN: dict[str, Any] = {"rates": RATES, "folds": 2, "seeds": (0, 1), "alike": False}


def skill(complete: float, half: float | None = None) -> Skill:
    return lambda _target, test, _seed: complete if half is None or test.rate == 0 else half


SKILLS = {
    "Concat": skill(0.78, 0.60),
    "Sum": skill(0.77, 0.50),
    "QMF": skill(0.60, 0.55),
    "MMIN": skill(0.70, 0.75),
    "MLA": skill(0.80, 0.70),
}
#: What a contributor trained: a method that a plugin defines.
THEIRS = {"Mine": skill(0.90, 0.72)}
MINE = {"Mine": Component(name="mine")}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "ours")


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return Store(tmp_path / "theirs")


def ours(store: Store, **changes: Any) -> Folder:
    plan = sweep(store, changes.pop("skills", SKILLS), **{**DESIGN, **changes})
    return Folder(store, (plan,))


def theirs(store: Store, **changes: Any) -> Folder:
    arguments = {**DESIGN, "methods": MINE, "name": "theirs", **changes}
    return Folder(store, (sweep(store, THEIRS, **arguments),), "Mine", {"Code": "https://example.org/mine"})


def only(*folders: Folder) -> Board:
    (board,), notes = boards(folders)
    assert notes == []
    return board


def places(own: RankInterval | None) -> str:
    """As the report writes them."""
    if own is None:
        return "—"
    return f"{own.low}–{own.high}" if own.low < own.high else str(own.low)


def standing(view: View) -> dict[str, tuple[str, str]]:
    return {entry.label: (places(entry.places), places(entry.among_family)) for entry in view.entries}


def test_every_method_of_ours_has_a_family() -> None:
    assert {family_of(name) for name in entries("methods")} == {FUSION, BALANCED, MISSING, MLA}
    assert family_of("of_a_plugin") == OTHERS


def test_numbers_are_those_of_the_reports_leaderboard(store: Store) -> None:
    folder = ours(store)
    table = leaderboard(Evidence(load(folder.plans[0], store), store))
    assert table is not None
    view = only(folder).views[0]
    assert view.name == "mean over 0 % and 50 %"
    assert [entry.label for entry in view.entries] == [row.heads[1] for row in table.table.rows]
    for entry, row in zip(view.entries, table.table.rows, strict=True):
        assert (entry.accuracy, entry.accuracy.best) == (row.cells[0], row.cells[0].best)
        assert str(entry.places and entry.places.estimate) == row.heads[0]
        assert places(entry.places) == row.cells[1].text
        assert list(entry.more.values()) == list(row.cells[1:])
    assert view.top == table.ranking.top_group  # type: ignore[union-attr]


def told_apart(outcomes: Mapping[str, Any]) -> dict[str, str]:
    """Places by Holm's correction of all comparisons in pairs."""
    pairs = list(combinations(outcomes, 2))
    tests = [compare(outcomes[a], outcomes[b]) for a, b in pairs]
    low, high = dict.fromkeys(outcomes, 1), dict.fromkeys(outcomes, len(outcomes))
    for (a, b), test, p in zip(pairs, tests, holm([test.p_value for test in tests]), strict=True):
        if p < 0.05:
            better, worse = (a, b) if test.difference.estimate > 0 else (b, a)
            low[worse] += 1
            high[better] -= 1
    return {name: f"{low[name]}–{high[name]}" if low[name] < high[name] else str(low[name]) for name in outcomes}


def test_places_at_one_rate_and_among_a_family(store: Store) -> None:
    folder = ours(store)
    evidence = Evidence(load(folder.plans[0], store), store)
    _, complete, half = only(folder).views
    assert [complete.name, half.name] == ["0 %", "50 %"]
    for view in (complete, half):
        outcomes = {label: evidence.outcomes(label, view.name, MULTIMODAL) for label in SKILLS}
        fusion = {label: outcomes[label] for label in ("Concat", "Sum", "QMF")}
        everywhere, among = told_apart(outcomes), told_apart(fusion)
        assert standing(view) == {label: (everywhere[label], among.get(label, "1")) for label in standing(view)}
        assert {label for label, place in everywhere.items() if place.startswith("1")} == set(view.top)
        accuracies = {entry.label: entry.accuracy.number for entry in view.entries}
        expected = {label: 100 * own(MULTIMODAL, view_rate(view), 0) for label, own in SKILLS.items()}
        assert accuracies == pytest.approx(expected)
    assert [entry.label for entry in complete.entries][:2] == ["MLA", "Concat"]
    assert [entry.label for entry in half.entries][:2] == ["MMIN", "MLA"]


def view_rate(view: View) -> Any:
    class Rate:
        rate = float(view.name.removesuffix(" %")) / 100

    return Rate


def test_a_suite_whose_trainings_another_has_is_left_out(store: Store) -> None:
    whole = ours(store).plans[0]
    part = whole.model_copy(update={"name": "part", "cells": whole.cells[: len(whole.cells) * 3 // 5]})
    twin = whole.model_copy(update={"name": "twin"})
    found, _ = boards([Folder(store, (part, whole, twin))])
    assert [board.plan.name for board in found] == ["predicted"]


def test_methods_of_others_are_ranked_as_if_all_lay_in_one_folder(store: Store, other: Store, tmp_path: Path) -> None:
    board = only(ours(store), theirs(other))
    methods = {**MINE, **{cell.label: cell.trial.method for cell in board.plan.cells if cell.label in SKILLS}}
    joint = only(ours(Store(tmp_path / "joint"), skills={**SKILLS, "Mine": THEIRS["Mine"]}, methods=methods))
    for view, expected in zip(board.views, joint.views, strict=True):
        # Which samples they find easy is drawn by their place in the suite: only accuracies are compared.
        assert {one.label: one.accuracy.number for one in view.entries} == pytest.approx(
            {one.label: one.accuracy.number for one in expected.entries}
        )
        assert view.entries[0].label == "Mine" or view.name == "50 %"
        outcomes = {label: board.evidence.outcomes(label, view.name, MULTIMODAL) for label in (*SKILLS, "Mine")}
        if view.name in ("0 %", "50 %"):
            own = rank_intervals(outcomes).intervals  # type: ignore[arg-type]
            assert {one.label: one.places for one in view.entries} == own
    families = {one.label: one.family for one in board.views[0].entries}
    assert families["Mine"] == CONTRIBUTED
    assert families["Concat"] == FUSION
    assert board.guests["Mine"].facts == {"Code": "https://example.org/mine"}


@pytest.mark.parametrize(
    "change",
    [{"folds": 3}, {"dataset": "clipart"}, {"rates": (0.0,)}, {"rates": (0.0, 0.3)}, {"seeds": (7, 8)}],
    ids=str,
)
def test_what_ran_under_another_protocol_is_not_ranked_beside_ours(store: Store, other: Store, change: Any) -> None:
    (board,), notes = boards([ours(store), theirs(other, **change)])
    assert "Mine" not in board.plan.labels
    assert notes == ["Mine: its suite theirs has the protocol of none that is ranked here."]


def test_of_other_seeds_and_rates_only_those_of_the_suite_count(store: Store, other: Store) -> None:
    board = only(ours(store, seeds=(0, 1)), theirs(other, seeds=(0, 1, 2), rates=(0.0, 0.2, 0.5)))
    trials = [cell.trial for cell in board.plan.cells if cell.label == "Mine"]
    assert {trial.seed for trial in trials} == {0, 1}
    assert {trial.missing.rate for trial in trials} == set(RATES)


def test_names_that_are_taken_are_told_apart(store: Store, other: Store) -> None:
    plan = sweep(other, {"MLA": skill(0.9)}, methods={"MLA": Component(name="better_mla")}, **DESIGN)
    board = only(ours(store), Folder(other, (plan,), "Better"))
    assert "MLA (Better)" in board.plan.labels
    assert standing(board.views[0]).keys() == {*SKILLS, "MLA (Better)"}


def test_a_second_folder_of_ours_joins_too_or_is_ranked_apart(store: Store, other: Store, tmp_path: Path) -> None:
    own = replace(theirs(other), title="")
    board = only(ours(store), own)
    assert {one.label: one.family for one in board.views[0].entries}["Mine"] == OTHERS
    elsewhere = ours(Store(tmp_path / "elsewhere"), dataset="clipart", name="elsewhere")
    found, notes = boards([ours(store), elsewhere])
    assert ([one.dataset for one in found], notes) == (["stamps", "clipart"], [])
    twin = ours(Store(tmp_path / "twin"), dataset="clipart")  # of the same name
    found, _ = boards([ours(store), twin])
    assert [one.plan.name for one in found] == ["predicted", "predicted (twin)"]


def tuned(plan: Plan, tries: int = 20) -> Plan:
    methods = {cell.label: cell.trial.configuration for cell in plan.cells}
    about = Tuned(
        tries=tries, seed=0, search="TPE", split="validation", objective="", seeds=(0,), missing=("complete",),
        version="0", methods=methods,
    )  # fmt: skip
    return plan.model_copy(update={"tuned": about, "name": f"{plan.name}_tuned"})


def test_tuned_methods_are_ranked_among_themselves(store: Store, other: Store) -> None:
    folder, guest = ours(store), theirs(other)
    mine = guest.plans[0]
    # The trainings differ, as those of a tuned suite do.
    found, _ = boards([Folder(store, (folder.plans[0],)), replace(guest, plans=(tuned(mine),))])
    assert [(board.settings, "Mine" in board.plan.labels) for board in found] == [(SUITE, False)]
    found, _ = boards([Folder(store, (tuned(folder.plans[0]),)), replace(guest, plans=(tuned(mine),))])
    assert [(board.settings, "Mine" in board.plan.labels) for board in found] == [(TUNED, True)]
    assert found[0].plan.tuned_labels() == (*SKILLS, "Mine")
    found, _ = boards([Folder(store, (tuned(folder.plans[0]),)), replace(guest, plans=(tuned(mine, tries=5),))])
    assert "Mine" not in found[0].plan.labels


def priced(store: Store, plan: Plan, seconds: Mapping[str, float]) -> None:
    for cell in plan.cells:
        record = store.read(cell.trial.id)
        assert record is not None
        cost = {"cpu_seconds_per_step": seconds[cell.label], "wall_seconds_per_step": 1.0}
        store.write(record.model_copy(update={"cost": cost}), outcomes=store.outcomes(cell.trial.id))


def test_accuracy_against_cost(store: Store) -> None:
    folder = ours(store, rates=(0.0,), skills={**SKILLS, "MMIN": skill(0.76)})
    priced(store, folder.plans[0], {"Concat": 2.0, "Sum": 1.0, "QMF": 4.0, "MMIN": 20.0, "MLA": 3.0})
    chart = only(folder).views[0].chart
    assert chart is not None
    points = {
        name: point
        for series in chart.panels[0].series
        for name, *point in zip([text.split(",")[0] for text in series.text], series.x, series.y, strict=True)
    }
    assert points == {
        "Concat": pytest.approx([1.0, 78]), "Sum": pytest.approx([0.5, 77]), "MMIN": pytest.approx([10, 76]),
        "MLA": pytest.approx([1.5, 80]),
    }  # fmt: skip
    named = {name for series in chart.panels[0].series for name in series.names if name}
    assert named == {"Sum", "Concat", "MLA"}  # MMIN is dearer and worse
    assert "Too low for the figure: QMF (60.0)." in chart.caption
    assert [series.label for series in chart.panels[0].series] == [FUSION, MISSING, MLA]


def test_what_is_said_first(store: Store) -> None:
    board = only(ours(store))
    said = who_may_be_first([board])
    top = len(board.views[0].top)
    assert said == [f"On stamps, {top} of 5 methods may be first, MLA among them (not tuned)."]
    alone = only(ours(store, skills={"Concat": skill(0.2), "MLA": skill(0.9)}, name="clear"))
    assert who_may_be_first([alone]) == ["On stamps, MLA is first of 2 (not tuned)."]


@pytest.mark.parametrize(("own", "count"), [(RankInterval(1, 1, 1), 1), (RankInterval(3, 2, 5), 5)])
def test_the_bar_of_places(own: RankInterval, count: int) -> None:
    at = {name: float(place) for name, place in rank_bar(own, count).items()}
    expected = {name: 4 + 92 * (getattr(own, name) - 1) / max(1, count - 1) for name in at}
    assert at == pytest.approx(expected, abs=0.06)


# -- the files ---------------------------------------------------------------------------------------


class Links(HTMLParser):
    """Where a page's links lead, and its ids."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.targets, self.ids = path, list[str](), set[str]()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert tag not in ("img", "link", "iframe"), "nothing is loaded from elsewhere"
        assert tag != "script" or "src" not in found
        self.ids.add(found.get("id") or "")
        if tag == "a":
            self.targets.append(found["href"] or "")


def written(out: Path, *folders: Folder) -> str:
    console = Console(record=True, width=200, file=io.StringIO())
    build_leaderboard(folders, out, command="mlabench leaderboard", console=console)
    return console.export_text()


def test_every_link_leads_to_a_file_of_the_site(store: Store, other: Store, tmp_path: Path) -> None:
    out = tmp_path / "site"
    said = written(out, ours(store), theirs(other))
    assert "may be first" in said and f"Leaderboard: {out / 'index.html'}" in said
    pages = [Links(path) for path in out.rglob("*.html")]
    assert len(pages) == 1 + len(SKILLS) + 1
    elsewhere = {"https://example.org/mine", *(entry.about.paper for entry in entries("methods").values())}
    for page in pages:
        for target in page.targets:
            path, _, anchor = unquote(target).partition("#")
            assert not path.startswith(("/", "http")) or target in elsewhere
            if not path:
                assert anchor in page.ids
            elif not path.startswith("http"):
                assert (page.path.parent / path).resolve().is_file(), f"{page.path} links to {target}"
    records = list((out / "records").iterdir())
    assert len(records) == len(list(store.trials.iterdir())) + len(list(other.trials.iterdir()))
    for path in records:
        home = store if store.folder(path.stem).is_dir() else other
        assert path.read_bytes() == (home.folder(path.stem) / "record.json").read_bytes()
    mine = (out / "methods" / "predicted" / "Mine.html").read_text(encoding="utf-8")
    assert '<a href="https://example.org/mine">' in mine
    assert mine.count("../../records/") == 2 * 2 * 2


def test_a_method_that_lacks_a_run_is_shown_without_a_place(store: Store, tmp_path: Path) -> None:
    view = only(ours(store, failing=[("MMIN", 1)])).views[0]
    entry = view.entries[-1]
    assert (entry.label, entry.places, entry.among_family) == ("MMIN", None, None)
    assert "MMIN" not in {one.label for one in view.ranked}
    assert written(tmp_path / "site", ours(store, failing=[("MMIN", 1)]))


def test_without_predictions_nobody_knows_who_may_be_first(store: Store, tmp_path: Path) -> None:
    folder = ours(store, keep=False)
    view = only(folder).views[0]
    assert (view.top, view.separability) == ((), None)
    assert "Who may be first is not known" in view.found
    written(tmp_path / "site", folder)


def test_names_are_text_wherever_they_stand(store: Store, tmp_path: Path) -> None:
    labels = [HOSTILE, "A b", "a_b"]
    methods = {label: Component(name=name) for label, name in zip(labels, ("concat", "sum", "qmf"), strict=True)}
    folder = ours(store, skills=dict.fromkeys(labels, skill(0.5)), methods=methods)
    plan = folder.plans[0].model_copy(update={"source": HOSTILE})
    out = tmp_path / "site"
    written(out, Folder(store, (plan,), "", {}))
    for path in out.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert "<img" not in text
        assert text.count("<script>") == (2 if path.name == "index.html" else 1)
        assert not re.search(r'href="(?!\.|#|https://)', text)
    names = {path.name.lower() for path in (out / "methods" / "predicted").iterdir()}
    assert len(names) == 3


def test_the_same_records_give_the_same_site(store: Store, tmp_path: Path) -> None:
    folder = ours(store)
    written(tmp_path / "one", folder)
    written(tmp_path / "two", folder)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.html"))
    assert files
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_nothing_to_rank_is_said(store: Store, tmp_path: Path) -> None:
    folder = ours(store, skills={"MLA": skill(0.5)})
    with pytest.raises(UserError, match="no suite here ranks two methods"):
        written(tmp_path / "site", folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the leaderboard"):
        written(tmp_path / "file", ours(store))

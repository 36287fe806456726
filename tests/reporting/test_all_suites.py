from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from mlabench.reporting.build import Report, build_report
from mlabench.store.records import Store
from mlabench.suite.plan import Plan
from tests.reporting.predicted import Skill, sweep


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def suite(store: Store, name: str, dataset: str, *labels: str, **options: object) -> Plan:
    skills: dict[str, Skill] = {label: lambda *_, own=0.8 - 0.1 * place: own for place, label in enumerate(labels)}
    return sweep(store, skills, name=name, dataset=dataset, questions=(), alike=False, **options)  # type: ignore[arg-type]


def report(store: Store, *plans: Plan) -> tuple[Report, str]:
    printed = io.StringIO()
    found = build_report(
        store, plans, store.root.parent / "report", console=Console(file=printed, width=200), full=True
    )
    return found, printed.getvalue()


def standings(found: Report) -> list[dict[str, str]]:
    path = found.out / "all_suites" / "tables" / "standings.csv"
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []


def test_standings_are_on_the_page_in_the_terminal_and_in_files(store: Store) -> None:
    found, printed = report(
        store,
        suite(store, "first", "stamps", "QMF", "MLA", "Concat"),
        suite(store, "second", "clipart", "MLA", "QMF", "Concat"),
    )
    rows = standings(found)
    assert {row["Method"]: row["Mean place"] for row in rows} == {"MLA": "1.5", "QMF": "1.5", "Concat": "3.0"}
    assert [row["Method"] for row in rows] == ["MLA", "QMF", "Concat"]
    pictures = {path.name for path in (found.out / "all_suites" / "figures").iterdir()}
    assert pictures == {"standings.png", "standings.pdf"}
    assert "Standings over all datasets" in printed
    assert found.page is not None
    page = found.page.read_text(encoding="utf-8")
    assert "Standings over all datasets" in page
    assert "Ranked: stamps (first), clipart (second)." in page


def test_what_is_not_shared_is_left_out_and_named(store: Store) -> None:
    found, _ = report(
        store,
        suite(store, "short", "stamps", "Concat", "MLA"),
        suite(store, "long", "stamps", "Concat", "Late fusion", "QMF", "MLA", rates=(0.0, 0.5)),
        suite(store, "other", "clipart", "Concat", "QMF", "MLA", "MMIN", failing=[("QMF", 1)]),
    )
    assert {row["Method"] for row in standings(found)} == {"Concat", "MLA"}
    assert found.page is not None
    page = found.page.read_text(encoding="utf-8")
    assert "Methods left out, which have not all their runs on each of these: Late fusion, QMF, MMIN." in page
    assert "Suites left out, which rank fewer methods on the same samples: short." in page


def test_there_are_no_standings_over_one_dataset_or_one_method(store: Store) -> None:
    one = suite(store, "one", "stamps", "Concat", "MLA")
    assert standings(report(store, one, suite(store, "same", "stamps", "QMF", "MLA", rates=(0.5,)))[0]) == []
    assert standings(report(store, one, suite(store, "other", "clipart", "QMF", "MLA"))[0]) == []

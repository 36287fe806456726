from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from mlabench.reporting.all_suites import AllSuites, rank_all
from mlabench.reporting.build import build_report
from mlabench.reporting.results import load
from mlabench.store.records import Store
from mlabench.suite.plan import Plan
from tests.reporting.synthetic import accuracy, failed, sweep

SEEDS = (0, 1, 2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def ranked(store: Store, *plans: Plan) -> AllSuites | None:
    return rank_all([load(plan, store) for plan in plans], Path("nowhere"))


def table(found: AllSuites | None, name: str) -> dict[tuple[str, ...], list[str]]:
    assert found is not None
    (own,) = (table for table in found.tables if table.name == name)
    return {row.heads: [cell.mean for cell in row.cells] for row in own.rows}


def means(label: str, rates: tuple[float, ...]) -> list[float]:
    return [float(np.mean([accuracy(label, "multimodal", seed, rate) for seed in SEEDS])) for rate in rates]


def test_ranks_are_over_all_pairs_of_dataset_and_rate(store: Store) -> None:
    labels = ["Concat", "QMF", "MLA"]
    first, second = (0.0, 0.3, 0.6), (0.0, 0.5)
    found = ranked(
        store,
        sweep(store, labels, rates=first, name="first"),
        sweep(store, labels, rates=second, name="second", dataset="clipart"),
    )
    scores = np.array([means(label, first) + means(label, second) for label in labels])
    expected = dict(zip(labels, stats.rankdata(-scores, axis=0).mean(axis=1), strict=True))
    assert {heads[0]: float(cells[0]) for heads, cells in table(found, "ranks").items()} == {
        label: pytest.approx(rank, abs=0.005) for label, rank in expected.items()
    }
    assert len(table(found, "blocks")) == 5
    assert found is not None
    assert "5 pairs of dataset and missing rate" in found.tables[0].note
    assert "clipart" in found.tables[0].conditions


def test_what_is_not_shared_is_left_out_and_named(store: Store) -> None:
    plans = [
        sweep(store, ["Concat", "Late fusion", "QMF", "MLA"], name="first"),
        sweep(store, ["Concat", "QMF", "MLA", "MMIN"], rates=(0.0, 0.5), name="second", dataset="clipart"),
    ]
    broken = next(cell for cell in plans[1].cells if cell.label == "QMF" and cell.trial.missing.rate == 0.5)
    store.write(failed(broken.trial))
    found = ranked(store, *plans)
    # Three methods in four blocks make twelve comparisons, two in five make five.
    assert len(table(found, "blocks")) == 4
    assert {heads[0] for heads in table(found, "ranks")} == {"Concat", "QMF", "MLA"}
    assert found is not None
    notes = " ".join(found.notes)
    assert re.search(r"Methods left out[^.]*: Late fusion, MMIN\.", notes)
    assert "lacking QMF (runs failed or are missing): clipart (audio, image, text) at 50 % (second)." in notes


def test_a_dataset_and_rate_counts_once(store: Store) -> None:
    found = ranked(
        store,
        sweep(store, ["Concat", "MLA"], rates=(0.0,), name="short"),
        sweep(store, ["Concat", "QMF", "MLA"], name="long"),
        sweep(store, ["Concat", "QMF", "MLA"], rates=(0.0,), name="other", dataset="clipart"),
    )
    suites = [heads[2] for heads in table(found, "blocks")]
    assert sorted(suites) == ["long", "long", "long", "other"]
    assert found is not None
    assert "are there already: stamps (audio, image, text) at 0 % (short)." in found.notes[-1]


def test_nothing_is_ranked_over_one_dataset_or_one_method(store: Store) -> None:
    one = sweep(store, ["Concat", "MLA"], name="one")
    assert ranked(store, one, sweep(store, ["QMF", "MLA"], rates=(0.1,), name="same")) is None
    assert ranked(store, one, sweep(store, ["QMF", "MLA"], name="other", dataset="clipart")) is None


def test_the_ranking_is_on_the_page_in_the_terminal_and_in_files(store: Store, tmp_path: Path) -> None:
    plans = [
        sweep(store, ["Concat", "MLA"], rates=(0.0,), questions=(), name="first"),
        sweep(store, ["Concat", "MLA"], rates=(0.0,), questions=(), name="second", dataset="clipart"),
    ]
    printed = io.StringIO()
    report = build_report(store, plans, tmp_path / "report", console=Console(file=printed, width=200))
    folder = report.out / "all_suites"
    rows = list(csv.DictReader((folder / "tables" / "ranks.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["Method"] for row in rows} == {"Concat", "MLA"}
    pictures = {path.name for path in (folder / "figures").iterdir()}
    assert pictures == {"ranks.png", "ranks.pdf"}
    title = "Ranks of the methods over the pairs of dataset and missing rate"
    assert title in printed.getvalue()
    assert report.page is not None
    page = report.page.read_text(encoding="utf-8")
    assert page.index(">Summary</h2>") < page.index(">All suites together</h2>") < page.index(">first: A synthetic")
    assert title in page

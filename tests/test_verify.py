"""What ``suites/verify.yaml`` verifies, with the methods whose claims hold by far, so that chance decides nothing."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from mlabench import registry
from mlabench.method import Claim
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.results import load
from mlabench.reporting.table import Table
from mlabench.reporting.tables.verification import verification_tables
from mlabench.store.records import Store
from mlabench.suite import load_suite
from tests.command_line import ROOT, mlabench

BALANCE, MISSING = "verify_balance", "verify_missing"
METHODS = {BALANCE: ("concat", "mmpareto", "opm", "mla"), MISSING: ("concat", "mla", "modality_dropout")}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Table]]:
    """The tables of verification, by suite and name."""
    results, tables = tmp_path_factory.mktemp("results"), {}
    for name, methods in METHODS.items():
        chosen = [argument for method in methods for argument in ("--method", method)]
        done = mlabench("run", ROOT / "suites" / f"{name}.yaml", "--results", results, *chosen)
        assert done.returncode == 0, done.stderr
        assert "accuracies lies beyond its bound" in " ".join(done.stdout.split())
        store = Store(results)
        (plan,) = [plan for plan in store.plans() if plan.name == name]
        tables[name] = {table.name: table for table in verification_tables(Evidence(load(plan, store), store))}
    return tables


@pytest.mark.parametrize("suite", METHODS)
def test_nobody_beats_the_best_possible_accuracy(suite: str, found: dict[str, dict[str, Table]]) -> None:
    first, *others = found[suite]["bounds"].rows
    assert first.heads == ("Best possible accuracy",)
    assert len(others) == len(METHODS[suite])
    assert {row.cells[-1].text for row in others} == {"within"}


@pytest.mark.parametrize("method", ["MMPareto", "OPM", "MLA"])
def test_balancing_methods_raise_the_weak_modality(method: str, found: dict[str, dict[str, Table]]) -> None:
    rows = {row.heads: row.cells for row in found[BALANCE]["claims"].rows}
    reference, own, gain, _, verdict = rows["raises the weak modality: its predictions", method]
    assert verdict.text == "held"
    assert reference.number is not None
    assert own.number is not None
    assert reference.number < 50  # of 70 possible, where 25 are chance
    assert own.number > 65
    assert gain.interval is not None
    assert gain.interval.low > 10


@pytest.mark.parametrize("method", ["MLA", "Modality dropout"])
def test_missing_modality_methods_degrade_more_slowly(method: str, found: dict[str, dict[str, Table]]) -> None:
    rows = {row.heads: row.cells for row in found[MISSING]["claims"].rows}
    assert rows["withstands missing modalities", method][-1].text == "held"
    shares = {row.heads[0]: row.cells[3].number or 0 for row in found[MISSING]["bounds"].rows[1:]}
    assert shares[method] > 97
    assert shares["Concat"] < 95


def test_every_claim_is_verified() -> None:
    suites = [load_suite(ROOT / "suites" / f"{name}.yaml") for name in METHODS]
    listed = {
        claim: {entry.method.name for entry in suite.methods}
        for claim, suite in zip(get_args(Claim), suites, strict=True)
    }
    for name, entry in registry.entries("methods").items():
        assert set(entry.about.claims) <= set(get_args(Claim))
        for claim in entry.about.claims:
            assert name in listed[claim], f"{name} claims that it {claim}"


def test_the_list_of_suites() -> None:
    text = Path(ROOT / "suites" / "verify.yaml").read_text(encoding="utf-8")
    assert all(f"{name}.yaml" in text for name in METHODS)

"""Claims and bounds on predictions with exactly known accuracies."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb
from pathlib import Path

import numpy as np
import pytest

from mlabench.missing import Missing
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.results import load
from mlabench.reporting.table import Table
from mlabench.reporting.tables import formats
from mlabench.reporting.tables.verification import _tail, verification_tables
from mlabench.store.records import Store
from mlabench.suite.plan import Plan
from tests.reporting.predicted import SAMPLES, Skill, sweep
from tests.reporting.synthetic import MODALITIES

#: The best possible accuracies: text is the weak modality.
BEST = {"audio": 0.8, "image": 0.9, "text": 0.6, "multimodal": 0.95}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def skill(text: float, start: float, end: float) -> Skill:
    """Accuracies that vary a little with the seed; the fused one falls with the missing rate."""

    def accuracy(target: str, test: Missing, seed: int) -> float:
        level = {"text": text, "fused": start if test.rate == 0 else end}.get(target, 0.7)
        return level + 0.01 * (seed - 1)

    return accuracy


def write(
    store: Store,
    skills: Mapping[str, Skill],
    *,
    best: Mapping[str, float] = BEST,
    rates: tuple[float, ...] = (0.0, 0.5),
) -> Plan:
    probes = {label: lambda modality, seed, place=place: 0.3 + 0.1 * place + 0.01 * seed
              for place, label in enumerate(skills)}  # fmt: skip
    plan = sweep(store, skills, rates=rates, probes=probes)
    for cell in plan.cells:
        record = store.read(cell.trial.id)
        assert record is not None
        evaluations = {
            key: evaluation.model_copy(update={"bayes": dict(best)}) for key, evaluation in record.evaluations.items()
        }
        store.write(
            record.model_copy(update={"evaluations": evaluations, "files": {}}), store.predictions(cell.trial.id)
        )
    return plan


def tables(plan: Plan, store: Store) -> dict[str, Table]:
    return {table.name: table for table in verification_tables(Evidence(load(plan, store), store))}


def verdicts(table: Table) -> dict[tuple[str, str], str]:
    return {row.heads: row.cells[-1].text for row in table.rows}  # type: ignore[misc]


PREDICTIONS, ENCODER = "raises the weak modality: its predictions", "raises the weak modality: its encoder"
WITHSTANDS = "withstands missing modalities"


def test_claims_that_hold(store: Store) -> None:
    plan = write(store, {"Concat": skill(0.3, 0.9, 0.5), "MLA": skill(0.5, 0.9, 0.8), "MMIN": skill(0.3, 0.9, 0.75)})
    claims = tables(plan, store)["claims"]
    assert verdicts(claims) == {
        (PREDICTIONS, "MLA"): "held",
        (ENCODER, "MLA"): "held",
        (WITHSTANDS, "MLA"): "held",
        (WITHSTANDS, "MMIN"): "held",
    }
    assert "4 of 4 checks held" in claims.note
    assert "from text alone, with 0 % missing" in claims.note
    rows = {row.heads: row.cells for row in claims.rows}
    reference, own, gain, *_ = rows[WITHSTANDS, "MLA"]
    assert (reference.number, own.number, gain.number) == pytest.approx((40, 10, 30))
    reference, own, gain, *_ = rows[PREDICTIONS, "MLA"]
    assert (reference.number, own.number) == pytest.approx((30, 50), abs=3)  # of the samples that have text
    assert gain.number == pytest.approx(own.number - reference.number)  # type: ignore[operator]
    assert rows[ENCODER, "MLA"][2].number == pytest.approx(10)


def test_claims_that_do_not_hold(store: Store) -> None:
    plan = write(store, {"Concat": skill(0.5, 0.9, 0.8), "MLA": skill(0.3, 0.9, 0.5), "MMIN": skill(0.5, 0.9, 0.8)})
    found = verdicts(tables(plan, store)["claims"])
    assert found[PREDICTIONS, "MLA"] == found[WITHSTANDS, "MLA"] == "not held"
    assert found[ENCODER, "MLA"] == "held"
    assert found[WITHSTANDS, "MMIN"] == "not held"


def test_who_has_learned_nothing_has_nothing_to_lose(store: Store) -> None:
    plan = write(store, {"Concat": skill(0.3, 0.9, 0.5), "MMIN": skill(0.3, 0.25, 0.25)})
    assert verdicts(tables(plan, store)["claims"]) == {(WITHSTANDS, "MMIN"): "not held"}


def test_no_weak_modality_and_no_missing_rate_no_claim(store: Store) -> None:
    alike = dict.fromkeys((*MODALITIES, "multimodal"), 0.95)
    plan = write(store, {"Concat": skill(0.3, 0.9, 0.5), "MLA": skill(0.5, 0.9, 0.8)}, best=alike, rates=(0.0,))
    assert list(tables(plan, store)) == ["bounds"]


def test_nothing_is_verified_where_the_best_is_not_known(store: Store) -> None:
    plan = sweep(store, {"Concat": skill(0.3, 0.9, 0.5), "MLA": skill(0.5, 0.9, 0.8)}, rates=(0.0, 0.5))
    assert tables(plan, store) == {}


def test_shares_and_bounds(store: Store) -> None:
    plan = write(store, {"Concat": skill(0.3, 0.9, 0.5), "MLA": skill(0.59, 0.94, 0.95)})
    bounds = tables(plan, store)["bounds"]
    best, concat, mla = (row.cells for row in bounds.rows)
    assert [cell.text for cell in best] == ["80.0", "90.0", "60.0", "95.0", "95.0", "—"]
    assert [column.name for column in bounds.columns] == [*MODALITIES, "Multimodal", "50 % missing", "Bound"]
    assert concat[3].number == pytest.approx(100 * 0.9 / 0.95)
    assert mla[2].number == pytest.approx(100 * 0.59 / 0.6, abs=0.5)
    assert mla[4].number == pytest.approx(100)
    assert [row[-1].text for row in (concat, mla)] == ["within", "within"]  # 0.96 with one seed is chance
    assert bounds.note.startswith("None of 48 accuracies")
    lines = formats.csv(bounds).splitlines()
    assert lines[0].startswith("Method,audio,audio std,audio runs,audio status,image")
    assert lines[1].startswith("Best possible accuracy,80.0,,0,,90.0")
    assert lines[2].split(",")[13] == "94.7"


def test_a_leak_is_found(store: Store) -> None:
    plan = write(store, {"Concat": skill(0.3, 0.9, 0.5), "MLA": skill(0.75, 0.9, 0.8)})  # text: at most 60 %
    bounds = tables(plan, store)["bounds"]
    assert bounds.rows[1].cells[-1].text == "within"
    assert bounds.rows[2].cells[-1].text == "beaten, p < 0.001"
    assert not bounds.note.startswith("None")


@pytest.mark.parametrize(("hits", "samples", "bound"), [(60, 100, 0.5), (51, 100, 0.5), (9, 10, 0.7), (10, 10, 0.7)])
def test_tail(hits: int, samples: int, bound: float) -> None:
    exact = sum(comb(samples, k) * bound**k * (1 - bound) ** (samples - k) for k in range(hits, samples + 1))
    assert _tail(hits, samples, bound) == pytest.approx(exact)
    assert _tail(int(samples * bound), samples, bound) == 1.0


def test_chance_alone_is_seldom_taken_for_a_leak() -> None:
    """Also where samples differ in their best accuracy, as under a missing pattern."""
    random = np.random.default_rng(0)
    best = np.where(random.random(SAMPLES) < 0.5, 0.95, 0.4)
    hits = (random.random((4000, SAMPLES)) < best).sum(axis=1)
    assert np.mean([_tail(int(count), SAMPLES, float(best.mean())) < 0.05 for count in hits]) < 0.05

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlabench.missing import Missing
from mlabench.record import Record, Scores
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.results import MULTIMODAL, load
from mlabench.statistics.comparisons import compare
from mlabench.store.records import PREDICTIONS, Arrays, Store
from mlabench.suite.plan import Plan, PlannedTrial
from tests.reporting.synthetic import MODALITIES, failed, record, sweep, trial

SAMPLES, CLASSES = 60, 4
IDS = np.array([f"sample {number:02}" for number in range(SAMPLES)])
LABELS = np.arange(SAMPLES) % CLASSES
GROUPS = np.array([f"speaker {number // 3}" for number in range(SAMPLES)])


def present(test: Missing) -> np.ndarray:
    return test.pattern("stamps", list(IDS), MODALITIES)


def right(label: str, seed: int, target: str, test: Missing) -> np.ndarray:
    """Which samples are right: made up, and known to the tests."""
    place = [*MODALITIES, MULTIMODAL].index(target)
    random = np.random.default_rng([sum(label.encode()), seed, place, sum(test.key.encode())])
    return random.random(SAMPLES) < 0.5 + 0.1 * place


def arrays(label: str, seed: int, tests: Sequence[Missing], *, groups: bool = True, weighted: bool = False) -> Arrays:
    """What a trial stores: logits that are highest at the label just where :func:`right` says so."""
    found: Arrays = {"ids": IDS, "labels": LABELS, **({"groups": GROUPS} if groups else {})}
    for test in tests:
        found[f"{test.key}/present"] = present(test)
        for target in (*MODALITIES, MULTIMODAL):
            predicted = np.where(right(label, seed, target, test), LABELS, (LABELS + 1) % CLASSES)
            name = "fused" if target == MULTIMODAL else target
            found[f"{test.key}/{name}"] = 3 * np.eye(CLASSES, dtype=np.float32)[predicted]
        if weighted:
            found[f"{test.key}/weight"] = np.tile(np.array([0.2, 0.5, 0.3], dtype=np.float32), (SAMPLES, 1))
    return found


def scored(cell: PlannedTrial) -> Record:
    """A record whose accuracies are those of :func:`right`."""

    def accuracy(label: str, target: str, seed: int, rate: float) -> float:
        test = Missing.at("balanced", rate)
        correct = right(label, seed, target, test)
        here = slice(None) if target == MULTIMODAL else present(test)[:, MODALITIES.index(target)]
        return float(correct[here].mean())

    return record(cell.trial, cell.label, cell.tests, accuracy)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def stored(store: Store, labels: Sequence[str] = ("Concat", "MLA"), **options: bool) -> Plan:
    """A suite of two rates and three seeds, with predictions."""
    plan = sweep(store, labels, rates=(0.0, 0.5), write=False)
    for cell in plan.cells:
        store.write(scored(cell), arrays(cell.label, cell.trial.seed, cell.tests, **options))
    return plan


def evidence(plan: Plan, store: Store) -> Evidence:
    return Evidence(load(plan, store), store)


@pytest.mark.parametrize("rate", [0.0, 0.5])
@pytest.mark.parametrize("target", [MULTIMODAL, "image"])
def test_outcomes_are_those_of_the_samples_that_have_the_target(store: Store, rate: float, target: str) -> None:
    found = evidence(stored(store), store)
    test = Missing.at("balanced", rate)
    here = np.ones(SAMPLES, dtype=bool) if target == MULTIMODAL else present(test)[:, 1]
    outcomes = found.outcomes("MLA", f"{100 * rate:g} %", target)
    assert outcomes is not None
    assert outcomes.seeds == (0, 1, 2)
    np.testing.assert_array_equal(
        outcomes.correct, np.stack([right("MLA", seed, target, test)[here] for seed in range(3)])
    )
    # The same partition of the samples, whatever the codes.
    np.testing.assert_array_equal(outcomes.groups[:, None] == outcomes.groups, GROUPS[here][:, None] == GROUPS[here])
    per_seed = found.per_seed("MLA", f"{100 * rate:g} %", target)
    np.testing.assert_allclose(list(per_seed.values()), 100 * outcomes.correct.mean(axis=1))
    assert compare(outcomes, found.outcomes("Concat", f"{100 * rate:g} %", target)).seeds == 3


def test_other_test_patterns_than_those_of_the_axis(store: Store) -> None:
    subset = Missing(protocol="subset", keep=("audio",))
    plan = sweep(store, ["MLA"], extra_tests=[subset], write=False)
    for cell in plan.cells:
        store.write(scored(cell), arrays("MLA", cell.trial.seed, cell.tests))
    found = evidence(plan, store)
    outcomes = found.outcomes("MLA", "30 %", "audio", MULTIMODAL)
    assert outcomes is not None
    np.testing.assert_array_equal(outcomes.correct[2], right("MLA", 2, MULTIMODAL, subset))
    assert found.outcomes("MLA", "30 %", "audio", "image") is None  # no sample has it
    assert found.outcomes("MLA", "30 %", "60 %", MULTIMODAL) is None  # not asked for


def test_runs_that_came_to_nothing_are_left_out(store: Store) -> None:
    plan = stored(store)
    store.write(failed(plan.cells[1].trial))  # Concat, 0 %, seed 1
    found = evidence(plan, store)
    outcomes = found.outcomes("Concat", "0 %", MULTIMODAL)
    assert outcomes is not None
    assert outcomes.seeds == (0, 2)
    assert found.per_seed("Concat", "0 %", MULTIMODAL).keys() == {0, 2}
    assert found.outcomes("Concat", "10 %", MULTIMODAL) is None
    assert found.per_seed("Concat", "10 %", MULTIMODAL) == {}


def test_without_predictions_there_still_are_numbers_per_seed(store: Store) -> None:
    plan = stored(store)
    (store.folder(plan.cells[0].trial.id) / PREDICTIONS).unlink()
    found = evidence(plan, store)
    # Outcomes of two of three seeds would not be those of the number shown.
    assert found.outcomes("Concat", "0 %", MULTIMODAL) is None
    assert found.per_seed("Concat", "0 %", MULTIMODAL).keys() == {0, 1, 2}
    assert found.predictions("Concat", "0 %", MULTIMODAL).keys() == {(1, ""), (2, "")}
    assert found.outcomes("MLA", "0 %", MULTIMODAL) is not None
    assert found.problems == {}


def test_a_file_that_is_damaged_after_its_record_was_read(store: Store) -> None:
    plan = stored(store)
    found = evidence(plan, store)
    broken = plan.cells[0].trial.id
    (store.folder(broken) / PREDICTIONS).write_bytes(b"PK\x03\x04 no archive")
    assert found.outcomes("Concat", "0 %", MULTIMODAL) is None
    assert "cannot be read" in found.problems[broken]
    assert found.outcomes("MLA", "0 %", MULTIMODAL) is not None


def test_nothing_is_unpickled(store: Store) -> None:
    plan = stored(store)
    found = evidence(plan, store)
    own = plan.cells[0]
    forged = np.array([{}] * SAMPLES, dtype=object)
    np.savez(
        store.folder(own.trial.id) / PREDICTIONS, **{**arrays(own.label, own.trial.seed, own.tests), "ids": forged}
    )
    assert found.outcomes("Concat", "0 %", MULTIMODAL) is None
    assert found.problems[own.trial.id] == f"{PREDICTIONS} cannot be read (ValueError)"


def test_a_corrupt_record_counts_as_missing(store: Store) -> None:
    plan = stored(store)
    (store.folder(plan.cells[0].trial.id) / PREDICTIONS).write_bytes(b"damaged")  # its checksum no longer agrees
    outcomes = evidence(plan, store).outcomes("Concat", "0 %", MULTIMODAL)
    assert outcomes is not None
    assert outcomes.seeds == (1, 2)


def test_samples_in_another_order_are_put_in_place(store: Store) -> None:
    plan = stored(store)
    cell = plan.cells[1]
    order = np.random.default_rng(0).permutation(SAMPLES)
    shuffled = {name: array[order] for name, array in arrays(cell.label, cell.trial.seed, cell.tests).items()}
    store.write(scored(cell), shuffled)
    outcomes = evidence(plan, store).outcomes("Concat", "0 %", MULTIMODAL)
    assert outcomes is not None
    np.testing.assert_array_equal(outcomes.correct[1], right("Concat", 1, MULTIMODAL, Missing()))


def test_other_samples_cannot_be_compared_and_it_is_said(store: Store) -> None:
    plan = stored(store)
    cell = plan.cells[1]
    other = {**arrays(cell.label, cell.trial.seed, cell.tests), "ids": np.array([f"x{name}" for name in IDS])}
    store.write(scored(cell), other)
    found = evidence(plan, store)
    assert found.outcomes("Concat", "0 %", MULTIMODAL) is None
    assert list(found.problems) == [cell.trial.id]
    assert found.outcomes("Concat", "50 %", MULTIMODAL) is not None


def test_older_records_have_no_groups_weights_probes_or_projections(store: Store) -> None:
    found = evidence(stored(store, groups=False), store)
    outcomes = found.outcomes("MLA", "0 %", MULTIMODAL)
    assert outcomes is not None
    assert len(np.unique(outcomes.groups)) == SAMPLES
    assert found.probe("MLA", "0 %") == {}
    assert found.weights("MLA", "0 %") is None
    assert found.projections("MLA", 0) is None


def test_weights_and_predictions(store: Store) -> None:
    found = evidence(stored(store, ["MLA"], weighted=True), store)
    weights = found.weights("MLA", "50 %")
    assert weights is not None
    test = Missing.at("balanced", 0.5)
    assert weights.keys() == {(0, ""), (1, ""), (2, "")}
    np.testing.assert_array_equal(weights[1, ""].present, present(test))
    np.testing.assert_allclose(weights[1, ""].weight[7], [0.2, 0.5, 0.3])
    np.testing.assert_array_equal(weights[1, ""].correct[:, 2], right("MLA", 1, "text", test))
    own = found.predictions("MLA", "50 %", "text")[1, ""]
    here = present(test)[:, 2]
    np.testing.assert_array_equal(own.labels, LABELS[here])
    np.testing.assert_array_equal(own.logits.argmax(axis=1) == own.labels, right("MLA", 1, "text", test)[here])


def test_probes_and_projections_are_those_of_complete_test_samples(store: Store) -> None:
    plan = sweep(store, ["MLA"], seeds=(0, 1), rates=(0.0, 0.5), extra_tests=[Missing()], write=False)
    points = {modality: np.full((SAMPLES, 2), place, dtype=np.float32) for place, modality in enumerate(MODALITIES)}
    for cell in plan.cells:
        made = scored(cell)
        accuracy = 0.4 + 0.1 * cell.trial.seed + cell.trial.missing.rate / 10
        probe = {"image": Scores(n=SAMPLES, accuracy=accuracy, macro_f1=0, uar=0, ece=0)}
        complete = made.evaluations["complete"].model_copy(update={"probe": probe})
        made = made.model_copy(update={"evaluations": {**made.evaluations, "complete": complete}})
        where = cell.trial.missing.rate
        extra = {f"complete/projection/{modality}": array + 10 * where for modality, array in points.items()}
        store.write(made, {**arrays("MLA", cell.trial.seed, cell.tests), **extra})
    found = evidence(plan, store)
    assert found.probe("MLA", "0 %")["image"] == pytest.approx({(0, ""): 40, (1, ""): 50})
    assert found.probe("MLA", "50 %")["image"] == pytest.approx({(0, ""): 45, (1, ""): 55})
    projections = found.projections("MLA", 1)
    assert projections is not None
    np.testing.assert_array_equal(projections["text"], points["text"])  # of the training on complete data
    assert found.projections("MLA", 7) is None


@pytest.mark.parametrize("columns", [len(MODALITIES) + 1, len(MODALITIES)])
def test_what_archives_say_is_right_needs_no_logits(columns: int, store: Store) -> None:
    """Should it not be about all targets, the logits are read."""
    plan = sweep(store, ["MLA"], seeds=(0, 1), rates=(0.0,), write=False)
    told = np.random.default_rng(0).random((2, SAMPLES, columns)) < 0.7
    for cell in plan.cells:
        (test,) = cell.tests
        correct = {f"{test.key}/correct": told[cell.trial.seed]}
        store.write(scored(cell), {**arrays("MLA", cell.trial.seed, cell.tests), **correct})
    found = evidence(plan, store)
    for place, target in enumerate((*MODALITIES, MULTIMODAL)):
        outcomes = found.outcomes("MLA", "0 %", target)
        assert outcomes is not None
        expected = told[:, :, place] if columns > len(MODALITIES) else [right("MLA", s, target, test) for s in (0, 1)]
        np.testing.assert_array_equal(outcomes.correct, expected)


def test_runs_that_differ_in_their_patterns_alone(store: Store) -> None:
    cells = [
        PlannedTrial(label="MLA", trial=trial("MLA", 0).model_copy(update={"missing": missing}), tests=(missing,))
        for missing in (Missing.at("balanced", 0.5, seed) for seed in (0, 1))
    ]
    plan = Plan(name="patterns", modalities=MODALITIES, cells=tuple(cells))
    for cell, value in zip(cells, (0.5, 0.7), strict=True):
        store.write(record(cell.trial, "MLA", cell.tests, lambda *_, value=value: value), arrays("MLA", 0, cell.tests))
    found = evidence(plan, store)
    assert found.per_seed("MLA", "50 %", MULTIMODAL) == pytest.approx({0: 60.0})
    assert found.outcomes("MLA", "50 %", "audio") is None


def test_scores_other_than_accuracy(store: Store) -> None:
    plan = stored(store)
    results = evidence(plan, store).results
    rows = results.at("MLA", "0 %", MULTIMODAL).set_index("seed")
    assert rows["ece"].to_dict() == pytest.approx({0: 0.1, 1: 0.1, 2: 0.1})
    for cell in plan.cells[6:9]:
        gap = results.records[cell.trial.id].oracle_gap("complete")
        assert gap is not None
        assert rows["oracle_gap"][cell.trial.seed] == pytest.approx(gap)


def test_only_what_is_asked_for_is_read_and_only_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found = evidence(stored(store), store)
    opened: list[str] = []

    read = np.load

    def spied(file: Any, **options: Any) -> Any:
        opened.append(Path(file.name).parent.name)
        return read(file, **options)

    monkeypatch.setattr(np, "load", spied)
    found.outcomes("MLA", "0 %", MULTIMODAL)
    first = len(opened)
    assert len({name for name in opened if "-mla-" in name}) == 3
    found.outcomes("MLA", "0 %", MULTIMODAL)
    assert len(opened) == first

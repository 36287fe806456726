"""Joining results folders of several machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from mlabench.errors import UserError
from mlabench.missing import Missing
from mlabench.record import Epoch, Failure, Record
from mlabench.store.leases import held
from mlabench.store.merge import merge_folders
from mlabench.store.records import MODEL, RECORD, Store
from mlabench.suite.plan import Plan, PlannedTrial
from mlabench.trial import Fold, Trial
from tests.command_line import invoke
from tests.records import make_record, make_trial

A, B, C = (make_trial(seed=seed) for seed in range(3))
AUDIO = Missing(protocol="subset", keep=("audio",))


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Store, Store, Store]:
    """Two sources and what they are merged into; the sources exist."""
    for name in ("one", "two"):
        (tmp_path / name / "trials").mkdir(parents=True)
    return Store(tmp_path / "one"), Store(tmp_path / "two"), Store(tmp_path / "all")


def arrays(*keys: str, value: float = 0.5) -> dict[str, np.ndarray]:
    found = {"ids": np.array(["a", "b"]), "labels": np.array([0, 1]), "groups": np.array(["a", "b"])}
    return {**found, **{f"{key}/fused": np.full((2, 3), value, np.float32) for key in keys}}


def failed(trial: Trial) -> Record:
    return Record(trial=trial, status="failed", failure=Failure(kind="OSError", message="no"))


def trained(trial: Trial, *tests: Missing, accuracy: float = 0.5, validation: float = 0.4) -> Record:
    """A good record with these evaluations and one epoch."""
    record = make_record(trial, accuracy)
    evaluation = next(iter(record.evaluations.values()))
    epoch = Epoch(stage="train", epoch=1, logs={"loss": 1.0}, validation={"multimodal": validation}, test={})
    evaluations = {test.key: evaluation.model_copy(update={"missing": test}) for test in tests}
    return record.model_copy(update={"evaluations": evaluations, "curves": [epoch]})


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def plan(*trials: Trial, name: str = "suite", **fields: object) -> Plan:
    cells = tuple(PlannedTrial(label="Concat", trial=trial, tests=(Missing(),)) for trial in trials)
    source = yaml.safe_dump({"name": name, "seeds": [trial.seed for trial in trials]}, sort_keys=False)
    return Plan.model_validate({"name": name, "modalities": ("audio",), "cells": cells, "source": source, **fields})


def merge(stores: tuple[Store, Store, Store]) -> tuple[int, int, int, list[str]]:
    one, two, into = stores
    before = content(one.root), content(two.root)
    try:
        outcome = merge_folders([one.root, two.root], into.root)
    finally:
        assert (content(one.root), content(two.root)) == before, "the sources are only read"
    return outcome.added, outcome.completed, outcome.unchanged, outcome.warnings


def test_trials_of_both_are_there_as_they_were_and_a_second_time_changes_nothing(
    stores: tuple[Store, Store, Store],
) -> None:
    one, two, into = stores
    one.write(make_record(A), arrays("complete"), b"weights")
    one.write(make_record(B), arrays("complete"))
    two.write(make_record(B), arrays("complete"))
    two.write(make_record(C))
    assert merge(stores) == (3, 0, 0, [])
    for store, trial in ((one, A), (one, B), (two, C)):
        assert content(into.folder(trial.id)) == content(store.folder(trial.id))
    after = content(into.root)
    assert merge(stores) == (0, 0, 3, [])
    assert content(into.root) == after


@pytest.mark.parametrize("first", [True, False])
def test_a_good_record_is_kept_before_a_failed_one(stores: tuple[Store, Store, Store], first: bool) -> None:
    one, two, into = stores
    (one if first else two).write(make_record(A))
    (two if first else one).write(failed(A))
    one.write(failed(B))
    into.write(failed(A))
    assert merge(stores) == (2, 0, 0, [])
    assert [record.status for record in map(into.read, (A.id, B.id)) if record] == ["ok", "failed"]


def test_evaluations_of_the_same_training_are_joined(stores: tuple[Store, Store, Store]) -> None:
    one, two, into = stores
    one.write(trained(A, Missing()), arrays("complete"))
    two.write(trained(A, AUDIO), arrays(AUDIO.key, value=0.25), b"weights")
    assert merge(stores) == (1, 0, 0, [])
    record, predictions = into.read(A.id), into.predictions(A.id)
    assert record is not None
    assert predictions is not None
    assert set(record.evaluations) == {"complete", AUDIO.key}
    assert predictions["complete/fused"][0, 0] == 0.5
    assert predictions[f"{AUDIO.key}/fused"][0, 0] == 0.25
    assert (into.folder(A.id) / MODEL).read_bytes() == b"weights"
    assert merge(stores) == (0, 0, 1, [])


def test_what_the_target_lacks_is_added_to_it(stores: tuple[Store, Store, Store]) -> None:
    one, two, into = stores
    into.write(trained(A, Missing()), arrays("complete"))
    one.write(trained(A, Missing(), AUDIO), arrays("complete", AUDIO.key))
    assert merge(stores) == (0, 1, 0, [])
    two.write(trained(A, Missing.at("balanced", 0.5)))
    *counts, warnings = merge(stores)
    assert counts == [0, 0, 1]
    assert "balanced-0.5 left out: there is no predictions.npz" in warnings[0]


@pytest.mark.parametrize(
    ("other", "where"),
    [
        (trained(A, Missing(), accuracy=0.75), "evaluations/complete/.* differs by 0.25"),
        (trained(A, AUDIO, validation=0.5), "curves/train/1/validation/multimodal differs by 0.1"),
        (trained(A, Missing()).model_copy(update={"parameters": 5}), "parameters differs in more than a number"),
        (trained(A, Missing()).model_copy(update={"curves": []}), "curves/.* differs in more than a number"),
    ],
)
def test_records_that_contradict_each_other_are_refused_and_nothing_is_written(
    stores: tuple[Store, Store, Store], other: Record, where: str
) -> None:
    one, two, into = stores
    one.write(trained(A, Missing()))
    two.write(other)
    two.write(make_record(B))
    with pytest.raises(UserError, match=f"contradict each other(?s:.*){A.id}: {where}"):
        merge(stores)
    assert not into.root.exists()


def test_the_largest_contradictions_come_first(stores: tuple[Store, Store, Store]) -> None:
    one, two, _ = stores
    for seed in range(12):
        trial = make_trial(seed=seed)
        one.write(make_record(trial, 0.5))
        two.write(make_record(trial, 0.5 + seed / 100))
    with pytest.raises(UserError) as caught:
        merge(stores)
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == 11
    assert "by 0.11 between" in lines[0]
    assert lines[-1].strip() == "and 1 more"


def test_rounding_cost_and_environment_do_not_contradict(stores: tuple[Store, Store, Store]) -> None:
    one, two, _ = stores
    one.write(make_record(A, 0.5).model_copy(update={"cost": {"wall_seconds_train": 1.0}}))
    two.write(make_record(A, 0.5 + 1e-9).model_copy(update={"environment": {"host": "two"}}))
    assert merge(stores) == (1, 0, 0, [])


def test_damaged_records_are_reported_and_skipped(stores: tuple[Store, Store, Store]) -> None:
    one, two, into = stores
    one.write(make_record(A))
    two.write(make_record(A))
    one.write(make_record(B))
    for trial in (A, B):
        path = one.folder(trial.id) / RECORD
        path.write_bytes(path.read_bytes()[:100])
    *counts, warnings = merge(stores)
    assert counts == [1, 0, 0]
    assert into.ids() == [A.id]
    assert len(warnings) == 2
    assert all("left out: record.json does not parse" in warning for warning in warnings)


def test_a_trial_that_a_run_is_on_is_skipped_for_now(stores: tuple[Store, Store, Store]) -> None:
    one, _, into = stores
    one.write(make_record(A))
    one.write(make_record(B))
    with held(into.root, A.id):
        *counts, warnings = merge(stores)
    assert counts == [1, 0, 0]
    assert "a run is on it" in warnings[0]
    assert merge(stores) == (1, 0, 1, [])


def test_an_interrupted_merge_resumes(stores: tuple[Store, Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    one, _, into = stores
    for trial in (A, B, C):
        one.write(make_record(trial))
    adopt: Callable[[Store, Store, str], None] = Store.adopt

    def interrupted(store: Store, other: Store, trial_id: str) -> None:
        if into.ids():
            raise KeyboardInterrupt
        adopt(store, other, trial_id)

    monkeypatch.setattr(Store, "adopt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        merge(stores)
    monkeypatch.undo()
    assert merge(stores) == (2, 0, 1, [])


# -- plans ---------------------------------------------------------------------------------------


def test_a_suite_that_was_shared_out_is_one_again(stores: tuple[Store, Store, Store]) -> None:
    one, two, into = stores
    one.write_plan(plan(A, B, command="mlabench run suite.yaml --seeds 0-1"))
    two.write_plan(plan(B, C, command="mlabench run suite.yaml --seeds 1-2"))
    two.write_plan(plan(A, name="other"))
    merge(stores)
    other, joined = into.plans()
    assert other == plan(A, name="other")
    assert [cell.trial.seed for cell in joined.cells] == [0, 1, 2]
    assert yaml.safe_load(joined.source) == {"name": "suite", "seeds": [0, 1, 2]}
    assert joined.command == "mlabench run suite.yaml --seeds 0-1 && mlabench run suite.yaml --seeds 1-2"
    after = content(into.root / "plans")
    merge(stores)
    assert content(into.root / "plans") == after


def test_cells_keep_the_order_of_methods(stores: tuple[Store, Store, Store]) -> None:
    one, two, into = stores
    other = [PlannedTrial(label="MLA", trial=make_trial("mla", seed=seed), tests=(Missing(),)) for seed in range(2)]
    first, second = plan(A), plan(B)
    one.write_plan(first.model_copy(update={"cells": (*first.cells, other[0])}))
    tests = (Missing(), AUDIO)
    again = first.cells[0].model_copy(update={"tests": tests})
    two.write_plan(second.model_copy(update={"cells": (*second.cells, other[1], again)}))
    merge(stores)
    (joined,) = into.plans()
    assert [(cell.label, cell.trial.seed) for cell in joined.cells] == [
        ("Concat", 0),
        ("Concat", 1),
        ("MLA", 0),
        ("MLA", 1),
    ]
    assert joined.cells[0].tests == tests


def test_folds_of_one_division_are_joined(stores: tuple[Store, Store, Store]) -> None:
    one, two, into = stores
    for store, name in ((one, "1"), (two, "2")):
        trial = make_trial().model_copy(update={"fold": Fold(count=5, name=name)})
        store.write(make_record(trial))
        store.write_plan(plan(trial))
    merge(stores)
    (joined,) = into.plans()
    assert joined.folds == ("1", "2")
    assert len(into.ids()) == 2


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (plan(B.model_copy(update={"limit": 10})), "Concat"),
        (plan(B, questions=("Q1",)), "questions"),
        (plan(B, modalities=("audio", "text")), "modalities"),
        (plan(B, margin=1.0), "margin"),
        (plan(make_trial(seed=1).model_copy(update={"fold": Fold(count=5, name="1")})), "folds"),
    ],
)
def test_different_suites_of_one_name_are_refused(stores: tuple[Store, Store, Store], other: Plan, what: str) -> None:
    one, two, into = stores
    one.write(make_record(A))
    one.write_plan(plan(A))
    two.write_plan(other)
    with pytest.raises(UserError, match=f"the suite 'suite' is not the same in .*: {what} differ"):
        merge(stores)
    assert not into.root.exists()


# -- the command ---------------------------------------------------------------------------------


def test_the_command(stores: tuple[Store, Store, Store], tmp_path: Path) -> None:
    one, two, into = stores
    one.write(make_record(A))
    two.write(make_record(B))
    done = invoke("merge", one.root, two.root, "--into", into.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 trials added, 0 completed, 0 unchanged" in done.stdout
    assert json.loads(invoke("show", A.id, "--results", into.root).stdout)["status"] == "ok"
    (two.folder(B.id) / RECORD).write_text("")
    done = invoke("merge", one.root, two.root, "--into", into.root)
    assert done.returncode == 1
    assert "left out" in done.stderr
    for wrong in (tmp_path / "nothing", into.root):
        done = invoke("merge", one.root, wrong, "--into", into.root)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
    two.write(make_record(A, 0.6))
    done = invoke("merge", one.root, two.root, "--into", tmp_path / "new")
    assert done.returncode == 2
    assert "contradict" in done.stderr

"""The store: nothing half-written is ever believed, nothing is ever lost."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from mlabench.errors import UserError
from mlabench.record import Failure, Record
from mlabench.store.records import MODEL, PREDICTIONS, RECORD, CorruptRecordError, Store, _seal, _unseal, read_record
from mlabench.suite.plan import Plan, PlannedTrial
from tests.records import make_record, make_trial


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results with spaces")


def test_write_and_read(store: Store):
    record = make_record(make_trial())
    arrays = {"ids": np.array(["ä", "b"]), "complete/fused": np.eye(2, dtype=np.float32)}
    store.write(record, arrays, b"weights")
    read = store.read(record.trial.id)
    assert read is not None
    assert read.model_copy(update={"files": {}}) == record
    assert set(read.files) == {PREDICTIONS, MODEL}
    back = store.predictions(record.trial.id)
    assert back is not None
    assert back["ids"].tolist() == ["ä", "b"]
    assert (back["complete/fused"] == arrays["complete/fused"]).all()
    assert [other.trial.id for other in store.records()] == [record.trial.id]
    assert store.set_aside == []


def test_a_record_with_a_line_for_each_value_is_read_as_before(store: Store):
    record = make_record(make_trial())
    body = record.model_dump_json(indent=1)
    digest = hashlib.sha256(body.encode()).hexdigest()
    path = store.folder(record.trial.id) / RECORD
    path.parent.mkdir(parents=True)
    path.write_text(body.removesuffix("\n}") + f',\n "sha256": "{digest}"\n}}\n')
    assert store.read(record.trial.id) == record
    path.write_text(path.read_text().replace('"accuracy": 0.5', '"accuracy": 0.9'))
    assert store.read(record.trial.id) is None


def test_what_is_not_there_is_none(store: Store):
    assert store.read("nothing") is None
    assert store.predictions("nothing") is None
    assert store.ids() == []
    assert store.plans() == []


def test_replacing_keeps_one_record(store: Store):
    trial = make_trial()
    store.write(make_record(trial, 0.5))
    store.write(make_record(trial, 0.7))
    read = store.read(trial.id)
    assert read is not None
    assert read.evaluations["complete"].multimodal.accuracy == 0.7
    assert [path.name for path in store.trials.iterdir()] == [trial.id]


def test_same_record_gives_the_same_bytes(store: Store, tmp_path: Path):
    record, arrays = make_record(make_trial()), {"ids": np.array(["a"])}
    other = Store(tmp_path / "other")
    for target in (store, other):
        target.write(record, arrays)
    for name in (RECORD, PREDICTIONS):
        first, second = (target.folder(record.trial.id) / name for target in (store, other))
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("cut", [0, 1, 100, -2])
def test_a_truncated_record_is_set_aside_not_deleted(store: Store, cut: int):
    trial = make_trial()
    store.write(make_record(trial))
    path = store.folder(trial.id) / RECORD
    content = path.read_bytes()[:cut]
    path.write_bytes(content)
    assert store.read(trial.id) is None
    assert [name for name, _ in store.set_aside] == [trial.id]
    (kept,) = (store.root / "set_aside").iterdir()
    assert (kept / RECORD).read_bytes() == content
    assert store.read(trial.id) is None, "the trial counts as missing and runs again"


def test_foreign_files_among_the_trials_stay_where_they_are(store: Store):
    store.write(make_record(make_trial()))
    (store.trials / "notes.txt").write_text("mine")
    (store.trials / "my folder").mkdir()
    (store.trials / ".hidden").mkdir()
    assert store.ids() == [make_trial().id]
    assert len(list(store.records())) == 1
    assert store.set_aside == []
    assert (store.trials / "notes.txt").exists()
    assert (store.trials / "my folder").exists()


def test_a_record_replaced_while_it_is_read_is_not_set_aside(store: Store, monkeypatch: pytest.MonkeyPatch):
    trial = make_trial()
    store.write(make_record(trial))
    reads = []

    def read_twice(folder: Path, *, quick: bool) -> Record:
        reads.append(folder)
        if len(reads) == 1:
            raise CorruptRecordError("its files are those of the next record")
        return read_record(folder, quick=quick)

    monkeypatch.setattr("mlabench.store.records.read_record", read_twice)
    assert store.read(trial.id) is not None
    assert store.set_aside == []


def test_a_changed_number_is_noticed(store: Store):
    trial = make_trial()
    store.write(make_record(trial, 0.5))
    path = store.folder(trial.id) / RECORD
    path.write_text(path.read_text().replace('"accuracy":0.5', '"accuracy":0.9'))
    assert store.read(trial.id) is None
    assert "checksum" in store.set_aside[0][1]


def test_changed_predictions_are_noticed(store: Store):
    trial = make_trial()
    store.write(make_record(trial), {"ids": np.array(["a"])})
    path = store.folder(trial.id) / PREDICTIONS
    path.write_bytes(path.read_bytes()[:-1])
    assert store.read(trial.id) is None
    assert PREDICTIONS in store.set_aside[0][1]


def test_a_survey_computes_the_checksums_of_what_was_written_to_after_the_record(store: Store):
    trial = make_trial()
    store.write(make_record(trial), {"ids": np.array(["a"])}, b"weights")
    path = store.folder(trial.id) / MODEL
    path.write_bytes(b"waights")
    written = (store.folder(trial.id) / RECORD).stat().st_mtime
    os.utime(path, (written - 1, written - 1))
    assert store.read(trial.id, quick=True) is not None
    os.utime(path, (written + 1, written + 1))
    assert store.read(trial.id, quick=True) is None
    assert MODEL in store.set_aside[0][1]


def test_a_quick_reading_gives_the_whole_record(store: Store):
    trial = make_trial("mla", 3)
    record = make_record(trial).model_copy(
        update={"cost": {"wall_seconds_train": 1.5}, "environment": {"method_source": "abc", "torch": "2"}}
    )
    store.write(record, {"ids": np.array(["a"])})
    read = store.read(trial.id, quick=True)
    assert read is not None
    assert read == record.model_copy(update={"files": read.files})
    assert set(read.files) == {PREDICTIONS}
    failed = Record(trial=trial, status="failed", failure=Failure(kind="E", message="m"))
    store.write(failed)
    assert store.read(trial.id, quick=True) == failed
    assert store.read("other", quick=True) is None


@pytest.mark.parametrize(
    ("old", "new"), [('"accuracy":0.5', '"accuracy":0.9'), ('"status":"ok"', '"status":"good"'), ("{", "")]
)
def test_a_quick_reading_of_a_damaged_record_gives_none(store: Store, old: str, new: str):
    trial = make_trial()
    store.write(make_record(trial, 0.5))
    path = store.folder(trial.id) / RECORD
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert store.read(trial.id, quick=True) is None
    assert store.set_aside[0][0] == trial.id


def test_a_forged_record_is_refused_by_a_quick_reading(store: Store):
    """With a checksum that fits."""
    trial = make_trial()
    store.write(make_record(trial))
    path = store.folder(trial.id) / RECORD
    body, _ = _unseal(path.read_text())
    path.write_text(_seal(body.replace('"status":"ok"', '"status":"good"')))
    assert store.read(trial.id, quick=True) is None
    assert "fields" in store.set_aside[0][1]


def test_predictions_may_be_left_out(store: Store):
    trial = make_trial()
    store.write(make_record(trial), {"ids": np.array(["a"])})
    (store.folder(trial.id) / PREDICTIONS).unlink()
    assert store.read(trial.id) is not None
    assert store.predictions(trial.id) is None


def test_a_record_in_the_wrong_folder_is_refused(store: Store):
    trial = make_trial()
    store.write(make_record(trial))
    store.folder(trial.id).rename(store.trials / "other")
    assert store.read("other") is None
    assert trial.id in store.set_aside[0][1]


def test_a_newer_schema_asks_for_an_upgrade(store: Store):
    trial = make_trial()
    store.write(make_record(trial).model_copy(update={"schema_version": 99}))
    with pytest.raises(UserError, match="Upgrade"):
        store.read(trial.id)
    with pytest.raises(UserError, match="Upgrade"):
        store.read(trial.id, quick=True)


def test_recovery_after_a_crash_between_the_two_renames(store: Store):
    trial = make_trial()
    store.write(make_record(trial))
    store.folder(trial.id).rename(store.trials / f".{trial.id}.old")
    (store.trials / f".{trial.id}.abc.tmp").mkdir()
    assert store.seal(trial.id) == ""
    assert store.read(trial.id) is None
    store.recover(trial.id)
    assert store.read(trial.id) is not None
    assert [path.name for path in store.trials.iterdir()] == [trial.id]


def test_a_failure_never_replaces_a_good_record(store: Store):
    trial = make_trial()
    failed = Record(trial=trial, status="failed", failure=Failure(kind="E", message="m"))
    store.write_failure(failed)
    assert store.read(trial.id) == failed
    store.write(make_record(trial))
    store.write_failure(failed)
    read = store.read(trial.id)
    assert read is not None
    assert read.status == "ok"


def test_unwritable_folder_is_one_clear_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write results"):
        Store(tmp_path / "file").write(make_record(make_trial()))


def test_pickled_arrays_are_refused(store: Store):
    trial = make_trial()
    store.write(make_record(trial), {"ids": np.array(["a"])})
    with (store.folder(trial.id) / PREDICTIONS).open("wb") as file:
        np.savez(file, ids=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        store.predictions(trial.id)


def test_plans_survive(store: Store):
    trial = make_trial()
    plan = Plan(
        name="s", modalities=("audio",), cells=(PlannedTrial(label="Concat", trial=trial, tests=(trial.missing,)),)
    )
    store.write_plan(plan)
    assert store.plans() == [plan]
    store.write_plan(plan.model_copy(update={"name": "t"}))
    (store.root / "plans" / "t.json").write_text("{")
    assert store.plans() == [plan]
    assert [Path(error.file or "").name for error in store.unread] == ["t.json"]
    (store.root / "plans" / "s.json").write_text("{")
    with pytest.raises(UserError, match=r"s\.json: this plan cannot be read") as caught:
        store.plans()
    assert len(caught.value.others) == 1


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is forbidden here")
def test_a_record_that_may_not_be_read_stays_where_it_is(store: Store):
    trial = make_trial()
    store.write(make_record(trial))
    path = store.folder(trial.id) / RECORD
    path.chmod(0)
    with pytest.raises(UserError, match="may not be read"):
        store.read(trial.id)
    path.chmod(0o644)
    assert store.read(trial.id) is not None
    assert store.set_aside == []


def test_record_is_readable_json(store: Store):
    trial = make_trial()
    store.write(make_record(trial))
    content = json.loads((store.folder(trial.id) / RECORD).read_text())
    assert content["trial"]["seed"] == 0

"""Outcomes beside a record: as they were after a round trip, small, and never believed when damaged."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlabench.missing import Missing
from mlabench.store import DamagedOutcomesError, PatternOutcomes, SampleSet, Store, TrialOutcomes, merge_folders
from mlabench.store.outcomes import OUTCOMES
from tests.records import make_record, make_trial

TRIAL = make_trial()


def samples(count: int = 5, name: str = "ü") -> SampleSet:
    ids = np.array([f"{name}{at}" for at in range(count)])
    return SampleSet(ids, np.array([f"group {at // 2}" for at in range(count)]), np.arange(count) % 3)


def outcomes(*tests: str, of: SampleSet | None = None, seed: int = 0) -> TrialOutcomes:
    """Random outcomes of two modalities, the first always present."""
    random, of = np.random.default_rng(seed), of or samples()
    found = {}
    for test in tests:
        present = random.random((len(of.ids), 2)) < 0.5
        present[:, 0] = True
        correct = random.random((len(of.ids), 3)) < 0.5
        correct[:, :2] &= present
        found[test] = PatternOutcomes(present, correct, random.random(len(of.ids)).astype(np.float32))
    return TrialOutcomes(of, ("audio", "image"), found)


def same(one: TrialOutcomes, other: TrialOutcomes | None) -> bool:
    assert other is not None
    assert [array.tolist() for array in vars(one.samples).values() if isinstance(array, np.ndarray)] == [
        array.tolist() for array in vars(other.samples).values() if isinstance(array, np.ndarray)
    ]
    assert (one.modalities, list(one.tests)) == (other.modalities, list(other.tests))
    for test, mine in one.tests.items():
        theirs = other.tests[test]
        assert (mine.present == theirs.present).all()
        assert (mine.correct == theirs.correct).all()
        np.testing.assert_allclose(mine.brier, theirs.brier, rtol=2**-11, atol=1e-7)  # half precision
    return True


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 40), tests=st.integers(1, 4), seed=st.integers(0, 9))
def test_what_is_read_is_what_was_written(
    count: int, tests: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store(tmp_path_factory.mktemp("results"))
    written = outcomes(*(f"balanced-0.{at}" for at in range(tests)), of=samples(count), seed=seed)
    store.write(make_record(TRIAL), outcomes=written)
    assert same(written, Store(store.root).outcomes(TRIAL.id))
    record = store.read(TRIAL.id)
    assert record is not None
    assert list(record.files) == [OUTCOMES]


def test_there_are_none_where_none_were_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(make_record(TRIAL))
    assert store.outcomes(TRIAL.id) is None
    assert store.outcomes("nothing") is None


def test_an_absent_modality_is_never_right(tmp_path: Path) -> None:
    store, of = Store(tmp_path), samples(2)
    absent = PatternOutcomes(np.array([[True, False]] * 2), np.ones((2, 3), bool), np.zeros(2, np.float32))
    store.write(make_record(TRIAL), outcomes=TrialOutcomes(of, ("audio", "image"), {"complete": absent}))
    found = store.outcomes(TRIAL.id)
    assert found is not None
    assert found.tests["complete"].correct.tolist() == [[True, False, True]] * 2


def test_trials_share_their_samples(tmp_path: Path) -> None:
    store, other = Store(tmp_path), make_trial("mla")
    store.write(make_record(TRIAL), outcomes=outcomes("complete"))
    store.write(make_record(other), outcomes=outcomes("complete", seed=1))
    first, second = store.outcomes(TRIAL.id), store.outcomes(other.id)
    assert first is not None
    assert second is not None
    assert first.samples is second.samples
    assert len(list((tmp_path / "samples").iterdir())) == 1
    store.write(make_record(make_trial(seed=1)), outcomes=outcomes("complete", of=samples(name="b")))
    assert len(list((tmp_path / "samples").iterdir())) == 2


def test_a_thousand_samples_take_some_kilobytes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(make_record(TRIAL), outcomes=outcomes("balanced-0.5", of=samples(1_300)))
    assert (store.folder(TRIAL.id) / OUTCOMES).stat().st_size < 4_500


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x80\x04K\x01."])
def test_damage_is_told_by_file_and_kind(content: bytes, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(make_record(TRIAL), outcomes=outcomes("complete"))
    (store.folder(TRIAL.id) / OUTCOMES).write_bytes(content)
    with pytest.raises(DamagedOutcomesError, match=r"^outcomes\.npz cannot be read \(\w+\)$"):
        store.outcomes(TRIAL.id)
    assert store.read(TRIAL.id) is None, "its checksum does not agree, so the trial runs again"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"present": np.zeros(1, np.uint8)}, "ValueError"),
        ({"brier": np.zeros(3, np.float16)}, "ValueError"),
        ({"about": np.frombuffer(b"[]", np.uint8)}, "ValidationError"),
        (
            {
                "about": np.frombuffer(
                    json.dumps({"samples": "../../../secret", "modalities": [], "tests": []}).encode(), np.uint8
                )
            },
            "ValidationError",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, np.ndarray], kind: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(make_record(TRIAL), outcomes=outcomes("complete"))
    path = store.folder(TRIAL.id) / OUTCOMES
    with np.load(io.BytesIO(path.read_bytes())) as archive:
        np.savez(path, **{**archive, **change})
    with pytest.raises(DamagedOutcomesError, match=kind):
        store.outcomes(TRIAL.id)


def test_samples_that_are_gone_or_others_are_refused_and_written_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(make_record(TRIAL), outcomes=outcomes("complete"))
    (path,) = (tmp_path / "samples").iterdir()
    path.unlink()
    with pytest.raises(DamagedOutcomesError, match=rf"^samples/{path.name} cannot be read \(FileNotFoundError\)$"):
        Store(tmp_path).outcomes(TRIAL.id)
    np.savez(path, ids=np.array(["x"]), groups=np.array(["x"]), labels=np.array([0]))
    with pytest.raises(DamagedOutcomesError, match="ValueError"):
        Store(tmp_path).outcomes(TRIAL.id)
    again = Store(tmp_path)
    again.write(make_record(TRIAL), outcomes=outcomes("complete"))
    assert same(outcomes("complete"), Store(tmp_path).outcomes(TRIAL.id))


def test_merging_takes_outcomes_and_samples_along(tmp_path: Path) -> None:
    one, two, into = (Store(tmp_path / name) for name in ("one", "two", "all"))
    one.write(make_record(TRIAL), outcomes=outcomes("complete"))
    two.write(make_record(make_trial("mla")), outcomes=outcomes("complete", of=samples(name="b")))
    result = merge_folders([one.root, two.root], into.root)
    assert (result.added, result.warnings) == (2, [])
    assert same(outcomes("complete"), into.outcomes(TRIAL.id))
    assert same(outcomes("complete", of=samples(name="b")), into.outcomes(make_trial("mla").id))


def test_merging_joins_the_outcomes_of_further_evaluations(tmp_path: Path) -> None:
    one, two, into = (Store(tmp_path / name) for name in ("one", "two", "all"))
    record, audio = make_record(TRIAL), Missing(protocol="subset", keep=("audio",))
    more = {audio.key: record.evaluations["complete"].model_copy(update={"missing": audio})}
    one.write(record, outcomes=outcomes("complete"))
    two.write(record.model_copy(update={"evaluations": more}), outcomes=outcomes(audio.key, seed=1))
    assert merge_folders([one.root, two.root], into.root).added == 1
    found = into.outcomes(TRIAL.id)
    assert found is not None
    assert found.tests.keys() == {"complete", audio.key}
    expected = outcomes(audio.key, seed=1).tests[audio.key]
    assert (found.tests[audio.key].correct == expected.correct).all()


def test_merging_leaves_out_what_cannot_be_read(tmp_path: Path) -> None:
    one, into = Store(tmp_path / "one"), Store(tmp_path / "all")
    one.write(make_record(TRIAL), outcomes=outcomes("complete"))
    (path,) = (one.root / "samples").iterdir()
    path.unlink()
    result = merge_folders([one.root], into.root)
    assert result.added == 0
    assert f"samples/{path.name} cannot be read" in result.warnings[0]

"""The search, on trials whose accuracy is known beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlabench.errors import UserError
from mlabench.record import Record
from mlabench.trial import Trial
from mlabench.tuning.tries import TuningResult
from tests.tuning.invented import Invented, accuracy, failure, record, suite_of, tried


def summary(outcomes: list[TuningResult]) -> list[object]:
    return [(one.label, [(dict(each.candidate.values), each.score) for each in one.tries]) for one in outcomes]


def test_every_method_gets_the_same_number_of_tries_and_the_first_is_the_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    suite = suite_of(tmp_path)
    outcomes = tried(suite, tmp_path / "r", Invented(), monkeypatch)
    assert [(one.label, len(one.tries)) for one in outcomes] == [("Concat", 12), ("QMF", 12)]
    for one, entry in zip(outcomes, suite.methods, strict=True):
        assert one.default.candidate.method == entry.method
        assert one.default.candidate.training == entry.training
        assert len({each.trials[0].id for each in one.tries}) == 12


def test_nothing_but_what_is_tuned_differs_between_tries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runner = Invented()
    tried(suite_of(tmp_path), tmp_path / "r", runner, monkeypatch)
    assert all(job.tests == () for job in runner.jobs)
    contents = []
    for job in runner.jobs:
        content = job.trial.identity()
        content["training"].pop("optimizer")
        content["method"]["config"].pop("rank_weight", None)
        content.pop("seed")
        contents.append(str(content))
    assert len(set(contents)) == 2 * 2, "two methods at two rates"


def test_the_score_is_the_mean_accuracy_of_the_selected_epoch_over_seeds_and_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for one in tried(suite_of(tmp_path), tmp_path / "r", Invented(), monkeypatch):
        for each in one.tries:
            assert sorted((trial.seed, trial.missing.rate) for trial in each.trials) == [
                (0, 0.0),
                (0, 0.5),
                (1, 0.0),
                (1, 0.5),
            ]
            assert each.score == pytest.approx(accuracy(each.trials[0]) + 0.005)
        assert one.best is not None
        assert one.best.score == max(each.score for each in one.tries)


def test_with_folds_a_try_is_compared_on_the_validation_part_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def by_fold(trial: Trial) -> Record:
        assert trial.fold is not None
        found = record(trial)
        found.curves[2].validation["multimodal"] += 0.01 * int(trial.fold.name)
        return found

    runner = Invented(by_fold)
    suite = suite_of(tmp_path, seeds="1", rates="0", folds="3", settings=("tuning.tries=6",))
    for one in tried(suite, tmp_path / "r", runner, monkeypatch):
        for each in one.tries:
            assert [trial.fold and trial.fold.name for trial in each.trials] == ["1", "2", "3"]
            assert each.score == pytest.approx(accuracy(each.trials[0]) + 0.02)
    assert len(runner.jobs) == 2 * 6 * 3
    assert all(job.tests == () for job in runner.jobs), "no test part of any fold is ever evaluated"


def test_a_try_may_take_the_first_folds_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runner = Invented()
    suite = suite_of(tmp_path, seeds="1", rates="0,0.5", folds="5", settings=("tuning.tries=6", "tuning.folds=2"))
    for one in tried(suite, tmp_path / "r", runner, monkeypatch):
        assert all(sorted(trial.fold_name for trial in each.trials) == ["1", "1", "2", "2"] for each in one.tries)
    assert len(runner.jobs) == 2 * 6 * 2 * 2


def test_the_search_finds_what_is_better_than_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    suite = suite_of(tmp_path, seeds="0", rates="0", settings=("tuning.tries=40",))
    for one in tried(suite, tmp_path / "r", Invented(), monkeypatch):
        assert one.best is not None
        assert one.default.score == pytest.approx(0.9 - 0.0602, abs=1e-4)
        assert one.best.score > 0.89


@pytest.mark.parametrize("stop_after", [0, 7, 20, 47, 95])
def test_interrupted_anywhere_it_ends_with_the_same_result_and_trains_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
):
    suite = suite_of(tmp_path)
    unbroken = tried(suite, tmp_path / "unbroken", Invented(), monkeypatch)
    first, second = Invented(stop_after=stop_after, order=1), Invented(order=2)
    with pytest.raises(KeyboardInterrupt):
        tried(suite, tmp_path / "r", first, monkeypatch)
    assert summary(tried(suite, tmp_path / "r", second, monkeypatch)) == summary(unbroken)
    done = [job.trial.id for job in first.jobs + second.jobs]
    assert len(done) == len(set(done)) == 2 * 12 * 4


def test_a_finished_search_runs_nothing_and_more_tries_go_on_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    short, again, longer = Invented(), Invented(), Invented()
    ten = tried(suite_of(tmp_path, settings=("tuning.tries=10",)), tmp_path / "r", short, monkeypatch)
    tried(suite_of(tmp_path, settings=("tuning.tries=10",)), tmp_path / "r", again, monkeypatch)
    assert again.jobs == []
    fifteen = tried(suite_of(tmp_path, settings=("tuning.tries=15",)), tmp_path / "r", longer, monkeypatch)
    assert len(longer.jobs) == 2 * 5 * 4
    for before, after in zip(ten, fifteen, strict=True):
        assert [dict(one.candidate.values) for one in before.tries] == [
            dict(one.candidate.values) for one in after.tries[:10]
        ]


def test_a_methods_proposals_do_not_depend_on_the_other_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    both = tried(suite_of(tmp_path), tmp_path / "both", Invented(), monkeypatch)
    alone = tried(suite_of(tmp_path, methods=("qmf",)), tmp_path / "alone", Invented(), monkeypatch)
    assert summary(alone) == summary(both)[1:]


def test_another_seed_tries_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = tried(suite_of(tmp_path), tmp_path / "r", Invented(), monkeypatch)
    second = tried(suite_of(tmp_path, settings=("tuning.seed=1",)), tmp_path / "r", Invented(), monkeypatch)
    assert first[0].tries[0].candidate == second[0].tries[0].candidate
    assert first[0].tries[1].candidate != second[0].tries[1].candidate


def test_a_failed_try_counts_and_is_never_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fast_diverges(trial: Trial) -> Record:
        fast = trial.training.optimizer.lr > 1e-3
        return failure(trial) if fast and trial.seed == 1 else record(trial)

    suite = suite_of(tmp_path)
    for one in tried(suite, tmp_path / "r", Invented(fast_diverges), monkeypatch):
        fast = [each for each in one.tries if each.candidate.training.optimizer.lr > 1e-3]
        assert len(one.tries) == 12
        assert fast
        assert one.failed == len(fast)
        assert all(each.score is None for each in fast)
        assert one.best is not None
        assert one.best.candidate.training.optimizer.lr <= 1e-3
    again, retried = Invented(), Invented()
    tried(suite, tmp_path / "r", again, monkeypatch)
    assert again.jobs == [], "it failed, and would fail again"
    healed = tried(suite, tmp_path / "r", retried, monkeypatch, retry_failed=True)
    assert all(one.failed == 0 for one in healed)


def test_all_tries_of_a_method_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    outcomes = tried(suite_of(tmp_path), tmp_path / "r", Invented(failure), monkeypatch)
    assert [(one.best, one.failed) for one in outcomes] == [(None, 12), (None, 12)]


def test_a_try_whose_worker_was_killed_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    suite = suite_of(tmp_path)
    unbroken = tried(suite, tmp_path / "unbroken", Invented(), monkeypatch)
    tried(suite, tmp_path / "r", Invented(lambda trial: failure(trial, "WorkerDied")), monkeypatch)
    assert summary(tried(suite, tmp_path / "r", Invented(), monkeypatch)) == summary(unbroken)


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        ("training.selection=best_test", "training.selection", "does not look at the test split"),
        (
            "tuned={tries: 1, seed: 0, objective: x, seeds: [0], missing: [complete], version: '1', methods: {}}",
            "tuned",
            "is tuned already",
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, field: str, problem: str
):
    with pytest.raises(UserError) as caught:
        tried(suite_of(tmp_path, settings=(change,)), tmp_path / "r", Invented(), monkeypatch)
    assert caught.value.field == field
    assert problem in caught.value.problem

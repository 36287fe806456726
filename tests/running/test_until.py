"""Adding repeats until intervals are narrow: when it ends, what it says, and that interruptions change nothing."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import t

from mlabench.record import Failure, Record
from mlabench.running import Overwrite, Session, as_run, expected_repeats, grown, run_until
from mlabench.running import session as module
from mlabench.running.events import Finished, Tell
from mlabench.statistics import Comparison, Interval, Outcomes, compare
from mlabench.store import Store
from mlabench.suite import Overrides, Plan, load_plans
from mlabench.training import Job, RunOptions
from mlabench.trial import Trial
from tests.records import make_record

SUITE = {"name": "some", "dataset": "stamps", "methods": ["mla", "concat"], "seeds": [0, 1]}


def plan(seeds: str = "0-1", folds: str | None = None, **fields: float) -> Plan:
    (found,) = load_plans([{**SUITE, **fields}], Overrides(seeds=seeds, folds=folds)).values()
    return found


def comparison(width: float, trainings: int) -> Comparison:
    return Comparison(Interval(3.0, 3.0 - width, 3.0 + width), 0.01, 1.0, seeds=trainings, trainings=trainings)


def contrasts(widths: Mapping[int, float]) -> Callable[[Plan, Store], Mapping[str, Comparison]]:
    """Two contrasts; the wider one is so wide after so many seeds, if all of these are stored."""

    def found(plan: Plan, store: Store) -> Mapping[str, Comparison]:
        assert all(store.read(trial.id) for trial, _ in plan.trials()), "it is asked between repeats only"
        width = widths[len(plan.seeds)]
        return {"narrow": comparison(width / 2, len(plan.seeds)), "MLA − QMF": comparison(width, len(plan.seeds))}

    return found


NARROWING = contrasts({1: 0.1, 2: 3.0, 3: 1.5, 4: 0.9, 5: 0.8})


class Trainer:
    """Stands in for worker processes: makes records, fails, or is killed before a trial."""

    def __init__(self) -> None:
        self.trained: list[Trial] = []
        self.fails: set[int] = set()
        self.killed_after = math.inf

    def __call__(
        self,
        jobs: Sequence[Job],
        store: Store,
        options: RunOptions,
        tell: Tell,
        should_stop: Callable[[], bool],
        workers: int,
    ) -> None:
        for job in jobs:
            if len(self.trained) == self.killed_after:
                raise KeyboardInterrupt
            self.trained.append(job.trial)
            failed = job.trial.seed in self.fails
            failure = Record(trial=job.trial, status="failed", failure=Failure(kind="E", message="no"))
            store.write(failure if failed else make_record(job.trial))
            tell(Finished(job.trial.id, "no" if failed else "", 1.0))

    @property
    def seeds(self) -> list[int]:
        return [trial.seed for trial in self.trained]


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    trainer = Trainer()
    monkeypatch.setattr(module, "run_in_workers", trainer)
    return trainer


@pytest.fixture
def session(tmp_path: Path) -> Session:
    console = Console(file=io.StringIO(), width=200, highlight=False, _environ={})
    return Session(Store(tmp_path / "results"), console, 1, RunOptions("cpu"))


def said(session: Session) -> list[str]:
    """What is said about widths."""
    assert isinstance(session.console.file, io.StringIO)
    return [line for line in session.console.file.getvalue().splitlines() if "±" in line or "added" in line]


# -- plans with further seeds ----------------------------------------------------------------------


@pytest.mark.parametrize("folds", [None, "3"])
def test_a_plan_with_other_seeds_is_that_of_the_suite_with_these_seeds(folds: str | None) -> None:
    missing = {"missing": {"rates": [0.0, 0.5], "splits": ["train", "test"]}}
    plans = [plan(seeds, folds, **missing) for seeds in ("0-1", "0,1,4")]  # type: ignore[arg-type]
    for one in plans[0].trials():
        assert one[0].id  # which is remembered, and must not be taken along
    assert plans[0].with_seeds((0, 1, 4)) == plans[1]
    assert [trial.id for trial, _ in plans[0].with_seeds((0, 1, 4)).trials()] == [
        trial.id for trial, _ in plans[1].trials()
    ]


# -- the rule ---------------------------------------------------------------------------------------


def test_repeats_are_added_until_the_widest_interval_is_narrow_enough(trainer: Trainer, session: Session) -> None:
    ended, failed = run_until(plan(until_width=1.0), Overwrite.ONLY_MISSING, session, NARROWING)
    assert (ended.seeds, failed) == ((0, 1, 2, 3), 0)
    assert trainer.seeds == [0, 1, 0, 1, 2, 2, 3, 3]
    assert ended == plan("0-3", until_width=1.0)
    assert session.store.plans() == [ended], "a report covers all repeats"
    assert said(session) == [
        "some, 2 seeds: the widest interval (MLA − QMF) is ±3.00 points, the goal ±1; one seed more.",
        "some, 3 seeds: the widest interval (MLA − QMF) is ±1.50 points, the goal ±1; one seed more.",
        "some, 4 seeds: the widest interval (MLA − QMF) is ±0.90 points, the goal ±1; that is enough.",
    ]


def test_with_folds_seeds_are_called_repeats(trainer: Trainer, session: Session) -> None:
    ended, _ = run_until(plan(folds="3", until_width=2.0), Overwrite.ONLY_MISSING, session, NARROWING)
    assert ended.seeds == (0, 1, 2)
    assert "some, 3 repeats: " in said(session)[-1]
    assert "; one repeat more." in said(session)[0]
    places = [(trial.seed, trial.fold.name) for trial in trainer.trained if trial.fold]
    assert places == sorted(places), "the trials of one fold of one repeat follow each other"


def test_it_ends_at_the_most_repeats(trainer: Trainer, session: Session) -> None:
    ended, _ = run_until(plan(until_width=0.1, max_repeats=3), Overwrite.ONLY_MISSING, session, NARROWING)
    assert ended.seeds == (0, 1, 2)
    assert said(session)[-1].endswith("the goal ±0.1; no more than 3 seeds are allowed.")


def test_one_training_is_never_enough(trainer: Trainer, session: Session) -> None:
    """Its interval is over the samples only."""
    ended, _ = run_until(plan("7", until_width=1.0, max_repeats=2), Overwrite.ONLY_MISSING, session, NARROWING)
    assert ended.seeds == (7, 8)
    assert "is not known yet" in said(session)[0]


def test_without_a_width_the_number_of_seeds_is_that_of_the_suite(trainer: Trainer, session: Session) -> None:
    ended, _ = run_until(plan(), Overwrite.ONLY_MISSING, session, NARROWING)
    assert ended == plan()
    assert said(session) == []


def test_nothing_is_added_where_there_is_nothing_to_compare(trainer: Trainer, session: Session) -> None:
    ended, _ = run_until(plan(until_width=1.0), Overwrite.ONLY_MISSING, session, lambda _, __: {})
    assert ended.seeds == (0, 1)
    assert said(session) == ["some, 2 seeds: there is nothing to compare, so no seed is added."]


def test_nothing_is_added_while_trials_fail(trainer: Trainer, session: Session) -> None:
    trainer.fails = {2}
    wanted = plan(until_width=1.0)
    ended, failed = run_until(wanted, Overwrite.ONLY_MISSING, session, NARROWING)
    assert (ended.seeds, failed) == ((0, 1, 2), 2)
    assert said(session)[-1] == "some: no seed is added while trials fail."
    trainer.fails = set()
    ended, failed = run_until(wanted, Overwrite.FAILED, session, NARROWING)
    assert (ended.seeds, failed) == ((0, 1, 2, 3), 0)


# -- interrupted, repeated, shared -----------------------------------------------------------------


@pytest.mark.parametrize("killed_after", [0, 1, 4, 5, 7])
def test_a_run_that_was_killed_resumes_where_it_was(trainer: Trainer, session: Session, killed_after: int) -> None:
    trainer.killed_after = killed_after
    wanted = plan(until_width=1.0)
    with pytest.raises(KeyboardInterrupt):
        run_until(wanted, Overwrite.ONLY_MISSING, session, NARROWING)
    trainer.killed_after = math.inf
    ended, _ = run_until(wanted, Overwrite.ONLY_MISSING, session, NARROWING)
    assert ended.seeds == (0, 1, 2, 3)
    assert trainer.seeds == [0, 1, 0, 1, 2, 2, 3, 3], "no trial is trained twice"


def test_another_machine_adds_the_same_repeats(trainer: Trainer, session: Session, tmp_path: Path) -> None:
    """As does a run of as many seeds at once."""
    wanted = plan(until_width=1.0)
    run_until(wanted, Overwrite.ONLY_MISSING, session, NARROWING)
    trained = len(trainer.trained)
    assert run_until(wanted, Overwrite.ONLY_MISSING, session, NARROWING)[0].seeds == (0, 1, 2, 3)
    assert len(trainer.trained) == trained
    at_once = Store(tmp_path / "at once")
    run_until(plan("0-3"), Overwrite.ONLY_MISSING, Session(at_once, session.console, 1, RunOptions("cpu")), NARROWING)
    assert at_once.ids() == session.store.ids()


def test_training_all_again_trains_each_once(trainer: Trainer, session: Session) -> None:
    wanted = plan(until_width=1.0)
    for _ in range(2):
        trainer.trained.clear()
        run_until(wanted, Overwrite.ALWAYS, session, NARROWING)
        assert trainer.seeds == [0, 1, 0, 1, 2, 2, 3, 3]


def test_what_a_cluster_is_given_is_the_next_repeat(trainer: Trainer, session: Session) -> None:
    wanted = plan(until_width=1.0)
    asked = wanted, session.store, session.console, NARROWING
    assert grown(*asked) == wanted, "the first are not there yet"
    trainer.killed_after = 5
    with pytest.raises(KeyboardInterrupt):
        run_until(wanted, Overwrite.ONLY_MISSING, session, NARROWING)
    assert grown(*asked).seeds == (0, 1, 2)


def test_others_see_the_repeats_that_were_added(trainer: Trainer, session: Session) -> None:
    wanted = plan(until_width=1.0)
    assert as_run(wanted, session.store) == wanted
    run_until(wanted, Overwrite.ONLY_MISSING, session, NARROWING)
    assert as_run(wanted, session.store).seeds == (0, 1, 2, 3)
    assert as_run(plan(), session.store).seeds == (0, 1), "a suite that fixes its seeds has no others"
    assert as_run(plan("3", until_width=1.0), session.store).seeds == (3,), "these are not what was added to it"


# -- foreseeing -------------------------------------------------------------------------------------


def outcomes(seed: int) -> Outcomes:
    """Of four trainings that differ by far more than the samples make them."""
    random = np.random.default_rng(seed)
    share = 0.8 + 0.05 * random.standard_normal((4, 1))
    return Outcomes(random.random((4, 4000)) < share, np.arange(4000), (0, 1, 2, 3))


def test_more_repeats_are_foreseen_for_a_smaller_width() -> None:
    one = compare(outcomes(1), outcomes(2))

    def foreseen(share: float, most: int = 1000) -> int | None:
        wanted = plan("0-3", until_width=one.half_width * share, max_repeats=most)
        return expected_repeats(wanted, {"one": one, "the same": one})

    def by_hand(share: float) -> int:
        """From Student's interval of the seeds' differences; samples are right or wrong anew with every seed."""
        between = np.std(100.0 * (outcomes(1).correct.mean(axis=1) - outcomes(2).correct.mean(axis=1)), ddof=1)
        wide = [t.ppf(0.975, count - 1) * between / math.sqrt(count) for count in range(4, 1000)]
        return 4 + next(at for at, width in enumerate(wide) if width <= share * one.half_width)

    assert foreseen(1.01) == 4
    for share in (0.8, 0.5, 0.3):
        found = foreseen(share)
        assert found is not None
        assert found == pytest.approx(by_hand(share), abs=1.5)
    assert foreseen(0.5, most=5) is None, "more than are allowed"
    assert expected_repeats(plan(until_width=1.0), {}) is None
    assert expected_repeats(plan(until_width=1.0), {"one": comparison(1.0, 1)}) is None, "one training says too little"

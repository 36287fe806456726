"""The search: tries are trials of a results folder, and those that have a record are not trained again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from mlabench.errors import UserError
from mlabench.record import Record
from mlabench.running import Session, run_jobs
from mlabench.store import Store
from mlabench.suite import PlannedTrial, Suite, expand
from mlabench.training import Job
from mlabench.trial import Trial
from mlabench.tuning.space import Candidate, tunables
from mlabench.tuning.study import GENERATION, Study

OBJECTIVE = "multimodal accuracy on the validation split, of the selected epoch"


@dataclass(frozen=True)
class Try:
    """A configuration, its trainings (one for each seed, fold and missing pattern), and what it reached."""

    candidate: Candidate
    trials: tuple[Trial, ...]
    score: float | None  # mean of OBJECTIVE over the trainings, in [0, 1]; None if one of them failed


@dataclass(frozen=True)
class TuningResult:
    """All tries of a method, in the order in which they were proposed; the first is the suite as it was."""

    label: str
    tries: list[Try]

    @property
    def default(self) -> Try:
        """The method as the suite had it."""
        return self.tries[0]

    @property
    def best(self) -> Try | None:
        """The best try, the earliest of those that are equal; None if all failed."""
        scored = [one for one in self.tries if one.score is not None]
        return max(scored, key=lambda one: one.score or 0.0, default=None)

    @property
    def failed(self) -> int:
        """How many tries failed."""
        return sum(one.score is None for one in self.tries)


def search(suite: Suite, session: Session, *, retry_failed: bool = False) -> list[TuningResult]:
    """Tries ``suite.tuning.tries`` configurations of each method; all methods advance together.

    A search that was interrupted resumes: its proposals follow from the seed and the scores of the records alone.

    Args:
        suite: The suite; each try is trained with each of its seeds under each of its training patterns, on each of
            its folds or on the first ``tuning.folds``.
        session: Where the tries' records are kept, and how they are run; more or fewer workers change no result.
        retry_failed: Run tries again that failed earlier.

    Raises:
        UserError: If the suite cannot be tuned.
    """
    _check(suite)
    store, total = session.store, suite.tuning.tries
    methods, cells = tunables(suite), _cells(suite)
    studies = [Study(one, suite.tuning.seed) for one in methods]
    results = [TuningResult(one.entry.label, []) for one in methods]
    for first in range(0, total, GENERATION):
        last = min(first + GENERATION, total)
        proposed = []
        for one, study in zip(methods, studies, strict=True):
            trainings = [cell.trial for cell in cells if cell.label == one.entry.label]
            candidates = [one.candidate(values) for values in study.ask(last - first)]
            proposed.append([(candidate, _trials(candidate, trainings)) for candidate in candidates])
        trials = {trial.id: trial for method in proposed for _, each in method for trial in each}
        jobs = [
            Job(trial, tests=(), known=store.seal(name))  # without test patterns, it never sees the test split
            for name, trial in trials.items()
            if _is_to_run(store.read(name), retry_failed=retry_failed)
        ]
        if jobs:
            about = f"{suite.name}, tries {first + 1} to {last} of {total}"
            run_jobs(about, jobs, len(trials) - len(jobs), session)
        for study, method, result in zip(studies, proposed, results, strict=True):
            tries = [Try(candidate, each, _score(each, store)) for candidate, each in method]
            study.tell([one.score for one in tries])
            result.tries.extend(tries)
    return results


def _cells(suite: Suite) -> list[PlannedTrial]:
    """The suite's trainings, on the first folds only if it says so."""
    plan = expand(suite)
    folds = plan.folds[: suite.tuning.folds]
    return [cell for cell in plan.cells if not folds or cell.trial.fold_name in folds]


def _check(suite: Suite) -> None:
    if suite.tuned is not None:
        raise UserError("is tuned already.", remedy="Tune the suite that it was made from.", field="tuned")
    if suite.training.selection == "best_test":
        raise UserError(
            "tuning does not look at the test split, which 'best_test' selects by.",
            remedy="Tune with `--set training.selection=best_val`.",
            field="training.selection",
        )


def _trials(candidate: Candidate, trainings: Sequence[Trial]) -> tuple[Trial, ...]:
    """The trainings with the candidate's method and training in place of their own."""
    changed = {"method": candidate.method, "training": candidate.training}
    return tuple(Trial(**{**dict(trial), **changed}) for trial in trainings)


def _is_to_run(record: Record | None, *, retry_failed: bool) -> bool:
    if record is None:
        return True
    # That a worker was killed says nothing about what it tried.
    return record.failure is not None and (retry_failed or record.failure.kind == "WorkerDied")


def _score(trials: Sequence[Trial], store: Store) -> float | None:
    """The mean over the trials; None if one of them failed."""
    scores = []
    for trial in trials:
        record = store.read(trial.id)
        if record is None:
            raise UserError(f"the record of {trial.id} cannot be read.", remedy="Run the same command again.")
        if record.selected_epoch is None:
            return None
        stage = [epoch for epoch in record.curves if epoch.stage == record.curves[-1].stage]
        scores.append(stage[record.selected_epoch - 1].validation["multimodal"])
    return fmean(scores)

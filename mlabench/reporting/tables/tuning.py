"""What tuning was worth to each method of a tuned suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlabench.reporting import wording
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.questions import common
from mlabench.reporting.results import MULTIMODAL
from mlabench.reporting.table import Cell, Row, Table, unranked


def tuning_tables(evidence: Evidence) -> Iterator[Table]:
    """For the methods that run as they were tuned; nothing for other suites."""
    results, tuned = evidence.results, evidence.results.plan.tuned
    labels = [label for label in results.plan.tuned_labels() if tuned and label in tuned.scores]
    if tuned is None or not labels:
        return
    before = _untuned(evidence, tuned.suite)
    settings = results.settings if before else ()
    if settings:
        note = f"Test: the tuned method minus the same in {tuned.suite}, fused accuracy in points at each missing rate"
        note += ", paired over trainings and test samples. One interval in twenty lies beside the truth by chance."
    else:
        note = (
            f"{tuned.suite}, which was tuned, has not run into the same results folder, so the test split is left out."
        )
    yield Table(
        name="tuning",
        title="What tuning was worth",
        note=f"Validation: the score by which tries were compared, in percent; the best of {tuned.tries} is above the "
        f"default's in part by chance. {note}",
        conditions=wording.conditions(results.plan, results.on_axis()),
        heads=("Method",),
        columns=unranked("Validation, default", "Validation, tuned", *(f"Test, {setting}" for setting in settings)),
        rows=tuple(
            Row((label,), (*map(_score, tuned.scores[label]), *_gains(evidence, before or evidence, label, settings)))
            for label in labels
        ),
    )


def _untuned(evidence: Evidence, suite: str) -> Evidence | None:
    """The suite that was tuned, if it has run into the same results folder."""
    store = evidence.archive.store
    plans = store.plans() if store else []
    plan = next((plan for plan in plans if plan.name == suite), None)
    return evidence.archive.evidence([plan], include_limited=True) if plan else None


def _gains(tuned: Evidence, before: Evidence, label: str, settings: Sequence[str]) -> Iterator[Cell]:
    for setting in settings:
        first, second = (common.side(one, [(label, setting, MULTIMODAL)], [1.0]) for one in (tuned, before))
        yield common.difference_cell(common.compared(first, second))


def _score(score: float | None) -> Cell:
    return Cell(text="failed" if score is None else f"{100 * score:.1f}")

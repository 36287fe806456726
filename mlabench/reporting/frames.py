"""Results and comparisons as frames, for notebooks and other programs: what the Python API returns."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mlabench.errors import UserError
from mlabench.reporting import questions
from mlabench.reporting.answer import Answer, Contrast, Side
from mlabench.reporting.evidence import Archive
from mlabench.reporting.questions import common
from mlabench.reporting.questions.inquiry import family
from mlabench.reporting.results import load
from mlabench.statistics import Comparison
from mlabench.store import Store
from mlabench.suite import Plan


def tidy_frame(store: Store, plans: Sequence[Plan], *, include_limited: bool = False) -> pd.DataFrame:
    """Every number that these plans ask for, one row per suite, trial, evaluation and target."""
    frames = []
    for plan in plans:
        scores = load(plan, store, include_limited=include_limited).scores
        datasets = {entry.trial.id: entry.trial.dataset.name for entry in plan.cells}
        scores.insert(0, "suite", plan.name)
        scores.insert(1, "dataset", scores["trial"].map(datasets))
        frames.append(scores)
    return pd.concat(frames, ignore_index=True)


def compare_labels(store: Store, plans: Sequence[Plan], first: str, second: str, target: str) -> pd.DataFrame:
    """Two methods at every point of the missing-rate axis of every suite that has both, decided together by suite.

    Raises:
        UserError: If no suite has both labels and the target, or they have no trainings in common.
    """
    shared = [plan for plan in plans if {first, second} <= set(plan.labels)]
    if not shared:
        known = ", ".join(dict.fromkeys(label for plan in plans for label in plan.labels))
        raise UserError(f"no suite in {store.root} has both {first!r} and {second!r}.", remedy=f"Labels: {known}.")
    archive, rows = Archive(store), list[dict[str, object]]()
    for plan in shared:
        evidence = archive.evidence([plan], include_limited=True)
        if target not in evidence.results.targets:
            targets = ", ".join(evidence.results.targets)
            raise UserError(f"{plan.name} has no target {target!r}.", remedy=f"Targets: {targets}.", field="target")
        dataset = plan.cells[0].trial.dataset.name
        contrasts = []
        for setting in evidence.results.settings:
            own, other = (common.side(evidence, [(label, setting, target)], [1.0]) for label in (first, second))
            contrasts.append(Contrast(first, second, target, setting, None, sides=(own, other)))
        decided = [one for one in family(contrasts, plan.margin).contrasts if one.decision]
        rows += [{"suite": plan.name, "dataset": dataset, "missing": one.where, **one.numbers} for one in decided]
    if not rows:
        raise UserError(
            f"{first!r} and {second!r} have too few trainings in common in {store.root}.", remedy="Run both first."
        )
    return pd.DataFrame(rows)


def contrasts(plan: Plan, store: Store) -> dict[str, Comparison]:
    """The comparisons of fused accuracies that a plan is run for, as far as they are stored.

    Those that decide its questions; of a plan without any, those of the first two.
    """
    asking = plan if plan.questions else plan.model_copy(update={"questions": ("Q1", "Q2")})
    found = {}
    for answer in questions.answers([asking], Archive(store), include_limited=True):
        for one in answer.family.contrasts:
            if one.decision is not None and one.decision.comparison.samples:
                found[f"{one.method} − {one.other}, {one.what}, {one.where}"] = one.decision.comparison
    return found


def verdict_content(answers: Sequence[Answer]) -> list[dict[str, object]]:
    """Every verdict with all its numbers, as plain data: what ``verdicts.json`` holds."""
    return [
        {
            "question": answer.topic.question,
            "half": answer.half,
            "dataset": answer.dataset,
            "suites": list(answer.suites),
            "claim": answer.claim,
            "verdict": answer.verdict,
            "sentence": answer.sentence,
            "rule": answer.rule,
            "margin": answer.family.margin,
            "needed": answer.family.needed,
            "contrasts": [_content(one) for one in answer.family.contrasts],
            "further": {name: [_content(one) for one in own.contrasts] for name, own in answer.more},
        }
        for answer in answers
    ]


def _content(one: Contrast) -> dict[str, object]:
    numbers = {name: value if _finite(value) else None for name, value in one.numbers.items()}
    told = {"method": one.method, "other": one.other, "what": one.what, "where": one.where, "unit": one.unit}
    return {**told, "statement": one.statement, "verdict": one.verdict, **numbers}


def _finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def outcome_frame(answers: Sequence[Answer]) -> pd.DataFrame:
    """What the verdicts are computed from: sums over the samples of each group that one training was tested on.

    Rows of two methods that agree in ``half``, ``dataset``, ``what``, ``where``, ``seed``, ``fold`` and ``group`` are a
    pair: 100 times the sum of their differences in ``correct``, divided by the sum of ``n``, is the difference of a
    contrast in its unit. ``correct`` is a weighted mean over missing rates where several are compared together.
    Where there is a number per training only, such as that of a probe, a row is a training: ``correct`` is its number,
    and ``group`` is empty.
    """
    frames: dict[tuple[str, ...], pd.DataFrame] = {}
    for answer in answers:
        for one in answer.family.contrasts:
            for name, side in zip((one.method, one.other), one.sides or (), strict=False):
                place = (answer.topic.question, answer.half, answer.dataset, one.what, one.where, name)
                whole = all(own.outcomes is not None for own in one.sides or ())
                if place not in frames:
                    frames[place] = _sums(side, whole).assign(**dict(zip(_PLACE, place, strict=True)))
    columns = [*_PLACE, "seed", "fold", "group", "n", "correct"]
    return pd.concat(frames.values(), ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


_PLACE = ("question", "half", "dataset", "what", "where", "method")


def _sums(side: Side, whole: bool) -> pd.DataFrame:
    if side.outcomes is None or not whole:
        runs = [(seed, fold, "", 1, value / 100) for (seed, fold), value in side.per_training.items()]
        return pd.DataFrame(runs, columns=["seed", "fold", "group", "n", "correct"])
    own = side.outcomes
    rows, samples = own.correct.shape
    folds = np.zeros((rows, samples), dtype=int) if own.folds is None else own.folds
    cells = pd.DataFrame({
        "seed": np.repeat(own.seeds, samples),
        "fold": folds.ravel(),
        "group": np.tile(own.groups, rows),
        "n": 1,
        "correct": own.correct.ravel().astype(float),
    })  # fmt: skip
    return cells.groupby(["seed", "fold", "group"], as_index=False).sum()

"""Suites whose stored predictions have exactly the accuracies asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlabench.missing import Missing
from mlabench.record import Record, Scores
from mlabench.store import PatternOutcomes, SampleSet, Store, TrialOutcomes
from mlabench.suite.plan import Plan, PlannedTrial, Question
from mlabench.training.metrics import evaluate
from mlabench.trial import Component, Fold
from tests.reporting.synthetic import MODALITIES, failed, trial

SAMPLES = 400
CLASSES = 4
IDS = [f"sample{place}" for place in range(SAMPLES)]
#: Half of the samples are of the first class.
LABELS = np.where(np.arange(SAMPLES) < SAMPLES // 2, 0, 1 + np.arange(SAMPLES) % (CLASSES - 1))

#: The accuracy of a target (a modality or ``multimodal``) under a test pattern, with a seed.
Skill = Callable[[str, Missing, int], float]

#: The accuracy of the linear probe on a modality's encoder, with a seed.
Probe = Callable[[str, int], float]


def hits(accuracy: float, target: str, salt: int = 0) -> NDArray[np.bool_]:
    """Which samples are right: exactly so many, the easy ones; how easy a sample is depends on target and salt."""
    difficulty = np.random.default_rng([*target.encode(), salt]).permutation(SAMPLES)
    return np.asarray(difficulty < round(accuracy * SAMPLES))


def sweep(
    store: Store,
    skills: Mapping[str, Skill],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    rates: Sequence[float] = (0.0,),
    extra_tests: Sequence[Missing] = (),
    probes: Mapping[str, Probe] | None = None,
    alike: bool = True,
    keep: bool = True,
    questions: tuple[Question, ...] = ("Q1",),
    failing: Sequence[tuple[Any, ...]] = (),
    methods: Mapping[str, Component] | None = None,
    folds: int = 0,
    name: str = "predicted",
    margin: float = 2.0,
    dataset: str = "stamps",
    encoders: Mapping[str, Component] | None = None,
) -> Plan:
    """Writes the records and predictions of a suite.

    Args:
        store: Where to.
        skills: By label; a label decides the method as in :func:`synthetic.trial`.
        seeds: Seeds.
        rates: Missing rates in training and test.
        extra_tests: Further test patterns of every training.
        probes: By label, of the methods that have a linear probe.
        alike: Whether all methods find the same samples easy; if not, they agree by chance only.
        keep: Whether predictions are stored.
        questions: What the suite asks.
        failing: Labels and seeds (and folds, from 0) whose trials failed.
        methods: By label, methods that are not those of :func:`synthetic.trial`.
        folds: Into how many folds each seed deals the samples; then only what :attr:`Store.outcomes` gives is stored.
        name: Of the suite.
        margin: Of the suite.
        dataset: What its dataset is called.
        encoders: Other ones than those of :func:`synthetic.trial`.
    """
    cells = []
    for place, (label, skill) in enumerate(skills.items()):
        changes: dict[str, Any] = {"method": methods[label]} if methods and label in methods else {}
        changes |= {"encoders": dict(encoders)} if encoders else {}
        for rate, seed, fold in product(rates, seeds, range(folds or 1)):
            tests = {test.key: test for test in (Missing.at("balanced", rate), *extra_tests)}
            own = trial(label, seed, rate, fold=Fold(count=folds, name=str(fold + 1)) if folds else None, **changes)
            own = own.model_copy(update={"dataset": own.dataset.model_copy(update={"name": dataset})})
            cell = PlannedTrial(label=label, trial=own, tests=tuple(tests.values()))
            cells.append(cell)
            if (label, seed) in failing or (label, seed, fold) in failing:
                store.write(failed(cell.trial))
            else:
                probe = (probes or {}).get(label)
                here = np.flatnonzero(dealt(seed, folds) == fold) if folds else np.arange(SAMPLES)
                _write(store, cell, skill, probe, here, salt=0 if alike else 1 + place, keep=keep)
    return Plan(name=name, questions=questions, modalities=MODALITIES, cells=tuple(cells), margin=margin)


def dealt(seed: int, folds: int) -> NDArray[np.int64]:
    """The fold of each sample: another deal with every seed. ``[N]``"""
    return np.random.default_rng(seed).permutation(SAMPLES) % folds


def _write(
    store: Store,
    cell: PlannedTrial,
    skill: Skill,
    probe: Probe | None,
    here: NDArray[np.int64],
    *,
    salt: int,
    keep: bool,
) -> None:
    seed, labels, ids = cell.trial.seed, LABELS[here], np.array(IDS)[here]
    arrays: dict[str, NDArray[Any]] = {"ids": ids, "labels": labels, "groups": ids}
    evaluations, outcomes = {}, {}
    for test in cell.tests:
        present = test.pattern("stamps", ids.tolist(), MODALITIES)
        right = {target: hits(skill(target, test, seed), target, salt)[here] for target in (*MODALITIES, "fused")}
        logits = {
            target: np.eye(CLASSES, dtype=np.float32)[np.where(own, labels, (labels + 1) % CLASSES)]
            for target, own in right.items()
        }
        arrays |= {f"{test.key}/present": present, **{f"{test.key}/{target}": own for target, own in logits.items()}}
        brier = np.where(right["fused"], 0.25, 1.0).astype(np.float32)
        outcomes[test.key] = PatternOutcomes(present, np.stack(list(right.values()), axis=1), brier)
        embedding = {modality: np.ones((len(here), 2)) for modality in MODALITIES}
        evaluation = evaluate(test, MODALITIES, labels, present, logits["fused"], logits, embedding, None)
        if probe is not None and test.key == "complete":
            accuracies = {modality: probe(modality, seed) for modality in MODALITIES}
            found = {
                name: Scores(n=len(here), accuracy=a, macro_f1=a, uar=a, ece=0.0) for name, a in accuracies.items()
            }
            evaluation = evaluation.model_copy(update={"probe": found})
        evaluations[test.key] = evaluation
    record = Record(trial=cell.trial, status="ok", selected_epoch=1, evaluations=evaluations)
    if cell.trial.fold is None:
        store.write(record, arrays if keep else None)
    else:
        told = TrialOutcomes(SampleSet(ids, ids, labels), MODALITIES, outcomes)
        store.write(record, outcomes=told if keep else None)

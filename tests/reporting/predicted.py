"""Suites whose stored predictions have exactly the accuracies asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlabench.missing import Missing
from mlabench.record import Record, Scores
from mlabench.store.records import Store
from mlabench.suite.plan import Plan, PlannedTrial, Question
from mlabench.training.metrics import evaluate
from mlabench.trial import Component
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
    failing: Sequence[tuple[str, int]] = (),
    methods: Mapping[str, Component] | None = None,
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
        failing: Labels and seeds whose trials failed.
        methods: By label, methods that are not those of :func:`synthetic.trial`.
    """
    cells = []
    for place, (label, skill) in enumerate(skills.items()):
        for rate in rates:
            for seed in seeds:
                tests = {test.key: test for test in (Missing.at("balanced", rate), *extra_tests)}
                changes = {"method": methods[label]} if methods and label in methods else {}
                cell = PlannedTrial(label=label, trial=trial(label, seed, rate, **changes), tests=tuple(tests.values()))
                cells.append(cell)
                if (label, seed) in failing:
                    store.write(failed(cell.trial))
                else:
                    probe = (probes or {}).get(label)
                    _write(store, cell, skill, probe, salt=0 if alike else 1 + place, keep=keep)
    return Plan(name="predicted", questions=questions, modalities=MODALITIES, cells=tuple(cells))


def _write(store: Store, cell: PlannedTrial, skill: Skill, probe: Probe | None, *, salt: int, keep: bool) -> None:
    seed = cell.trial.seed
    arrays: dict[str, NDArray[Any]] = {"ids": np.array(IDS), "labels": LABELS, "groups": np.array(IDS)}
    evaluations = {}
    for test in cell.tests:
        present = test.pattern("stamps", IDS, MODALITIES)
        logits = {
            target: np.eye(CLASSES, dtype=np.float32)[
                np.where(hits(skill(target, test, seed), target, salt), LABELS, (LABELS + 1) % CLASSES)
            ]
            for target in (*MODALITIES, "fused")
        }
        arrays |= {f"{test.key}/present": present, **{f"{test.key}/{target}": own for target, own in logits.items()}}
        embedding = {modality: np.ones((SAMPLES, 2)) for modality in MODALITIES}
        evaluation = evaluate(test, MODALITIES, LABELS, present, logits["fused"], logits, embedding, None)
        if probe is not None and test.key == "complete":
            accuracies = {modality: probe(modality, seed) for modality in MODALITIES}
            found = {name: Scores(n=SAMPLES, accuracy=a, macro_f1=a, uar=a, ece=0.0) for name, a in accuracies.items()}
            evaluation = evaluation.model_copy(update={"probe": found})
        evaluations[test.key] = evaluation
    record = Record(trial=cell.trial, status="ok", selected_epoch=1, evaluations=evaluations)
    store.write(record, arrays if keep else None)

"""Plans and records with known numbers, written through the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mlabench.missing import Missing
from mlabench.record import Epoch, Evaluation, Failure, Record, Scores
from mlabench.store.records import Store
from mlabench.suite.plan import Plan, PlannedTrial, Question
from mlabench.trial import Selection, Training, Trial
from tests.records import make_trial

MODALITIES = ("audio", "image", "text")
EPOCHS = 12
TEST_SAMPLES = 1312

#: Accuracy on complete test samples (audio, image, text, fused) and what a missing rate of 1 would cost.
LEVELS = {
    "Concat": ((16, 81, 26, 81), 0.55),
    "Late fusion": ((47, 81, 56, 76), 0.40),
    "QMF": ((45, 80, 54, 78), 0.42),
    "MMIN": ((44, 79, 52, 79), 0.44),
    "MLA": ((47, 80, 56, 82), 0.42),
}


def trial(label: str, seed: int = 0, rate: float = 0.0, **changes: object) -> Trial:
    """A training of ``label`` on stamps."""
    return make_trial(label.lower().replace(" ", "_"), seed, rate).model_copy(update=changes)


def accuracy(label: str, target: str, seed: int, rate: float) -> float:
    """A synthetic accuracy, a pure function of its arguments."""
    levels, fall = LEVELS.get(label, LEVELS["QMF"])
    place = [*MODALITIES, "multimodal"].index(target)
    noise = np.random.default_rng([sum(label.encode()), place, seed, round(100 * rate)]).normal(0, 0.006)
    weak = 0.5 if target != "multimodal" else 1.0
    level = levels[place] / 100
    if label == "Concat" and level < 0.5:  # missing dominant modalities give the weak ones a chance
        return float(level + 0.5 * rate + noise)
    return float(level * (1 - fall * weak * rate) + noise)


def record(
    trial: Trial,
    label: str,
    tests: Sequence[Missing],
    number: Callable[[str, str, int, float], float] = accuracy,
    modalities: Sequence[str] = MODALITIES,
) -> Record:
    """A finished record whose accuracies are ``number(label, target, seed, test rate)``."""

    def scores(target: str, test: Missing) -> Scores | None:
        if test.protocol == "subset" and target in modalities and target not in test.keep:
            return None
        value = number(label, target, trial.seed, test.rate)
        n = TEST_SAMPLES if target == "multimodal" else round(TEST_SAMPLES * (1 - test.rate))
        return Scores(n=n, accuracy=value, macro_f1=value - 0.01, uar=value - 0.005, ece=0.1)

    def epoch(at: int) -> Epoch:
        learnt = 1 - np.exp(-at / 2.5)
        values = {
            target: number(label, target, trial.seed, trial.missing.rate) * learnt
            for target in (*modalities, "multimodal")
        }
        test = {test.key: number(label, "multimodal", trial.seed, test.rate) * learnt + 0.02 for test in tests}
        return Epoch(stage="train", epoch=at, logs={"loss": 1 / at}, validation=values, test=test)

    evaluations = {
        test.key: Evaluation(
            missing=test,
            missing_rate=test.rate + 0.001 if test.rate else 0.0,
            pattern_sha256="0" * 64,
            multimodal=scores("multimodal", test) or Scores(n=0, accuracy=0, macro_f1=0, uar=0, ece=0),
            unimodal={modality: scores(modality, test) for modality in modalities},
        )
        for test in tests
    }
    return Record(
        trial=trial,
        status="ok",
        selected_epoch=EPOCHS - trial.seed % 3,
        evaluations=evaluations,
        curves=[epoch(at) for at in range(1, EPOCHS + 1)],
        notes=["Pictures repeat across languages."],
        environment={"mlabench": "0.1.0", "packages": {"torch": "2.13.0"}, "threads": 1},
    )


def failed(trial: Trial) -> Record:
    """A record of a training that came to nothing."""
    return Record(trial=trial, status="failed", failure=Failure(kind="ValueError", message="loss is NaN"))


def sweep(
    store: Store,
    labels: Sequence[str] = tuple(LEVELS),
    *,
    seeds: Sequence[int] = (0, 1, 2),
    rates: Sequence[float] = (0.0, 0.3, 0.6),
    extra_tests: Sequence[Missing] = (),
    questions: tuple[Question, ...] = ("Q1", "Q2"),
    limit: int | None = None,
    selection: Selection = "best_val",
    name: str = "synthetic",
    dataset: str = "stamps",
    write: bool = True,
) -> Plan:
    """A suite that trains each method at each rate and tests it there and under ``extra_tests``, and its records."""
    cells = []
    for label in labels:
        for rate in rates:
            for seed in seeds:
                own = trial(label, seed, rate, limit=limit, training=Training(epochs=EPOCHS, selection=selection))
                own = own.model_copy(update={"dataset": own.dataset.model_copy(update={"name": dataset})})
                tests = {test.key: test for test in (Missing.at("balanced", rate), *extra_tests)}
                cells.append(PlannedTrial(label=label, trial=own, tests=tuple(tests.values())))
    plan = Plan(
        name=name,
        title="A synthetic suite",
        questions=questions,
        modalities=MODALITIES,
        cells=tuple(cells),
        source="name: synthetic\nmethods: [concat, mla]\n",
    )
    if write:
        for cell in cells:
            store.write(record(cell.trial, cell.label, cell.tests))
    return plan

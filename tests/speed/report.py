"""How long `mlabench report` takes over 2,000 synthetic records, and where the time goes."""

from __future__ import annotations

import argparse
import cProfile
import io
import os
import pstats
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from mlabench.missing import Missing
from mlabench.reporting.build import build_report
from mlabench.statistics import brier_scores
from mlabench.store import PatternOutcomes, SampleSet, Store, TrialOutcomes
from mlabench.suite.plan import Plan, PlannedTrial, Question
from mlabench.training.metrics import softmax
from mlabench.trial import Component, Training
from tests.command_line import mlabench
from tests.reporting.synthetic import LEVELS, MODALITIES, TEST_SAMPLES, record, trial

CLASSES = 10
RATES = (0.0, 0.2, 0.4, 0.6, 0.8)
QUESTIONS: tuple[Question, ...] = ("Q1", "Q2", "Q3", "Q4")
METHODS = {name: name.lower().replace(" ", "_") for name in LEVELS}
VARIANTS = {
    "MLA w/o HGM": {"gradient_modification": "none"},
    "MLA w/o DF": {"dynamic_fusion": "average"},
    "MLA w/o HGM and DF": {"gradient_modification": "none", "dynamic_fusion": "average"},
    "MLA, alpha 1": {"alpha": 1.0},
    "MLA, weak first": {"order": "weak_to_strong"},
}


def predictions(cell: PlannedTrial) -> dict[str, np.ndarray]:
    """Logits that are right about as often as the records say, for every test pattern."""
    generator = np.random.default_rng([cell.trial.seed, len(cell.label), round(100 * cell.trial.missing.rate)])
    labels = np.random.default_rng(0).integers(CLASSES, size=TEST_SAMPLES)
    ids = [f"sample-{place:05d}" for place in range(TEST_SAMPLES)]
    arrays = {
        "ids": np.array(ids),
        "labels": labels,
        "groups": np.array([f"concept-{place // 9}" for place in range(TEST_SAMPLES)]),
    }
    for test in cell.tests:
        present = test.pattern("stamps", ids, MODALITIES)
        logits = generator.normal(size=(len(MODALITIES) + 1, TEST_SAMPLES, CLASSES)).astype(np.float32)
        logits[:, np.arange(TEST_SAMPLES), labels] += np.float32(2.5)
        arrays |= {f"{test.key}/present": present, f"{test.key}/fused": logits[-1]}
        arrays |= {f"{test.key}/{modality}": logits[place] for place, modality in enumerate(MODALITIES)}
        arrays[f"{test.key}/correct"] = (logits.argmax(axis=2) == labels).T
        arrays[f"{test.key}/weight"] = present / present.sum(axis=1, keepdims=True, dtype=np.float32)
        if test.key == "complete":
            points = generator.normal(size=(len(MODALITIES), TEST_SAMPLES, 2)).astype(np.float32)
            arrays |= {f"complete/projection/{name}": points[place] for place, name in enumerate(MODALITIES)}
    return arrays


def outcomes(cell: PlannedTrial, arrays: dict[str, np.ndarray]) -> TrialOutcomes:
    """What trials store of these predictions."""
    tests = {
        test.key: PatternOutcomes(
            arrays[f"{test.key}/present"],
            arrays[f"{test.key}/correct"],
            brier_scores(softmax(arrays[f"{test.key}/fused"]), arrays["labels"]),
        )
        for test in cell.tests
    }
    return TrialOutcomes(SampleSet(arrays["ids"], arrays["groups"], arrays["labels"]), MODALITIES, tests)


def make_suites(store: Store, seeds: range, *, whole: bool) -> list[Plan]:
    """A suite per question: ten methods, five rates, some seeds."""
    methods = {label: Component(name=name) for label, name in METHODS.items()}
    methods |= {label: Component(name="mla", config=config) for label, config in VARIANTS.items()}
    plans = []
    for place, question in enumerate(QUESTIONS):
        cells = []
        for label, method in methods.items():
            for rate in RATES:
                for seed in seeds:
                    own = trial(label, seed, rate, method=method, training=Training(epochs=12 + place))
                    cells.append(PlannedTrial(label=label, trial=own, tests=(Missing.at("balanced", rate),)))
        for cell in cells:
            arrays = predictions(cell)
            own_record = record(cell.trial, cell.label, cell.tests)
            store.write(own_record, arrays if whole else None, outcomes=outcomes(cell, arrays))
        plans.append(
            Plan(
                name=f"suite_{question}",
                title="A synthetic suite",
                questions=(question,),
                modalities=MODALITIES,
                cells=tuple(cells),
            )
        )
    return plans


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="200 records each.")
    parser.add_argument("--whole", action="store_true", help="With predictions, not only outcomes beside records.")
    parser.add_argument("--keep", type=Path, help="Folder for the records, used again if they are there.")
    parser.add_argument("--profile", action="store_true", help="Print where the time goes in one process.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store, out = Store((options.keep or Path(folder)) / "results"), Path(folder) / "report"
        plans = store.plans()
        if not plans:
            plans = make_suites(store, range(options.seeds), whole=options.whole)
            for plan in plans:
                store.write_plan(plan)
        build = partial(build_report, store, plans, out, console=Console(file=io.StringIO(), width=120))
        if options.profile:
            with cProfile.Profile() as profile:
                build()
            pstats.Stats(profile).sort_stats("cumulative").print_stats(60)
            return
        start = time.perf_counter()
        build()
        built = time.perf_counter() - start
        start, before = time.perf_counter(), os.times()
        done = mlabench("report", store.root, "--out", out)
        seconds, after = time.perf_counter() - start, os.times()
        assert done.returncode == 0, done.stderr
        busy = after.children_user - before.children_user + after.children_system - before.children_system
        print(
            f"{len(store.ids()):,} records, {len(plans)} suites: built in {built:.1f} s; "
            f"the whole command {seconds:.1f} s, {busy:.1f} s of CPU"
        )


if __name__ == "__main__":
    main()

"""How long the report over 2,000 synthetic records with predictions takes, on how much CPU, and where the time goes."""

from __future__ import annotations

import argparse
import cProfile
import io
import os
import pstats
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from mlabench.missing import Missing
from mlabench.plan import Cell, Plan, Question
from mlabench.report.build import build_report
from mlabench.store import Store
from mlabench.trial import Component, Training
from tests.report.synthetic import LEVELS, MODALITIES, TEST_SAMPLES, record, trial

CLASSES = 10
RATES = (0.0, 0.2, 0.4, 0.6, 0.8)
SEEDS = range(10)
QUESTIONS: tuple[Question, ...] = ("Q1", "Q2", "Q3", "Q4")
METHODS = {name: name.lower().replace(" ", "_") for name in LEVELS}
VARIANTS = {
    "MLA w/o HGM": {"gradient_modification": "none"},
    "MLA w/o DF": {"dynamic_fusion": "average"},
    "MLA w/o HGM and DF": {"gradient_modification": "none", "dynamic_fusion": "average"},
    "MLA, alpha 1": {"alpha": 1.0},
    "MLA, weak first": {"order": "weak_to_strong"},
}


def predictions(cell: Cell) -> dict[str, np.ndarray]:
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
        arrays[f"{test.key}/weight"] = present / present.sum(axis=1, keepdims=True, dtype=np.float32)
        if test.key == "complete":
            points = generator.normal(size=(len(MODALITIES), TEST_SAMPLES, 2)).astype(np.float32)
            arrays |= {f"complete/projection/{name}": points[place] for place, name in enumerate(MODALITIES)}
    return arrays


def make_suites(store: Store) -> list[Plan]:
    """A suite per question, of 500 trials each: ten methods, five rates, ten seeds."""
    methods = {label: Component(name=name) for label, name in METHODS.items()}
    methods |= {label: Component(name="mla", config=config) for label, config in VARIANTS.items()}
    plans = []
    for place, question in enumerate(QUESTIONS):
        cells = []
        for label, method in methods.items():
            for rate in RATES:
                for seed in SEEDS:
                    own = trial(label, seed, rate, method=method, training=Training(epochs=12 + place))
                    cells.append(Cell(label=label, trial=own, tests=(Missing.at("balanced", rate),)))
        for cell in cells:
            store.write(record(cell.trial, cell.label, cell.tests), predictions(cell))
        plans.append(
            Plan(
                name=f"suite_{question}",
                title="A made-up suite",
                questions=(question,),
                modalities=MODALITIES,
                cells=tuple(cells),
            )
        )
    return plans


def cpu_seconds() -> tuple[float, float]:
    """Spent by this process, and by those that it has started and that have ended."""
    spent = os.times()
    return spent.user + spent.system, spent.children_user + spent.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="Folder for the records, used again if they are there.")
    parser.add_argument("--profile", action="store_true", help="Print the functions that take most of the time.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store((options.keep or Path(folder)) / "results")
        plans = store.plans()
        if not plans:
            plans = make_suites(store)
            for plan in plans:
                store.write_plan(plan)
        console = Console(file=io.StringIO(), width=120)
        profile = cProfile.Profile()
        if options.profile:
            profile.enable()
        start, busy = time.perf_counter(), cpu_seconds()
        build_report(store, plans, Path(folder) / "report", console=console)
        seconds = time.perf_counter() - start
        own, others = (now - before for now, before in zip(cpu_seconds(), busy, strict=True))
        profile.disable()
        print(f"{len(store.ids()):,} records with predictions, {len(plans)} suites: {seconds:.1f} s")
        print(f"CPU: {own:.1f} s here, {others:.1f} s in other processes; half of both: {(own + others) / 2:.1f} s")
        if options.profile:
            pstats.Stats(profile).sort_stats("cumulative").print_stats(60)


if __name__ == "__main__":
    main()

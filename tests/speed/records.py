"""``plan``, ``status`` and ``run`` over 10,000 finished records, and what reading one takes."""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np

from mlabench import registry
from mlabench.running import Overwrite, estimate_seconds, find_status, jobs_to_run, survey
from mlabench.store.records import Store
from mlabench.suite import load_suite
from mlabench.suite.expansion import expand
from mlabench.suite.plan import Plan
from tests.command_line import mlabench
from tests.reporting.synthetic import record

SUITE = """
name: many
dataset: stamps
encoders: mlp
methods: [concat, late_fusion, qmf, mmin, mla]
missing: {rates: [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]}
seeds: %s
training: {epochs: 12}
"""
#: A model and predictions of about the size that trials on stamps have.
MODEL_BYTES, SAMPLES, CLASSES = 2_900_000, 1316, 10


def write_records(plan: Plan, store: Store, *, large: bool) -> None:
    """Records as trials would have left them; with ``large``, with weights and predictions."""
    random = np.random.default_rng(0)
    arrays = {"fused": random.normal(size=(SAMPLES, 4 * CLASSES)).astype(np.float32)} if large else None
    model = random.bytes(MODEL_BYTES) if large else b""
    with patch("mlabench.store.records._sync"):  # a disk that is slow to write is not what is measured
        for cell in plan.cells:
            own = record(cell.trial, cell.label, cell.tests)
            source = {"method_source": registry.get("methods", cell.trial.method.name).about.source_hash}
            store.write(own.model_copy(update={"environment": source}), arrays, model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="50 records each.")
    parser.add_argument("--large", action="store_true", help="With weights and predictions, 3 MB a record.")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        suite, store = Path(folder) / "many.yaml", Store(Path(folder) / "results")
        suite.write_text(SUITE % list(range(options.seeds)))
        start = time.process_time()
        plan = expand(load_suite(suite))
        print(f"{'expanding the suite':34} {time.process_time() - start:6.2f} s, {len(plan.cells):,} trials")
        write_records(plan, store, large=options.large)
        standings = survey(plan, store)
        profile = cProfile.Profile()
        if options.profile:
            profile.enable()
        for name, action in {
            "where each trial stands": lambda: survey(plan, store),
            "time left": lambda: estimate_seconds(jobs_to_run(standings, Overwrite.ALWAYS), [], store, 2),
            "status": lambda: find_status(plan, store),
        }.items():
            start = time.process_time()
            action()
            seconds = time.process_time() - start
            print(f"{name:34} {seconds:6.2f} s, {1e6 * seconds / len(plan.cells):6.0f} us a trial")
        profile.disable()
        for command in ("plan", "status", "run"):
            start = time.perf_counter()
            done = mlabench(command, suite, "--results", store.root)
            assert done.returncode == 0, done.stderr
            print(f"{f'mlabench {command}':34} {time.perf_counter() - start:6.2f} s")
        if options.profile:
            pstats.Stats(profile).sort_stats("cumulative").print_stats(40)


if __name__ == "__main__":
    main()

"""What other settings do to a suite's methods: validation accuracy and processor time of their trainings.

``python -m tests.speed.settings SUITE SETTINGS...``, where each of the ``SETTINGS`` is what ``--set`` takes, several
of them separated by spaces, and ``''`` the suite as it is. Nothing is tested: no trial sees the test part of its fold.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import mean

from mlabench.store import Store
from mlabench.suite import Overrides, expand, load_suite
from mlabench.training import Job, RunOptions, run_trial
from mlabench.trial import Trial


def train(trial: Trial, store: Store) -> tuple[float, float]:
    """The selected epoch's validation accuracy, in percent, and seconds of processor time."""
    record = run_trial(Job(trial, tests=()), store, RunOptions(device="cpu"))
    assert record.selected_epoch is not None, record.failure
    selected = [epoch for epoch in record.curves if epoch.stage == record.curves[-1].stage][record.selected_epoch - 1]
    return 100 * selected.validation["multimodal"], record.cost["cpu_seconds_train"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("suite", type=Path)
    parser.add_argument("settings", nargs="+")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--method", action="append", default=[])
    asked = parser.parse_args()
    for settings in asked.settings:
        changes = Overrides(settings=tuple(settings.split()), seeds=asked.seeds, methods=tuple(asked.method))
        found: dict[str, list[tuple[float, float]]] = {}
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder))
            for cell in expand(load_suite(asked.suite, changes)).cells:
                found.setdefault(f"{cell.label}, {cell.trial.missing.key}", []).append(train(cell.trial, store))
        print(settings or "the suite as it is")
        for label, results in found.items():
            accuracy, seconds = map(mean, zip(*results, strict=True))
            print(f"  {label:40} {accuracy:5.1f} %  {seconds:5.2f} s  ({len(results)} trainings)", flush=True)


if __name__ == "__main__":
    main()

"""What a second worker process gains: a small suite with ``--jobs 1`` and with ``--jobs 2``."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

from tests.command_line import mlabench

REPEATS = 2
SUITE = """
dataset: stamps
encoders: mlp
methods: [concat, mla]
missing: {rates: [0, 0.5]}
seeds: [0, 1, 2]
training: {epochs: 20}
"""


def seconds(jobs: int, folder: Path) -> tuple[float, float]:
    """Of the whole command, and of that from the first trial's beginning to the last one's end."""
    suite, results = folder / "speed.yaml", folder / "results"
    suite.write_text(SUITE)
    start = time.perf_counter()
    done = mlabench("run", suite, "--results", results, "--jobs", str(jobs), "--device", "cpu")
    total = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    (log,) = (results / "events").iterdir()
    times: dict[str, list[datetime]] = {}
    for line in log.read_text().splitlines():
        event = json.loads(line)
        times.setdefault(event["event"], []).append(datetime.fromisoformat(event["time"]))
    return total, (times["finished"][-1] - times["started"][0]).total_seconds()


def main() -> None:
    times: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for _ in range(REPEATS):  # in turns, so that a busy moment of the machine hits both
        for jobs, found in times.items():
            with tempfile.TemporaryDirectory() as folder:
                found.append(seconds(jobs, Path(folder)))
    print(f"{os.cpu_count()} cores, 12 trials")
    for place, what in enumerate(("command", "trials alone")):
        one, two = (statistics.median(values[place] for values in times[jobs]) for jobs in (1, 2))
        print(f"{what:13} --jobs 1 {one:6.1f} s   --jobs 2 {two:6.1f} s   ratio {one / two:.2f}")


if __name__ == "__main__":
    main()

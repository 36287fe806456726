"""Trainings per minute of processor time: this tree against another checkout, each with its own version of a suite.

In turns, one command in each tree, with one worker and one seed. Its processor time, that of its worker included, over
the trainings that it made is the price of evidence: starting, loading, evaluating and writing count. Per method the
records say what loading, training and evaluation took.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

PHASES = ("cpu_seconds_data", "cpu_seconds_train", "cpu_seconds_evaluate")


@dataclass
class Tree:
    """A checkout, the Python that it is installed for, and what was measured in it."""

    folder: Path
    python: str
    seconds: float = 0.0
    methods: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def run(self, suite: str, seed: int, methods: list[str]) -> None:
        """One command."""
        with tempfile.TemporaryDirectory() as results:
            command = [self.python, "-m", "mlabench", "run", f"suites/{suite}.yaml", "--seeds", str(seed)]
            command += [part for method in methods for part in ("--method", method)]
            command += ["--results", results, "--jobs", "1", "--device", "cpu", "--quiet"]
            start = _seconds_of_children()
            subprocess.run(command, cwd=self.folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
            self.seconds += _seconds_of_children() - start
            for path in Path(results).glob("trials/*/record.json"):
                record = json.loads(path.read_bytes())
                assert record["status"] == "ok", record["failure"]
                self.methods[record["trial"]["method"]["name"]].append(sum(map(record["cost"].get, PHASES)))

    def rates(self) -> dict[str, float]:
        """Trainings per minute, of each method and of all with everything else."""
        rates = {method: 60 * len(seconds) / sum(seconds) for method, seconds in self.methods.items()}
        return {**rates, "the whole command": 60 * sum(map(len, self.methods.values())) / self.seconds}


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, required=True, help="the other checkout")
    parser.add_argument("--before-python", default=sys.executable, help="the Python that it is installed for")
    parser.add_argument("--suite", default="stamps")
    parser.add_argument("--method", action="append", default=[], help="only these")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    before, now = Tree(options.before, options.before_python), Tree(Path(__file__).parents[2], sys.executable)
    for seed in range(options.turns):
        for tree in (before, now):
            tree.run(options.suite, seed, options.method)
    rates = before.rates()
    for what, rate in now.rates().items():
        print(f"{what:18} {rates[what]:6.2f} before   {rate:6.2f} now   ratio {rate / rates[what]:.2f}")


if __name__ == "__main__":
    main()

"""How long commands that train nothing keep people waiting, against starting Python alone."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
MLABENCH = str(Path(sys.executable).with_name("mlabench"))
REPEATS = 7

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "mlabench --help": [MLABENCH, "--help"],
    "mlabench ls methods": [MLABENCH, "ls", "methods"],
    "mlabench plan suites/stamps.yaml": [MLABENCH, "plan", "suites/stamps.yaml"],
    "python -c 'import torch'": [sys.executable, "-c", "import torch"],
}


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    # In turns, so that a busy moment of the machine hits all; the first turn only warms up.
    for _ in range(1 + REPEATS):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    for name, value in medians.items():
        print(f"{name:34} {value:6.2f} s {value / medians['python -c pass']:7.1f} x")


if __name__ == "__main__":
    main()

"""How much processor time commands take that train nothing, and imports, against starting Python alone."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MLABENCH = str(Path(sys.executable).with_name("mlabench"))
REPEATS = 7

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    **{
        f"mlabench {command}": [MLABENCH, *command.split()]
        for command in (
            "--help",
            "ls methods",
            "plan stamps",
            "validate stamps",
            "status stamps",
        )
    },
    "python -c 'import mlabench'": [sys.executable, "-c", "import mlabench"],
    "python -c 'import mlabench.method'": [sys.executable, "-c", "import mlabench.method"],
    "python -c 'import torch'": [sys.executable, "-c", "import torch"],
}


def seconds(command: list[str]) -> float:
    """User and system time, which a busy machine changes less than the time on the wall."""
    before = os.times()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    # In turns, so that a busy moment of the machine hits all; the first turn fills the registry's cache.
    for _ in range(1 + REPEATS):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    for name, value in medians.items():
        print(f"{name:36} {value:6.2f} s {value / medians['python -c pass']:7.1f} x")


if __name__ == "__main__":
    main()

"""What a second worker process gains: a small suite with ``--jobs 1`` and with ``--jobs 2``."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MLABENCH = str(Path(sys.executable).with_name("mlabench"))
SUITE = """
dataset: stamps
encoders: mlp
methods: [concat, mla]
missing: {rates: [0, 0.5]}
seeds: [0, 1, 2]
training: {epochs: 5}
"""


def seconds(jobs: int, folder: Path) -> float:
    suite = folder / "speed.yaml"
    suite.write_text(SUITE)
    command = [MLABENCH, "run", str(suite), "--results", str(folder / f"jobs{jobs}"), "--jobs", str(jobs)]
    start = time.perf_counter()
    subprocess.run([*command, "--device", "cpu"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, two = (seconds(jobs, Path(folder)) for jobs in (1, 2))
    print(f"{os.cpu_count()} cores; --jobs 1: {one:.1f} s, --jobs 2: {two:.1f} s, ratio {one / two:.2f}")


if __name__ == "__main__":
    main()

"""Device and precision of a trial."""

from __future__ import annotations

import subprocess
import sys

#: What Fabric would bring along where torchmetrics is installed.
HEAVY = ("torchmetrics", "torchvision", "transformers", "matplotlib", "scipy")


def test_a_worker_imports_nothing_that_it_does_not_need() -> None:
    code = f"""
import sys
import mlabench.training.one_trial
print(sorted(set({HEAVY}) & set(sys.modules)))
import torchmetrics  # as any other package, from then on
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n"
    assert done.returncode == 0 or "No module named 'torchmetrics'" in done.stderr

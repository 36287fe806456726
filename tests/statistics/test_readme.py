"""The example in the README of the statistics gives the numbers that it shows."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import mlabench.statistics


def test_the_example_runs() -> None:
    readme = Path(mlabench.statistics.__file__).parent / "README.md"
    found = doctest.testfile(str(readme), module_relative=False)
    assert (found.failed, found.attempted > 8) == (0, True)


def test_it_needs_no_torch_and_nothing_else_of_mlabench() -> None:
    code = (
        "import sys, mlabench; before = set(sys.modules); import mlabench.statistics; "
        "print([m for m in sys.modules if m not in before and m.partition('.')[0] in ('torch', 'mlabench')"
        " and not m.startswith('mlabench.statistics')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

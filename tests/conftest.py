"""What every test needs: nothing that an earlier one did to its process."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# Before torch and NumPy start: two threads in each of several test processes take longer than one.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# What is kept from one run of the tests to the next is not the user's own.
os.environ.setdefault("MLABENCH_CACHE", str(Path(__file__).parents[1] / ".pytest_cache" / "mlabench"))


@pytest.fixture(autouse=True)
def _subnormal_numbers() -> Iterator[None]:
    """Takes back that a run flushes subnormal numbers to zero; hypothesis refuses to draw floats then."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)


# As many examples as find most mistakes, or as many as an hour allows.
hypothesis.settings.register_profile("dev", max_examples=15, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=200, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture(scope="session")
def small_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of :data:`tests.command_line.SMALL`, run in one go in this process. To be read only."""
    from tests.command_line import SMALL, invoke

    folder = tmp_path_factory.mktemp("small")
    suite = folder / "small suite.yaml"
    suite.write_text(SMALL, encoding="utf-8")
    done = invoke("run", suite, "--results", folder / "results", "--jobs", "0")
    assert done.returncode == 0, done.stderr
    return folder / "results"


@pytest.fixture
def small_copy(small_results: Path, tmp_path: Path) -> Path:
    """A copy of :func:`small_results` to change."""
    return shutil.copytree(small_results, tmp_path / "small results")

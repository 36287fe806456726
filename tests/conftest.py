"""What every test needs: nothing that an earlier one did to its process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

# Before torch and NumPy start: two threads in each of several test processes take longer than one.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


@pytest.fixture(autouse=True)
def _subnormal_numbers() -> Iterator[None]:
    """Takes back that a run flushes subnormal numbers to zero; hypothesis refuses to draw floats then."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)

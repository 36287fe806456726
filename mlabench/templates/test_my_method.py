"""My method does what every method of mlabench must do. Its own numbers deserve tests of their own, below."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlabench.testing import CHECKS, Check

PLUGIN = Path(__file__).with_name("my_method.py")


@pytest.mark.parametrize("check", CHECKS)
def test_contract(check: Check) -> None:
    """A failure says what is wrong and why it matters."""
    check(PLUGIN)

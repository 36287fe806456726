"""Every registered method passes every check, and describes itself as built-in ones do."""

from __future__ import annotations

from typing import Any

import pytest

from mlabench import registry
from mlabench.testing import CHECKS, Check

NAMES = list(registry.entries("methods"))
#: Smaller networks where the defaults would make the tests slow.
OPTIONS: dict[str, dict[str, Any]] = {
    "imder": {"width": 16, "steps": 10},
    "mmin": {"blocks": 2, "autoencoder": (16, 8), "classifier": (16,)},
    "mmanet": {"teacher_share": 0.2},  # its student has the rest of few epochs
    "momke": {"width": 16, "depth": 1, "dropout": 0.1},
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", CHECKS)
def test_contract(check: Check, name: str) -> None:
    check(name, **OPTIONS.get(name, {}))


@pytest.mark.parametrize("name", NAMES)
def test_built_in_methods_cite_their_paper(name: str) -> None:
    assert registry.get("methods", name).about.paper

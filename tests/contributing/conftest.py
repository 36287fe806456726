"""A contribution to check and to tamper with: two methods of a plugin, trained for a moment on synthetic data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.command_line import invoke
from tests.contributing.test_card import GOOD

PLUGIN = '''
"""Concatenation under two other names."""

from pydantic import Field

from baselines.concat import Concat
from mlabench.hyperparameters import Hyperparameters
from mlabench.mla import MLA


class MyMethod(Concat):
    """Concatenation."""

    class Config(Hyperparameters):
        temperature: float = Field(default=1.0, gt=0, description="Not used.")


class Weighted(MLA):
    """MLA, which has weights."""

    name = "my_method_weighted"
'''
SUITE = """
name: mine
title: A suite of mine
question: Q2
dataset: {name: synthetic, samples: [60, 30, 90]}
encoders: {"*": {name: mlp, hidden: [8], width: 8}}
methods: [my_method, {name: my_method_weighted, label: Weighted}, concat]
missing: {rates: [0, 0.5], evaluate: [diagonal, subsets]}
seeds: [0]
folds: 2
training: {epochs: 2, batch_size: 32}
"""


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the suite has run, with plugin, card and results. To be read only."""
    folder = tmp_path_factory.mktemp("contributing")
    (folder / "mine.py").write_text(PLUGIN, encoding="utf-8")
    (folder / "mine.yaml").write_text(SUITE, encoding="utf-8")
    (folder / "card.yaml").write_text(yaml.safe_dump(GOOD), encoding="utf-8")
    done = invoke("run", folder / "mine.yaml", "--plugin", folder / "mine.py", "--jobs", "0", "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def packed(ran: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contribution. To be read only."""
    out = tmp_path_factory.mktemp("packed")
    done = invoke("contribute", ran / "results", "--plugin", ran / "mine.py", "--card", ran / "card.yaml", "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "my_method"


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return shutil.copytree(packed, tmp_path / "my_method")


@pytest.fixture(scope="session")
def single(ran: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A contribution of one method, with weights. To be read only."""
    out = tmp_path_factory.mktemp("single")
    words = ("contribute", ran / "results", "--plugin", ran / "mine.py", "--card", ran / "card.yaml", "--out", out)
    done = invoke(*words, "--method", "my_method_weighted")
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "my_method"


@pytest.fixture
def small(single: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return shutil.copytree(single, tmp_path / "my_method")

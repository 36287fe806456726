"""The tree of the dataset that a module calls ``NAME``, and beside it its published lists."""

import shutil
from pathlib import Path

import pytest

from tests.datasets.trees import LISTS, TREES


@pytest.fixture(scope="module")
def official(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed; ``lists`` lies beside it."""
    folder = TREES[request.module.NAME](tmp_path_factory.mktemp("data"))
    for (name, _), (write, _) in LISTS.items():
        if name == request.module.NAME:
            write(folder.parent / "lists")
    return folder


@pytest.fixture
def tree(official: Path, tmp_path: Path) -> Path:
    """A copy of it and of the lists, to be changed."""
    return Path(shutil.copytree(official.parent, tmp_path / "with a space")) / official.name

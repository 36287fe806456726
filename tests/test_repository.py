"""Files for services and people around the code say the same as the code."""

from __future__ import annotations

import tomllib

import yaml

from mlabench import __version__
from tests.command_line import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_version_to_cite_is_this_one():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__


def test_every_python_version_that_is_promised_is_tested():
    matrix = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())["jobs"]["fast"]["strategy"][
        "matrix"
    ]
    tested = {*matrix["python"], *(one["python"] for one in matrix["include"])}
    assert {f"Programming Language :: Python :: {version}" for version in tested} == {
        line for line in PROJECT["classifiers"] if ":: Python ::" in line
    }
    assert PROJECT["requires-python"] == f">={min(tested, key=lambda version: [*map(int, version.split('.'))])}"

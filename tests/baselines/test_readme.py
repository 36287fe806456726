"""The table of findings: each of the review is there once, and what it names exists."""

from __future__ import annotations

import json
import re

import pytest

from mlabench import registry
from mlabench.trial import Training
from tests.command_line import ROOT

README = (ROOT / "baselines" / "README.md").read_text(encoding="utf-8")
#: What the review found: so many findings of high, medium and low weight, about the protocol and about suites.
FOUND = {"H": 5, "M": 10, "L": 12, "P": 9, "S": 9}
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")] for line in README.splitlines() if line.startswith("|")
]
FINDINGS = {row[0]: row for row in ROWS if re.fullmatch(r"[HMLPS]\d+", row[0])}
METHODS = registry.entries("methods")


def test_every_finding_is_there_once() -> None:
    ids = [row[0] for row in ROWS if row[0] in FINDINGS]
    assert ids == [f"{letter}{number}" for letter, count in FOUND.items() for number in range(1, count + 1)]
    assert {len(row) for row in FINDINGS.values()} == {4}
    assert all(all(row) for row in FINDINGS.values())


@pytest.mark.parametrize("finding", FINDINGS)
def test_what_a_finding_names_exists(finding: str) -> None:
    """Files, versions that are reached, and options of methods, trainings and missing data."""
    named = re.findall(r"`([^`]+)`", FINDINGS[finding][3])
    assert named
    missing = json.loads((ROOT / "suites" / "suite.schema.json").read_text(encoding="utf-8"))["properties"]["missing"]
    for name in named:
        if "/" in name:
            assert (ROOT / name).is_file(), name
        elif "@" in name:
            method, version = name.split("@")
            assert registry.get("methods", method).about.version >= int(version), name
        else:
            section, option = name.split(".")
            if section in METHODS:
                assert option in registry.get("methods", section).about.options, name
            elif section == "training":
                assert option in Training.model_fields, name
            else:
                assert section == "missing" and f'"{option}"' in json.dumps(missing), name


def test_every_method_here_has_its_source() -> None:
    listed = [row[0].strip("`") for row in ROWS if row[0].startswith("`")]
    assert len(listed) == len(set(listed))
    assert all((ROOT / "baselines" / f"{name}.py").is_file() for name in listed)
    assert {name for name in METHODS if not name.startswith("mla")} <= set(listed)

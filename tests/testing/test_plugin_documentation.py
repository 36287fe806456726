"""A plugin written by following the documentation alone passes its test, runs in a suite and is in the report."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlabench.testing import CHECKS
from tests.command_line import ROOT, invoke

README = (ROOT / "mlabench" / "testing" / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the two files of the documentation, and nothing else."""
    folder = tmp_path_factory.mktemp("reader")
    for name, code in zip(("confident_sum.py", "test_confident_sum.py"), blocks("python")[:2], strict=True):
        (folder / name).write_text(code, encoding="utf-8")
    return folder


def test_it_passes_its_test(workplace: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_confident_sum.py"],
        cwd=workplace,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout
    assert f"{len(CHECKS)} passed" in done.stdout


def test_it_passes_without_pytest(workplace: Path) -> None:
    (line,) = blocks("sh")[0].splitlines()
    _, *arguments = shlex.split(line)
    done = subprocess.run([sys.executable, *arguments], cwd=workplace, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.slow
def test_it_runs_in_suites_and_is_reported(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in "".join(blocks("sh")[1:]).replace("\\\n", "").splitlines():
        arguments = shlex.split(line)[1:]
        if arguments[0] == "run":
            arguments += ["--limit", "60", "--seeds", "0", "--set", "training.epochs=1", "--jobs", "1"]
            arguments += ["--folds", "none", "--rates", "0.5"] if "stamps_missing" in arguments else []
        elif arguments == ["report"]:
            arguments += ["--include-limited"]
        done = invoke(*arguments, cwd=workplace)
        assert done.returncode == 0, done.stderr + done.stdout
    assert "Confident sum" in done.stdout
    assert "Confident sum" in (workplace / "results" / "report" / "report.html").read_text(encoding="utf-8")
    monkeypatch.chdir(workplace)
    names: dict[str, Any] = {}
    exec(blocks("python")[2].replace("print(", "found = ("), names)
    suites = {name.removesuffix(".limit60") for name in names["found"]["suite"]}
    assert suites >= {"stamps_missing", "clipart_missing", "openmoji_missing"}


def test_the_table_names_every_check() -> None:
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", README, flags=re.MULTILINE)))
    assert sorted(named) == sorted(check.__name__ for check in CHECKS)

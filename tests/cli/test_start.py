"""What ``init`` and ``new`` write works as it is, and so do the commands they print; ``doctor`` tells the truth."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from mlabench.cli import start
from mlabench.cli.start import examine, write_method, write_suite
from mlabench.errors import UserError
from tests.command_line import MLABENCH, ROOT, invoke

PROGRAMS = {"mlabench": [MLABENCH], "pytest": [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]}


def run_line(line: str, cwd: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Runs a printed command line; ``more`` is appended to its last command."""
    *first, last = line.split(" && ")
    for command in first:
        subprocess.run([*PROGRAMS["mlabench"], *shlex.split(command)[1:]], cwd=cwd, check=True, capture_output=True)
    program, *arguments = shlex.split(last)
    return subprocess.run(
        [*PROGRAMS[program], *arguments, *more],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


# -- init -----------------------------------------------------------------------------------------------


def test_the_template_suite_is_valid_and_runs(tmp_path: Path) -> None:
    done = invoke("init", cwd=tmp_path)
    assert done.stdout == "Wrote suite.yaml. Next:\n  mlabench run suite.yaml\n"
    valid = invoke("validate", "suite.yaml", cwd=tmp_path).stdout.splitlines()
    assert valid[0] == "suite.yaml: valid, 30 trials"
    (line,) = [line.strip() for line in done.stdout.splitlines() if line.startswith("  ")]
    ran = run_line(line, tmp_path, "--limit", "60", "--folds", "2", "--rates", "0.5", "--set", "training.epochs=1")
    assert ran.returncode == 0, ran.stderr
    assert "6 trials in" in ran.stdout


def test_the_template_suite_explains_every_field() -> None:
    text = (ROOT / "mlabench" / "templates" / "suite.yaml").read_text(encoding="utf-8")
    commands = re.findall(r"`mlabench (ls \w+)`", text)
    assert commands == ["ls datasets", "ls encoders", "ls methods"]
    assert {"title", "question", "dataset", "encoders", "methods", "missing", "folds", "seeds", "training"} == set(
        yaml.safe_load(text)
    )


def test_a_suite_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "mine.yaml"
    write_suite(path)
    path.write_text("mine")
    with pytest.raises(UserError, match="there is such a file already"):
        write_suite(path)
    assert path.read_text() == "mine"
    with pytest.raises(UserError, match=r"a suite's name ends in \.yaml\. Call it .*mine\.yaml\."):
        write_suite(tmp_path / "mine.txt")
    with pytest.raises(UserError, match="cannot write this file"):
        write_suite(path / "mine.yaml")


# -- new method -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder in which a method was made, and the commands that were printed."""
    folder = tmp_path_factory.mktemp("new")
    done = invoke("new", "method", "gated_sum", "--out", "my methods", cwd=folder)
    assert done.returncode == 0, done.stderr
    first, *commands = done.stdout.splitlines()
    assert first == "Wrote my methods/gated_sum.py and my methods/test_gated_sum.py. Next:"
    return folder, [command.strip() for command in commands]


def test_the_new_method_passes_its_test(made: tuple[Path, list[str]]) -> None:
    folder, (test, _) = made
    done = run_line(test, folder)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d+ passed", done.stdout, flags=re.MULTILINE)


def test_the_new_method_runs(made: tuple[Path, list[str]]) -> None:
    folder, (_, run) = made
    done = run_line(run, folder, "--set", "training.epochs=1", "--folds", "none", "--rates", "0.5", "--limit", "60")
    assert done.returncode == 0, done.stderr
    assert "Gated sum" in done.stdout


def test_the_new_files_are_in_good_style(made: tuple[Path, list[str]]) -> None:
    folder, _ = made
    ruff = [sys.executable, "-m", "ruff", "--quiet"]
    for command in (["check", "--config", str(ROOT / "pyproject.toml")], ["format", "--check", "--line-length", "120"]):
        done = subprocess.run([*ruff, *command, str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    for path in (folder / "my methods").iterdir():
        if path.suffix == ".py":
            assert "my_method" not in path.read_text().replace("my_methods", "")
            assert "MyMethod" not in path.read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GatedSum", "'GatedSum' cannot be a method's name. Use lower-case letters"),
        ("gated-sum", "'gated-sum' cannot be"),
        ("../gated", "'../gated' cannot be"),
        ("class", "'class' cannot be"),
        ("_gated", "'_gated' cannot be"),
        ("", "'' cannot be"),
        ("concat", "there is a method 'concat' already, from mlabench"),
        ("torch", "'torch' is the name of a Python module"),
    ],
)
def test_what_is_no_name_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        write_method(name, tmp_path)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("mine")
    with pytest.raises(UserError, match=r"test_mine\.py: there is such a file already"):
        write_method("mine", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["test_mine.py"]
    done = invoke("new", "method", "mine", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


# -- doctor ---------------------------------------------------------------------------------------------


def test_doctor_tells_what_is_there(tmp_path: Path) -> None:
    rows = json.loads(invoke("doctor", "--json", "--results", tmp_path / "a" / "b", OMP_NUM_THREADS="3").stdout)
    states = {row["what"]: row["state"] for row in rows}
    assert states["python"].startswith(f"{platform.python_version()} on {platform.system()}")
    for package in ("torch", "numpy", "pydantic", "timm"):
        assert states[package] == version(package)
    assert states["OMP_NUM_THREADS"].startswith("3;")
    assert re.fullmatch(rf"[\d.]+ GiB free at {re.escape(str(tmp_path))}/a/b", states["results"])
    assert states["stamps"].startswith("ready (")
    assert states["crema_d"] == "needs its files: dataset.root=DIR"
    assert not (tmp_path / "a").exists()


def test_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    needed = ["numpy>=2.2", 'no-such-thing>=1; extra == "prepare"', "no-such-base", 'pytest; extra == "dev"']
    monkeypatch.setattr(start, "requires", lambda _: needed)
    found = {what: (part, state) for part, what, state in examine(tmp_path, None) if "package" in part}
    assert found == {
        "numpy": ("packages", version("numpy")),
        "no-such-thing": ("packages of the extra prepare", "missing: pip install 'mlabench[prepare]'"),
        "no-such-base": ("packages", "MISSING: reinstall mlabench"),
    }


def test_doctor_tries_a_device_when_asked(tmp_path: Path) -> None:
    assert [what for part, what, _ in examine(tmp_path, None) if part == "device"] == []
    (state,) = [state for part, _, state in examine(tmp_path, "cpu") if part == "device"]
    assert re.fullmatch(r"usable, \d+ threads here", state)
    for device, message in (("cuda", "no device 'cuda'"), ("gpu", "Did you mean")):
        done = invoke("doctor", "--device", device, CUDA_VISIBLE_DEVICES="")
        assert done.returncode == 2
        if device == "cuda":
            assert message in done.stderr

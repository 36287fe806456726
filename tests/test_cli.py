"""The command line: quick, free of torch where nothing is trained, clear about mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlabench.registry import entries
from tests.command_line import ROOT, SMALL, mlabench

WITHOUT_TORCH = [
    ["--help"],
    ["run", "--help"],
    ["ls", "methods"],
    ["ls", "datasets"],
    ["ls", "encoders", "--json"],
    ["ls", "suites"],
    ["methods", "m*"],
    ["plan", "suites/stamps.yaml"],
    ["status", "suites/stamps.yaml"],
    ["show", "suites/stamps.yaml"],
    ["validate", "suites/stamps.yaml"],
    ["schema"],
    ["data", "list"],
    ["report", "results/reference"],
]


@pytest.mark.parametrize("arguments", WITHOUT_TORCH, ids=" ".join)
def test_listings_and_reports_do_not_import_torch(arguments: list[str], tmp_path: Path):
    if arguments[0] == "report":
        arguments = [*arguments, "--out", str(tmp_path)]
    code = (
        "import sys; from mlabench.cli import main\n"
        f"sys.argv = ['mlabench', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_ls_shows_every_method_with_its_options():
    rows = {row["name"]: row for row in json.loads(mlabench("ls", "methods", "--json").stdout)}
    assert set(rows) == set(entries("methods"))
    for row in rows.values():
        assert row["summary"]
        assert row["paper"].startswith("https://")
        assert all(option["description"] for option in row["options"].values())
    assert rows["mla"]["options"]["alpha"]["default"] == 0.1


def test_ls_takes_a_pattern():
    assert [row["name"] for row in json.loads(mlabench("ls", "methods", "m*", "--json").stdout)] == ["mla", "mmin"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nothing.yaml"], "nothing.yaml"),
        (["run", "suites/stamps.yaml", "--device", "gpu"], "--device"),
        (["run", "suites/stamps.yaml", "--overwrite", "allways"], "Did you mean 'always'?"),
        (["run", "suites/stamps.yaml", "--method", "mlaa"], "mlaa"),
        (["run", "suites/stamps.yaml", "--set", "training.epoch=3"], "Did you mean 'epochs'?"),
        (["run", "suites/stamps.yaml", "--precision", "16"], "precision"),
        (["run", "suites/stamps.yaml", "--seeds", "a"], "--seeds"),
        (["run", "suites/stamps_missing.yaml", "--rates", "0,1.5"], "1.5"),
        (["ls", "method"], "Did you mean 'methods'?"),
        (["report", "nothing"], "Run a suite first"),
        (["run", "suites/stamps.yaml", "--limit", "0"], "limit"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_get_one_clear_message(arguments: list[str], message: str, tmp_path: Path):
    if arguments[0] == "run":
        arguments = [*arguments, "--results", str(tmp_path / "results")]
    done = mlabench(*arguments, cwd=ROOT)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_file_in_place_of_the_results_folder(tmp_path: Path):
    suite, results = tmp_path / "s.yaml", tmp_path / "results"
    suite.write_text(SMALL)
    results.write_text("")
    done = mlabench("run", suite, "--results", results)
    assert done.returncode == 2
    assert "cannot write results" in done.stderr

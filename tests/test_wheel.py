"""The wheel stands alone: whoever has it needs no checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.command_line import ROOT

pytestmark = pytest.mark.slow

#: One training of one epoch.
TINY = ["--seeds", "0", "--folds", "none", "--rates", "0.5", "--method", "mla", "--set", "training.epochs=1"]


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from the sdist, as `python -m build` makes both."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (sdist,), (built,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    assert sdist.stat().st_size < 20e6, "the reference's records are not in it"
    return built


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of a fresh environment with the wheel; what it depends on is borrowed from this one."""
    folder = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    paths = sysconfig.get_paths("venv", vars={"base": str(folder), "platbase": str(folder)})
    borrowed = [path for path in sys.path if Path(path).name == "site-packages"]
    Path(paths["purelib"], "borrowed.pth").write_text("\n".join(borrowed), encoding="utf-8")
    python = Path(paths["scripts"], Path(sys.executable).name)
    install = ("--python", str(python), "install", "--quiet", "--no-deps", "--no-index")
    run(sys.executable, "-m", "pip", *install, wheel, cwd=folder)
    where = run(python, "-c", "import mlabench; print(mlabench.__file__)", cwd=folder)
    assert Path(where.strip()).is_relative_to(folder), "not the checkout"
    return Path(paths["scripts"])


def test_it_holds_all_files_of_the_packages_and_the_suites(wheel: Path):
    with ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    packages = [file for name in ("mlabench", "baselines") for file in (ROOT / name).rglob("*") if file.is_file()]
    expected = {file.relative_to(ROOT).as_posix() for file in packages if "__pycache__" not in file.parts}
    expected |= {f"mlabench/{file.relative_to(ROOT).as_posix()}" for file in (ROOT / "suites").rglob("*.*")}
    assert held == expected


def test_it_runs_in_an_empty_folder(scripts: Path, tmp_path: Path):
    mlabench = scripts / "mlabench"
    rows = json.loads(run(mlabench, "ls", "suites", "--json", cwd=tmp_path))
    assert {row["name"] for row in rows} == {file.stem for file in (ROOT / "suites").glob("*.yaml")}
    assert "stamps_missing" in run(mlabench, "run", "stamps_missing", *TINY, cwd=tmp_path)
    assert "MLA" in run(mlabench, "report", cwd=tmp_path)
    assert (tmp_path / "results" / "report" / "report.html").is_file()
    planned = run(mlabench, "plan", "suites/iemocap_missing.yaml", "--dataset", "stamps", cwd=tmp_path)
    assert planned.lstrip().startswith("Plan of mlabench/suites/iemocap_missing.yaml")

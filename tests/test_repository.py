"""Files for services and people around the code say the same as the code."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from mlabench import __version__
from tests.command_line import ROOT, invoke

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
GITHUB = ROOT / ".github"


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


def test_the_image_can_build_the_wheel_and_has_a_python_that_is_promised():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "*"
    kept = [line.removeprefix("!") for line in lines if line.startswith("!")]
    needed = [*PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"], *PROJECT["license-files"]]
    for path in (*needed, PROJECT["readme"], "pyproject.toml"):
        assert any(Path(path).match(pattern) or path.startswith(f"{pattern}/") for pattern in kept), path
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    pythons = set(re.findall(r"^FROM python:([\d.]+)-slim", image, flags=re.MULTILINE))
    assert len(pythons) == 1
    assert pythons <= {line.rpartition(" ")[2] for line in PROJECT["classifiers"]}
    (extras,) = re.findall(r"^ARG EXTRAS=\[(.*)\]", image, flags=re.MULTILINE)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize(
    "template", [*GITHUB.rglob("*.md"), *GITHUB.rglob("ISSUE_TEMPLATE/*.yml")], ids=lambda p: p.name
)
def test_templates_speak_of_what_there_is(template: Path):
    text = template.read_text(encoding="utf-8")
    named = re.findall(r"`([\w./*-]+(?:\.(?:json|md|py|toml|yaml)|/))`", text)
    for path in (one.replace("NAME", "concat") for one in named):
        assert list(ROOT.glob(path)) or (GITHUB / path).exists(), path
    for command in re.findall(r"`mlabench ([a-z]+)", text):
        assert invoke(command, "--help").returncode == 0
    for target in re.findall(r"`make ([\w-]+)`", text):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_a_method_s_template_names_all_that_it_may_declare():
    text = (GITHUB / "PULL_REQUEST_TEMPLATE" / "method.md").read_text(encoding="utf-8")
    contract = (ROOT / "mlabench" / "method.py").read_text(encoding="utf-8")
    for word in ("claims", "authors_training", "unfit_optimizers"):
        assert f"`{word}`" in text
        assert re.search(rf"^    {word}\b", contract, flags=re.MULTILINE)


def test_the_release_attaches_the_edition_of_its_version():
    steps = yaml.safe_load((GITHUB / "workflows" / "release.yml").read_text(encoding="utf-8"))["jobs"]["github"][
        "steps"
    ]
    (script,) = (step["run"] for step in steps if "--freeze" in step.get("run", ""))
    (command,) = re.findall(r"mlabench results (--edition .*)", script)
    shown = " ".join(invoke("results", "--help", COLUMNS="200").stdout.split())
    assert [flag for flag in re.findall(r"--[a-z]+", command) if flag not in shown] == []
    for row in json.loads(invoke("results", "--json").stdout):
        assert {"edition", "mlabench"} <= set(row), "what the script selects by"
    assert "dist/*" in steps[-1]["run"]


def test_the_notebook_holds_no_output_that_could_be_out_of_date():
    book = json.loads((ROOT / "docs" / "quickstart.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert [cell["outputs"] for cell in code] == [[]] * len(code)
    assert {cell["execution_count"] for cell in code} == {None}

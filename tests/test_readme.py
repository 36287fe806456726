"""What the README says is true: its commands run, its snippets work, its tables are the reference's."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from mlabench.datasets.sources import source_of
from mlabench.suite import load_suite, members
from mlabench.suite.expansion import expand
from mlabench.testing import CHECKS, Check
from tests.command_line import ROOT, invoke

README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = ROOT / "results" / "reference"


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    return [line for block in blocks("sh", text) for line in block.splitlines() if line.startswith("mlabench ")]


#: A block of commands below this mark needs files that must be downloaded first.
_NEEDS_DATA = re.compile(r"^<!-- needs data -->\n```sh\n.*?^```$", flags=re.MULTILINE | re.DOTALL)
COMMANDS = commands(_NEEDS_DATA.sub("", README))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a fresh checkout, in which the README's commands run one after another."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "suites", folder / "suites")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_works(command: str, workplace: Path):
    arguments = shlex.split(command)[1:]
    if arguments[0] == "run":  # the same command on few samples
        arguments += ["--limit", "60", "--set", "training.epochs=1"]
    done = invoke(*arguments, cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_commands_that_need_data_fetch_what_the_suite_reads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MVSA", raising=False)
    get, run, report = commands("".join(_NEEDS_DATA.findall(README)))
    source = source_of(get.removeprefix("mlabench data get "))
    for member in members(ROOT / run.removeprefix("mlabench run ")):
        assert load_suite(member).dataset.location == {"root": str(source.folder)}
    assert report == "mlabench report"


def test_the_first_command_runs_a_suite_and_a_report():
    (command,) = [block for block in blocks("sh") if "venv .venv" in block]
    suite = re.search(r"mlabench run (\S+)", command)
    assert suite is not None
    assert (ROOT / suite[1]).is_file()
    assert command.rstrip().endswith("mlabench report")


def test_the_suite_is_a_suite(tmp_path: Path):
    (text,) = blocks("yaml")
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    plan = expand(load_suite(path))
    assert plan.labels == ("Concat", "MLA", "MLA w/o HGM")
    assert len(plan.cells) == 3 * 2 * 2


@pytest.fixture(scope="module")
def method(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The method that the README shows, in a file of its own."""
    (code,) = (block for block in blocks("python") if "class " in block)
    path = tmp_path_factory.mktemp("method") / "sum_of_logits.py"
    path.write_text(code, encoding="utf-8")
    return path


def test_the_python_snippet_works(workplace: Path, monkeypatch: pytest.MonkeyPatch):
    (code,) = (block for block in blocks("python") if "mlabench.run(" in block)
    few = 'results="results", limit=60, settings={"training.epochs": 1}, jobs=0'
    monkeypatch.chdir(workplace)
    names: dict[str, object] = {}
    exec(code.replace('results="results"', few), names)
    assert len(names["frame"]) >= 2 * 2 * 3 * 4  # methods, seeds, rates, targets
    assert Path(str(names["page"])).is_file()


@pytest.mark.parametrize("check", CHECKS)
def test_the_method_is_a_method(check: Check, method: Path):
    check(method)


TABLES = re.findall(r"^<!-- table: (\w+)/(\w+) -->\n(.*?)^<!-- end -->$", README, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("suite", "name", "shown"), TABLES, ids=[suite for suite, _, _ in TABLES])
def test_the_table_is_the_reference(suite: str, name: str, shown: str):
    table = (REFERENCE / "report" / suite / "tables" / f"{name}.md").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert shown.strip() == "\n".join(rows)


def test_the_first_table_is_of_a_dataset_of_the_paper():
    assert [suite for suite, _, _ in TABLES] == ["mvsa_frozen_complete", "stamps"]


PAGES = sorted(
    page
    for pattern in ("*.md", "suites/*.md", "results/*.md", "mlabench/**/*.md")
    for page in ROOT.glob(pattern)
    if page.parent.name != "templates"
)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_pictures_exist(path: Path):
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_the_commands_that_ci_runs_are_the_readme_s():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for marker in ("set-up", "tests"):
        assert f"<!-- {marker} -->\n```sh\n" in README
        assert marker in script


def test_suites_named_in_the_readme_exist_and_are_yaml():
    for name in set(re.findall(r"suites/\w+\.yaml", README)):
        assert yaml.safe_load((ROOT / name).read_text())

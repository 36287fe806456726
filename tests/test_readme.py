"""What the README and the site's pages say is true: commands run, snippets work, numbers are the reference's."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from docs.absolute import absolute
from mlabench import registry
from mlabench.datasets.sources import source_of
from mlabench.suite import load_suite, members
from mlabench.suite.expansion import expand
from mlabench.testing import CHECKS, Check
from tests.command_line import ROOT, invoke

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "pages").glob("*.md"))}
REPORT = ROOT / "results" / "reference" / "report"


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    return [line for block in blocks("sh", text) for line in block.splitlines() if line.startswith("mlabench ")]


#: A block of commands below this mark needs files that must be downloaded first.
_NEEDS_DATA = re.compile(r"^<!-- needs data -->\n```sh\n.*?^```$", flags=re.MULTILINE | re.DOTALL)
COMMANDS = commands("".join([_NEEDS_DATA.sub("", README), PAGES["commands.md"], PAGES["paper.md"]]))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a fresh checkout, in which the commands run one after another."""
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
    (command,) = [block for block in blocks("sh", README) if "venv .venv" in block]
    suite = re.search(r"mlabench run (\S+)", command)
    assert suite is not None
    assert (ROOT / suite[1]).is_file()
    assert command.rstrip().endswith("mlabench report")


def test_the_suite_is_a_suite(tmp_path: Path):
    (text,) = blocks("yaml", PAGES["quick-start.md"])
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    plan = expand(load_suite(path))
    assert plan.labels == ("Concat", "MLA", "MLA w/o HGM")
    assert len(plan.cells) == 3 * 2 * 2


@pytest.fixture(scope="module")
def method(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The method that the README shows, in a file of its own."""
    (code,) = (block for block in blocks("python", README) if "class " in block)
    path = tmp_path_factory.mktemp("method") / "sum_of_logits.py"
    path.write_text(code, encoding="utf-8")
    return path


def test_the_python_snippet_works(workplace: Path, monkeypatch: pytest.MonkeyPatch):
    (code,) = (block for block in blocks("python", README) if "mlabench.run(" in block)
    few = 'results="results", limit=60, settings={"training.epochs": 1}, jobs=0'
    monkeypatch.chdir(workplace)
    names: dict[str, object] = {}
    exec(code.replace('results="results"', few), names)
    assert len(names["frame"]) >= 2 * 2 * 3 * 4  # methods, seeds, rates, targets
    assert Path(str(names["page"])).is_file()


@pytest.mark.parametrize("check", CHECKS)
def test_the_method_is_a_method(check: Check, method: Path):
    check(method)


#: Suite, table, columns if not all, and what is shown, of each table in a text.
_TABLE = re.compile(r"^<!-- table: (\w+)/(\w+)(?:: (.+?))? -->\n(.*?)^<!-- end -->$", flags=re.MULTILINE | re.DOTALL)
TABLES = [found.groups() for text in (README, *PAGES.values()) for found in _TABLE.finditer(text)]


def cells(row: str) -> list[str]:
    return row.strip().removeprefix("| ").removesuffix(" |").split(" | ")


@pytest.mark.parametrize(("suite", "name", "columns", "shown"), TABLES, ids=[f"{one[0]}/{one[1]}" for one in TABLES])
def test_the_table_is_the_reference(suite: str, name: str, columns: str | None, shown: str):
    table = (REPORT / suite / "tables" / f"{name}.md").read_text(encoding="utf-8")
    head, *rows = [cells(line) for line in table.splitlines() if line.startswith("|")]
    kept = [head.index(column) for column in (columns.split(", ") if columns else head)]
    expected = "\n".join("| " + " | ".join(row[place] for place in kept) + " |" for row in (head, *rows))
    assert shown.strip() == expected


def test_the_first_table_is_of_a_dataset_of_the_paper():
    assert next(found[1] for found in _TABLE.finditer(README)) == "mvsa_frozen_complete"


#: ``+0.5 [−0.1, 1.1]``, perhaps with a unit before the bracket; signs are as a table has them, or left out.
_INTERVAL = re.compile(r"([+−]?[\d.]+)(?: points| %)? \[(−?[\d.]+), (−?[\d.]+)\]")


def intervals(text: str) -> set[tuple[str, ...]]:
    """Estimates with the ends of their intervals."""
    return {tuple(number.lstrip("+") for number in found) for found in _INTERVAL.findall(re.sub(r"[\\*]", "", text))}


@pytest.mark.parametrize("text", [README, PAGES["findings.md"]], ids=["README.md", "findings.md"])
def test_every_interval_is_in_a_table_of_the_reference(text: str):
    tables = [path.read_text(encoding="utf-8") for path in REPORT.rglob("tables/*.md")]
    shown = intervals(" ".join(text.split()))
    assert len(shown) > 10
    assert shown <= set().union(*map(intervals, tables))


def test_the_readme_names_every_method_dataset_and_no_other():
    (section,) = re.findall(r"^## Datasets and methods\n(.*?)^## ", README, flags=re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(\w+)`", section)) == {*registry.entries("methods"), *registry.entries("datasets")}


def test_the_readme_is_short():
    prose = _NOT_PROSE.sub("", README)
    assert len(prose.split()) < 750


_NOT_PROSE = re.compile(r"^```.*?^```$|^\|.*?$|<!--.*?-->|(?<=\])\([^)]*\)", flags=re.MULTILINE | re.DOTALL)


def test_links_for_pypi_are_absolute():
    text = "![a b](results/x.png) [c](LICENSE) [d](https://e.org/f) [g](#h) "
    made = absolute(text, "us/mlabench", "v1.0.0").split()
    where = "https://github.com/us/mlabench"
    assert made[:3] == ["![a", f"b]({where}/raw/v1.0.0/results/x.png)", f"[c]({where}/blob/v1.0.0/LICENSE)"]
    assert made[3:5] == ["[d](https://e.org/f)", "[g](#h)"]
    assert not re.search(r"\]\((?!https?:|#)", absolute(README, "us/mlabench", "v1.0.0"))


LINKING = sorted(
    page
    for pattern in ("*.md", "suites/*.md", "results/*.md", "mlabench/**/*.md")
    for page in ROOT.glob(pattern)
    if page.parent.name != "templates"
)


@pytest.mark.parametrize("path", LINKING, ids=lambda path: str(path.relative_to(ROOT)))
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

"""The documentation site: every page is reachable, every link leads somewhere, every table has what there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from docs import assembly, generated, screenshots
from docs.__main__ import MAKERS
from docs.assembly import Site, section
from mlabench import registry
from mlabench.errors import UserError
from mlabench.suite import find_suite
from tests.command_line import ROOT, invoke

EMPTY = dict.fromkeys(MAKERS, lambda _: "")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a repository with a README and a page that includes a part of it."""
    pages = tmp_path / "docs" / "pages"
    pages.mkdir(parents=True)
    monkeypatch.setattr(assembly, "ROOT", tmp_path)
    monkeypatch.setattr(assembly, "PAGES", pages)
    (tmp_path / "README.md").write_text(
        "# Title\n\nSee [it](#one).\n\n## One\n\n[own](code.py)\n\n### Deep\n\nx\n\n## Two\n\ny\n"
    )
    (tmp_path / "code.py").write_text("pass\n")
    (pages / "index.md").write_text("# Home\n\n<!-- include README.md#title -->\n")
    (pages / "one.md").write_text("# First\n\n<!-- include README.md#one -->\n\n[home](index.md) [deep](#deep)\n")
    return pages


def test_links_lead_to_where_a_text_is_included(site: Path, tmp_path: Path):
    made = Site(EMPTY).assemble()
    assert made.pages == {
        "index.md": "# Home\n\nSee [it](one.md).\n",
        "one.md": "# First\n\n[own](files/code.py)\n\n### Deep\n\nx\n\n[home](index.md) [deep](one.md#deep)\n",
    }
    made.write(tmp_path / "out")
    assert (tmp_path / "out" / "files" / "code.py").read_text() == "pass\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[x](README.md#two)", "docs/pages/index.md links to README.md#two"),
        ("[x](../../README.md#two)", "links to ../../README.md#two"),
        ("[x](nothing.md)", "links to nothing.md"),
        ("[x](#nothing)", "links to #nothing"),
        ("<!-- include README.md#three -->", "README.md has no heading with the anchor 'three'"),
    ],
)
def test_what_is_not_there_is_an_error(text: str, problem: str, site: Path):
    (site / "index.md").write_text(f"# Home\n\n{text}\n")
    with pytest.raises(ValueError, match=re.escape(problem)):
        Site(EMPTY).assemble()


def test_a_section_ends_where_the_next_one_begins(site: Path):
    assert section("README.md", "") == (site.parents[1] / "README.md").read_text().removeprefix("# Title\n").strip()
    assert section("README.md", "title") == "See [it](#one)."
    assert section("README.md", "deep") == "x"


def test_all_pages_are_in_the_menu_and_all_links_lead_somewhere():
    menu = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    entries = [
        entry for part in menu for inside in part.values() for entry in ([part] if isinstance(inside, str) else inside)
    ]
    assert sorted(name for entry in entries for name in entry.values()) == sorted(Site(EMPTY).assemble().pages)


def test_tables_have_all_there_is():
    for kind in ("methods", "datasets", "encoders"):
        shown = generated.options(kind)
        for name, entry in registry.entries(kind).items():
            for option in entry.about.options:
                assert f"| `{name}` | `{option}` |" in shown
    rows = {row.split("|")[1].strip(" `"): row for row in generated.methods().splitlines()[2:]}
    assert set(rows) == set(registry.entries("methods"))
    assert all(cell.strip() for row in rows.values() for cell in row.split(" | ")[:5])


def test_messages_are_those_that_are_raised():
    shown = generated.messages()
    with pytest.raises(UserError) as caught:
        find_suite("nothing_like_it")
    problem = caught.value.problem.replace(repr("nothing_like_it"), "…")
    assert "## `mlabench.suite`\n\n| Message | What to do |\n| --- | --- |\n" in shown
    assert f"| {problem} | {caught.value.remedy} |" in shown


#: Those of commands.md and paper.md are run by test_readme.py.
COMMANDS = [
    line
    for page in sorted((ROOT / "docs" / "pages").glob("*.md"))
    if page.stem not in ("commands", "paper")
    for block in re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("mlabench ") and line != "mlabench report"  # which needs results
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str, tmp_path: Path):
    words = command.split()[1:]
    done = invoke(*(["plan", *words[1:]] if words[0] == "run" else words), cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_pictures_of_pages_are_taken_or_missed_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    browser = tmp_path / "bin" / "chromium"
    browser.parent.mkdir()
    browser.write_text(
        '#!/bin/sh\nfor word; do case $word in --screenshot=*) echo "$word" > "${word#*=}";; esac; done\n'
    )
    browser.chmod(0o755)
    monkeypatch.setattr(screenshots, "PICTURES", tmp_path / "pictures")
    monkeypatch.setenv("PATH", f"{browser.parent}{os.pathsep}{os.environ['PATH']}")
    take = screenshots.screenshot.__wrapped__
    assert take("results/page.html") == "![The top of page.html](files/screenshots/page.png)"
    assert (tmp_path / "pictures" / "page.png").is_file()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert take("results/page.html") == ""
    assert "No picture of results/page.html" in capsys.readouterr().err


def test_published_tables_name_the_suite_that_measures_the_same():
    rows = generated.published().splitlines()
    assert any(row.startswith("| crema_d | mla | multimodal | 0 % |") and "`cremad`" in row for row in rows)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # it runs the notebook
def test_the_site_is_built_without_a_warning():
    done = subprocess.run([sys.executable, "-m", "docs"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    built = ROOT / "build" / "site"
    for page in (ROOT / "docs" / "pages").glob("*.md"):
        html = (built / page.with_suffix(".html").name).read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="https?:', html), "loads something from elsewhere"
    notebook = (built / "notebook.html").read_text(encoding="utf-8")
    assert notebook.count("<table") >= 4
    assert 'src="data:image/png;base64,' in notebook
    assert "quickstart/report/report.html" in notebook
    api = (built / "api.html").read_text(encoding="utf-8")
    assert 'id="mlabench.run"' in api
    assert not re.findall(r":\w+:<code>", api), "a role of reStructuredText"
    for picture in re.findall(r'src="(files/screenshots/.+?)"', (built / "findings.html").read_text(encoding="utf-8")):
        assert (built / picture).stat().st_size > 10_000

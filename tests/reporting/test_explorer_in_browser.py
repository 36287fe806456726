"""The leaderboard's page in Chromium: filters, keys, links, colour schemes, a phone, paper."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from mlabench.reporting import Folder, build_leaderboard
from mlabench.store import Store
from mlabench.trial import Component
from tests.reporting.browser import IN_BROWSER, Page, quiet
from tests.reporting.predicted import sweep
from tests.reporting.sample_charts import HOSTILE
from tests.reporting.test_explorer import DESIGN, SKILLS, priced, skill

pytestmark = IN_BROWSER


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets, two missing rates, and a contributed method with a dangerous name."""
    folder = tmp_path_factory.mktemp("leaderboard")
    store, other = Store(folder / "ours"), Store(folder / "theirs")
    plans = [sweep(store, SKILLS, **DESIGN), sweep(store, SKILLS, **DESIGN, dataset="clipart", name="second")]
    for plan in plans:
        priced(store, plan, dict(zip(SKILLS, (2.0, 1.0, 4.0, 20.0, 3.0), strict=True)))
    methods = {HOSTILE: Component(name="mine")}
    theirs = sweep(other, {HOSTILE: skill(0.9)}, **DESIGN, methods=methods, name="theirs")
    folders = [Folder(store, tuple(plans)), Folder(other, (theirs,), HOSTILE, {HOSTILE: HOSTILE})]
    return build_leaderboard(folders, folder / "site", command=HOSTILE, console=Console(file=io.StringIO()))


@pytest.fixture
def tab(chromium: Page) -> Iterator[Page]:
    """A tab that writes nothing to the console and asks for nothing but files."""
    with quiet(chromium):
        yield chromium
    assert chromium.evaluate("document.title") != "taken"


VIEW = "document.querySelector('.view:not([hidden])')"
ROWS = f"[...{VIEW}.querySelectorAll('tbody tr')].filter((row) => !row.hidden)"
NAMES = f"{ROWS}.map((row) => row.cells[0].textContent)"


def choose(tab: Page, name: str, value: str) -> None:
    tab.evaluate(f"""(() => {{
        const select = document.querySelector('select[name={name}]');
        select.value = {value!r};
        select.dispatchEvent(new Event('change', {{ bubbles: true }}));
    }})()""")


def test_one_ranking_at_a_time(tab: Page, index: Path) -> None:
    tab.open(index)
    assert tab.evaluate("document.querySelectorAll('.view:not([hidden])').length") == 1
    assert tab.evaluate(f"{VIEW}.id") == "predicted-mean"
    assert tab.evaluate(f"{NAMES}.length") == 6
    choose(tab, "missing", "50 %")
    assert tab.evaluate(f"{VIEW}.id") == "predicted-50"
    assert tab.evaluate(f"{NAMES}[1]") == "MMIN"
    choose(tab, "dataset", "clipart")
    # What was chosen stays where it can.
    assert tab.evaluate(f"{VIEW}.id") == "second-50"
    assert tab.evaluate(f"{NAMES}.length") == 5
    assert tab.evaluate("location.hash") == "#second-50"
    tab.open(index)
    tab.evaluate("document.querySelector('#found a[href=\"#second-mean\"]').click()")
    tab.wait_for(f"{VIEW}.id === 'second-mean'")
    assert tab.evaluate("document.querySelector('select[name=dataset]').value") == "clipart"


def test_families_by_key(tab: Page, index: Path) -> None:
    tab.open(index)
    ranks = f"{ROWS}.map((row) => [row.cells[0].textContent, row.cells[1].textContent])"
    before = dict(tab.evaluate(ranks))
    tab.evaluate("document.querySelector('input[value=\"Fusion\"]').focus()")
    tab.press(" ", 32, " ")
    shown = dict(tab.evaluate(ranks))
    assert before.keys() - shown.keys() == {"Concat", "Sum", "QMF"}
    assert shown == {name: before[name] for name in shown}, "ranks stay those among all"
    assert tab.evaluate("document.querySelector('#filters [role=status]').textContent") == "3 of 6 methods shown."
    title = """(name) => [...document.querySelectorAll('.view:not([hidden]) .drawing g')]
        .filter((group) => group.querySelector(':scope > title')?.textContent === name)
        .every((group) => getComputedStyle(group).display === 'none')"""
    assert tab.evaluate(f"({title})('Fusion')")
    assert not tab.evaluate(f"({title})('MLA')")
    tab.press(" ", 32, " ")
    assert dict(tab.evaluate(ranks)) == before


def test_columns_sort(tab: Page, index: Path) -> None:
    tab.open(index)
    head = f"{VIEW}.querySelector('thead tr').cells"
    tab.evaluate(f"[...{head}].find((cell) => cell.textContent === 'Time ×').querySelector('button').click()")
    assert tab.evaluate(f"{NAMES}[0]") == "MMIN"
    best = f"[...{head}].find((cell) => cell.textContent === 'Rank').querySelector('button')"
    tab.evaluate(f"{best}.click(), {best}.click()")
    first = tab.evaluate(f"{ROWS}.map((row) => parseInt(row.cells[1].textContent))")
    assert first == sorted(first)


def test_a_method_leads_to_its_records(tab: Page, index: Path) -> None:
    tab.open(index)
    target = tab.evaluate(f"{ROWS}.find((row) => row.cells[0].textContent === 'MLA').querySelector('a').href")
    tab.open(Path(target.removeprefix("file://")))
    assert tab.evaluate("document.querySelector('h1').textContent") == "MLA on stamps"
    record = tab.evaluate("document.querySelector('#trainings tbody a').href")
    assert Path(record.removeprefix("file://")).is_file()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["index.html", "methods/predicted/MLA.html"])
def test_a_phone_need_not_scroll_sideways(tab: Page, index: Path, scheme: str, page: str) -> None:
    tab.open(index.parent / page, width=375, scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
    assert tab.evaluate("document.documentElement.scrollWidth") == 375


def test_paper_has_the_ranking_without_the_controls(tab: Page, index: Path) -> None:
    tab.open(index)
    tab.emulate(media="print")
    assert tab.evaluate("getComputedStyle(document.querySelector('#filters')).display") == "none"
    assert tab.evaluate(f"{VIEW}.getBoundingClientRect().height") > 100
    assert tab.pdf().startswith(b"%PDF")
    tab.emulate()

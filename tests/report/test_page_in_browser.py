from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from mlabench.report.html import render_page
from tests.report import answers
from tests.report.answers import HOSTILE
from tests.report.browser import EXECUTABLE, Page, browser

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="needs chromium or google-chrome on the PATH")

DRAWN = "[...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('.main-svg'))"
#: Everything comes into view at once.
TALL = 30_000


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_page(answers.page()), encoding="utf-8")
    return path


@pytest.fixture
def tab(chromium: Page) -> Iterator[Page]:
    """A tab that writes nothing to the console and asks for nothing but the file itself."""
    chromium.problems.clear()
    chromium.requests.clear()
    yield chromium
    assert chromium.problems == []
    assert [address for address in chromium.requests if not address.startswith(("file:", "data:"))] == []
    assert sum(address.startswith("file:") for address in chromium.requests) <= 2


def colour(png: bytes, x: int, y: int) -> tuple[int, ...]:
    return tuple(Image.open(io.BytesIO(png)).convert("RGB").getpixel((x, y)))  # type: ignore[arg-type]


def test_charts_draw_when_they_come_into_view(tab: Page, report: Path) -> None:
    start = time.perf_counter()
    tab.open(report)
    assert time.perf_counter() - start < 10
    assert tab.evaluate("typeof Plotly") == "undefined"  # nothing is drawn while the summary is read
    assert tab.evaluate("document.querySelectorAll('.plot').length") == 16
    tab.evaluate("document.querySelector('figure.line-chart').scrollIntoView({ behavior: 'instant' })")
    tab.wait_for("document.querySelectorAll('figure.line-chart .main-svg').length > 0")
    assert tab.evaluate("document.querySelectorAll('#plotly').length") == 0
    tab.resize(1280, TALL)
    tab.wait_for(DRAWN)
    assert tab.evaluate("document.querySelectorAll('figure.bar-chart .point').length") == 20
    assert (
        tab.evaluate("document.querySelectorAll('figure.line-chart .plot')[0].querySelectorAll('.point').length") == 24
    )
    assert tab.evaluate("[...document.querySelectorAll('img')].every((image) => image.naturalWidth > 0)")


def test_a_table_sorts_by_click_and_by_key(tab: Page, report: Path) -> None:
    tab.open(report)
    table = "document.querySelector('#q1-synthetic-main')"
    names = f"[...{table}.tBodies[0].rows].map((row) => row.cells[0].textContent)"
    head = f"{table}.tHead.rows[0].cells[2]"
    given = ["Concat", "Late fusion", "QMF", "MMIN", "MLA"]
    assert tab.evaluate(names) == given
    assert tab.evaluate(f"{head}.getAttribute('aria-sort')") == "none"
    tab.evaluate(f"{head}.querySelector('button').click()")
    assert tab.evaluate(names) == given  # 80, 79, 78, 77, 76
    assert tab.evaluate(f"{head}.getAttribute('aria-sort')") == "descending"
    tab.evaluate(f"{head}.querySelector('button').focus()")
    tab.press("Enter", 13, "\r")
    assert tab.evaluate(names) == given[::-1]
    assert tab.evaluate(f"{head}.getAttribute('aria-sort')") == "ascending"
    tab.press(" ", 32, " ")
    assert tab.evaluate(names) == given
    assert tab.evaluate(f"{head}.getAttribute('aria-sort')") == "none"
    # The cell without a number is last in both directions.
    fused = f"{table}.tHead.rows[0].cells[3].querySelector('button')"
    tab.evaluate(f"{fused}.click()")
    assert tab.evaluate(names) == ["MLA", "MMIN", "Late fusion", "Concat", "QMF"]
    tab.evaluate(f"{fused}.click()")
    assert tab.evaluate(names) == ["Concat", "Late fusion", "MMIN", "MLA", "QMF"]
    tab.evaluate(f"{table}.tHead.rows[0].cells[0].querySelector('button').click()")
    assert tab.evaluate(names) == sorted(given, key=str.lower)


def test_groups_of_rows_stay_together(tab: Page, report: Path) -> None:
    tab.open(report)
    table = "document.querySelector('#suite-synthetic-rates')"
    tab.evaluate(f"{table}.tHead.rows[0].cells[4].querySelector('button').click()")
    rows = tab.evaluate(f"[...{table}.tBodies].map((body) => [...body.rows].map((row) => row.innerText.split('\\t')))")
    assert [[row[0] for row in body] for body in rows] == [[name] * 5 for name in ("0 %", "30 %", "60 %")]
    assert [row[1] for row in rows[1]] == ["MLA", "MMIN", "Late fusion", "Concat", "QMF"]


def test_a_name_hides_and_shows_its_series(tab: Page, report: Path) -> None:
    tab.open(report, height=TALL)
    tab.wait_for(DRAWN)
    points = "document.querySelectorAll('figure.bar-chart .point').length"
    button = "document.querySelector('figure.bar-chart .legend button[data-name=QMF]')"
    tab.evaluate(f"{button}.click()")
    tab.wait_for(f"{points} === 16")
    assert tab.evaluate(f"{button}.getAttribute('aria-pressed')") == "false"
    tab.evaluate(f"{button}.click()")
    tab.wait_for(f"{points} === 20")
    assert tab.evaluate(f"{button}.getAttribute('aria-pressed')") == "true"


def test_hovering_tells_the_numbers(tab: Page, report: Path) -> None:
    tab.open(report, height=TALL)
    tab.wait_for(DRAWN)
    spot = tab.evaluate(
        "(({ x, y, width }) => ({ x: x + width / 2, y: y + 3 }))"
        "(document.querySelector('figure.bar-chart .point path').getBoundingClientRect())"
    )
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=spot["x"], y=spot["y"])
    tab.wait_for("document.querySelector('figure.bar-chart .hoverlayer .hovertext')")
    text = tab.evaluate("document.querySelector('figure.bar-chart .hoverlayer').textContent")
    for part in ("Concat", "audio", "accuracy (%): 30", "interval [27, 32]"):
        assert part in text


def test_charts_follow_the_colour_scheme(tab: Page, report: Path) -> None:
    tab.open(report, height=TALL)
    tab.wait_for(DRAWN)
    paper = "document.querySelector('figure.line-chart .main-svg').style.background"
    ink = "getComputedStyle(document.querySelector('figure.line-chart .xtick text')).fill"
    assert (tab.evaluate(paper), tab.evaluate(ink)) == ("rgb(255, 255, 255)", "rgb(59, 65, 72)")
    assert colour(tab.screenshot(9, 9), 3, 3) == (255, 255, 255)
    tab.emulate(scheme="dark")
    tab.wait_for(f"{paper} === 'rgb(22, 26, 31)'")
    assert tab.evaluate(ink) == "rgb(195, 201, 208)"
    assert colour(tab.screenshot(9, 9), 3, 3) == (22, 26, 31)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_need_not_scroll_sideways(tab: Page, report: Path, scheme: str) -> None:
    tab.open(report, width=375, height=TALL, scheme=scheme)
    tab.wait_for(DRAWN)
    tab.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
    assert tab.evaluate("document.documentElement.scrollWidth") == 375
    assert tab.evaluate("[...document.querySelectorAll('.scroll')].some((box) => box.scrollWidth > box.clientWidth)")
    widths = tab.evaluate("[...document.querySelectorAll('.plot .main-svg')].map((plot) => plot.clientWidth)")
    assert max(widths) <= 345


def test_text_has_enough_contrast(tab: Page, report: Path) -> None:
    """WCAG AA: 4.5 to 1 for what is written in the page's own colours."""
    script = """(() => {
        const canvas = document.createElement("canvas").getContext("2d");
        const channels = (name) => {
            canvas.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name);
            return [1, 3, 5].map((place) => parseInt(canvas.fillStyle.slice(place, place + 2), 16) / 255);
        };
        const light = (name) => channels(name)
            .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
            .reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
        const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
        const pairs = [["--ink", "--paper"], ["--quiet", "--paper"], ["--quiet", "--raised"], ["--link", "--paper"],
            ["--alarm", "--alarm-back"], ["--alarm", "--paper"], ["--contradicted", "--paper"],
            ...["--supported", "--contradicted", "--not-decided"].map((name) => [name, name + "-back"])];
        return pairs.filter(([a, b]) => ratio(a, b) < 4.5).map((pair) => pair.join(" on "));
    })()"""
    for scheme in ("light", "dark"):
        tab.open(report, scheme=scheme)
        assert tab.evaluate(script) == []
        tab.requests.clear()


def test_print_shows_drawings_on_white_and_no_buttons(tab: Page, report: Path) -> None:
    tab.open(report, scheme="dark")
    tab.emulate(scheme="dark", media="print")
    shown = "[...document.querySelectorAll('{}')].filter((one) => one.checkVisibility()).length"
    assert tab.evaluate(shown.format("img.drawing")) == 9
    assert tab.evaluate(shown.format(".plot, .legend, nav")) == 0
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(28, 33, 38)"
    tab.emulate(scheme="dark")
    pdf = tab.pdf()
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 50_000
    assert tab.evaluate("document.querySelectorAll('details[open]').length") == 0  # folded again


def test_hostile_texts_do_nothing(tab: Page, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(render_page(answers.page(text=HOSTILE)), encoding="utf-8")
    tab.open(path, width=375, height=TALL)
    tab.wait_for(DRAWN)
    assert tab.evaluate("document.title").startswith("mlabench: synthetic </script>")
    assert tab.evaluate("document.querySelectorAll('main script:not([type]), .plot img, .plot a').length") == 0
    assert tab.evaluate("document.documentElement.scrollWidth") == 375
    names = tab.evaluate("[...document.querySelectorAll('figure.line-chart .legend button')].map((b) => b.textContent)")
    assert HOSTILE in names
    tab.evaluate("[...document.querySelectorAll('.legend button')].forEach((button) => button.click())")

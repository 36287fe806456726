from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from mlabench.reporting.page import render_page
from tests.reporting import answers
from tests.reporting.browser import IN_BROWSER, Page, quiet
from tests.reporting.sample_charts import HOSTILE

pytestmark = IN_BROWSER


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_page(answers.page()), encoding="utf-8")
    return path


@pytest.fixture
def tab(chromium: Page) -> Iterator[Page]:
    """A tab that writes nothing to the console and asks for nothing but the file itself."""
    with quiet(chromium):
        yield chromium
    assert sum(address.startswith("file:") for address in chromium.requests) <= 2


def colour(png: bytes, x: int, y: int) -> tuple[int, ...]:
    return tuple(Image.open(io.BytesIO(png)).convert("RGB").getpixel((x, y)))  # type: ignore[arg-type]


def test_all_charts_are_there_at_once(tab: Page, report: Path) -> None:
    start = time.perf_counter()
    tab.open(report)
    assert time.perf_counter() - start < 10
    drawings = "[...document.querySelectorAll('.drawing svg')].map((one) => one.getBoundingClientRect())"
    assert tab.evaluate(f"{drawings}.length") == 9
    assert tab.evaluate(f"{drawings}.every((box) => box.width > 700 && box.height > 150)")
    # Nothing is cut off: all that is drawn lies within its figure.
    outside = """[...document.querySelectorAll('.drawing svg')].flatMap((svg) => {
        const whole = svg.getBoundingClientRect();
        return [...svg.querySelectorAll('text')].filter((text) => {
            const box = text.getBoundingClientRect();
            return box.left < whole.left - 1 || box.right > whole.right + 1 || box.top < whole.top - 1
                || box.bottom > whole.bottom + 1;
        }).map((text) => text.textContent);
    })"""
    assert tab.evaluate(outside) == []


def test_a_table_sorts_by_click_and_by_key(tab: Page, report: Path) -> None:
    tab.open(report)
    table = "document.querySelector('#q1-laziness-stamps-main')"
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
    cells = "[...row.cells].map((cell) => cell.textContent)"
    rows = tab.evaluate(f"[...{table}.tBodies].map((body) => [...body.rows].map((row) => {cells}))")
    assert [[row[0] for row in body] for body in rows] == [[name] * 5 for name in ("0 %", "30 %", "60 %")]
    assert [row[1] for row in rows[1]] == ["MLA", "MMIN", "Late fusion", "Concat", "QMF"]


def test_hovering_tells_the_numbers(tab: Page, report: Path) -> None:
    """The browser shows the title of the innermost element below the pointer."""
    tab.open(report)
    tab.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
    script = """((kind) => {
        const titles = [...document.querySelectorAll(`figure.${kind}-chart title`)];
        const mark = titles.find((title) => title.textContent.includes("\\n")).parentElement;
        mark.scrollIntoView({ behavior: "instant", block: "center" });
        const { x, y, width, height } = mark.getBoundingClientRect();
        let found = document.elementFromPoint(x + width / 2, y + height / 2);
        while (found && !found.querySelector(":scope > title")) found = found.parentElement;
        return found && found.querySelector(":scope > title").textContent;
    })"""
    assert tab.evaluate(f"{script}('line')") == "Concat\nMissing rate (%): 0\nMLA minus it (points): +0.0 [−1.2, 1.2]"
    assert tab.evaluate(f"{script}('row')").startswith("Concat\n")


def test_charts_follow_the_colour_scheme(tab: Page, report: Path) -> None:
    tab.open(report)
    line, text = 'figure.line-chart .drawing path[style*="stroke: var(--series"]', "figure.line-chart .drawing text"

    def colours() -> tuple[str, str, str]:
        paper, ink, stroke = (
            tab.evaluate(f"getComputedStyle(document.querySelector('{where}')).{what}")
            for where, what in ((".drawing path", "fill"), (text, "fill"), (line, "stroke"))
        )
        return paper, ink, stroke

    assert colours() == ("rgb(255, 255, 255)", "rgb(28, 33, 38)", "rgb(48, 41, 219)")
    assert colour(tab.screenshot(9, 9), 3, 3) == (255, 255, 255)
    tab.emulate(scheme="dark")
    assert colours() == ("rgb(22, 26, 31)", "rgb(227, 231, 235)", "rgb(86, 120, 215)")
    assert colour(tab.screenshot(9, 9), 3, 3) == (22, 26, 31)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_need_not_scroll_sideways(tab: Page, report: Path, scheme: str) -> None:
    tab.open(report, width=375, scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
    assert tab.evaluate("document.documentElement.scrollWidth") == 375
    assert tab.evaluate("[...document.querySelectorAll('.scroll')].some((box) => box.scrollWidth > box.clientWidth)")
    widths = tab.evaluate("[...document.querySelectorAll('.drawing')].map((box) => [box.clientWidth, box.scrollWidth])")
    assert all(width <= 345 < whole for width, whole in widths)  # figures scroll, the page does not


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
            ["--alarm", "--alarm-back"], ["--alarm", "--paper"], ["--worse", "--paper"],
            ...["--better", "--worse", "--equal", "--undecided", "--mixed"].map((name) => [name, name + "-back"])];
        return pairs.filter(([a, b]) => ratio(a, b) < 4.5).map((pair) => pair.join(" on "));
    })()"""
    for scheme in ("light", "dark"):
        tab.open(report, scheme=scheme)
        assert tab.evaluate(script) == []
        tab.requests.clear()


def test_print_is_on_white_and_without_navigation(tab: Page, report: Path) -> None:
    tab.open(report, scheme="dark")
    tab.emulate(scheme="dark", media="print")
    shown = "[...document.querySelectorAll('{}')].filter((one) => one.checkVisibility()).length"
    assert tab.evaluate(shown.format(".drawing svg")) == 7  # the others are unfolded just before it is printed
    assert tab.evaluate(shown.format("nav")) == 0
    assert tab.evaluate("getComputedStyle(document.querySelector('.drawing path')).fill") == "rgb(255, 255, 255)"
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(28, 33, 38)"
    tab.emulate(scheme="dark")
    pdf = tab.pdf()
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 50_000
    assert tab.evaluate("document.querySelectorAll('details[open]').length") == 1  # the others are folded again


def test_hostile_texts_do_nothing(tab: Page, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(render_page(answers.page(text=HOSTILE)), encoding="utf-8")
    tab.open(path, width=375)
    assert tab.evaluate("document.title").startswith("mlabench: synthetic </script>")
    assert tab.evaluate("document.querySelectorAll('main script, .drawing img, .drawing a').length") == 0
    assert tab.evaluate("document.documentElement.scrollWidth") == 375
    titles = tab.evaluate("[...document.querySelectorAll('figure.line-chart title')].map((one) => one.textContent)")
    assert HOSTILE in titles

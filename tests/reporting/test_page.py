from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mlabench.reporting.answer import Answer, Contrast, Family
from mlabench.reporting.notes import lost_trials
from mlabench.reporting.page import PageContent, render_page
from mlabench.reporting.page.render import (
    asset,
    bar_places,
    bar_scale,
    environment,
    identifier,
    prose,
)
from mlabench.reporting.results import load
from mlabench.reporting.table import Cell, Column, Row, Table
from mlabench.statistics import Interval
from mlabench.store.records import Store
from tests.reporting import answers
from tests.reporting.sample_charts import HOSTILE
from tests.reporting.synthetic import failed, sweep

EMPTY = {"meta", "img", "col"}


class Tree(HTMLParser):
    """Reads a page, insists on balanced elements, and keeps what is asked for below."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), attrs
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))

    def text(self, *tags: str) -> str:
        """The text of all elements of some kinds; of all but style and script without any."""
        return "".join(text for tag, text in self.texts if (tag in tags if tags else tag not in ("style", "script")))

    def having(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes in self.elements if attribute in attributes]


def macro(template: str, name: str, *arguments: Any) -> str:
    """What a macro makes of its arguments."""
    return str(getattr(environment().get_template(f"{template}.html").module, name)(*arguments)).strip()


def table(shown: Table) -> str:
    return macro("tables", "table", shown, "x")


@pytest.fixture(scope="module")
def page() -> str:
    return render_page(answers.page())


@pytest.fixture(scope="module")
def tree(page: str) -> Tree:
    return Tree(page)


# -- texts ---------------------------------------------------------------------------------------------


def test_prose_has_code_between_back_ticks() -> None:
    assert prose("`<a>` and `") == "<code>&lt;a&gt;</code> and `"
    assert prose("[−0.6, 2.1], p < 0.001.") == (
        '<span class="whole">[−0.6, 2.1]</span>, <span class="whole">p &lt; 0.001</span>.'
    )
    assert macro("tables", "bullets", ["`a` <"]) == "<ul><li><code>a</code> &lt;</li></ul>"


@pytest.mark.parametrize("name", ["report.css", "report.js"])
def test_no_asset_ends_its_own_element(name: str) -> None:
    assert not re.search(r"</(style|script)|<!--", asset(name), re.IGNORECASE)


@pytest.mark.parametrize(("text", "expected"), [("Q1 a/b", "q1-a-b"), ("中", "part"), ("--A--", "a")])
def test_identifiers(text: str, expected: str) -> None:
    assert identifier(text) == expected


# -- tables and effects --------------------------------------------------------------------------------


def test_a_table_has_caption_scopes_and_every_number() -> None:
    shown = table(answers.table())
    tree = Tree(shown)
    assert tree.text("caption") == "Unimodal and multimodal accuracy, complete modalities"
    scopes = tree.having("scope")
    assert (scopes.count("col"), scopes.count("row")) == (6, 5)
    assert '<strong>82.0</strong> <span class="spread">± 0.5</span>' in shown
    assert '<td class="number" data-value="-2.0">−2.0 <span class="spread">[−3.5, −0.5]</span></td>' in shown
    assert (
        '<td class="number" data-value="79.0">79.0 <span class="spread">± 0.4</span> <span class="failed">'
        "(failed 1/5)</span></td>" in shown
    )
    assert '<td class="number"><span class="status">missing</span></td>' in shown
    assert '<td class="number" data-value="1312.0">1,312</td>' in shown


def test_groups_are_bodies_and_long_tables_are_folded() -> None:
    short = Tree(table(answers.table(groups=("a", "b"))))
    assert [tag for tag, _ in short.elements].count("tbody") == 2
    assert "details" not in [tag for tag, _ in short.elements]
    assert Tree(table(answers.table(groups=tuple("abcdefg")))).elements[0][0] == "details"


def test_conditions_that_all_tables_share_are_said_once() -> None:
    one, other = answers.table(), answers.table(name="other")
    assert macro("tables", "tables", [one, other], "x").count(one.conditions) == 1
    different = replace(other, conditions="Dataset: another.")
    shown = macro("tables", "tables", [one, different], "x")
    assert (shown.count(one.conditions), shown.count("Dataset: another.")) == (1, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("< 0.001", '<td class="number" data-value="0.001">&lt; 0.001</td>'),
        ("−1,312 of 2", '<td class="number" data-value="-1312.0">−1,312 of 2</td>'),
        ("—", '<td class="number">—</td>'),
        ("not recorded at all", '<td class="words">not recorded at all</td>'),
    ],
)
def test_words_in_a_cell(text: str, expected: str) -> None:
    row = Row(("MLA",), (Cell(text=text),))
    assert expected in table(Table("t", "t", "", "", ("Method",), (Column("a"),), (row,)))


def test_a_verdict_in_a_table_is_shown_as_one() -> None:
    row = Row(("MLA",), (Cell(text="undecided (about 12 more trainings per method would decide)"), Cell(text="better"),
                         Cell(text="better than it looks")))  # fmt: skip
    shown = table(Table("t", "t", "", "", ("Method",), (Column("a"), Column("b"), Column("c")), (row,)))
    assert len(re.findall(r'class="verdict (better|undecided)"', shown)) == 2
    assert '<span class="remark">about 12 more trainings per method would decide</span>' in shown
    assert ">better than it looks<" in shown


def test_an_effect_as_a_bar() -> None:
    # The bar is 160 wide with a space of 4 at its ends: 38 for each point, when it ends at two.
    places = bar_places(Interval(1.0, -1.0, 5.0), 1.5, 2.0)
    assert places == {
        "zero": "80.0", "low": "42.0", "high": "156.0", "estimate": "118.0", "band": "23.0", "width": "114.0",
    }  # fmt: skip
    endless = bar_places(Interval(1.0, -math.inf, math.inf), 1.5, 2.0)
    assert (endless["low"], endless["high"]) == ("4.0", "156.0")


def test_bars_that_are_read_together_have_one_scale() -> None:
    some = answers.all_answers()
    ends = [abs(end) for one in some if one.effect for end in (one.effect.low, one.effect.high)]
    assert bar_scale(some) == max(*ends, 2.0)
    assert bar_scale([replace(some[0], family=replace(some[0].family, margin=50.0))]) == 50.0
    assert bar_scale([]) == 1.0


# -- the page ------------------------------------------------------------------------------------------


def test_the_page_shows_what_it_was_given(tree: Tree) -> None:
    text = tree.text()
    for one in answers.all_answers():
        for sentence in (one.claim, one.rule, one.sentence, one.about, *one.caveats):
            assert sentence in text
        for chart in one.charts:
            assert chart.title in text
            assert chart.caption in text
        for contrast in one.family.contrasts:
            if contrast.effect:
                assert f"{contrast.effect.low:.1f}, {contrast.effect.high:.1f}]".replace("-", "−") in text
    for sentence in ("1 of 3 trials failed.", "mlabench run suites/synthetic.yaml", "platform: Linux", "loss is NaN"):
        assert sentence in text
    for sentence in ("Frozen: Concat leaves 2 of 9 lazy.", "methods: [concat, mla]", "Made by mlabench 0.1.0."):
        assert sentence in text
    assert "../trials/stamps-1/record.json" in tree.having("href")


def test_the_first_screen_is_a_line_a_grid_and_a_sentence_per_answer(page: str) -> None:
    first = page[page.index("<header>") : page.index('id="reading"')]
    assert "8 answers on stamps and clipart. MLA is better in 1, worse in 1, practically equal in 3" in first
    assert "undecided in 2, mixed in 1." in first
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", first[: first.index("</table>")], re.DOTALL)
    shown = [re.findall(r"</svg>([a-z ]+)</span>|>(not asked)<", row) for row in rows]
    assert [[one or other for one, other in row] for row in shown] == [
        ["better", "mixed"],
        ["practically equal", "not asked"],
        ["undecided", "practically equal"],
        ["worse", "not asked"],
        ["practically equal", "not asked"],
        ["undecided", "not asked"],
    ]
    below = Tree(first[first.index('<dl class="found">') : first.index("</dl>") + 5]).text()
    assert all(f"On {one.dataset}: {one.sentence}" in below for one in answers.all_answers())
    assert "synthetic: 1 of 3 trials failed." in first


def test_landmarks_headings_and_links(tree: Tree) -> None:
    tags = [tag for tag, _ in tree.elements]
    for landmark in ("header", "nav", "main", "h1"):
        assert tags.count(landmark) == 1
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h\d", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    names = tree.having("id")
    assert len(names) == len(set(names))
    assert {link[1:] for link in tree.having("href") if link.startswith("#")} <= set(names)
    assert set(tree.having("aria-labelledby")) <= set(names)
    drawings = [attributes for tag, attributes in tree.elements if tag == "svg" and "role" in attributes]
    assert len(drawings) == 9
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in drawings)


def test_charts_lie_in_the_page_as_they_were_drawn(page: str) -> None:
    content = answers.page()
    assert len(content.drawings) == 9
    for svg in content.drawings.values():
        assert page.count(svg) == 1


def test_nothing_comes_from_the_network(page: str, tree: Tree) -> None:
    assert tree.having("src") == []
    assert not {"img", "image", "foreignObject", "iframe", "link"} & {tag for tag, _ in tree.elements}
    assert all(re.match(r"#|\.\.?/", address) for address in tree.having("href"))
    assert "default-src 'none'" in tree.having("content")[0]
    assert "img-src" not in tree.having("content")[0]
    styles = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert len(styles) == 1
    assert not re.search(r"url\(|@import", styles[0])


def test_a_page_without_answers_is_small() -> None:
    small = render_page(PageContent(title="t", version="0"))
    assert len(small) < 20_000
    assert "None of Q1 to Q4 is answered here." in small
    Tree(small)


def test_the_same_content_gives_the_same_bytes(page: str) -> None:
    assert render_page(answers.page()) == page


def without_drawings(content: PageContent) -> str:
    """The page without its figures, which break long names where they must."""
    page = render_page(content)
    for svg in content.drawings.values():
        page = page.replace(svg, "")
    return page


def test_hostile_texts_stay_texts() -> None:
    plain, hostile = (Tree(without_drawings(answers.page(text=text))) for text in ("harmless", HOSTILE))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in plain.elements]
    assert [set(attributes) for _, attributes in hostile.elements] == [set(one) for _, one in plain.elements]
    assert hostile.text().count("document.title") == 2 * plain.text().count("harmless")
    assert "document.title" not in hostile.text("style")


def test_an_answer_without_anything() -> None:
    family = Family((Contrast("MLA", "Concat", "Accuracy", "0 %", None),), 2.0)
    bare = Answer("accuracy", "d", "d", ("s",), "MLA", "claim", family, "Nothing was measured.", "rule")
    text = Tree(render_page(PageContent("t", "0", answers=(bare,)))).text()
    assert "Nothing was measured." in text
    assert "1 answer on d. MLA is undecided in 1." in text


def test_lines_of_lost_trials(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plan = sweep(store, ["MLA"], seeds=(0, 1, 2), rates=(0.0,), write=False)
    sweep(store, ["MLA"], seeds=(0,), rates=(0.0,))
    store.write(failed(plan.cells[1].trial))
    lines = lost_trials(load(plan, store))
    assert [(line.label, line.train_setting, line.seed, line.status) for line in lines] == [
        ("MLA", "0 %", 1, "failed"),
        ("MLA", "0 %", 2, "missing"),
    ]
    assert lines[0].reason == "ValueError: loss is NaN"

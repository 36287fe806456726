from __future__ import annotations

import math
import re
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from mlabench.reporting.answer import Chart, Panel, Series
from mlabench.reporting.charts.axes import categories, grid_range, row_names, value_range, with_room, x_range
from mlabench.reporting.charts.figure import draw, save, short
from mlabench.reporting.charts.styles import VARIABLES, styles
from mlabench.reporting.charts.svg import page_ready
from mlabench.store.records import Store
from tests.reporting import answers
from tests.reporting.answers import HOSTILE, METHODS, RATES, overlapping_texts, svg
from tests.reporting.synthetic import sweep

CHARTS = [chart for answer in answers.all_answers() for chart in answer.charts]
NAMES = [chart.name for chart in CHARTS]


def test_a_sample_of_every_kind() -> None:
    assert {chart.kind for chart in CHARTS} == {"line", "bar", "dot", "scatter", "row", "grid"}


# -- styles ------------------------------------------------------------------------------------------


def test_every_name_has_a_style() -> None:
    assert set(styles([])) == {"MLA"}
    named = styles([], CHARTS)
    assert set(named) == {*METHODS, "audio", "image", "text"}
    assert len({named[label].colour for label in METHODS}) == len(METHODS)


def test_charts_change_nothing_about_methods_and_get_colours_of_their_own(tmp_path: Path) -> None:
    plan = sweep(Store(tmp_path), ["Concat", "QMF", "MLA"], write=False)
    without, with_charts = styles([plan]), styles([plan], [answers.cloud_chart(3)])
    assert {label: with_charts[label] for label in without} == without
    colours = [look.colour for look in with_charts.values()]
    assert len(set(colours)) == len(colours) == 6


# -- SVG ---------------------------------------------------------------------------------------------


def titles(chart: Chart) -> list[str]:
    """What the marks of a chart say."""
    return [title.text or "" for title in ET.fromstring(svg(chart)).iter("title")]


@pytest.mark.parametrize("chart", CHARTS, ids=NAMES)
def test_a_figure_is_an_element_that_needs_nothing_else(chart: Chart) -> None:
    drawn = svg(chart)
    root = ET.fromstring(drawn)
    assert (root.tag, root.get("role")) == ("svg", "img")
    assert root.get("aria-label") == f"{chart.title}. {chart.caption}"
    elements = list(root.iter())
    assert {one.tag for one in elements} <= {"svg", "g", "defs", "path", "use", "text", "title", "clipPath", "rect"}
    values = [value for one in elements for name, value in one.attrib.items() if name != "aria-label"]
    assert not any("nan" in value for value in values)
    ids = [one.get("id") for one in elements if one.get("id")]
    assert len(ids) == len(set(ids))
    used = [one.get("href", "") for one in elements if one.tag == "use"]
    assert {name[1:] for name in (*used, *re.findall(r"url\((#\w+)\)", drawn))} <= set(ids)
    assert chart.title not in "".join(text.text or "" for text in root.iter("text"))  # the page has it as a heading


@pytest.mark.parametrize("chart", CHARTS, ids=NAMES)
def test_the_page_knows_every_colour(chart: Chart) -> None:
    assert set(re.findall("#[0-9a-f]{6}", svg(chart))) == set()


def test_the_page_has_each_colour_for_light_and_dark() -> None:
    css = (files("mlabench.reporting") / "assets" / "report.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    for colour, name in VARIABLES.items():
        assert f"--{name}: {colour};" in light
        assert re.search(rf"--{name}: #[0-9a-f]{{6}};", dark), name
    assert {"", *VARIABLES} >= {style.colour for style in styles([], CHARTS).values()}


def test_no_two_figures_share_an_id() -> None:
    one, other = (set(re.findall(r'id="(\w+)"', svg(answers.line_chart(), name))) for name in ("one", "other"))
    assert one
    assert one.isdisjoint(other)


def test_points_say_their_numbers_and_a_missing_one_says_nothing() -> None:
    chart = answers.line_chart()
    shown = titles(chart)
    for panel in chart.panels:
        for series in panel.series:
            assert shown.count(series.label) == len(chart.panels)  # the line itself
            for rate, y in zip(RATES, series.y, strict=True):
                said = f"{series.label}\nmissing rate (%): {rate:g}\naccuracy (%): {y:.4g}"
                assert any(title.startswith(said) for title in shown) is not math.isnan(y)
    assert "Concat\nmissing rate (%): 20\naccuracy (%): 66 [64, 68]\nnote" in shown
    assert len(shown) == 4 * (5 + 5 * 5 - 1)
    axes = draw(chart, styles([], [chart])).axes[0]
    assert axes.lines[0].get_ydata()[0] == 9.1
    assert max(axes.lines, key=lambda line: line.get_zorder()).get_ydata()[0] == 82  # MLA is on top


def test_bands_end_at_a_gap() -> None:
    chart = answers.line_chart()
    axes = draw(chart, styles([], [chart])).axes[0]
    bands = [shape for shape in axes.collections if isinstance(shape, PolyCollection)]
    assert len(bands) == len(METHODS)
    (concat,) = bands[0].get_paths()
    assert {tuple(point) for point in concat.vertices.round(6).tolist()} == {
        (rate, 70 - 0.2 * rate + sign * 2) for rate in RATES for sign in (-1, 1)
    }
    ends = [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in bands[1].get_paths()]
    assert ends == [(0, 20), (60, 80)]


def test_whiskers_reach_to_the_ends_of_the_intervals() -> None:
    chart = answers.bar_chart()
    axes = draw(chart, styles([], [chart])).axes[0]
    assert axes.collections[0].get_segments()[0][:, 1].tolist() == [27, 32]
    assert "Concat\naudio\naccuracy (%): 30 [27, 32]" in titles(chart)
    assert len(titles(chart)) == 4 * 5


def test_rows_lie_along_the_horizontal_axis() -> None:
    chart = answers.row_chart()
    (axes,) = draw(chart, styles([], [chart])).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(METHODS)
    assert axes.get_ylim() == (4.5, -0.5)  # the first on top
    low, high = axes.get_xlim()
    assert low < 58
    assert high > 70
    shown = styles([], [chart])
    assert axes.get_yticklabels()[-1].get_color() == shown["MLA"].colour
    for place, label in enumerate(METHODS):
        (dot,) = (line for line in axes.lines if line.get_marker() == shown[label].marker)
        assert (list(dot.get_xdata()), list(dot.get_ydata())) == ([60 + 2 * place], [place])
    np.testing.assert_allclose(axes.collections[2].get_segments()[0], [[62, 2], [67, 2]])
    assert axes.lines[0].get_xdata() == [62, 62]
    assert titles(chart)[4:6] == ["QMF", "QMF\naccuracy (%): 64 [62, 67]"]


MANY = tuple(f"Method number {place}" for place in range(27))


def test_many_dots_become_rows() -> None:
    chart = answers.dot_chart((*MANY, "MLA"))
    rows = with_room(chart)
    few = answers.dot_chart()
    assert with_room(few) is few
    assert (rows.kind, rows.x) == ("row", "gap (points)")
    assert row_names(rows) == [*MANY, "MLA"]
    assert [panel.title for panel in rows.panels] == [
        f"{kind}, {modality}" for kind in ("own predictions", "linear probe") for modality in ("audio", "image", "text")
    ]
    for panel, place in zip(rows.panels, [0, 1, 2, 0, 1, 2], strict=True):
        assert panel.reference == 0.0
        for after, before in zip(panel.series, chart.panels[0].series, strict=True):
            assert (after.label, after.y[0]) == (before.label, before.y[place])
            assert (after.low[0], after.high[0]) == (before.low[place], before.high[place])


def test_many_bars_become_rows_with_their_marks() -> None:
    series = tuple(
        Series(label, ["a", "b"], [1.0, 2.0], marks=[("a", 0.5), ("a", 1.5), ("b", 2.0)]) for label in (*MANY, "MLA")
    )
    rows = with_room(Chart("many", "", "", "bar", "", "accuracy (%)", (Panel("", series),)))
    assert (rows.kind, [panel.title for panel in rows.panels]) == ("row", ["a", "b"])
    assert [panel.series[0].marks for panel in rows.panels] == [(("a", 0.5), ("a", 1.5)), (("b", 2.0),)]
    shown = titles(rows)
    for title in (f"{MANY[0]}\naccuracy (%): {value}" for value in (1, 2, 0.5, 1.5)):
        assert title in shown
    assert len(shown) == 28 * (2 * (1 + 1 + 1) + 2 + 1)  # per panel: all points, one point, all marks; and each mark


def test_of_many_lines_one_has_a_band() -> None:
    chart = with_room(answers.line_chart((*MANY, "MLA")))
    assert [series.label for series in chart.panels[0].series if series.low] == ["MLA"]
    assert chart.caption.endswith("Intervals are drawn for MLA alone.")
    few = answers.line_chart()
    assert with_room(few) is few


def test_a_grid_has_rows_columns_and_colours_about_its_reference() -> None:
    chart = answers.grid_chart()
    axes = draw(chart, styles([], [chart])).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(METHODS)
    assert [label.get_text() for label in axes.get_xticklabels()] == list(METHODS)
    assert axes.yaxis_inverted()
    colours = axes.collections[0].get_array()
    np.testing.assert_allclose(np.diagonal(colours), 0)  # no number, no colour
    assert (colours[0, 1, :3] == colours[0, 4, :3]).all()  # 38 and 2 lie below 50, ...
    assert not (colours[0, 1, :3] == colours[1, 0, :3]).all()  # ... 62 above it,
    assert colours[0, 1, 3] == pytest.approx(colours[1, 0, 3])  # ... as far as 38,
    assert colours[4, 0, 3] == pytest.approx(1)  # ... and 98 is the furthest
    assert grid_range(chart, chart.panels[0]) == (2, 98)
    assert grid_range(chart, Panel("", ())) == (2, 98)
    shown = titles(chart)
    assert len(shown) == 20
    assert shown[4] == "Late fusion\nloser: Concat\n62\n1 against 0"


@pytest.mark.parametrize("make", [answers.line_chart, answers.bar_chart, answers.grid_chart, answers.row_chart])
def test_texts_cannot_become_markup(make: object) -> None:
    chart = make((f"{HOSTILE}]]>", "MLA"))  # type: ignore[operator]
    drawn = svg(chart)
    root = ET.fromstring(drawn)
    assert not {one.tag for one in root.iter()} & {"script", "img"}
    assert "<script" not in drawn
    assert "<img" not in drawn
    assert any((title.text or "").startswith(f"{HOSTILE}]]>\n") for title in root.iter("title"))


def test_what_xml_cannot_hold_is_replaced() -> None:
    drawn = page_ready('<svg viewBox="0 0 9 9"><g id="a"><text>b\x07</text></g></svg>', {"a": ["c\x00"]}, "d\x1b", 2.0)
    assert drawn == (
        '<svg viewBox="0 2.0 9 7.0" role="img" aria-label="d\ufffd">'
        "<g><title>c\ufffd</title><text>b\ufffd</text></g></svg>"
    )


def test_long_names_are_cut() -> None:
    assert short("x" * 30) == "x" * 21 + "…"
    assert short("x" * 22) == "x" * 22


def test_axes() -> None:
    bars, lines = answers.bar_chart(), answers.line_chart()
    assert categories(bars) == ["audio", "image", "text", "multimodal"]
    assert categories(lines) is None
    assert value_range(bars)[0] == 0
    assert value_range(bars)[1] > 84
    low, high = value_range(lines)
    assert low < 9.1
    assert 84 < high < 90
    assert x_range(lines) == pytest.approx((-3.2, 83.2))
    below = Chart("n", "", "", "bar", "", "", (Panel("", (Series("a", ["x", "y"], [-3, math.nan]),)),))
    assert value_range(below)[0] < -3
    assert value_range(below)[1] == 0


@pytest.mark.parametrize("kind", ["line", "bar", "dot", "scatter", "row", "grid"])
def test_nothing_measured(kind: str) -> None:
    x = ["a", "b"] if kind in ("bar", "dot", "row", "grid") else [0.0, 1.0]
    nothing = [math.nan, math.nan]
    series = Series("MLA", x, nothing, nothing, nothing)
    for panel in (Panel("", (series,), reference=0.0), Panel("", ())):
        chart = Chart("empty", "Empty", "", kind, "x", "y", (panel,))  # type: ignore[arg-type]
        assert titles(chart) == (["MLA"] if panel.series and kind not in ("bar", "grid") else [])


@pytest.mark.parametrize("kind", ["line", "bar", "dot", "scatter", "row"])
def test_an_interval_without_end(kind: str) -> None:
    x = ["a", "b"] if kind in ("bar", "dot", "row") else [0.0, 1.0]
    series = Series("MLA", x, [1.0, 2.0], [-math.inf, 1.0], [math.inf, 3.0])
    chart = Chart("endless", "Endless", "", kind, "x", "y", (Panel("", (series,)),))  # type: ignore[arg-type]
    low, high = value_range(chart)
    assert math.isfinite(high - low)
    assert [title.rpartition(":")[2] for title in titles(chart)][-2:] == [" 1 [−inf, inf]", " 2 [1, 3]"]


@pytest.mark.parametrize("kind", ["line", "scatter"])
def test_what_has_no_place_says_nothing(kind: str) -> None:
    series = Series("MLA", [0.0, math.nan, 2.0, 3.0], [1.0, 2.0, math.nan, 4.0], marks=[(0.0, math.nan), (3.0, 4.0)])
    chart = Chart("holes", "Holes", "", kind, "x", "y", (Panel("", (series,)),))  # type: ignore[arg-type]
    marks = ["MLA", "MLA\nx: 3\ny: 4"] if kind == "line" else []  # a scatter has none
    assert titles(chart) == ["MLA", "MLA\nx: 0\ny: 1", "MLA\nx: 3\ny: 4", *marks]


def test_lines_over_names() -> None:
    series = Series("MLA", ["none", "audio"], [80.0, 70.0], [79.0, 69.0], [81.0, 71.0])
    chart = Chart("absent", "Absent", "", "line", "absent", "accuracy (%)", (Panel("", (series,)),))
    assert titles(chart)[1] == "MLA\nabsent: none\naccuracy (%): 80 [79, 81]"
    (axes,) = draw(chart, styles([], [chart])).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["none", "audio"]


# -- matplotlib ----------------------------------------------------------------------------------------


CROWDED = [
    with_room(make((*MANY, "MLA")))
    for make in (answers.dot_chart, answers.line_chart, answers.row_chart, answers.grid_chart)
]


@pytest.mark.parametrize("chart", [*CHARTS, *CROWDED], ids=[*NAMES, *(f"crowded {chart.name}" for chart in CROWDED)])
def test_no_texts_overlap(chart: Chart) -> None:
    assert overlapping_texts(draw(chart, styles([], [chart]))) == []


def test_matplotlib_draws_the_numbers() -> None:
    chart = answers.line_chart()
    figure = draw(chart, styles([], [chart]))
    for axes, panel in zip(figure.axes, chart.panels, strict=True):
        assert axes.get_title(loc="left") == panel.title
        lines = axes.lines[panel.reference is not None :]
        for line, series in zip(lines, panel.series, strict=True):
            np.testing.assert_allclose(line.get_ydata(), series.y)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(METHODS)
    chart = answers.bar_chart()
    heights = [bar.get_height() for bar in draw(chart, styles([], [chart])).axes[0].patches]
    assert heights == [y for series in chart.panels[0].series for y in series.y]
    chart = answers.grid_chart()
    cells = [text.get_text() for text in draw(chart, styles([], [chart])).axes[0].texts]
    assert cells[:4] == ["38", "26", "14", "2"]
    assert len(cells) == 20


def test_an_interval_need_not_hold_its_estimate() -> None:
    series = Series("MLA", ["a"], [1.0], [2.0], [3.0])
    chart = Chart("odd", "Odd", "", "dot", "", "", (Panel("", (series,)),))
    (axes,) = draw(chart, styles([], [chart])).axes
    (whisker,) = axes.collections
    np.testing.assert_allclose(whisker.get_segments()[0][:, 1], [2, 3])


def test_drawing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    chart = answers.scatter_chart()
    drawn = []
    for place in range(2):
        (folder := tmp_path / f"{place}" / "suite" / "figures").mkdir(parents=True)
        svg = save(draw(chart, styles([], [chart])), folder / "gap.png", folder / "gap.pdf")
        drawn.append([svg, (folder / "gap.png").read_bytes(), (folder / "gap.pdf").read_bytes()])
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    "make", [answers.line_chart, answers.bar_chart, answers.scatter_chart, answers.row_chart, answers.grid_chart]
)
def test_hostile_names_are_drawn(make: object, tmp_path: Path) -> None:
    chart = make((HOSTILE, "$x^", "é", "MLA"))  # type: ignore[operator]
    draw(chart, styles([], [chart])).draw_without_rendering()

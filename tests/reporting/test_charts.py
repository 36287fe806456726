from __future__ import annotations

import math
import re
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from mlabench.reporting.charts import Chart, Panel, Series, styles
from mlabench.reporting.charts.axes import categories, value_range, with_panel_per_name, x_range
from mlabench.reporting.charts.figure import described, draw, save, short
from mlabench.reporting.charts.styles import COLOURS, GREY, VARIABLES
from mlabench.reporting.charts.svg import page_ready
from mlabench.store.records import Store
from tests.reporting import sample_charts
from tests.reporting.sample_charts import HOSTILE, METHODS, RATES, overlapping_texts, svg
from tests.reporting.synthetic import sweep

CHARTS = sample_charts.all_charts()
NAMES = [chart.name for chart in CHARTS]


def test_a_sample_of_every_kind() -> None:
    assert {chart.kind for chart in CHARTS} == {"line", "scatter", "row"}


# -- styles ------------------------------------------------------------------------------------------


def test_every_name_has_a_style() -> None:
    assert set(styles([])) == {"MLA"}
    named = styles([], CHARTS)
    assert set(named) == {*METHODS, "audio", "image", "text"}
    assert len({named[label].colour for label in METHODS}) == len(METHODS)


@pytest.mark.parametrize("methods", [5, 9, 28, 40])
def test_no_two_lines_of_a_figure_look_alike(methods: int) -> None:
    chart = sample_charts.line_chart((*(f"Method {place}" for place in range(methods - 1)), "MLA"))
    shown = styles([], [chart])
    axes = draw(chart, shown).axes[0]
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines_of(axes)}
    assert len(looks) == methods
    colours = [style.colour for style in shown.values() if style.colour != GREY]
    assert len(set(colours)) == len(colours) == min(methods, len(COLOURS))


def test_names_stand_beside_points_and_out_of_each_others_way() -> None:
    named = Series("MLA", [1.0, 1.02, 10.0], [3.0, 2.0, 1.0], names=["left", "", "alone"])
    other = Series("QMF", [1.05], [2.5], names=["right"])
    chart = Chart("cost", "Cost", "", "scatter", "Time", "Accuracy", (Panel("", (named, other)),), logarithmic=True)
    axes = draw(chart, styles([], [chart])).axes[0]
    assert axes.get_xscale() == "log"
    low, high = x_range(chart)
    assert low < 1 and high > 10 and low * high == pytest.approx(1 * 10), "as much room on both sides"
    sides = {text.get_text(): text.get_horizontalalignment() for text in axes.texts}
    assert sides == {"left": "right", "right": "left", "alone": "left"}


#: What is left of a colour in linear light, by kind of colour blindness (Machado et al., 2009, full severity).
BLINDNESS = {
    "none": np.eye(3),
    "protan": np.array([[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]]),
    "deutan": np.array([[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]),
    "tritan": np.array([[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]]),
}


def lab(colour: str, seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """A colour in CIELAB, as it is seen."""
    encoded = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    light = seen @ np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    xyz = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]) @ light.clip(0, 1)
    x, y, z = np.cbrt((xyz / [0.9505, 1.0, 1.0888]).clip(0.008856))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("blindness", BLINDNESS)
@pytest.mark.parametrize("dark", [False, True])
def test_colours_stay_apart_for_the_colour_blind(blindness: str, *, dark: bool) -> None:
    css = (files("mlabench.reporting") / "assets" / "report.css").read_text()
    palette = re.findall(r"--(?:series-\d|others): (#\w{6});", re.findall(r":root \{(.*?)\}", css, re.DOTALL)[dark])
    assert len(palette) == len(COLOURS) + 1
    seen = [lab(colour, BLINDNESS[blindness]) for colour in palette]
    apart = min(np.linalg.norm(one - other) for one, other in combinations(seen, 2))
    assert apart > 20  # in CIELAB; 2 is just visible side by side


def test_charts_change_nothing_about_methods_and_get_colours_of_their_own(tmp_path: Path) -> None:
    plan = sweep(Store(tmp_path), ["Concat", "QMF", "MLA"], write=False)
    without, with_charts = styles([plan]), styles([plan], [sample_charts.cloud_chart(3)])
    assert {label: with_charts[label] for label in without} == without
    colours = [look.colour for look in with_charts.values()]
    assert len(set(colours)) == len(colours) == 6


def lines_of(axes: Axes) -> list[Line2D]:
    """Those of the series: they say what they are."""
    return [line for line in axes.lines if line.get_gid()]


# -- SVG ---------------------------------------------------------------------------------------------


def titles(chart: Chart) -> list[str]:
    """What the marks of a chart say."""
    return [title.text or "" for title in ET.fromstring(svg(chart)).iter("title")]


@pytest.mark.parametrize("chart", CHARTS, ids=NAMES)
def test_a_figure_is_an_element_that_needs_nothing_else(chart: Chart) -> None:
    drawn = svg(chart)
    root = ET.fromstring(drawn)
    assert (root.tag, root.get("role")) == ("svg", "img")
    assert root.get("aria-label") == described(chart)
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
    assert set(VARIABLES) >= {style.colour for style in styles([], CHARTS).values()}


def test_no_two_figures_share_an_id() -> None:
    one, other = (set(re.findall(r'id="(\w+)"', svg(sample_charts.line_chart(), name))) for name in ("one", "other"))
    assert one
    assert one.isdisjoint(other)


def test_points_say_their_numbers_and_a_missing_one_says_nothing() -> None:
    chart = sample_charts.line_chart()
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


def test_rows_lie_along_the_horizontal_axis() -> None:
    chart = sample_charts.row_chart()
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
    assert axes.texts[0].get_text() == "60 [58, 63]"  # the numbers stand beside the rows
    assert axes.lines[0].get_xdata() == [62, 62]
    assert titles(chart)[4:6] == ["QMF", "QMF\naccuracy (%): 64 [62, 67]"]


MANY = tuple(f"Method number {place}" for place in range(27))


def test_rows_have_a_panel_for_each_name_with_a_range_of_its_own() -> None:
    chart = sample_charts.dot_chart((*MANY, "MLA"))
    rows = with_panel_per_name(chart)
    assert [panel.title for panel in rows.panels] == [
        f"{kind}, {modality}" for kind in ("own predictions", "linear probe") for modality in ("audio", "image", "text")
    ]
    for panel, place in zip(rows.panels, [0, 1, 2, 0, 1, 2], strict=True):
        assert panel.reference == 0.0
        for after, before in zip(panel.series, chart.panels[0].series, strict=True):
            assert (after.label, after.y[0]) == (before.label, before.y[place])
            assert (after.low[0], after.high[0]) == (before.low[place], before.high[place])
    # What has a reference in common can be read across.
    assert len({value_range(rows, panel) for panel in rows.panels}) == 1
    free = with_panel_per_name(
        Chart("free", "", "", "row", "", "", (Panel("", (Series("MLA", ["a", "b"], [1, 80]),)),))
    )
    assert [value_range(free, panel) for panel in free.panels] == [(0.5, 1.5), (79.5, 80.5)]


def test_intervals_of_lines_stand_side_by_side() -> None:
    chart = sample_charts.line_chart()
    axes = draw(chart, styles([], [chart])).axes[0]
    ends = [collection.get_segments() for collection in axes.collections]
    assert len(ends) == len(METHODS)
    places = [segments[0][0, 0] for segments in ends]
    assert np.diff(places).min() > 0.3  # in percent of missing modalities
    assert np.abs(places).max() < 3
    np.testing.assert_allclose(ends[0][0][:, 1], [68, 72])
    assert len(ends[1][2]) == 0 or np.isnan(ends[1][2]).all()  # of a point that is not there


def test_of_many_lines_one_has_intervals_and_those_without_a_colour_are_named_at_their_ends() -> None:
    chart = sample_charts.line_chart((*MANY, "MLA"))
    shown = styles([], [chart])
    figure = draw(chart, shown)
    first, *others = figure.axes
    assert len(first.collections) == 1
    grey = [name for name in MANY if shown[name].colour == GREY]
    assert len(grey) == len(MANY) - len(COLOURS) + 1
    assert {text.get_text() for text in first.texts} == set(grey)
    assert not any(axes.texts for axes in others)
    legend = {text.get_text() for text in figure.legends[0].get_texts()}
    assert legend == {*MANY, "MLA"} - set(grey)


# -- differences --------------------------------------------------------------------------------------


def test_differences_have_a_panel_for_each_method_with_zero_and_the_margin() -> None:
    chart = sample_charts.differences()
    assert [panel.title for panel in chart.panels] == list(METHODS[:-1])
    assert "Above zero, MLA is better. Shaded: within ±2 points" in chart.caption
    shown = styles([], [chart])
    figure = draw(chart, shown)
    for place, axes in enumerate(figure.axes):
        zero, line = axes.lines[0], axes.lines[-1]
        assert zero.get_ydata() == [0, 0]
        np.testing.assert_allclose(line.get_ydata(), [0.5 * place - 0.3 * step for step in range(5)])
        assert line.get_color() == shown[METHODS[place]].colour
        (band,) = axes.patches
        assert (band.get_y(), band.get_height()) == (-2, 4)
        low, high = axes.get_ylim()
        assert low < -2 < 2 < high, "the whole margin is seen"
        assert list(axes.get_xticks()) == list(RATES)
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("Missing rate (%)", "MLA minus it (points)")
    assert "Late fusion\nMissing rate (%): 20\nMLA minus it (points): +0.2 [−1.0, 1.4]" in titles(chart)


def test_differences_at_one_rate_have_a_row_for_each_method() -> None:
    chart = sample_charts.differences(rates=(0.0,))
    assert chart.kind == "row"
    assert "Right of zero, MLA is better." in chart.caption
    (axes,) = draw(chart, styles([], [chart])).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(METHODS[:-1])
    assert [text.get_text() for text in axes.texts][:2] == ["+0.0 [−1.2, 1.2]", "+0.5 [−0.7, 1.7]"]
    (band,) = axes.patches
    assert (band.get_x(), band.get_width()) == (-2, 4)


def test_a_description_says_the_numbers_where_they_are_few() -> None:
    told = described(sample_charts.differences(rates=(0.0,)))
    assert told.startswith("MLA minus the other methods. Right of zero, MLA is better.")
    assert "QMF: MLA minus it (points): +1.0 [−0.2, 2.2]." in told
    assert described(sample_charts.cloud_chart()) == "Embeddings of the test samples. Two principal components."


@pytest.mark.parametrize("make", [sample_charts.line_chart, sample_charts.row_chart, sample_charts.differences])
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
    dots, lines = sample_charts.dot_chart(), sample_charts.line_chart()
    assert categories(dots) == ["audio", "image", "text"]
    assert categories(lines) is None
    low, high = value_range(lines, lines.panels[0])
    assert low < 9.1
    assert 84 < high < 90
    assert x_range(lines) == pytest.approx((-4.8, 84.8))


@pytest.mark.parametrize("kind", ["line", "scatter", "row"])
def test_nothing_measured(kind: str) -> None:
    x = ["a", "b"] if kind == "row" else [0.0, 1.0]
    nothing = [math.nan, math.nan]
    series = Series("MLA", x, nothing, nothing, nothing)
    for panel in (Panel("", (series,), reference=0.0), Panel("", ())):
        chart = Chart("empty", "Empty", "", kind, "x", "y", (panel,))  # type: ignore[arg-type]
        assert titles(chart) == ["MLA"] * len(panel.series) * (2 if kind == "row" else 1)


@pytest.mark.parametrize("kind", ["line", "scatter", "row"])
def test_an_interval_without_end(kind: str) -> None:
    x = ["a", "b"] if kind == "row" else [0.0, 1.0]
    series = Series("MLA", x, [1.0, 2.0], [-math.inf, 1.0], [math.inf, 3.0])
    chart = Chart("endless", "Endless", "", kind, "x", "y", (Panel("", (series,)),))  # type: ignore[arg-type]
    low, high = value_range(chart, chart.panels[0])
    assert math.isfinite(high - low)
    said = [title.rpartition(":")[2] for title in titles(chart) if title != "MLA"]
    assert said == [" 1 [−inf, inf]", " 2 [1, 3]"]


@pytest.mark.parametrize("kind", ["line", "scatter"])
def test_what_has_no_place_says_nothing(kind: str) -> None:
    series = Series("MLA", [0.0, math.nan, 2.0, 3.0], [1.0, 2.0, math.nan, 4.0])
    chart = Chart("holes", "Holes", "", kind, "x", "y", (Panel("", (series,)),))  # type: ignore[arg-type]
    assert titles(chart) == ["MLA", "MLA\nx: 0\ny: 1", "MLA\nx: 3\ny: 4"]


def test_lines_over_names() -> None:
    series = Series("MLA", ["none", "audio"], [80.0, 70.0], [79.0, 69.0], [81.0, 71.0])
    chart = Chart("absent", "Absent", "", "line", "absent", "accuracy (%)", (Panel("", (series,)),))
    assert titles(chart)[1] == "MLA\nabsent: none\naccuracy (%): 80 [79, 81]"
    (axes,) = draw(chart, styles([], [chart])).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["none", "audio"]


# -- matplotlib ----------------------------------------------------------------------------------------


CROWDED = [
    make((*MANY, "MLA"))
    for make in (sample_charts.dot_chart, sample_charts.line_chart, sample_charts.row_chart, sample_charts.differences)
]


@pytest.mark.parametrize("chart", [*CHARTS, *CROWDED], ids=[*NAMES, *(f"crowded {chart.name}" for chart in CROWDED)])
def test_no_texts_overlap(chart: Chart) -> None:
    assert overlapping_texts(draw(chart, styles([], [chart]))) == []


def test_matplotlib_draws_the_numbers() -> None:
    chart = sample_charts.line_chart()
    figure = draw(chart, styles([], [chart]))
    for axes, panel in zip(figure.axes, chart.panels, strict=True):
        assert axes.get_title(loc="left") == panel.title
        for line, series in zip(lines_of(axes), panel.series, strict=True):
            np.testing.assert_allclose(line.get_ydata(), series.y)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(METHODS)


def test_an_interval_need_not_hold_its_estimate() -> None:
    series = Series("MLA", ["a"], [1.0], [2.0], [3.0])
    chart = Chart("odd", "Odd", "", "row", "", "", (Panel("", (series,)),))
    (axes,) = draw(chart, styles([], [chart])).axes
    (whisker,) = axes.collections
    np.testing.assert_allclose(whisker.get_segments()[0][:, 0], [2, 3])


def test_drawing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    chart = sample_charts.scatter_chart()
    drawn = []
    for place in range(2):
        (folder := tmp_path / f"{place}" / "suite" / "figures").mkdir(parents=True)
        svg = save(draw(chart, styles([], [chart])), folder / "gap.png", folder / "gap.pdf")
        drawn.append([svg, (folder / "gap.png").read_bytes(), (folder / "gap.pdf").read_bytes()])
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    "make", [sample_charts.line_chart, sample_charts.scatter_chart, sample_charts.row_chart, sample_charts.differences]
)
def test_hostile_names_are_drawn(make: object, tmp_path: Path) -> None:
    chart = make((HOSTILE, "$x^", "é", "MLA"))  # type: ignore[operator]
    draw(chart, styles([], [chart])).draw_without_rendering()

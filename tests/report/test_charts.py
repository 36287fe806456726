from __future__ import annotations

import json
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axis import Tick, XTick
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from mlabench.report.answer import Chart, Panel, Series
from mlabench.report.chart_axes import categories, grid_scale, row_names, value_range, with_room, x_range
from mlabench.report.chart_matplotlib import _settle, draw
from mlabench.report.chart_plotly import escape, panels, themed
from mlabench.report.looks import looks
from mlabench.report.plots import save
from mlabench.store.records import Store
from tests.report import answers
from tests.report.answers import HOSTILE, METHODS, RATES
from tests.report.synthetic import sweep

CHARTS = [chart for answer in answers.all_answers() for chart in answer.charts]
NAMES = [chart.name for chart in CHARTS]


def test_a_sample_of_every_kind() -> None:
    assert {chart.kind for chart in CHARTS} == {"line", "bar", "dot", "scatter", "row", "grid"}


# -- looks ---------------------------------------------------------------------------------------------


def test_every_name_has_a_look() -> None:
    assert set(looks([])) == {"MLA"}
    named = looks([], CHARTS)
    assert set(named) == {*METHODS, "audio", "image", "text"}
    assert len({named[label].colour for label in METHODS}) == len(METHODS)


def test_charts_change_nothing_about_methods_and_get_colours_of_their_own(tmp_path: Path) -> None:
    plan = sweep(Store(tmp_path), ["Concat", "QMF", "MLA"], write=False)
    without, with_charts = looks([plan]), looks([plan], [answers.cloud_chart(3)])
    assert {label: with_charts[label] for label in without} == without
    colours = [look.colour for look in with_charts.values()]
    assert len(set(colours)) == len(colours) == 6


# -- plotly --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chart", CHARTS, ids=NAMES)
def test_plotly_gets_json_without_nan(chart: Chart) -> None:
    drawn = panels(chart, looks([], [chart]))
    assert len(drawn) == len(chart.panels)
    json.dumps(drawn, allow_nan=False)
    assert len({json.dumps([panel["layout"]["xaxis"], panel["layout"]["yaxis"]]) for panel in drawn}) == 1


def test_lines_have_the_numbers_and_a_gap_where_one_is_missing() -> None:
    chart = answers.line_chart()
    first = panels(chart, looks([], [chart]))[0]
    traces = {trace["name"]: trace for trace in first["data"] if "name" in trace}
    for series in chart.panels[0].series:
        trace = traces[series.label]
        assert trace["x"] == list(RATES)
        assert [math.nan if y is None else y for y in trace["y"]] == pytest.approx(list(series.y), nan_ok=True)
        assert trace["mode"] == "lines+markers"
    assert traces["Late fusion"]["y"][2] is None
    assert first["data"][-1]["name"] == "MLA"  # on top
    assert first["layout"]["shapes"][0]["y0"] == 9.1
    assert "scattermode" not in first["layout"]  # it would move points sideways


def test_bands_are_outlines_that_end_at_a_gap() -> None:
    chart = answers.line_chart()
    bands = [trace for trace in panels(chart, looks([], [chart]))[0]["data"] if trace.get("fill") == "toself"]
    assert sorted(band["meta"] for band in bands) == sorted([*METHODS, "Late fusion"])
    concat = next(band for band in bands if band["meta"] == "Concat")
    assert concat["x"] == [0, 20, 40, 60, 80, 80, 60, 40, 20, 0]
    assert concat["y"] == pytest.approx([68, 64, 60, 56, 52, 56, 60, 64, 68, 72])
    assert [band["x"] for band in bands if band["meta"] == "Late fusion"] == [[0, 20, 20, 0], [60, 80, 80, 60]]


def test_whiskers_reach_to_the_ends_of_the_intervals() -> None:
    chart = answers.bar_chart()
    trace = panels(chart, looks([], [chart]))[0]["data"][0]
    assert trace["error_y"]["array"] == pytest.approx([2] * 4)
    assert trace["error_y"]["arrayminus"] == pytest.approx([3] * 4)
    assert "interval [27, 32]" in trace["customdata"][0]


def test_rows_lie_along_the_horizontal_axis() -> None:
    chart = answers.row_chart()
    drawn = panels(chart, looks([], [chart]))[0]
    assert drawn["layout"]["yaxis"]["ticktext"] == [*METHODS[:-1], "<b>MLA</b>"]
    assert drawn["layout"]["yaxis"]["range"] == [4.5, -0.5]  # the first on top
    low, high = drawn["layout"]["xaxis"]["range"]
    assert low < 58
    assert high > 70
    assert (drawn["layout"]["shapes"][0]["x0"], drawn["layout"]["shapes"][0]["y0"]) == (62.0, 0)
    trace = next(trace for trace in drawn["data"] if trace["name"] == "QMF")
    assert (trace["x"], trace["y"]) == ([64], ["QMF"])
    assert (trace["error_x"]["array"], trace["error_x"]["arrayminus"]) == ([3], [2])
    assert "error_y" not in trace
    (axes,) = draw(chart, looks([], [chart])).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(METHODS)
    shown = looks([], [chart])
    for place, label in enumerate(METHODS):
        (dot,) = (line for line in axes.lines if line.get_marker() == shown[label].marker)
        assert (list(dot.get_xdata()), list(dot.get_ydata())) == ([60 + 2 * place], [place])
    np.testing.assert_allclose(axes.collections[2].get_segments()[0], [[62, 2], [67, 2]])


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


def test_of_many_lines_one_has_a_band() -> None:
    chart = with_room(answers.line_chart((*MANY, "MLA")))
    assert [series.label for series in chart.panels[0].series if series.low] == ["MLA"]
    assert chart.caption.endswith("Intervals are drawn for MLA alone.")
    few = answers.line_chart()
    assert with_room(few) is few


def test_a_grid_has_rows_columns_and_colours_about_its_reference() -> None:
    chart = answers.grid_chart()
    (trace,) = panels(chart, looks([], [chart]))[0]["data"]
    assert trace["z"][1] == [62, None, 38, 26, 14]
    assert trace["y"] == list(METHODS)
    axis = panels(chart, looks([], [chart]))[0]["layout"]["yaxis"]
    assert (axis["tickvals"], axis["ticktext"]) == (list(METHODS), [*METHODS[:-1], "<b>MLA</b>"])
    assert trace["customdata"][1][0] == "<br>1 against 0"
    assert (trace["zmin"], trace["zmax"]) == (2, 98)
    assert grid_scale(chart, Panel("", ()))[:2] == (2, 98)


def test_texts_cannot_become_markup_or_placeholders() -> None:
    chart = answers.scatter_chart((HOSTILE, "MLA"))
    trace = next(trace for trace in panels(chart, looks([], [chart]))[0]["data"] if trace["meta"] == HOSTILE)
    assert escape("<b>%{y}&") == "&lt;b&gt;&#37;{y}&amp;"
    for text in (trace["name"], trace["hovertemplate"].replace("<b>", "").replace("</b>", "").replace("<br>", "")):
        assert "<script" not in text
        assert "<img" not in text
    assert trace["hovertemplate"].count("%{y") == 1


def test_long_names_of_categories_are_cut() -> None:
    series = Series("a", ["x" * 30], [1.0])
    chart = Chart("long", "", "", "bar", "", "", (Panel("", (series,)),))
    axis = panels(chart, looks([], [chart]))[0]["layout"]["xaxis"]
    assert axis["tickvals"] == ["x" * 30]
    assert axis["ticktext"] == ["x" * 21 + "…"]


def test_colours_for_light_and_dark_paper() -> None:
    assert themed("#000000") == "#000000|#666666"
    assert themed("#ffffff") == "#ffffff|#ffffff"


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
        json.dumps(panels(chart, looks([], [chart])), allow_nan=False)
        draw(chart, looks([], [chart]))


@pytest.mark.parametrize("kind", ["line", "bar", "dot", "scatter", "row"])
def test_an_interval_without_end(kind: str) -> None:
    x = ["a", "b"] if kind in ("bar", "dot", "row") else [0.0, 1.0]
    series = Series("MLA", x, [1.0, 2.0], [-math.inf, 1.0], [math.inf, 3.0])
    chart = Chart("endless", "Endless", "", kind, "x", "y", (Panel("", (series,)),))  # type: ignore[arg-type]
    low, high = value_range(chart)
    assert math.isfinite(high - low)
    drawn = panels(chart, looks([], [chart]))[0]["data"]
    json.dumps(drawn, allow_nan=False)
    assert drawn[-1]["customdata"] == ["interval [−inf, inf]", "interval [1, 3]"]
    draw(chart, looks([], [chart])).draw_without_rendering()


def test_lines_over_names() -> None:
    series = Series("MLA", ["none", "audio"], [80.0, 70.0], [79.0, 69.0], [81.0, 71.0])
    chart = Chart("absent", "Absent", "", "line", "absent", "accuracy (%)", (Panel("", (series,)),))
    band, line = panels(chart, looks([], [chart]))[0]["data"]
    assert line["x"] == ["none", "audio"]
    assert band["x"] == ["none", "audio", "audio", "none"]
    (axes,) = draw(chart, looks([], [chart])).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["none", "audio"]


# -- matplotlib ----------------------------------------------------------------------------------------


CROWDED = [
    with_room(make((*MANY, "MLA")))
    for make in (answers.dot_chart, answers.line_chart, answers.row_chart, answers.grid_chart)
]


@pytest.mark.parametrize("chart", [*CHARTS, *CROWDED], ids=[*NAMES, *(f"crowded {chart.name}" for chart in CROWDED)])
def test_no_texts_overlap(chart: Chart) -> None:
    figure = draw(chart, looks([], [chart]))
    figure.draw_without_rendering()
    ticks = [tick for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for tick in axis.get_major_ticks()]
    outside = {tick.label1 for tick in ticks if not _in_view(tick)}
    boxes = []
    for text in figure.findobj(Text):
        if text.get_text().strip() and text.get_visible() and text not in outside:
            text.get_window_extent()  # an annotation moves its text
            boxes.append((text.get_text(), Text.get_window_extent(text)))
    for (one, box), (other, second) in combinations(boxes, 2):
        shared = Bbox.intersection(box, second)
        assert shared is None or shared.width < 1 or shared.height < 1.5, (one, other)


def _in_view(tick: Tick) -> bool:
    """Others are there but not drawn."""
    ends = tick.axes.get_xlim() if isinstance(tick, XTick) else tick.axes.get_ylim()
    return bool(min(ends) <= tick.get_loc() <= max(ends))


def test_matplotlib_draws_the_numbers() -> None:
    chart = answers.line_chart()
    figure = draw(chart, looks([], [chart]))
    for axes, panel in zip(figure.axes, chart.panels, strict=True):
        assert axes.get_title(loc="left") == panel.title
        for line, series in zip(axes.lines, panel.series, strict=False):
            np.testing.assert_allclose(line.get_ydata(), series.y)
        assert {text.get_text() for text in axes.texts if isinstance(text, Annotation)} == set(METHODS)
    chart = answers.bar_chart()
    heights = [bar.get_height() for bar in draw(chart, looks([], [chart])).axes[0].patches]
    assert heights == [y for series in chart.panels[0].series for y in series.y]
    chart = answers.grid_chart()
    cells = [text.get_text() for text in draw(chart, looks([], [chart])).axes[0].texts]
    assert cells[:4] == ["38", "26", "14", "2"]
    assert len(cells) == 20


def test_an_interval_need_not_hold_its_estimate() -> None:
    series = Series("MLA", ["a"], [1.0], [2.0], [3.0])
    chart = Chart("odd", "Odd", "", "dot", "", "", (Panel("", (series,)),))
    (axes,) = draw(chart, looks([], [chart])).axes
    (whisker,) = axes.collections
    np.testing.assert_allclose(whisker.get_segments()[0][:, 1], [2, 3])


def test_drawing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    chart = answers.scatter_chart()
    for name in ("first", "second"):
        save(draw(chart, looks([], [chart])), tmp_path / f"{name}.png", tmp_path / f"{name}.pdf")
    for end in ("png", "pdf"):
        assert (tmp_path / f"first.{end}").read_bytes() == (tmp_path / f"second.{end}").read_bytes()


@pytest.mark.parametrize(
    "make", [answers.line_chart, answers.bar_chart, answers.scatter_chart, answers.row_chart, answers.grid_chart]
)
def test_hostile_names_are_drawn(make: object, tmp_path: Path) -> None:
    chart = make((HOSTILE, "$x^", "é", "MLA"))  # type: ignore[operator]
    draw(chart, looks([], [chart])).draw_without_rendering()


@pytest.mark.parametrize("seed", range(20))
def test_a_name_covers_what_matplotlib_measures_and_hides_little(seed: int) -> None:
    random = np.random.default_rng(seed)
    figure = Figure(figsize=(5.5, 2.5), dpi=200)
    axes = figure.subplots()
    label = axes.annotate(
        "Late fusion (entropy)"[: random.integers(3, 21)], tuple(random.random(2)), (0, 0), textcoords="offset points",
        ha="left", va="bottom", fontsize=7, arrowprops={"arrowstyle": "-"},
    )  # fmt: skip
    taken = [Bbox.from_bounds(*(random.random(2) * (1000, 450)), 150, 60) for _ in range(6)]
    found = _settle(label, taken, axes.get_window_extent(), 200 / 72)
    label.get_window_extent()
    np.testing.assert_allclose(found.get_points(), Text.get_window_extent(label).get_points(), atol=1e-6)


def test_a_name_goes_where_it_hides_nothing() -> None:
    figure = Figure(figsize=(5, 5), dpi=72)
    axes = figure.add_axes((0, 0, 1, 1))
    label = axes.annotate("name", (0.5, 0.5), (0, 0), textcoords="offset points", ha="left", va="bottom")
    right = Bbox.from_bounds(182, 0, 178, 360)
    assert _settle(label, [], axes.get_window_extent(), 1.0).x0 == pytest.approx(186)  # 6 points to the right
    label.set(position=(0, 0), horizontalalignment="left", verticalalignment="bottom")
    assert _settle(label, [right], axes.get_window_extent(), 1.0).x1 == pytest.approx(174)

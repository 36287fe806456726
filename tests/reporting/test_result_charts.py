from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from mlabench.missing import Missing
from mlabench.reporting.answer import Chart
from mlabench.reporting.charts.figure import draw, save
from mlabench.reporting.charts.of_results import result_charts
from mlabench.reporting.charts.styles import styles
from mlabench.reporting.results import Results, load
from mlabench.store.records import Store
from tests.reporting.answers import overlapping_texts
from tests.reporting.synthetic import LEVELS, MODALITIES, accuracy, failed, sweep

TARGETS = ("multimodal", *MODALITIES)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def build_charts(results: Results) -> dict[str, Chart]:
    return {chart.name: chart for chart in result_charts(results)}


def build_figures(results: Results) -> dict[str, Figure]:
    return {name: draw(chart, styles([results.plan])) for name, chart in build_charts(results).items()}


def means(label: str, target: str, rate: float, seeds: range) -> float:
    return float(100 * np.mean([accuracy(label, target, seed, rate) for seed in seeds]))


def bands(axes: Axes) -> list[PolyCollection]:
    return [shape for shape in axes.collections if isinstance(shape, PolyCollection)]


def test_missing_rate_curves_show_the_means(store: Store) -> None:
    rates = (0.0, 0.3, 0.6)
    plan = sweep(store, rates=rates)
    figure = build_figures(load(plan, store))["missing_rate"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(TARGETS)
    for axes, target in zip(figure.axes, TARGETS, strict=True):
        for line, label in zip(axes.lines, LEVELS, strict=True):
            np.testing.assert_allclose(line.get_xdata(), [0, 30, 60])
            np.testing.assert_allclose(line.get_ydata(), [means(label, target, rate, range(3)) for rate in rates])
        assert len(bands(axes)) == len(LEVELS)


def test_bars_show_the_means_and_every_seed(store: Store) -> None:
    plan = sweep(store, rates=(0.0,))
    figures = build_figures(load(plan, store))
    assert set(figures) == {"accuracy", "learning"}
    (axes,) = figures["accuracy"].axes
    heights = [bar.get_height() for bar in axes.patches]
    expected = [means(label, target, 0.0, range(3)) for label in LEVELS for target in (*MODALITIES, "multimodal")]
    np.testing.assert_allclose(heights, expected)
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [len(line.get_ydata()) for line in dots] == [3 * 4] * len(LEVELS)
    assert sorted(dots[0].get_ydata()[:3]) == sorted(100 * accuracy("Concat", "audio", seed, 0.0) for seed in range(3))


def test_many_methods_have_a_row_each_and_no_bands(store: Store) -> None:
    labels = [*LEVELS, *(f"Method {place}" for place in range(8))]
    plan = sweep(store, labels, rates=(0.0, 0.3))
    figures = build_figures(load(plan, store))
    panels = figures["accuracy"].axes
    assert [axes.get_title(loc="left") for axes in panels] == [*MODALITIES, "multimodal"]
    assert [text.get_text() for text in panels[0].get_yticklabels()] == labels
    assert panels[0].get_ylim() == (len(labels) - 0.5, -0.5)  # the first on top
    for axes, target in zip(panels, (*MODALITIES, "multimodal"), strict=True):
        assert not axes.patches
        dots = [line for line in axes.lines if line.get_marker() not in "|_"]  # without the ends of whiskers
        points = {(line.get_ydata()[0], len(line.get_xdata())): line for line in dots}
        for place, label in enumerate(labels):
            assert points[place, 1].get_xdata()[0] == pytest.approx(means(label, target, 0.0, range(3)))
            assert sorted(points[place, 3].get_xdata()) == pytest.approx(
                sorted(100 * accuracy(label, target, seed, 0.0) for seed in range(3))
            )
    assert [len(bands(axes)) for axes in figures["missing_rate"].axes] == [1] * 4  # MLA's


def test_learning_curves_show_the_means_and_the_selected_epochs(store: Store) -> None:
    plan = sweep(store, rates=(0.0,))
    results = load(plan, store)
    figure = build_figures(results)["learning"]
    first = figure.axes[0].lines[0]
    epochs = np.arange(1, 13)
    np.testing.assert_allclose(first.get_xdata(), epochs)
    expected = means("Concat", "multimodal", 0.0, range(3)) * (1 - np.exp(-epochs / 2.5))
    np.testing.assert_allclose(first.get_ydata(), expected)
    assert sorted(figure.axes[0].lines[1].get_xdata()) == [10, 11, 12]
    assert [len(axes.lines) for axes in figure.axes] == [10, 5, 5, 5]


def test_failures_leave_gaps(store: Store) -> None:
    plan = sweep(store, ["Concat", "MLA"], seeds=(0,))
    store.write(failed(plan.cells[1].trial))
    figure = build_figures(load(plan, store))["missing_rate"]
    assert np.isnan(figure.axes[0].lines[0].get_ydata()).tolist() == [False, True, False]
    assert not bands(figure.axes[0])  # one seed


def test_titles_say_dataset_n_and_seeds(store: Store) -> None:
    plan = sweep(store, selection="best_test", limit=100)
    results = load(plan, store, include_limited=True)
    for name, figure in build_figures(results).items():
        for text in (figure.get_suptitle(), build_charts(results)[name].caption):
            for part in ("stamps", "3 seeds (0–2)", "LIMITED RUN", "SELECTED ON THE TEST SPLIT"):
                assert part in text
            assert ("n = 1,312" in text) is (name != "learning")


def test_two_protocols_have_no_common_curve(store: Store) -> None:
    tests = [Missing.at("balanced", 0.3), Missing.at("independent", 0.3)]
    plan = sweep(store, ["MLA"], rates=(0.0,), extra_tests=tests)
    assert "missing_rate" not in build_figures(load(plan, store))


def test_a_method_has_the_same_style_in_every_figure_and_suite(store: Store) -> None:
    one, other = sweep(store, ["Concat", "MLA"], write=False), sweep(store, ["MLA", "QMF"], write=False)
    together = styles([one, other])
    assert styles([other, one]) == together
    assert len({style.colour for style in together.values()}) == 3
    assert together["MLA"].width > together["QMF"].width


def test_more_methods_than_colours_differ_still(store: Store) -> None:
    plan = sweep(store, [f"Method {place}" for place in range(14)], write=False)
    chosen = styles([plan]).values()
    assert len({(style.colour, style.dashes) for style in chosen}) == len(chosen)
    assert len({(style.colour, style.hatch) for style in chosen}) == len(chosen)


def test_texts_do_not_overlap(store: Store) -> None:
    plan = sweep(store, [*LEVELS, *(f"A rather long name, number {place} $" for place in range(6))])
    for figure in build_figures(load(plan, store)).values():
        assert overlapping_texts(figure) == []


def test_files_are_pictures_and_the_same_each_time(store: Store, tmp_path: Path) -> None:
    plan = sweep(store)

    def write(folder: str) -> dict[str, bytes]:
        (tmp_path / folder).mkdir()
        figures: dict[str, Figure] = build_figures(load(plan, store))
        files = [tmp_path / folder / f"{name}.{ending}" for name in figures for ending in ("png", "pdf")]
        for place, figure in enumerate(figures.values()):
            save(figure, *files[2 * place : 2 * place + 2])
        return {file.name: file.read_bytes() for file in files}

    first = write("first")
    assert set(first) == {
        f"{name}.{end}" for name in ("accuracy", "missing_rate", "learning") for end in ("png", "pdf")
    }
    for name, content in first.items():
        if name.endswith(".png"):
            assert content.startswith(b"\x89PNG")
            width, _ = struct.unpack(">II", content[16:24])
            assert width == 1100  # 5.5 inches at 200 dpi
            assert len(content) > 20_000
        else:
            assert content.startswith(b"%PDF")
            assert b"CreationDate" not in content
    assert write("second") == first


def test_methods_of_one_suite_differ_whatever_other_suites_hold(store: Store) -> None:
    plans = [
        sweep(store, ["A", "B", "C", "MLA"], name="one", write=False),
        sweep(store, ["MLA", "X", "Y", "Z", "Z2"], name="two", write=False),
    ]
    chosen = styles(plans)
    for plan in plans:
        assert len({chosen[label].colour for label in plan.labels}) == len(plan.labels)
        assert {chosen[label].hatch for label in plan.labels} == {""}, "there are colours enough"

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from mlabench.missing import Missing
from mlabench.reporting.charts import Chart, result_charts, styles
from mlabench.reporting.charts.figure import ChartFigure, draw, save
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.results import Results, load
from mlabench.statistics import accuracy_interval
from mlabench.store.records import Store
from tests.reporting import predicted
from tests.reporting.sample_charts import overlapping_texts
from tests.reporting.synthetic import LEVELS, MODALITIES, accuracy, failed, sweep

TARGETS = ("multimodal", *MODALITIES)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def build_charts(results: Results, store: Store | None = None) -> dict[str, Chart]:
    return {chart.name: chart for chart in result_charts(Evidence(results, store))}


def build_figures(results: Results) -> dict[str, ChartFigure]:
    return {name: draw(chart, styles([results.plan])) for name, chart in build_charts(results).items()}


def means(label: str, target: str, rate: float, seeds: range) -> float:
    return float(100 * np.mean([accuracy(label, target, seed, rate) for seed in seeds]))


def test_missing_rate_curves_show_the_means(store: Store) -> None:
    rates = (0.0, 0.3, 0.6)
    plan = sweep(store, rates=rates)
    figure = build_figures(load(plan, store))["missing_rate"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(TARGETS)
    for axes, target in zip(figure.axes, TARGETS, strict=True):
        for line, label in zip(axes.lines, LEVELS, strict=True):
            np.testing.assert_allclose(line.get_xdata(), [0, 30, 60])
            np.testing.assert_allclose(line.get_ydata(), [means(label, target, rate, range(3)) for rate in rates])
        assert not axes.collections, "their intervals would lie on one another"


def test_rows_show_what_each_modality_and_the_fusion_reach(store: Store) -> None:
    labels = [*LEVELS, *(f"Method {place}" for place in range(8))]
    figures = build_figures(load(sweep(store, labels, rates=(0.0,)), store))
    assert set(figures) == {"accuracy", "learning"}
    panels = figures["accuracy"].axes
    assert [axes.get_title(loc="left") for axes in panels] == [*MODALITIES, "multimodal"]
    assert [text.get_text() for text in panels[0].get_yticklabels()] == labels
    assert panels[0].get_ylim() == (len(labels) - 0.5, -0.5)  # the first on top
    for axes, target in zip(panels, (*MODALITIES, "multimodal"), strict=True):
        points = {line.get_ydata()[0]: line.get_xdata()[0] for line in axes.lines if line.get_gid()}
        expected = {place: means(label, target, 0.0, range(3)) for place, label in enumerate(labels)}
        assert points == pytest.approx(expected)
        assert np.ptp(axes.get_xlim()) < 1.3 * np.ptp(list(points.values())), "the axis shows the numbers"


def test_intervals_are_those_of_the_stored_predictions(store: Store) -> None:
    plan = predicted.sweep(store, {"Concat": lambda *_: 0.7, "MLA": lambda *_: 0.8}, rates=(0.0, 0.5), alike=False)
    results = load(plan, store)
    evidence, charts = Evidence(results, store), build_charts(results, store)
    for place, label in enumerate(("Concat", "MLA")):
        for setting, target in (("0 %", "audio"), ("0 %", "multimodal"), ("50 %", "multimodal")):
            outcomes = evidence.outcomes(label, setting, target)
            assert outcomes is not None
            expected = accuracy_interval(outcomes)
            rate = charts["missing_rate"].panels[TARGETS.index(target)].series[place]
            assert rate.y[setting != "0 %"] == pytest.approx(expected.estimate)
            assert rate.text[setting != "0 %"] == f"95 %: {expected.low:.1f} to {expected.high:.1f}"
            if setting == "0 %":
                row = charts["accuracy"].panels[0].series[place]
                at = list(row.x).index(target)
                assert (row.low[at], row.y[at], row.high[at]) == pytest.approx(
                    (expected.low, expected.estimate, expected.high)
                )


def test_learning_curves_show_the_means(store: Store) -> None:
    plan = sweep(store, rates=(0.0,))
    figure = build_figures(load(plan, store))["learning"]
    first = figure.axes[0].lines[0]
    epochs = np.arange(1, 13)
    np.testing.assert_allclose(first.get_xdata(), epochs)
    expected = means("Concat", "multimodal", 0.0, range(3)) * (1 - np.exp(-epochs / 2.5))
    np.testing.assert_allclose(first.get_ydata(), expected)


def test_failures_leave_gaps(store: Store) -> None:
    plan = sweep(store, ["Concat", "MLA"], seeds=(0,))
    store.write(failed(plan.cells[1].trial))
    figure = build_figures(load(plan, store))["missing_rate"]
    assert np.isnan(figure.axes[0].lines[0].get_ydata()).tolist() == [False, True, False]


def test_titles_say_dataset_n_and_seeds(store: Store) -> None:
    plan = sweep(store, selection="best_test", limit=100)
    results = load(plan, store, include_limited=True)
    for name, figure in build_figures(results).items():
        for part in ("stamps", "n = 1,312", "3 seeds (0–2)", "LIMITED RUN", "SELECTED ON THE TEST SPLIT"):
            assert part in figure.get_suptitle(), name


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


def test_texts_do_not_overlap(store: Store) -> None:
    plan = sweep(store, [*LEVELS, *(f"A rather long name, number {place} $" for place in range(6))])
    for figure in build_figures(load(plan, store)).values():
        assert overlapping_texts(figure) == []


def test_files_are_pictures_and_the_same_each_time(store: Store, tmp_path: Path) -> None:
    plan = sweep(store)

    def write(folder: str) -> dict[str, bytes]:
        (tmp_path / folder).mkdir()
        figures = build_figures(load(plan, store))
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

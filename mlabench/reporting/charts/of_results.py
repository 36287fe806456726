"""Three charts of a suite's numbers, whatever its questions: accuracy, accuracy by missing rate, learning curves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlabench.reporting import wording
from mlabench.reporting.answer import Chart, Panel, Series
from mlabench.reporting.charts.axes import with_room
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.statistics import summarise

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.floating[Any]]


def result_charts(results: Results) -> tuple[Chart, ...]:
    """The charts that the results can fill."""
    return tuple(map(with_room, _charts(results)))


def _charts(results: Results) -> Iterator[Chart]:
    measured = results.scores["accuracy"].notna() & (results.scores["setting"] != "")
    if not measured.any():
        return
    yield _accuracy(results)
    rates = results.scores.loc[measured, ["setting", "rate"]].drop_duplicates().dropna()
    # Settings that share a rate (two protocols) have no place on one curve.
    if len(rates) > 1 and rates["rate"].is_unique:
        yield _missing_rate(results)
    if results.curves["epoch"].nunique() > 1:
        yield _learning(results)


def _accuracy(results: Results) -> Chart:
    setting = results.settings[0]
    series = []
    for label in results.labels:
        seeds = {target: 100 * results.at(label, setting, target)["accuracy"].dropna() for target in results.targets}
        marks = tuple((target, float(value)) for target, values in seeds.items() for value in values)
        series.append(_series(label, results.targets, *_means_and_stds(seeds.values()), marks))
    scores = results.on_axis(setting)
    title = f"Accuracy of each modality and of their fusion, {setting} missing"
    how = "Bars, or large marks where methods are many: mean; whiskers: standard deviation; open circles: seeds."
    chart = Chart("accuracy", title, how, "bar", "", "accuracy (%)", (Panel("", tuple(series)),))
    return _with_facts(chart, results, scores, wording.samples(scores))


def _missing_rate(results: Results) -> Chart:
    scores = results.on_axis()
    rates = scores.drop_duplicates("setting").set_index("setting")["rate"].dropna()
    settings = [setting for setting in results.settings if setting in rates]
    panels = tuple(
        Panel(target, tuple(
            _series(label, [100 * float(rates[setting]) for setting in settings],
                    *_means_and_stds(100 * results.at(label, setting, target)["accuracy"] for setting in settings))
            for label in results.labels
        ))
        for target in (MULTIMODAL, *results.plan.modalities)
    )  # fmt: skip
    title = f"Accuracy against the missing rate in {wording.where_missing(scores)}"
    how = "Lines: mean over seeds; bands: standard deviation."
    chart = Chart("missing_rate", title, how, "line", "missing rate (%)", "accuracy (%)", panels)
    return _with_facts(chart, results, scores, wording.samples(scores))


def _learning(results: Results) -> Chart:
    """Validation accuracy after each epoch, at the first setting."""
    curves = results.curves
    names = dict.fromkeys([*results.settings, *curves["train_setting"]])
    setting = next(name for name in names if (curves["train_setting"] == name).any())
    curves = curves[curves["train_setting"] == setting]
    spreads = 100 * curves.groupby(["label", "target", "epoch"])["accuracy"].agg(["mean", "std"])
    # The target that the epoch is selected by.
    chosen = curves[curves["selected"] & (curves["target"] == MULTIMODAL)]
    panels = []
    for target in (MULTIMODAL, *results.plan.modalities):
        series = []
        for label in results.labels:
            if (label, target) in spreads.index:
                own = spreads.loc[label, target]
                best = chosen[(chosen["label"] == label) & (chosen["target"] == target)]
                marks = tuple(zip(best["epoch"].astype(float), 100 * best["accuracy"], strict=True))
                epochs = own.index.astype(float).tolist()
                series.append(_series(label, epochs, own["mean"].to_numpy(), own["std"].to_numpy(), marks))
        panels.append(Panel(target, tuple(series)))
    scores = results.on_axis(setting)
    title = f"Validation accuracy while training, {setting} missing"
    how = (
        "Validation accuracy after each epoch of the last training stage. Lines: mean over seeds; bands: standard "
        "deviation; open marks: the epoch selected, seed by seed."
    )
    chart = Chart("learning", title, how, "line", "epoch", "accuracy (%)", tuple(panels))
    return _with_facts(chart, results, scores, samples="")  # the validation split's size is not in the records


def _with_facts(chart: Chart, results: Results, scores: pd.DataFrame, samples: str) -> Chart:
    """The chart with data, seeds and warnings in its subtitle and caption."""
    band = "± standard deviation over seeds" if scores["seed"].nunique() > 1 else ""
    facts = ", ".join(filter(None, [wording.datasets(results.plan), samples, wording.seeds(scores), band]))
    warnings = [
        "LIMITED RUN" if scores["limit"].notna().any() else "",
        "SELECTED ON THE TEST SPLIT" if (scores["selection"] == "best_test").any() else "",
    ]
    lines = [facts, ", ".join(filter(None, warnings))]
    said = " ".join(f"{line}." for line in lines if line)
    return replace(chart, subtitle="\n".join(filter(None, lines)), caption=f"{chart.caption} Data: {said}")


def _means_and_stds(groups: Iterable[pd.Series[float]]) -> tuple[Floats, Floats]:
    """Over the runs of each group; NaN where there is none."""
    summaries = list(map(summarise, groups))
    means = [np.nan if summary.mean is None else summary.mean for summary in summaries]
    return np.array(means), np.array([np.nan if summary.std is None else summary.std for summary in summaries])


def _series(
    label: str, x: Sequence[float] | Sequence[str], means: Floats, stds: Floats,
    marks: Sequence[tuple[float | str, float]] = (),
) -> Series:  # fmt: skip
    low, high = ((), ()) if np.isnan(stds).all() else ((means - stds).tolist(), (means + stds).tolist())
    return Series(label, x, means.tolist(), low, high, marks=marks)

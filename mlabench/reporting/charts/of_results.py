"""The charts that reports are made of: differences, accuracies, and how the trainings went."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import isnan, nan
from statistics import fmean

from mlabench.reporting import wording
from mlabench.reporting.charts.chart import Chart, Panel, Series
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.statistics import Interval, accuracy_interval

_RATE, _ACCURACY = "Missing rate (%)", "Accuracy (%)"


def difference_chart(
    name: str, title: str, method: str, series: Iterable[Series], *, margin: float, caption: str = ""
) -> Chart:
    """A method minus each of the others, in points: a panel for each against the missing rate, or a row for each.

    Args:
        name: Name of its files.
        title: What is compared.
        method: The method in question.
        series: Named after the others: differences at missing rates in percent, or a single one at a name.
        margin: As far from zero methods are practically equal.
        caption: What is peculiar to this figure.
    """
    shown = tuple(series)
    rows = all(isinstance(x, str) for one in shown for x in one.x)
    better = f"{'Right of' if rows else 'Above'} zero, {method} is better."
    band = f"Shaded: within ±{margin:g} points methods are practically equal."
    panels = [Panel("", shown)] if rows else [Panel(one.label, (one,)) for one in shown]
    return Chart(
        name=name,
        title=title,
        caption=" ".join(filter(None, [caption, better, band])),
        kind="row" if rows else "line",
        x="" if rows else _RATE,
        y=f"{method} minus it (points)",
        panels=tuple(replace(panel, reference=0.0, band=margin) for panel in panels),
        form="+z.1f",
    )


def intervals(
    label: str, x: Sequence[float] | Sequence[str], found: Sequence[Interval | None], text: Sequence[str] = ()
) -> Series:
    """Estimates and their intervals as a series; NaN where there is none."""
    known = [one or Interval(nan, nan, nan) for one in found]
    y, low, high = ([getattr(one, name) for one in known] for name in ("estimate", "low", "high"))
    return Series(label, x, y, low, high, text)


def result_charts(evidence: Evidence) -> tuple[Chart, ...]:
    """What the methods reach, at the first point of the axis and along it, and how they got there."""
    return tuple(with_facts(chart, evidence.results) for chart in _charts(evidence))


def with_facts(chart: Chart, results: Results) -> Chart:
    """The chart with what its picture must say where it stands alone: data, trainings and warnings."""
    scores = results.on_axis()
    facts = [wording.datasets(results.plan), wording.samples(scores), wording.seeds(scores)]
    warnings = [
        "LIMITED RUN" if scores["limit"].notna().any() else "",
        "SELECTED ON THE TEST SPLIT" if (scores["selection"] == "best_test").any() else "",
    ]
    lines = [", ".join(filter(None, facts)), ", ".join(filter(None, warnings))]
    return replace(chart, subtitle="\n".join(filter(None, lines)))


def _charts(evidence: Evidence) -> Iterator[Chart]:
    results = evidence.results
    measured = results.scores["accuracy"].notna() & (results.scores["setting"] != "")
    if not measured.any():
        return
    yield _accuracy(evidence, results.settings[0])
    rates = results.scores.loc[measured, ["setting", "rate"]].drop_duplicates().dropna()
    # Settings that share a rate (two protocols) have no place on one curve.
    if len(rates) > 1 and rates["rate"].is_unique:
        ordered = rates.sort_values("rate")
        yield _by_rate(evidence, dict(zip(ordered["setting"], 100 * ordered["rate"], strict=True)))
    if results.curves["epoch"].nunique() > 1:
        yield _learning(results)


def _accuracy(evidence: Evidence, setting: str) -> Chart:
    results = evidence.results
    series = tuple(
        intervals(label, results.targets, [_reached(evidence, label, setting, target) for target in results.targets])
        for label in results.labels
    )
    return Chart(
        name="accuracy",
        title=f"Accuracy of each modality and of their fusion, {setting} missing",
        caption="Dots: mean; whiskers: 95 % interval, where predictions are stored. Intervals that overlap may still "
        "differ: methods are compared in pairs.",
        kind="row",
        x="Prediction",
        y=_ACCURACY,
        panels=(Panel("", series),),
        form="z.1f",
    )


def _by_rate(evidence: Evidence, rates: Mapping[str, float]) -> Chart:
    results = evidence.results
    panels = []
    for target in (MULTIMODAL, *results.plan.modalities):
        series = []
        for label in results.labels:
            found = [_reached(evidence, label, setting, target) for setting in rates]
            one = intervals(label, list(rates.values()), found)
            ends = [f"95 %: {low:.1f} to {high:.1f}" for low, high in zip(one.low, one.high, strict=True)]
            said = ["" if isnan(low) else text for low, text in zip(one.low, ends, strict=True)]
            series.append(replace(one, low=(), high=(), text=said))
        panels.append(Panel(target, tuple(series)))
    return Chart(
        name="missing_rate",
        title=f"Accuracy against the missing rate in {wording.where_missing(results.on_axis(*rates))}",
        caption="Means. Without intervals, which are far wider than those of the paired differences.",
        kind="line",
        x=_RATE,
        y=_ACCURACY,
        panels=tuple(panels),
        form="z.1f",
    )


def _learning(results: Results) -> Chart:
    """Validation accuracy after each epoch, at the first setting."""
    curves = results.curves
    names = dict.fromkeys([*results.settings, *curves["train_setting"]])
    setting = next(name for name in names if (curves["train_setting"] == name).any())
    means = 100 * curves[curves["train_setting"] == setting].groupby(["label", "target", "epoch"])["accuracy"].mean()
    panels = []
    for target in (MULTIMODAL, *results.plan.modalities):
        known = [label for label in results.labels if (label, target) in means.index]
        series = [Series(label, (own := means[label, target]).index.astype(float), own.to_numpy()) for label in known]
        panels.append(Panel(target, tuple(series)))
    return Chart(
        name="learning",
        title=f"Validation accuracy while training, {setting} missing",
        caption="After each epoch of the last training stage, mean over the trainings that got so far.",
        kind="line",
        x="Epoch",
        y=_ACCURACY,
        panels=tuple(panels),
        form="z.1f",
    )


def _reached(evidence: Evidence, label: str, setting: str, target: str) -> Interval | None:
    """An accuracy in percent; without an interval where predictions are not stored."""
    outcomes = evidence.outcomes(label, setting, target)
    if outcomes is not None:
        return accuracy_interval(outcomes)
    numbers = evidence.per_seed(label, setting, target).values()
    return Interval(fmean(numbers), nan, nan) if numbers else None

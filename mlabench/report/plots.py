"""Figures of a suite's numbers in matplotlib, and what they share with the charts of its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mlabench.report import wording
from mlabench.report.chart_axes import CROWD
from mlabench.report.figure_layout import OnePass, arrange
from mlabench.report.fonts import families
from mlabench.report.looks import HIGHLIGHT, Look, short
from mlabench.report.results import MULTIMODAL, Results
from mlabench.statistics import summarise

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

Floats = NDArray[np.floating[Any]]

#: Where names begin to the right of a panel, in widths of the panel.
_LABELS_AT = 1.06

#: Text width of a one-column paper, in inches; font sizes are chosen for it.
WIDTH = 5.5

#: Pixels per inch of the pictures.
_DPI = 200

#: Style of all figures.
STYLE: dict[RcKeyType, Any] = {
    "font.family": families(),
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titley": 1.0,  # where it would be; to find that out, all ticks would be measured each time
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.5,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.6,
    "text.parse_math": False,  # a label may hold a dollar sign
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,  # editable, and what publishers ask for
    "figure.dpi": 100,
}


def draw(name: str, results: Results, looks: Mapping[str, Look]) -> Figure:
    """A figure of a suite's numbers.

    Args:
        name: Which: ``accuracy``, ``missing_rate`` or ``learning``.
        results: The numbers; :func:`mlabench.report.markdown.figures` says which figures they can fill.
        looks: A look for each method.
    """
    drawn = {"accuracy": accuracies, "missing_rate": missing_rate_curves, "learning": learning_curves}[name]
    with mpl.rc_context(STYLE):
        return drawn(results, looks)


def save(figure: Figure, png: Path, pdf: Path) -> None:
    """Writes a figure in both formats, once for all; the same figure gives the same bytes."""
    with mpl.rc_context(STYLE):
        figure.set_dpi(_DPI)
        arrange(figure)
        figure.savefig(png, dpi=_DPI, metadata={"Software": None})
        figure.savefig(pdf, dpi=STYLE["figure.dpi"], metadata={"CreationDate": None, "Creator": None, "Producer": None})


def missing_rate_curves(results: Results, looks: Mapping[str, Look]) -> Figure:
    """Accuracy against the missing rate: the fused prediction, then each modality."""
    scores = results.scores
    settings = {
        setting: float(scores.loc[scores["setting"] == setting, "rate"].iloc[0]) for setting in results.settings
    }
    points = [(100 * rate, setting) for setting, rate in settings.items() if not np.isnan(rate)]
    scores = scores[scores["setting"] != ""]
    figure, panels = _panels(results)
    title = f"Accuracy against the missing rate in {wording.where_missing(scores)}"
    _title(figure, results, title, scores, wording.samples(scores))
    for target, axes in panels.items():
        ends = {}
        for label in results.labels:
            accuracies = [100 * results.at(label, setting, target)["accuracy"] for _, setting in points]
            means, stds = _means_and_stds(accuracies)
            ends[label] = _line(
                axes, np.array([rate for rate, _ in points]), means, _band(results, label, stds), looks[label]
            )
        axes.set_xlabel("missing rate (%)")
        label_ends(axes, ends, looks)
    spread_labels(figure)
    return figure


def learning_curves(results: Results, looks: Mapping[str, Look]) -> Figure:
    """Validation accuracy after each epoch, at the first setting; the selected epoch of each seed is marked."""
    curves = results.curves
    setting = next(
        name
        for name in dict.fromkeys([*results.settings, *curves["train_setting"]])
        if (curves["train_setting"] == name).any()
    )
    curves = curves[curves["train_setting"] == setting]
    spreads = 100 * curves.groupby(["label", "target", "epoch"])["accuracy"].agg(["mean", "std"])
    chosen = curves[curves["selected"] & (curves["target"] == MULTIMODAL)]  # the target that the epoch is selected by
    scores = results.scores[results.scores["setting"] == setting]
    figure, panels = _panels(results)
    # The validation split's size is not in the records.
    _title(figure, results, f"Validation accuracy while training, {setting} missing", scores, samples="")
    for target, axes in panels.items():
        ends = {}
        for label in results.labels:
            look = looks[label]
            if (label, target) in spreads.index:
                own = spreads.loc[label, target]
                stds = _band(results, label, own["std"].to_numpy())
                ends[label] = _line(axes, own.index.to_numpy(), own["mean"].to_numpy(), stds, look, "")
            if target == MULTIMODAL:
                own = chosen[chosen["label"] == label]
                axes.plot(
                    own["epoch"], 100 * own["accuracy"], linestyle="", marker=look.marker, markersize=3.6,
                    markerfacecolor="white", markeredgecolor=look.colour, markeredgewidth=0.9, zorder=look.layer + 2,
                )  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        label_ends(axes, ends, looks)
    spread_labels(figure)
    return figure


def accuracies(results: Results, looks: Mapping[str, Look]) -> Figure:
    """Each modality's and the fused accuracy at the first setting; every seed is a dot."""
    setting = results.settings[0]
    figure = (_bars if len(results.labels) <= CROWD else _rows)(results, looks, setting)
    scores = results.scores[results.scores["setting"] == setting]
    title = f"Accuracy of each modality and of their fusion, {setting} missing"
    _title(figure, results, title, scores, wording.samples(scores))
    return figure


def _rows(results: Results, looks: Mapping[str, Look], setting: str) -> Figure:
    """A row for each method, a panel for each target."""
    names = results.labels
    figure = Figure(figsize=(WIDTH, 0.15 * len(names) + 1.1), layout=OnePass())
    panels = figure.subplots(1, len(results.targets), squeeze=False, sharey=True).ravel()
    for target, axes in zip(results.targets, panels, strict=True):
        seeds = [100 * results.at(label, setting, target)["accuracy"].dropna() for label in names]
        means, stds = _means_and_stds(seeds)
        for place, label in enumerate(names):
            look, at = looks[label], [place]
            axes.errorbar(means[place], at, xerr=stds[place], linestyle="", color=look.colour, elinewidth=1.0)
            axes.plot(means[place], at, look.marker, markersize=4.6, color=look.colour, zorder=look.layer)
            axes.plot(
                seeds[place], at * len(seeds[place]), "o", markersize=2.2, markerfacecolor="white",
                markeredgecolor="#222222", markeredgewidth=0.4, zorder=4,
            )  # fmt: skip
        axes.set_title(target, loc="left", fontweight="bold")
        axes.set_xlabel("accuracy (%)")
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    name_rows(panels[0], names, looks)
    return figure


def name_rows(axes: Axes, names: Sequence[str], looks: Mapping[str, Look]) -> None:
    """Writes a name at each row of a panel."""
    axes.set_yticks(range(len(names)), list(map(short, names)))
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        if name == HIGHLIGHT:
            tick.set(fontweight="bold", color=looks[HIGHLIGHT].colour)


def _bars(results: Results, looks: Mapping[str, Look], setting: str) -> Figure:
    """A group of bars for each target."""
    handles = [Patch(**looks[label].bar(), label=short(label)) for label in results.labels]
    # About 0.066 inches per letter, and 0.35 for a patch and the space around it.
    columns = max(1, int(WIDTH / (0.066 * max(len(short(label)) for label in results.labels) + 0.35)))
    figure = Figure(figsize=(WIDTH, 2.6 + 0.17 * -(-len(handles) // columns)), layout=OnePass())
    axes = figure.subplots()
    width = 0.84 / len(results.labels)
    for place, label in enumerate(results.labels):
        look, x = looks[label], np.arange(len(results.targets)) + (place - (len(results.labels) - 1) / 2) * width
        seeds = [100 * results.at(label, setting, target)["accuracy"].dropna() for target in results.targets]
        means, stds = _means_and_stds(seeds)
        axes.bar(x, means, 0.9 * width, **look.bar())
        axes.errorbar(x, means, stds, linestyle="", color="#222222", elinewidth=1.2, zorder=5)
        spread = [width * (np.linspace(-0.3, 0.3, len(own)) if len(own) > 1 else np.zeros(len(own))) for own in seeds]
        axes.plot(
            np.concatenate([middle + own for middle, own in zip(x, spread, strict=True)]), np.concatenate(seeds),
            linestyle="", marker="o", markersize=2.2, markerfacecolor="white", markeredgecolor="#222222",
            markeredgewidth=0.4, zorder=4,
        )  # fmt: skip
    axes.set_xticks(range(len(results.targets)), results.targets)
    axes.grid(visible=False, axis="x")
    axes.set_ylim(0, 100)
    axes.set_ylabel("accuracy (%)")
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False,
        handlelength=1.2, handletextpad=0.4, columnspacing=1.2,
    )  # fmt: skip
    return figure


def _panels(results: Results) -> tuple[Figure, dict[str, Axes]]:
    targets = (MULTIMODAL, *results.plan.modalities)
    columns = 2
    rows = -(-len(targets) // columns)
    # A label needs ten points of height at the end of its line.
    height = max(1.75, 0.14 * len(results.labels) + 0.4)
    figure = Figure(figsize=(WIDTH, rows * height + 0.5), layout=OnePass())
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(targets) :]:
        axes.remove()
    panels = dict(zip(targets, grid, strict=False))
    for target, axes in panels.items():
        axes.set_title(target, loc="left", fontweight="bold")
        axes.set_ylabel("accuracy (%)")
    return figure, panels


def _title(figure: Figure, results: Results, title: str, scores: pd.DataFrame, samples: str) -> None:
    facts = ", ".join(filter(None, [wording.datasets(results.plan), samples, wording.seeds(scores)]))
    band = ", ± std over seeds" if scores["seed"].nunique() > 1 else ""
    warnings = [
        "LIMITED RUN" if scores["limit"].notna().any() else "",
        "SELECTED ON THE TEST SPLIT" if (scores["selection"] == "best_test").any() else "",
    ]
    lines = [title, f"{facts}{band}", ", ".join(filter(None, warnings))]
    figure.suptitle("\n".join(filter(None, lines)), x=0.01, ha="left", fontsize=8)


def _means_and_stds(groups: Sequence[pd.Series[float]]) -> tuple[Floats, Floats]:
    """Over the runs of each group; NaN where there is none."""
    summaries = list(map(summarise, groups))
    means = [np.nan if summary.mean is None else summary.mean for summary in summaries]
    return np.array(means), np.array([np.nan if summary.std is None else summary.std for summary in summaries])


def _band(results: Results, label: str, stds: Floats) -> Floats:
    """What of the spread is drawn: of many methods, only that of the one which all figures point out."""
    return stds if len(results.labels) <= CROWD or label == HIGHLIGHT else np.full_like(stds, np.nan)


def _line(
    axes: Axes, x: Floats, means: Floats, stds: Floats, look: Look, marker: str | None = None
) -> tuple[float, float] | None:
    """Draws mean and band; where nothing was measured there is a gap. Returns the last point, if any."""
    axes.plot(x, means, **(look.line() if marker is None else {**look.line(), "marker": marker}))
    if not np.isnan(stds).all():
        axes.fill_between(x, means - stds, means + stds, color=look.colour, alpha=0.15, linewidth=0, zorder=2)
    known = np.flatnonzero(~np.isnan(means))
    return (float(x[known[-1]]), float(means[known[-1]])) if known.size else None


def label_ends(axes: Axes, ends: Mapping[str, tuple[float, float] | None], looks: Mapping[str, Look]) -> None:
    """Writes each method's name at the right edge; :func:`spread_labels` moves apart what would overlap."""
    for label, end in ends.items():
        if end is None:
            continue
        axes.annotate(
            short(label),
            xy=end,
            xytext=(_LABELS_AT, end[1]),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=7,
            color=looks[label].colour,
            fontweight="bold" if label == HIGHLIGHT else "normal",
            annotation_clip=False,
        )


def spread_labels(figure: Figure) -> None:
    """Moves the labels of each panel apart, as little as possible and in the order of their lines, and points to these.

    The lines that point are one object: an arrow for each label takes as long as the rest of a panel.
    """
    arrange(figure)  # leaves room for the labels
    for axes in figure.axes:
        labels = [text for text in axes.texts if isinstance(text, Annotation)]
        labels.sort(key=lambda text: text.xy[1])
        low, high = axes.get_ylim()
        height = axes.get_window_extent().height * 72.0 / figure.dpi
        gap = 8.5 / height * (high - low)
        for text, y in zip(labels, spread([text.xy[1] for text in labels], gap, low, high), strict=True):
            text.set_position((_LABELS_AT, y))
        left, right = axes.get_xlim()
        edge = left + _LABELS_AT * (right - left)
        leaders = [[text.xy, (edge, text.get_position()[1])] for text in labels]
        colours = [text.get_color() for text in labels]
        axes.add_collection(
            LineCollection(leaders, colors=colours, linewidths=0.5, clip_on=False, zorder=2), autolim=False
        )


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions at least ``gap`` apart, nearest (in the least-squares sense) to the ``wanted``, which ascend.

    They stay between ``low`` and ``high`` if they fit there.
    """
    # With the gaps taken off, positions must ascend only: pool neighbours that do not into their mean.
    blocks: list[tuple[float, int]] = []
    for place, position in enumerate(wanted):
        mean, size = position - place * gap, 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        blocks.append((mean, size))
    room = max(low, high - (len(wanted) - 1) * gap)
    flat = [min(max(mean, low), room) for mean, size in blocks for _ in range(size)]
    return [position + place * gap for place, position in enumerate(flat)]

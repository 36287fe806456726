"""What the answers on several datasets say together: means over datasets, and laziness from scratch beside frozen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from mlabench.reporting.answer import TOPICS, Answer, Contrast, Half
from mlabench.reporting.charts import Chart, Panel, Series, intervals
from mlabench.reporting.table import Cell, Row, Table, unranked
from mlabench.reporting.verdicts import by_encoders
from mlabench.reporting.wording import LEARNING, listed
from mlabench.statistics import Interval, mean_over_datasets

_DASH = Cell(text="—")

#: Why not all datasets are in one mean.
RULE = (
    "Only datasets whose encoders learn alike are taken together, and of datasets with the same samples one: that with "
    "the most trainings."
)


def means(answers: Sequence[Answer]) -> list[Table]:
    """The comparisons that several datasets share: the difference on each, and the mean over them.

    A table for each way in which encoders learn, if two datasets have it.
    """
    found = []
    for encoders, own in by_encoders(answers).items():
        rows = [row for half in TOPICS for row in _mean_rows(half, own)]
        if rows:
            found.append(_mean_table(encoders, rows))
    return found


@dataclass(frozen=True)
class _MeanRow:
    """A comparison, its effect by dataset, and its mean."""

    half: Half
    shown: Contrast
    effects: dict[str, Interval]
    mean: Interval
    heterogeneity: float


def _mean_rows(half: Half, answers: Sequence[Answer]) -> Iterator[_MeanRow]:
    """The comparisons that all datasets share which this was asked on."""
    # Of several groups of suites that ask about the same samples, the first has most trainings.
    own = {answer.samples: answer for answer in reversed(answers) if answer.half == half}
    by_pair: dict[tuple[str, str, str], dict[str, Contrast]] = {}
    for answer in reversed(own.values()):
        for one in answer.family.contrasts:
            if one.effect and 0 < one.effect.half_width < inf:
                by_pair.setdefault((one.what, one.other, one.unit), {})[answer.dataset] = one
    for contrasts in by_pair.values():
        if len(contrasts) == len(own) > 1:
            effects = {dataset: one.effect for dataset, one in contrasts.items() if one.effect}
            over = mean_over_datasets(effects)
            yield _MeanRow(half, next(iter(contrasts.values())), effects, over.mean, over.heterogeneity)


def _mean_table(encoders: str, rows: Sequence[_MeanRow]) -> Table:
    datasets = list(dict.fromkeys(dataset for row in rows for dataset in row.effects))
    lines = []
    for row in rows:
        one, form = row.shown, f"z.{row.shown.digits}f"
        shown = [row.effects.get(name) for name in datasets]
        cells = [_DASH if effect is None else Cell(interval=effect, form=f"+{form}") for effect in shown]
        mean = Cell(interval=row.mean, form=f"+{form}"), Cell(text=format(row.heterogeneity, form))
        unit = f" ({one.unit})" if one.unit not in ("", "points") else ""
        topic = TOPICS[row.half]
        lines.append(Row((f"{topic.question} {topic.name}", f"{one.what}{unit}", one.other), (*cells, *mean)))
    title = f"Means over {listed(datasets)}"
    return Table(
        name=f"means_{encoders}".replace(" ", "_").rstrip("_"),
        title=f"{title} ({LEARNING.get(encoders, encoders).lower()})" if encoders else title,
        note=f"{rows[0].shown.method} minus it, in points unless it says otherwise, with 95 % intervals. Mean: a "
        "random-effects mean, whose interval covers the draw of the datasets. Spread: standard deviation of the true "
        f"differences between datasets. {RULE} Comparisons that not all of these datasets have are left out.",
        conditions="",
        heads=("Question", "What", "Minus"),
        columns=unranked(*datasets, "Mean", "Spread"),
        rows=tuple(lines),
    )


@dataclass(frozen=True)
class SideBySide:
    """How lazy modalities stay where encoders learn in different ways."""

    sentences: tuple[str, ...]
    table: Table
    chart: Chart


def laziness_by_encoders(answers: Sequence[Answer]) -> SideBySide | None:
    """Q1's laziness from scratch and frozen, side by side; None unless encoders learn in two ways at least."""
    asked = [one for one in answers if one.half == "laziness"]
    every_group = {
        LEARNING.get(encoders, encoders): [found for found in map(_lazy, own) if found is not None]
        for encoders, own in by_encoders(asked).items()
    }
    groups = {name: own for name, own in every_group.items() if own}
    if len(groups) < 2:
        return None
    every = [lazy for own in groups.values() for lazy in own]
    joint, method = every[0].joint[0].method, every[0].method[0].method
    rows = [
        Row((name, lazy.dataset, _modality(three[0])), (*map(_cell, three), Cell(text=three[2].verdict)), group=name)
        for name, own in groups.items()
        for lazy in own
        for three in zip(lazy.joint, lazy.method, lazy.raised, strict=True)
    ]
    table = Table(
        name="laziness",
        title="What each modality reaches on its own, by how encoders learn",
        note="Differences in points with 95 % intervals: of linear probes on the encoders where these were recorded, "
        "else of unimodal predictions. Alone: the same encoder trained without the other modalities. Below zero, "
        f"training with the others leaves a modality lazy. Verdict: on {method} minus {joint}. A frozen encoder "
        "learns nothing, so that only the small network on top of it can be lazy.",
        conditions="",
        heads=("Encoders", "Dataset", "Modality"),
        columns=unranked(f"{joint} minus alone", f"{method} minus alone", f"{method} minus {joint}", "Verdict"),
        rows=tuple(rows),
    )
    panels = tuple(
        Panel(
            name,
            tuple(series for lazy in own for series in _series(lazy, joint, method)),
            reference=0.0,
            band=every[0].margin,
        )
        for name, own in groups.items()
    )
    chart = Chart(
        name="laziness",
        title="What each modality reaches on its own, minus the same encoder trained alone",
        caption="Left of zero, a modality is lazy. Shaded: within the margin of "
        f"±{every[0].margin:g} points it is practically as good as alone.",
        kind="row",
        x="",
        y="Minus alone (points)",
        panels=panels,
        form="+z.1f",
    )
    told = (
        f"{name}: {_told(joint, [lazy.joint for lazy in own])}, {_told(method, [lazy.method for lazy in own])}."
        for name, own in groups.items()
    )
    return SideBySide(tuple(told), table, chart)


@dataclass(frozen=True)
class _Lazy:
    """One dataset's comparisons, each by modality: joint training and the method with alone, and with each other."""

    dataset: str
    margin: float
    joint: tuple[Contrast, ...]
    method: tuple[Contrast, ...]
    raised: tuple[Contrast, ...]


def _lazy(answer: Answer) -> _Lazy | None:
    """None where no suite trains a modality alone."""
    raised = answer.family.contrasts
    alone = {own.contrasts[0].method: own.contrasts for _, own in answer.more}
    joint, method = (alone.get(label) for label in (raised[0].other, answer.method))
    if joint is None or method is None:
        return None
    return _Lazy(answer.dataset, answer.family.margin, joint, method, raised)


def _told(label: str, compared: Sequence[Sequence[Contrast]]) -> str:
    """``Concat leaves 2 of 5 modalities lazy (1 undecided)``"""
    verdicts = [one.verdict for own in compared for one in own]
    undecided = verdicts.count("undecided")
    open_ = f" ({undecided} undecided)" if undecided else ""
    return f"{label} leaves {verdicts.count('worse')} of {len(verdicts)} modalities lazy{open_}"


def _series(lazy: _Lazy, joint: str, method: str) -> Iterator[Series]:
    for pair in zip(lazy.joint, lazy.method, strict=True):
        yield intervals(f"{lazy.dataset}, {_modality(pair[0])}", [joint, method], [one.effect for one in pair])


def _modality(one: Contrast) -> str:
    return one.what.split()[-1]


def _cell(one: Contrast) -> Cell:
    return _DASH if one.effect is None else Cell(interval=one.effect, form=f"+z.{one.digits}f")

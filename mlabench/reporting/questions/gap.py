"""Q4: how MLA changes the modality gap, and whether one modality's absence in training hurts the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

import numpy as np

from mlabench.missing import Missing
from mlabench.reporting import wording
from mlabench.reporting.answer import Answer, Contrast, Family, Side
from mlabench.reporting.charts import Chart, Panel, Series
from mlabench.reporting.evidence import Run
from mlabench.reporting.questions import common
from mlabench.reporting.questions.common import Place
from mlabench.reporting.questions.inquiry import COMPLETE, Inquiry, family
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import Cell, Column, Row, Table, unranked
from mlabench.statistics import summarise

#: Points per modality in a projection: more only hide each other.
_PROJECTED = 300

_COMPLETE = Missing().key
_MEAN = "Mean"
_UNIT = "points per 10 points of missing rate"

#: A margin of so many points over missing rates from 0 to 80 % is an eighth of it per 10 points.
_TENS = 8

Gaps = dict[Run, dict[str, float]]


def answers(inquiry: Inquiry) -> Iterator[Answer]:
    """Both halves, as far as the trials are made for them."""
    yield from _gap(inquiry)
    yield from _absence(inquiry)


# -- the modality gap ---------------------------------------------------------------------------


def _gap(inquiry: Inquiry) -> Iterator[Answer]:
    """Is MLA's gap larger than that of concatenation? Nothing unless both are trained on complete data."""
    results, mla = inquiry.results, inquiry.method
    labels = _complete_labels(results)
    concat = next((label for label in common.labels_of(results.plan, "concat") if label in labels), None)
    measured = {label: found for label in labels if (found := gaps(results, label))}
    if mla not in labels or mla is None or concat is None:
        return
    first, second = ({run: 100 * own[_MEAN] for run, own in measured.get(label, {}).items()} for label in (mla, concat))
    sides = Side(None, first), Side(None, second)
    one = Contrast(mla, concat, "modality gap", COMPLETE, None, "hundredths of distance", sides)
    decided = family([one], inquiry.plan.margin)
    (own,) = decided.contrasts
    words = {"better": "larger than", "worse": "smaller than", "practically equal": "practically equal to"}
    means = " against ".join(
        f"{_mean(measured.get(label, {})).mean or 'none measured'} ({label})" for label in (mla, concat)
    )
    told = f"The modality gap of {mla} is {words.get(own.verdict, 'undecided against')} that of {concat}: {means}"
    yield inquiry.answer(
        "gap",
        decided,
        "MLA enlarges the gap between the modalities' embeddings, compared with concatenation.",
        f"{told}{f'; {own.needed}' if own.needed else ''}.",
        "The gap of a trained model is the distance between the centroids of two modalities' L2-normalised test "
        "embeddings (Liang et al., 2022), averaged over the pairs of modalities. Compared: in hundredths of distance, "
        f"{mla} minus {concat}. Better means larger here, which need not be a merit.",
        tables=(_gap_table(inquiry, measured),) if measured else (),
        charts=(*_gap_charts(inquiry, measured), *_projections(inquiry, measured)) if measured else (),
        caveats=tuple(_gap_caveats()),
    )


def gaps(results: Results, label: str) -> Gaps:
    """The gap of each pair of modalities, and their mean, per training on complete data, tested likewise."""
    found: Gaps = {}
    for cell in results.plan.cells:
        record = results.records.get(cell.trial.id)
        if cell.label != label or cell.trial.missing.key != _COMPLETE or record is None:
            continue
        evaluation = record.evaluations.get(_COMPLETE)
        if evaluation is not None and evaluation.modality_gap:
            pairs = evaluation.modality_gap
            run = cell.trial.seed, cell.trial.fold.name if cell.trial.fold else ""
            found[run] = {**pairs, _MEAN: sum(pairs.values()) / len(pairs)}
    return found


def _complete_labels(results: Results) -> list[str]:
    cells = (cell for cell in results.plan.cells if cell.trial.missing.key == _COMPLETE)
    return list(dict.fromkeys(cell.label for cell in cells))


def _mean(found: Gaps, pair: str = _MEAN) -> Cell:
    return Cell(summary=summarise(pairs[pair] for pairs in found.values() if pair in pairs), form="z.2f")


def _names(measured: Mapping[str, Gaps]) -> tuple[str, ...]:
    """The pairs of modalities that any model has a gap for, and their mean."""
    found = (pair for by_run in measured.values() for pairs in by_run.values() for pair in pairs)
    return *dict.fromkeys(pair for pair in found if pair != _MEAN), _MEAN


def _gap_table(inquiry: Inquiry, measured: Mapping[str, Gaps]) -> Table:
    names, evidence = _names(measured), inquiry.evidence
    rows = [
        Row(
            (label,),
            (*(_mean(found, pair) for pair in names), common.accuracy_cell(evidence, label, COMPLETE, MULTIMODAL)),
        )
        for label, found in measured.items()
    ]
    return Table(
        name="modality_gap",
        title="Modality gap on complete test samples",
        note="Distance between the centroids of the L2-normalised embeddings (0: same place; 2: opposite poles), per "
        "pair of modalities and on average, mean ± standard deviation over trainings. A larger gap is not a better "
        f"one. Fused accuracy in percent. {common.INTERVALS}",
        conditions=inquiry.conditions(COMPLETE),
        heads=("Method",),
        columns=(*unranked(*(pair.replace("|", " – ") for pair in names)), Column("Fused accuracy")),
        rows=tuple(rows),
    ).with_best()


def _gap_charts(inquiry: Inquiry, measured: Mapping[str, Gaps]) -> Iterator[Chart]:
    names = _names(measured)
    x = [name.replace("|", " – ") for name in names]
    cells = {label: [_mean(found, name) for name in names] for label, found in measured.items()}
    yield Chart(
        name="modality_gap",
        title="Modality gap by method",
        caption="Distance between the centroids of the L2-normalised embeddings of two modalities, complete test "
        "samples. Points: mean over trainings; whiskers: standard deviation over trainings.",
        kind="row",
        x="Pair of modalities",
        y="Modality gap",
        panels=(Panel("", tuple(common.series(label, x, own) for label, own in cells.items())),),
    )
    series = []
    for label, found in measured.items():
        accuracies = inquiry.evidence.per_training(label, COMPLETE, MULTIMODAL)
        runs = [run for run in found if run in accuracies]
        gap, accuracy = [found[run][_MEAN] for run in runs], [accuracies[run] for run in runs]
        series.append(Series(label, gap, accuracy, text=[f"seed {seed} {fold}".strip() for seed, fold in runs]))
    yield Chart(
        name="gap_accuracy",
        title="Modality gap against accuracy",
        caption="One point per trained model: mean gap over the pairs of modalities, and fused accuracy, both on "
        "complete test samples. If a larger gap were better, the points would rise to the right.",
        kind="scatter",
        x="Mean modality gap",
        y="Fused accuracy (%)",
        panels=(Panel("", tuple(one for one in series if one.x)),),
    )


def _projections(inquiry: Inquiry, measured: Mapping[str, Gaps]) -> Iterator[Chart]:
    panels = []
    for label, found in measured.items():
        seed = min(found)[0]
        if points := inquiry.evidence.projections(label, seed):
            series = [_thinned(modality, [(float(x), float(y)) for x, y in rows]) for modality, rows in points.items()]
            panels.append(Panel(f"{label}, seed {seed}", tuple(series)))
    if panels:
        yield Chart(
            name="projection",
            title="Embeddings of the test samples",
            caption="First two principal components of the L2-normalised embeddings of all modalities together, one "
            f"model per method; at most {_PROJECTED} evenly chosen samples per modality. A plane shows only a part of "
            "the distance: the table has the whole of it. Axes of different methods are not comparable.",
            kind="scatter",
            x="First component",
            y="Second component",
            panels=tuple(panels),
        )


def _thinned(modality: str, points: Sequence[tuple[float, float]]) -> Series:
    """At most so many of the points, evenly chosen from the first to the last."""
    count = min(len(points), _PROJECTED)
    chosen = [points[place * len(points) // count] for place in range(count)]
    return Series(modality, [x for x, _ in chosen], [y for _, y in chosen])


def _gap_caveats() -> Iterator[str]:
    yield (
        "A larger modality gap need not be a better one: a reviewer of MLA's first version (ICLR 2024) objected to "
        "reading it as a merit. The verdict says only whether the gap is larger."
    )
    yield (
        "The gap depends on the encoder's last layer: behind a ReLU all embeddings lie in one orthant, which keeps "
        "two centroids within √2 of each other; its width matters, too. It is comparable only between methods with "
        "the same encoders."
    )
    yield "The gap is one distance per trained model: its comparison takes the test samples as given."


# -- absence in training ------------------------------------------------------------------------


def _absence(inquiry: Inquiry) -> Iterator[Answer]:
    """Does a modality's absence in training hurt the others? Nothing without MLA so trained."""
    results, mla, rates = inquiry.results, inquiry.method, training_rates(inquiry.results)
    if mla is None or not rates:
        return
    pairs = [pair for pair in permutations(results.plan.modalities, 2) if pair[1] in rates]
    rival = next(iter((*common.labels_of(results.plan, "qmf"), *common.baselines(results.plan))), None)
    margin = inquiry.plan.margin / _TENS
    against = family([_slopes(inquiry, pairs, rates, mla, rival)] if rival else [], margin)
    own = family([_slopes(inquiry, pairs, rates, mla, None)], margin)
    by_pair = family((_slopes(inquiry, [pair], rates, mla, rival) for pair in pairs if rival), margin)
    (hurt,) = own.contrasts
    words = {"better": "gains from it", "worse": "is hurt by it", "practically equal": "is practically not hurt by it"}
    harm = hurt.told(words.get(hurt.verdict, "may or may not be hurt by it"))
    told = f"If another modality is absent from training samples, a modality of {mla} {harm}"
    yield inquiry.answer(
        "absence",
        against,
        "In MLA, training samples that lack one modality do not hurt the accuracy of the others, in contrast to QMF.",
        f"{told} {_UNIT}; {mla} is {against.tally() if rival else 'compared with no other method'} in this.",
        "A slope is what a modality's accuracy on complete test samples gains or loses per 10 points of another's "
        f"missing rate in training, by least squares, averaged over all pairs of an observed and a missing modality. "
        f"Compared: {mla}'s slope minus {rival or 'that of another method'}'s. The margin is that of the suite over a "
        "missing rate of 80 %: an eighth of it per 10 points.",
        more=(("Against no change", own), ("Each pair of an observed and a missing modality", by_pair)),
        tables=(_accuracy_table(inquiry, pairs, rates),),
        charts=(
            *([_slope_chart(mla, rival, by_pair)] if rival else []),
            _chart(inquiry, pairs, rates),
        ),
        caveats=tuple(_absence_caveats(results, rates)),
    )


def training_rates(results: Results) -> dict[str, dict[float, str]]:
    """Per modality that is missing alone in training: its rates, ascending, and the settings they are called by.

    Complete data count as a rate of 0 of each; a modality with fewer than two rates has no slope and is left out.
    """
    names = dict(zip(results.scores["train"], results.scores["train_setting"], strict=True))
    rates: dict[str, dict[float, str]] = {modality: {} for modality in results.plan.modalities}
    for cell in results.plan.cells:
        recipe = cell.trial.missing
        missing = [modality for modality, rate in recipe.rates.items() if rate > 0]
        if recipe.key not in names or recipe.protocol not in ("complete", "per_modality") or len(missing) > 1:
            continue
        for modality in missing or rates:
            rates[modality][recipe.rates.get(modality, 0.0)] = names[recipe.key]
    return {modality: dict(sorted(found.items())) for modality, found in rates.items() if len(found) > 1}


def _slopes(
    inquiry: Inquiry,
    pairs: Sequence[tuple[str, str]],
    rates: Mapping[str, Mapping[float, str]],
    label: str,
    other: str | None,
) -> Contrast:
    """A method's mean slope over pairs of an observed and a missing modality, minus another's, or minus none."""
    places: list[tuple[str, str]] = []
    weights: list[float] = []
    for observed, missing in pairs:
        tens = 10.0 * np.array(list(rates[missing]))
        # The slope is linear in the accuracies.
        weights += ((tens - tens.mean()) / ((tens - tens.mean()) ** 2).sum() / len(pairs)).tolist()
        places += [(setting, observed) for setting in rates[missing].values()]
    own: list[Place] = [(label, *place) for place in places]
    first = common.side(inquiry.evidence, own, weights)
    second = common.side(
        inquiry.evidence, [(other or label, *place) for place in places], weights if other else [0.0] * len(weights)
    )
    what = "slope" if len(pairs) > 1 else "{} when {} is missing".format(*pairs[0])
    return Contrast(label, other or "no change", what, "all rates", None, _UNIT, (first, second))


def _slope_chart(mla: str, rival: str, by_pair: Family) -> Chart:
    return Chart(
        name="differences",
        title="Slopes for each pair of modalities",
        caption=f"{mla} minus {rival}. Right of zero, {mla} is hurt less. Shaded: practically equal.",
        kind="row",
        x="",
        y=f"{mla} minus {rival} ({_UNIT})",
        panels=(Panel("", tuple(by_pair.series(by="what")), reference=0.0, band=by_pair.margin),),
        form="+z.2f",
    )


def _accuracy_table(
    inquiry: Inquiry, pairs: Sequence[tuple[str, str]], rates: Mapping[str, Mapping[float, str]]
) -> Table:
    results = inquiry.results
    every = sorted({rate for found in rates.values() for rate in found})
    rows = [
        Row(
            (observed, missing, label),
            tuple(
                common.accuracy_cell(inquiry.evidence, label, rates[missing][rate], observed)
                if rate in rates[missing]
                else Cell(text="not asked for")
                for rate in every
            ),
            group=f"{observed}|{missing}",
        )
        for observed, missing in pairs
        for label in results.plan.labels
    ]
    return Table(
        name="absence_accuracy",
        title="Unimodal accuracy against another modality's missing rate in training",
        note="Unimodal accuracy in percent. Columns: missing rate, in training, of the modality that is missing. "
        f"{common.INTERVALS}",
        conditions=wording.conditions(results.plan, results.scores),
        heads=("Observed", "Missing in training", "Method"),
        columns=tuple(Column(f"{100 * rate:g} %") for rate in every),
        rows=tuple(rows),
        detail=True,
    ).with_best()


def _chart(inquiry: Inquiry, pairs: Sequence[tuple[str, str]], rates: Mapping[str, Mapping[float, str]]) -> Chart:
    panels = []
    for observed, missing in pairs:
        series = []
        for label in inquiry.plan.labels:
            at = rates[missing].values()
            cells = [common.accuracy_cell(inquiry.evidence, label, setting, observed) for setting in at]
            series.append(common.series(label, [100.0 * rate for rate in rates[missing]], cells))
        panels.append(Panel(f"{observed}, when {missing} is missing", tuple(series)))
    return Chart(
        name="absence",
        title="Unimodal accuracy against another modality's missing rate in training",
        caption="Accuracy of a modality's own prediction on complete test samples, after training in which another "
        f"modality is missing from so many samples. A level line: its absence does not hurt. {common.WHISKERS}",
        kind="line",
        x="Missing rate in training (%)",
        y="Unimodal accuracy (%)",
        panels=tuple(panels),
    )


def _absence_caveats(results: Results, rates: Mapping[str, Mapping[float, str]]) -> Iterator[str]:
    yield "The margin is ours, chosen before any result was seen: the paper shows curves and names no threshold."
    counts = sorted({len(found) for found in rates.values()})
    yield (
        f"A slope sums up {'–'.join(map(str, counts))} rates by a straight line, which hides a fall at high rates "
        "only; the curves show it."
    )
    if never := [modality for modality in results.plan.modalities if modality not in rates]:
        yield f"No suite removes {wording.listed(never)} from training."

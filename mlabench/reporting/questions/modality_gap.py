"""First half of Q4: is the modality gap of MLA larger than that of concatenation?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mlabench.missing import Missing
from mlabench.reporting import wording
from mlabench.reporting.charts import Chart, Panel, Series
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.former import Answer, Finding
from mlabench.reporting.questions import common
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import Cell, Column, Row, Table, measure, unranked
from mlabench.statistics import Comparison, Interval, summarise
from mlabench.words import counted

_CLAIM = "MLA enlarges the gap between the modalities' embeddings, compared with concatenation."

_RULE = (
    "The gap of a trained model is the distance between the centroids of two modalities' L2-normalised test embeddings "
    "(Liang et al., 2022), averaged over the pairs of modalities. Supported if MLA's is larger than concatenation's, "
    f"paired over seeds: the interval of the difference lies above 0 and p < {common.LEVEL:g} after Holm's correction. "
    "Contradicted if it is smaller in the same sense; not decided otherwise."
)

#: Points per modality in a projection: more only hide each other.
_PROJECTED = 300

_COMPLETE = Missing().key
_SETTING = "0 %"
_MEAN = "Mean"

Gaps = dict[int, dict[str, float]]


def compared(evidence: Evidence) -> Comparison | None:
    """MLA's mean gap minus that of concatenation; None if the suite has not both, or fewer than two seeds do."""
    rivals = _rivals(evidence.results)
    if rivals is None:
        return None
    first, second = ({seed: pairs[_MEAN] for seed, pairs in gaps(evidence.results, label).items()} for label in rivals)
    return common.over_seeds(first, second)


def answer(evidence: Evidence, comparison: Comparison | None, p: float | None) -> Answer | None:
    """The answer; None unless the suite trains MLA and a concatenation on complete data; ``p`` is corrected."""
    results = evidence.results
    rivals = _rivals(results)
    if rivals is None:
        return None
    plan = results.plan
    measured = {label: found for label in _complete_labels(results) if (found := gaps(results, label))}
    finding = _finding(measured, rivals, comparison, p)
    return Answer(
        question="Q4",
        suite=plan.name,
        dataset=common.dataset(plan),
        claim=_CLAIM,
        verdict=finding.verdict,
        rule=_RULE,
        headline=finding.statement,
        effect=finding.effect,
        findings=(finding,),
        tables=(_table(results, measured, rivals[1]),),
        charts=(_by_method(measured), _against_accuracy(evidence, measured), *_projections(evidence, measured))
        if measured
        else (),
        caveats=(*common.caveats(evidence), *_caveats(measured)),
    )


def gaps(results: Results, label: str) -> Gaps:
    """The gap of each pair of modalities, and their mean, per seed of a method trained and tested on complete data."""
    found: Gaps = {}
    for cell in results.plan.cells:
        record = results.records.get(cell.trial.id)
        if cell.label != label or cell.trial.missing.key != _COMPLETE or record is None:
            continue
        evaluation = record.evaluations.get(_COMPLETE)
        if evaluation is not None and evaluation.modality_gap:
            pairs = evaluation.modality_gap
            found[cell.trial.seed] = {**pairs, _MEAN: sum(pairs.values()) / len(pairs)}
    return found


def _rivals(results: Results) -> tuple[str, str] | None:
    """The labels of MLA and of concatenation, if both are asked for on complete data."""
    complete = _complete_labels(results)
    mla = common.method_in_question(results.plan)
    concat = next((label for label in common.labels_of(results.plan, "concat") if label in complete), None)
    return (mla, concat) if mla in complete and concat is not None else None


def _complete_labels(results: Results) -> list[str]:
    cells = (cell for cell in results.plan.cells if cell.trial.missing.key == _COMPLETE)
    return list(dict.fromkeys(cell.label for cell in cells))


def _mean(found: Gaps, pair: str = _MEAN) -> Cell:
    return Cell(summary=summarise(pairs[pair] for pairs in found.values() if pair in pairs), form="z.2f")


def _finding(
    measured: Mapping[str, Gaps], rivals: tuple[str, str], comparison: Comparison | None, p: float | None
) -> Finding:
    absent = [label for label in rivals if label not in measured]
    if absent:
        return Finding(f"The modality gap was not measured for {wording.listed(absent)}.", "not decided")
    means = " against ".join(f"{_mean(measured[label]).mean} ({label})" for label in rivals)
    if comparison is None or p is None:
        return Finding(
            f"The modality gap: {means}; no seed, or only one, has both, so nothing can be tested.", "not decided"
        )
    raw = comparison.difference
    difference = Interval(100 * raw.estimate, 100 * raw.low, 100 * raw.high, raw.level, "hundredths of distance")
    return Finding(
        f"The modality gap: {means}, a difference of {wording.points(difference)} ("
        f"{counted(comparison.seeds, 'seed')}, {wording.p_value(p)} after Holm's correction).",
        common.verdict(difference, p),
        difference,
        p,
    )


def _table(results: Results, measured: Mapping[str, Gaps], concat: str) -> Table:
    pairs = _pairs(measured)
    reference = {seed: found[_MEAN] for seed, found in measured.get(concat, {}).items()}
    rows = []
    for label in _complete_labels(results):
        found = measured.get(label, {})
        own = {seed: one[_MEAN] for seed, one in found.items()}
        difference = common.over_seeds(own, reference) if label != concat else None
        cells = (
            *(_mean(found, pair) for pair in (*pairs, _MEAN)),
            Cell(interval=difference.difference, form="+z.2f") if difference else Cell(text="—"),
            measure(results.at(label, _SETTING, MULTIMODAL)),
            common.shortfall_cell(results, label),
        )
        rows.append(Row((label,), cells))
    columns = (*(pair.replace("|", " – ") for pair in pairs), _MEAN, f"Mean, minus {concat}")
    return Table(
        name="modality_gap",
        title="Modality gap on complete test samples",
        note="Distance between the centroids of the L2-normalised embeddings (0: same place; 2: opposite poles), per "
        "pair of modalities and on average, and the difference of the average with its 95 % interval, paired over "
        "seeds. A larger gap is not a better one. Multimodal accuracy in percent.",
        conditions=wording.conditions(results.plan, results.on_axis(_SETTING)),
        heads=("Method",),
        columns=(
            *unranked(*columns),
            Column("Multimodal"),
            *unranked("Not there"),
        ),
        rows=tuple(rows),
    ).with_best()


def _pairs(measured: Mapping[str, Gaps]) -> tuple[str, ...]:
    """The pairs of modalities that any model has a gap for."""
    found = (pair for seeds in measured.values() for pairs in seeds.values() for pair in pairs)
    return tuple(dict.fromkeys(pair for pair in found if pair != _MEAN))


def _by_method(measured: Mapping[str, Gaps]) -> Chart:
    names = (*_pairs(measured), _MEAN)
    x = [name.replace("|", " – ") for name in names]
    series = [common.series(label, x, [_mean(found, name) for name in names]) for label, found in measured.items()]
    return Chart(
        name="modality_gap",
        title="Modality gap by method",
        caption="Distance between the centroids of the L2-normalised embeddings of two modalities, complete test "
        "samples. Points: mean over seeds; whiskers: standard deviation over seeds.",
        kind="row",
        x="Pair of modalities",
        y="Modality gap",
        panels=(Panel("", tuple(series)),),
    )


def _against_accuracy(evidence: Evidence, measured: Mapping[str, Gaps]) -> Chart:
    series = []
    for label, found in measured.items():
        accuracies = evidence.per_seed(label, _SETTING, MULTIMODAL)
        seeds = [seed for seed in found if seed in accuracies]
        series.append(
            Series(
                label,
                [found[seed][_MEAN] for seed in seeds],
                [accuracies[seed] for seed in seeds],
                text=[f"seed {seed}" for seed in seeds],
            )
        )
    return Chart(
        name="gap_accuracy",
        title="Modality gap against accuracy",
        caption="One point per trained model: mean gap over the pairs of modalities, and multimodal accuracy, both on "
        "complete test samples. If a larger gap were better, the points would rise to the right.",
        kind="scatter",
        x="Mean modality gap",
        y="Multimodal accuracy (%)",
        panels=(Panel("", tuple(one for one in series if one.x)),),
    )


def _projections(evidence: Evidence, measured: Mapping[str, Gaps]) -> Iterator[Chart]:
    panels = []
    for label, found in measured.items():
        seed = min(found)
        if points := evidence.projections(label, seed):
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


def _caveats(measured: Mapping[str, Gaps]) -> Iterator[str]:
    yield (
        "A larger modality gap need not be a better one: a reviewer of MLA's first version (ICLR 2024) objected to "
        "reading it as a merit. The verdict says only whether the gap is larger."
    )
    yield (
        "The gap depends on the encoder's last layer: behind a ReLU all embeddings lie in one orthant, which keeps "
        "two centroids within √2 of each other; its width matters, too. It is comparable only between methods with "
        "the same encoders."
    )
    if measured:
        yield "The gap is tested over seeds alone: a record holds one distance per model, not one per sample."

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from mlabench.missing import Missing
from mlabench.record import Evaluation, Record, Scores
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.former import Answer
from mlabench.reporting.questions import absence, gap
from mlabench.reporting.results import load
from mlabench.reporting.table import Table
from mlabench.store.records import Store
from mlabench.suite import load_suite
from mlabench.suite.expansion import expand
from mlabench.suite.plan import Plan, PlannedTrial
from tests.reporting.synthetic import failed, trial

MODALITIES = ("audio", "image", "text")
SAMPLES = 400
SUITES = Path(__file__).parents[2] / "suites"
COMPLETE = Missing()

#: The gaps of the pairs, by seed.
Gaps = Sequence[tuple[float, float, float]]

#: The accuracy in percent of a label's modality, at a missing rate of another one in training, by seed.
Accuracy = Callable[[str, str, str, float, int], float]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def scores(accuracy: float) -> Scores:
    return Scores(n=SAMPLES, accuracy=accuracy / 100, macro_f1=accuracy / 100, uar=accuracy / 100, ece=0.1)


def write(
    store: Store,
    label: str,
    seed: int,
    train: Missing = COMPLETE,
    *,
    accuracy: Mapping[str, float] | None = None,
    gaps: tuple[float, float, float] | None = None,
    projections: bool = False,
) -> PlannedTrial:
    """One training, tested on complete samples."""
    cell = PlannedTrial(label=label, trial=trial(label, seed).model_copy(update={"missing": train}), tests=(COMPLETE,))
    accuracy = accuracy or dict.fromkeys(MODALITIES, 50.0)
    names = ("audio|image", "audio|text", "image|text")
    evaluation = Evaluation(
        missing=COMPLETE,
        missing_rate=0.0,
        pattern_sha256="0" * 64,
        multimodal=scores(60.0 + seed),
        unimodal={modality: scores(accuracy[modality]) for modality in MODALITIES},
        modality_gap=dict(zip(names, gaps, strict=True)) if gaps else {},
    )
    arrays = None
    if projections:
        arrays = {"ids": np.array([f"sample{place}" for place in range(SAMPLES)]), "labels": np.zeros(SAMPLES, int)}
        for column, modality in enumerate(MODALITIES):
            points = np.stack([np.arange(SAMPLES), np.full(SAMPLES, column)], axis=1)
            arrays[f"complete/projection/{modality}"] = points.astype(np.float32)
    store.write(Record(trial=cell.trial, status="ok", selected_epoch=1, evaluations={"complete": evaluation}), arrays)
    return cell


def gap_suite(store: Store, gaps: Mapping[str, Gaps], *, projections: bool = False) -> Plan:
    cells = [
        write(store, label, seed, gaps=values, projections=projections)
        for label, by_seed in gaps.items()
        for seed, values in enumerate(by_seed)
    ]
    return plan_of(cells)


def absence_suite(
    store: Store,
    accuracy: Accuracy,
    *,
    labels: Sequence[str] = ("QMF", "MLA"),
    missing: Sequence[str] = MODALITIES,
    seeds: Sequence[int] = (0, 1, 2),
    gaps: Mapping[str, Gaps] | None = None,
) -> Plan:
    cells = []
    for label in labels:
        for seed in seeds:
            for absent in missing:
                for rate in (0.0, 0.4, 0.8):
                    train = Missing(protocol="per_modality", rates={absent: rate}) if rate else COMPLETE
                    numbers = {modality: accuracy(label, modality, absent, rate, seed) for modality in MODALITIES}
                    own = gaps[label][seed] if gaps and not rate else None
                    cells.append(write(store, label, seed, train, accuracy=numbers, gaps=own))
    return plan_of(cells)


def plan_of(cells: Sequence[PlannedTrial]) -> Plan:
    return Plan(name="gap", questions=("Q4",), modalities=MODALITIES, cells=tuple(cells))


def answer_of(plan: Plan, store: Store) -> Answer:
    answer = gap.answer(Evidence(load(plan, store), store))
    assert answer is not None
    return answer


def table_of(answer: Answer, name: str) -> Table:
    return next(table for table in answer.tables if table.name == name)


CONCAT = [(0.50, 0.60, 0.40), (0.52, 0.61, 0.43), (0.49, 0.62, 0.39)]
LARGER = [(0.70, 0.80, 0.60), (0.72, 0.83, 0.61), (0.71, 0.78, 0.63)]


def test_a_larger_gap_supports_the_claim(store: Store) -> None:
    answer = answer_of(gap_suite(store, {"Concat": CONCAT, "MLA": LARGER}), store)
    means = [[np.mean(pairs) for pairs in by_seed] for by_seed in (LARGER, CONCAT)]
    test = ttest_rel(*means)
    interval = test.confidence_interval()
    assert answer.verdict == "supported"
    assert answer.effect is not None
    assert answer.effect.estimate == pytest.approx(100 * (np.mean(means[0]) - np.mean(means[1])))
    assert (answer.effect.low, answer.effect.high) == pytest.approx((100 * interval.low, 100 * interval.high))
    assert answer.findings[0].p_value == pytest.approx(test.pvalue)
    assert "0.71 (MLA) against 0.51 (Concat)" in answer.headline
    assert "absence" not in answer.claim
    assert any("need not be a better one" in caveat for caveat in answer.caveats)


def test_a_smaller_gap_contradicts_it_and_noise_decides_nothing(store: Store) -> None:
    assert answer_of(gap_suite(store, {"Concat": LARGER, "MLA": CONCAT}), store).verdict == "contradicted"
    noisy = [(0.3, 0.4, 0.3), (0.9, 0.9, 0.9), (0.4, 0.5, 0.6)]
    assert answer_of(gap_suite(store, {"Concat": CONCAT, "MLA": noisy}), store).verdict == "not decided"


def test_the_table_of_gaps(store: Store) -> None:
    answer = answer_of(gap_suite(store, {"Concat": CONCAT, "QMF": CONCAT, "MLA": LARGER}), store)
    table = table_of(answer, "modality_gap")
    rows = {row.heads[0]: row.cells for row in table.rows}
    assert [column.name for column in table.columns][:4] == ["audio – image", "audio – text", "image – text", "Mean"]
    assert rows["MLA"][0].mean == "0.71"
    assert rows["MLA"][0].std == "0.01"
    assert rows["Concat"][4].mean == "—"
    assert rows["QMF"][4].mean == "+0.00"
    assert rows["MLA"][4].interval is not None
    assert rows["MLA"][4].mean == "+0.20"
    assert rows["MLA"][5].mean == "61.0"


def test_charts_of_the_gap(store: Store) -> None:
    answer = answer_of(gap_suite(store, {"Concat": CONCAT, "MLA": LARGER}, projections=True), store)
    by_method, against, projection = answer.charts
    mla = by_method.panels[0].series[1]
    assert list(mla.y) == pytest.approx([0.71, np.mean([0.8, 0.83, 0.78]), np.mean([0.6, 0.61, 0.63]), np.mean(LARGER)])
    assert mla.low[0] == pytest.approx(0.70)  # three equally spaced seeds: a standard deviation of 0.01
    assert list(against.panels[0].series[1].x) == pytest.approx(np.mean(LARGER, axis=1))
    assert list(against.panels[0].series[1].y) == pytest.approx([60.0, 61.0, 62.0])
    assert [panel.title for panel in projection.panels] == ["Concat, seed 0", "MLA, seed 0"]
    text = projection.panels[1].series[2]
    assert text.label == "text"
    assert len(text.x) == 300
    assert text.x[0] == 0.0
    assert np.diff(text.x).max() <= 2.0
    assert set(text.y) == {2.0}


def test_records_without_projections_have_no_such_chart(store: Store) -> None:
    answer = answer_of(gap_suite(store, {"Concat": CONCAT, "MLA": LARGER}), store)
    assert [chart.name for chart in answer.charts] == ["modality_gap", "gap_accuracy"]


def test_a_gap_that_was_not_measured_or_only_once(store: Store) -> None:
    plan = gap_suite(store, {"Concat": CONCAT, "MLA": LARGER})
    for cell in plan.cells[-3:]:
        store.write(failed(cell.trial))
    answer = answer_of(plan, store)
    assert (answer.verdict, answer.effect) == ("not decided", None)
    assert "not measured for MLA" in answer.headline
    assert any("MLA (3 of 3 failed)" in caveat for caveat in answer.caveats)
    answer = answer_of(gap_suite(store, {"Concat": CONCAT[:1], "MLA": LARGER[:1]}), store)
    assert (answer.verdict, answer.effect) == ("not decided", None)
    assert "nothing can be tested" in answer.headline


def test_suites_on_something_else_have_no_answer(store: Store) -> None:
    for labels in (("Concat", "QMF"), ("MLA", "QMF")):
        plan = gap_suite(store, dict.fromkeys(labels, CONCAT))
        assert gap.answer(Evidence(load(plan, store), store)) is None


def flat(label: str, modality: str, absent: str, rate: float, seed: int) -> float:
    """QMF loses a point per 10 points of missing rate, a little more or less by seed; MLA next to nothing."""
    slope = {"QMF": -1.0 + 0.1 * seed, "MLA": 0.01 * seed}[label]
    return 70.0 + seed + 10 * slope * rate


def test_absence_that_hurts_only_the_other_method_supports_the_claim(store: Store) -> None:
    answer = answer_of(absence_suite(store, flat), store)
    slopes = {"MLA": [0.0, 0.01, 0.02], "QMF": [-1.0, -0.9, -0.8]}
    test = ttest_rel(slopes["MLA"], slopes["QMF"])
    assert answer.verdict == "supported"
    assert answer.effect is not None
    assert answer.effect.estimate == pytest.approx(0.91)
    assert (answer.effect.low, answer.effect.high) == pytest.approx(tuple(test.confidence_interval()))
    contrast, harm = answer.findings
    assert contrast.p_value == pytest.approx(test.pvalue)
    assert harm.effect is not None
    own = ttest_1samp(slopes["MLA"], 0.0).confidence_interval()
    assert (harm.effect.low, harm.effect.high) == pytest.approx(tuple(own))
    assert "gap" not in answer.claim
    rows = {row.heads: row.cells for row in table_of(answer, "absence_slopes").rows}
    assert len(rows) == 7
    assert [cell.mean for cell in rows["audio", "text"]] == ["-0.90", "+0.01", "+0.91"]
    assert [cell.mean for cell in rows["mean of all pairs", ""]] == ["-0.90", "+0.01", "+0.91"]


def test_absence_that_hurts_mla_contradicts_the_claim(store: Store) -> None:
    def falling(label: str, modality: str, absent: str, rate: float, seed: int) -> float:
        return flat("QMF" if label == "MLA" else "MLA", modality, absent, rate, seed)

    answer = answer_of(absence_suite(store, falling), store)
    assert [finding.verdict for finding in answer.findings] == ["contradicted", "contradicted"]
    assert answer.verdict == "contradicted"


def test_absence_that_hurts_neither_decides_nothing(store: Store) -> None:
    def level(label: str, modality: str, absent: str, rate: float, seed: int) -> float:
        return 70.0 + 0.1 * ((seed + len(label)) % 3) * rate

    answer = answer_of(absence_suite(store, level), store)
    assert [finding.verdict for finding in answer.findings] == ["not decided", "supported"]
    assert answer.verdict == "not decided"


def test_a_slow_fall_within_the_margin_is_no_harm(store: Store) -> None:
    def slowly(label: str, modality: str, absent: str, rate: float, seed: int) -> float:
        slope = -0.2 + 0.001 * seed if label == "MLA" else -2.0 + 0.1 * seed
        return 70.0 + 10 * slope * rate

    answer = answer_of(absence_suite(store, slowly), store)
    assert absence.HARM == 0.25
    assert answer.verdict == "supported"


def test_slopes_are_those_of_the_other_modality_only(store: Store) -> None:
    def own(label: str, modality: str, absent: str, rate: float, seed: int) -> float:
        return 70.0 - 30 * rate * (modality == absent)

    plan = absence_suite(store, own, missing=("audio", "image"))
    evidence = Evidence(load(plan, store), store)
    rates = absence.training_rates(evidence.results)
    assert rates == {
        "audio": {0.0: "0 %", 0.4: "audio 40 %", 0.8: "audio 80 %"},
        "image": {0.0: "0 %", 0.4: "image 40 %", 0.8: "image 80 %"},
    }
    found = absence.slopes(evidence, "MLA", rates)
    assert list(found.pairs) == [("audio", "image"), ("image", "audio"), ("text", "audio"), ("text", "image")]
    assert np.allclose([list(by_seed.values()) for by_seed in found.pairs.values()], 0.0)
    answer = answer_of(plan, store)
    assert any("never removes text" in caveat for caveat in answer.caveats)


def test_the_slope_is_that_of_least_squares(store: Store) -> None:
    def bent(label: str, modality: str, absent: str, rate: float, seed: int) -> float:
        return {0.0: 80.0, 0.4: 79.0, 0.8: 70.0}[rate]

    plan = absence_suite(store, bent)
    evidence = Evidence(load(plan, store), store)
    found = absence.slopes(evidence, "MLA", absence.training_rates(evidence.results))
    assert found.mean[0] == pytest.approx(np.polyfit([0, 4, 8], [80, 79, 70], 1)[0])


def test_charts_of_absence(store: Store) -> None:
    (chart,) = answer_of(absence_suite(store, flat), store).charts
    assert len(chart.panels) == 6
    assert chart.panels[0].title == "audio, when image is missing"
    qmf = chart.panels[0].series[0]
    assert (qmf.label, list(qmf.x)) == ("QMF", [0.0, 40.0, 80.0])
    assert list(qmf.y) == pytest.approx([71.0, 67.4, 63.8])


def test_a_seed_that_lacks_a_rate_has_no_slope(store: Store) -> None:
    plan = absence_suite(store, flat)
    lost = next(cell.trial for cell in plan.cells if cell.label == "MLA" and cell.trial.missing.key != "complete")
    store.write(failed(lost))
    answer = answer_of(plan, store)
    assert "2 seeds" in answer.findings[0].statement
    assert any("MLA (1 of 21 failed)" in caveat for caveat in answer.caveats)


def test_absence_without_a_rival_or_without_runs(store: Store) -> None:
    answer = answer_of(absence_suite(store, flat, labels=("MLA",)), store)
    assert (answer.verdict, answer.effect) == ("not decided", None)
    assert "nothing to compare MLA with" in answer.headline
    answer = answer_of(absence_suite(store, flat, seeds=(0,)), store)
    assert (answer.verdict, answer.effect) == ("not decided", None)
    assert "fewer than two seeds" in answer.headline


def test_a_suite_with_both_halves(store: Store) -> None:
    labels = ("Concat", "QMF", "MLA")
    gaps = {"Concat": CONCAT, "QMF": CONCAT, "MLA": LARGER}

    def accuracy(label: str, modality: str, absent: str, rate: float, seed: int) -> float:
        return flat("MLA" if label == "MLA" else "QMF", modality, absent, rate, seed)

    answer = answer_of(absence_suite(store, accuracy, labels=labels, gaps=gaps), store)
    alone = answer_of(gap_suite(store, gaps), store)
    assert answer.verdict == "supported"
    assert {table.name for table in answer.tables} == {"modality_gap", "absence_slopes", "absence_accuracy"}
    assert "The modality gap" in answer.headline
    assert "The absence of a modality" in answer.headline
    # Holm: the smaller of two is doubled, the larger is left as it is.
    absent = answer_of(absence_suite(store, accuracy), store).findings[0].p_value
    assert alone.findings[0].p_value is not None
    p_values = [finding.p_value for finding in answer.findings if finding.p_value is not None]
    assert p_values == pytest.approx([2 * alone.findings[0].p_value, absent])
    reversed_gaps = {**gaps, "Concat": LARGER, "MLA": CONCAT}
    answer = answer_of(absence_suite(store, accuracy, labels=labels, gaps=reversed_gaps), store)
    assert answer.verdict == "contradicted"


@pytest.mark.parametrize(
    ("name", "half"), [("stamps_gap", "enlarges the gap"), ("stamps_modality_missing", "lack one modality")]
)
def test_the_committed_suites_ask_for_one_half_each(name: str, half: str, store: Store) -> None:
    answer = answer_of(expand(load_suite(SUITES / f"{name}.yaml")), store)
    assert half in answer.claim
    assert answer.verdict == "not decided"

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from mlabench.missing import Missing
from mlabench.record import Evaluation, Record, Scores
from mlabench.reporting.answer import Answer
from mlabench.reporting.evidence import Archive, Evidence
from mlabench.reporting.questions import answers, gap
from mlabench.reporting.results import load
from mlabench.reporting.table import Table
from mlabench.store import Store
from mlabench.suite import Plan, PlannedTrial, expand, load_suite
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


def asked(plan: Plan, store: Store) -> dict[str, Answer]:
    """Both halves, by name."""
    return {answer.half: answer for answer in answers([plan], Archive(store))}


def table_of(answer: Answer, name: str) -> Table:
    return next(table for table in answer.tables if table.name == name)


CONCAT = [(0.50, 0.60, 0.40), (0.52, 0.61, 0.43), (0.49, 0.62, 0.39)]
LARGER = [(0.70, 0.80, 0.60), (0.72, 0.83, 0.61), (0.71, 0.78, 0.63)]


def test_a_larger_gap(store: Store) -> None:
    found = asked(gap_suite(store, {"Concat": CONCAT, "MLA": LARGER}), store)
    answer = found["gap"]
    means = [[np.mean(pairs) for pairs in by_seed] for by_seed in (LARGER, CONCAT)]
    test = ttest_rel(*means)
    interval = test.confidence_interval()
    assert answer.verdict == "better"
    assert answer.effect is not None
    assert answer.effect.unit == "hundredths of distance"
    assert answer.effect.estimate == pytest.approx(100 * (np.mean(means[0]) - np.mean(means[1])))
    assert (answer.effect.low, answer.effect.high) == pytest.approx((100 * interval.low, 100 * interval.high))
    decision = answer.family.contrasts[0].decision
    assert decision is not None
    assert decision.p_value == pytest.approx(test.pvalue)
    assert answer.sentence == "The modality gap of MLA is larger than that of Concat: 0.71 (MLA) against 0.51 (Concat)."
    assert "absence" not in found
    assert any("need not be a better one" in caveat for caveat in answer.caveats)


def test_a_smaller_gap_an_equal_one_and_noise(store: Store) -> None:
    assert asked(gap_suite(store, {"Concat": LARGER, "MLA": CONCAT}), store)["gap"].verdict == "worse"
    equal = [tuple(pair + 0.001 * place for pair in pairs) for place, pairs in enumerate(CONCAT)]
    assert asked(gap_suite(store, {"Concat": CONCAT, "MLA": equal}), store)["gap"].verdict == "practically equal"
    noisy = [(0.3, 0.4, 0.3), (0.9, 0.9, 0.9), (0.4, 0.5, 0.6)]
    assert asked(gap_suite(store, {"Concat": CONCAT, "MLA": noisy}), store)["gap"].verdict == "undecided"


def test_the_table_of_gaps(store: Store) -> None:
    answer = asked(gap_suite(store, {"Concat": CONCAT, "QMF": CONCAT, "MLA": LARGER}), store)["gap"]
    table = table_of(answer, "modality_gap")
    rows = {row.heads[0]: row.cells for row in table.rows}
    assert [column.name for column in table.columns][:4] == ["audio – image", "audio – text", "image – text", "Mean"]
    assert rows["MLA"][0].mean == "0.71"
    assert rows["MLA"][0].std == "0.01"
    assert rows["MLA"][4].mean == "61.0"


def test_charts_of_the_gap(store: Store) -> None:
    answer = asked(gap_suite(store, {"Concat": CONCAT, "MLA": LARGER}, projections=True), store)["gap"]
    by_method, against, projection = answer.charts
    mla = by_method.panels[0].series[1]
    assert list(mla.y) == pytest.approx([0.71, np.mean([0.8, 0.83, 0.78]), np.mean([0.6, 0.61, 0.63]), np.mean(LARGER)])
    assert list(against.panels[0].series[1].x) == pytest.approx(np.mean(LARGER, axis=1))
    assert list(against.panels[0].series[1].y) == pytest.approx([60.0, 61.0, 62.0])
    assert [panel.title for panel in projection.panels] == ["Concat, seed 0", "MLA, seed 0"]
    text = projection.panels[1].series[2]
    assert (text.label, len(text.x), text.x[0]) == ("text", 300, 0.0)
    assert np.diff(text.x).max() <= 2.0
    assert set(text.y) == {2.0}


def test_a_gap_that_was_not_measured_or_only_once(store: Store) -> None:
    plan = gap_suite(store, {"Concat": CONCAT, "MLA": LARGER})
    for cell in plan.cells[-3:]:
        store.write(failed(cell.trial))
    answer = asked(plan, store)["gap"]
    assert (answer.verdict, answer.effect) == ("undecided", None)
    assert "none measured (MLA)" in answer.sentence
    assert any("MLA (3 of 3 failed)" in caveat for caveat in answer.caveats)
    answer = asked(gap_suite(store, {"Concat": CONCAT[:1], "MLA": LARGER[:1]}), store)["gap"]
    assert (answer.verdict, answer.effect) == ("undecided", None)


def test_suites_on_something_else_have_no_answer(store: Store) -> None:
    for labels in (("Concat", "QMF"), ("MLA", "QMF")):
        assert asked(gap_suite(store, dict.fromkeys(labels, CONCAT)), store) == {}


def flat(label: str, modality: str, absent: str, rate: float, seed: int) -> float:
    """QMF loses a point per 10 points of missing rate, a little more or less by seed; MLA next to nothing."""
    slope = {"QMF": -1.0 + 0.1 * seed, "MLA": 0.01 * seed}[label]
    return 70.0 + seed + 10 * slope * rate


def test_absence_that_hurts_only_the_other_method(store: Store) -> None:
    found = asked(absence_suite(store, flat), store)
    answer = found["absence"]
    slopes = {"MLA": [0.0, 0.01, 0.02], "QMF": [-1.0, -0.9, -0.8]}
    test = ttest_rel(slopes["MLA"], slopes["QMF"])
    assert answer.verdict == "better"
    assert answer.effect is not None
    assert answer.effect.estimate == pytest.approx(0.91)
    assert (answer.effect.low, answer.effect.high) == pytest.approx(tuple(test.confidence_interval()))
    own = dict(answer.more)["Against no change"].contrasts[0]
    expected = ttest_1samp(slopes["MLA"], 0.0).confidence_interval()
    assert own.effect is not None
    assert (own.effect.low, own.effect.high) == pytest.approx(tuple(expected))
    assert own.decision is not None
    assert own.decision.margin == 0.25  # the suite's 2 points over a missing rate of 80 %
    assert "a modality of MLA is practically not hurt by it" in answer.sentence
    assert "gap" not in found
    pairs = dict(answer.more)["Each pair of an observed and a missing modality"]
    assert [one.what for one in pairs.contrasts][:2] == ["audio when image is missing", "audio when text is missing"]
    assert [one.effect and one.effect.estimate for one in pairs.contrasts] == pytest.approx([0.91] * 6)


def test_absence_that_hurts_mla_or_neither(store: Store) -> None:
    def falling(label: str, modality: str, absent: str, rate: float, seed: int) -> float:
        return flat("QMF" if label == "MLA" else "MLA", modality, absent, rate, seed)

    answer = asked(absence_suite(store, falling), store)["absence"]
    assert answer.verdict == "worse"
    assert "a modality of MLA is hurt by it" in answer.sentence

    def level(label: str, modality: str, absent: str, rate: float, seed: int) -> float:
        return 70.0 + 0.1 * ((seed + len(label)) % 3) * rate

    assert asked(absence_suite(store, level), store)["absence"].verdict == "practically equal"


def test_slopes_are_those_of_the_other_modality_only(store: Store) -> None:
    def own(label: str, modality: str, absent: str, rate: float, seed: int) -> float:
        return 70.0 - 30 * rate * (modality == absent) - 0.1 * seed * rate * (label == "MLA")

    plan = absence_suite(store, own, missing=("audio", "image"))
    assert gap.training_rates(Evidence(load(plan, store), store).results) == {
        "audio": {0.0: "0 %", 0.4: "audio 40 %", 0.8: "audio 80 %"},
        "image": {0.0: "0 %", 0.4: "image 40 %", 0.8: "image 80 %"},
    }
    answer = asked(plan, store)["absence"]
    pairs = dict(answer.more)["Each pair of an observed and a missing modality"]
    assert [one.what for one in pairs.contrasts] == [
        "audio when image is missing", "image when audio is missing",
        "text when audio is missing", "text when image is missing",
    ]  # fmt: skip
    assert [one.effect and one.effect.estimate for one in pairs.contrasts] == pytest.approx([-0.01] * 4)
    assert any("No suite removes text" in caveat for caveat in answer.caveats)


def test_the_slope_is_that_of_least_squares(store: Store) -> None:
    def bent(label: str, modality: str, absent: str, rate: float, seed: int) -> float:
        return {0.0: 80.0, 0.4: 79.0, 0.8: 70.0}[rate] + seed

    own = dict(asked(absence_suite(store, bent), store)["absence"].more)["Against no change"].effect
    assert own is not None
    assert own.estimate == pytest.approx(np.polyfit([0, 4, 8], [80, 79, 70], 1)[0])


def test_charts_of_absence(store: Store) -> None:
    differences, chart = asked(absence_suite(store, flat), store)["absence"].charts
    assert len(differences.panels[0].series) == 6
    assert differences.panels[0].band == 0.25
    assert len(chart.panels) == 6
    assert chart.panels[0].title == "audio, when image is missing"
    qmf = chart.panels[0].series[0]
    assert (qmf.label, list(qmf.x)) == ("QMF", [0.0, 40.0, 80.0])
    assert list(qmf.y) == pytest.approx([71.0, 67.4, 63.8])


def test_a_seed_that_lacks_a_rate_has_no_slope(store: Store) -> None:
    plan = absence_suite(store, flat)
    lost = next(cell.trial for cell in plan.cells if cell.label == "MLA" and cell.trial.missing.key != "complete")
    store.write(failed(lost))
    answer = asked(plan, store)["absence"]
    assert "2 trainings" in answer.family.contrasts[0].statement
    assert any("MLA (1 of 21 failed)" in caveat for caveat in answer.caveats)


def test_absence_without_a_rival_or_without_runs(store: Store) -> None:
    answer = asked(absence_suite(store, flat, labels=("MLA",)), store)["absence"]
    assert (answer.verdict, answer.effect) == ("undecided", None)
    assert "compared with no other method" in answer.sentence
    answer = asked(absence_suite(store, flat, seeds=(0,)), store)["absence"]
    assert (answer.verdict, answer.effect) == ("undecided", None)


def test_a_suite_with_both_halves(store: Store) -> None:
    def accuracy(label: str, modality: str, absent: str, rate: float, seed: int) -> float:
        return flat("MLA" if label == "MLA" else "QMF", modality, absent, rate, seed)

    gaps = {"Concat": CONCAT, "QMF": CONCAT, "MLA": LARGER}
    found = asked(absence_suite(store, accuracy, labels=("Concat", "QMF", "MLA"), gaps=gaps), store)
    assert {half: answer.verdict for half, answer in found.items()} == {"gap": "better", "absence": "better"}


@pytest.mark.parametrize(("name", "half"), [("stamps_gap", "gap"), ("stamps_modality_missing", "absence")])
def test_the_committed_suites_ask_for_one_half_each(name: str, half: str, store: Store) -> None:
    found = asked(expand(load_suite(SUITES / f"{name}.yaml")), store)
    assert {half: answer.verdict for half, answer in found.items()} == {half: "undecided"}

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from mlabench.missing import Missing
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.former import Answer
from mlabench.reporting.questions.laziness import COMPLETE, answer
from mlabench.reporting.results import MULTIMODAL, load
from mlabench.reporting.table import Table
from mlabench.statistics.comparisons import compare
from mlabench.store.records import Store
from mlabench.suite.plan import Plan
from mlabench.trial import Component
from tests.reporting.predicted import SAMPLES, Skill, hits, sweep
from tests.reporting.synthetic import MODALITIES
from tests.reporting.synthetic import sweep as sweep_without_predictions

ALONE = {"audio": 0.4, "image": 0.6, "text": 0.5}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def skill(fused: float, **unimodal: float) -> Skill:
    """The same accuracies with every seed; those of a modality are as good as alone unless given."""
    levels = {**ALONE, **unimodal, "fused": fused}
    return lambda target, _test, _seed: levels[target]


def probe(noise: float = 0.001, **gaps: float) -> Callable[[str, int], float]:
    """As good as alone but for a gap and what varies with the seed."""
    return lambda modality, seed: ALONE[modality] + gaps.get(modality, 0.0) + noise * (seed - 1)


BASELINES = {"Concat": skill(0.78, audio=0.3), "Late fusion": skill(0.80)}
PROBES = {"Concat": probe(audio=-0.05), "Late fusion": probe(0.0)}


def asked(plan: Plan, store: Store) -> Answer:
    found = answer(Evidence(load(plan, store), store))
    assert found is not None
    return found


def table(found: Answer, name: str) -> Table:
    return next(table for table in found.tables if table.name == name)


def shown(found: Answer, name: str) -> dict[str, list[str]]:
    return {
        row.heads[0]: [f"{cell.mean} [{cell.low}, {cell.high}]" if cell.low else cell.mean for cell in row.cells]
        for row in table(found, name).rows
    }


def test_better_than_all_and_not_lazy_is_supported(store: Store) -> None:
    found = asked(sweep(store, {"MLA": skill(0.85), **BASELINES}, probes={"MLA": probe(), **PROBES}), store)
    assert found.verdict == "supported"
    assert [finding.verdict for finding in found.findings] == ["supported"] * 5
    assert found.effect is not None
    assert found.effect.estimate == pytest.approx(5.0)  # late fusion is the strongest of the others
    assert "Late fusion: +5.0 points" in found.headline
    assert "n = 400, 3 seeds" in found.headline
    assert "stand-in" in found.dataset


def test_p_values_are_corrected_over_all_tests_of_the_question(store: Store) -> None:
    plan = sweep(store, {"MLA": skill(0.82), **BASELINES}, alike=False, probes={"MLA": probe(0.02), **PROBES})
    evidence = Evidence(load(plan, store), store)
    mla, *others = (evidence.outcomes(label, COMPLETE, MULTIMODAL) for label in ("MLA", "Concat", "Late fusion"))
    assert mla is not None
    tests = [compare(mla, other).p_value for other in others if other is not None]
    # The probe's gaps are -2, 0 and 2 points with the three seeds: their mean is 0, and so is t.
    raw = np.array([*tests, 1.0, 1.0, 1.0])
    order = np.argsort(raw, kind="stable")
    expected = np.empty(5)
    expected[order] = np.minimum(1, np.maximum.accumulate(raw[order] * [5, 4, 3, 2, 1]))
    np.testing.assert_allclose([finding.p_value for finding in asked(plan, store).findings], expected)


def test_a_better_baseline_contradicts(store: Store) -> None:
    skills = {"MLA": skill(0.79), **BASELINES, "QMF": skill(0.86)}
    found = asked(sweep(store, skills, probes={"MLA": probe(), **PROBES}), store)
    assert found.verdict == "contradicted"
    verdicts = {finding.statement.split(":")[0]: finding.verdict for finding in found.findings}
    assert verdicts["Fused accuracy of MLA minus that of QMF"] == "contradicted"
    assert verdicts["Fused accuracy of MLA minus that of Late fusion"] == "not decided"
    assert verdicts["Laziness of audio"] == "supported"


@pytest.mark.parametrize(
    ("gap", "noise", "verdict", "conclusion"),
    [
        (-0.10, 0.001, "contradicted", "Lazy."),
        (-0.01, 0.001, "supported", "Not lazy: at most 2 points below."),  # surely below 0, but not by 2 points
        (-0.01, 0.020, "not decided", "Lazy or not: in doubt."),
        (0.10, 0.001, "supported", "Not lazy: at most 2 points below."),
    ],
)
def test_laziness_is_judged_by_the_probe(store: Store, gap: float, noise: float, verdict: str, conclusion: str) -> None:
    # The method's own unimodal prediction is bad, which the probe does not mind.
    skills = {"MLA": skill(0.90, audio=0.1), **BASELINES}
    found = asked(sweep(store, skills, probes={"MLA": probe(noise, audio=gap), **PROBES}), store)
    audio = found.findings[2]
    assert audio.statement.startswith("Laziness of audio: linear probe of MLA minus that of Late fusion")
    assert audio.statement.endswith(conclusion)
    assert audio.verdict == found.verdict == verdict
    assert audio.effect is not None
    assert audio.effect.estimate == pytest.approx(100 * gap)


def test_without_probes_the_own_predictions_decide(store: Store) -> None:
    found = asked(sweep(store, {"MLA": skill(0.90, text=0.3), **BASELINES}), store)
    text = found.findings[-1]
    assert text.statement.startswith("Laziness of text: unimodal accuracy of MLA")
    assert text.verdict == found.verdict == "contradicted"
    assert text.effect is not None
    assert text.effect.estimate == pytest.approx(-20.0)
    assert any("No linear probe was recorded" in caveat for caveat in found.caveats)
    assert {chart.name for chart in found.charts} == {"unimodal_accuracy", "laziness"}


def test_the_laziness_table_has_both_yardsticks_of_all_others(store: Store) -> None:
    skills = {"MLA": skill(0.85), **BASELINES, "QMF": skill(0.8)}
    found = asked(sweep(store, skills, probes={"MLA": probe(), **PROBES}), store)
    rows = shown(found, "laziness")
    assert list(rows) == ["MLA", "Concat", "QMF"]
    names = [column.name for column in table(found, "laziness").columns]
    assert names[:3] == ["audio, read-out", "audio, probe", "image, read-out"]
    assert [cell.split(" ")[0] for cell in rows["Concat"]] == ["-10.0", "-5.0", "+0.0", "+0.0", "+0.0", "+0.0"]
    assert rows["QMF"][1::2] == ["—"] * 3
    own, linear = next(chart for chart in found.charts if chart.name == "laziness").panels
    assert [series.label for series in own.series] == ["MLA", "Concat", "QMF"]
    assert [series.label for series in linear.series] == ["MLA", "Concat"]
    assert list(linear.series[1].y) == pytest.approx([-5.0, 0.0, 0.0])


def test_the_fused_table_agrees_with_numpy(store: Store) -> None:
    plan = sweep(store, {"MLA": skill(0.85), **BASELINES}, alike=False, failing=[("Concat", 1)])
    found = asked(plan, store)
    rows = shown(found, "fused")
    difference = 100 * (hits(0.85, "fused", 1).mean() - hits(0.80, "fused", 3).mean())
    assert rows["Late fusion"][1].startswith(f"{difference:+.1f} [")
    assert rows["MLA"][0].startswith("85.0 [")
    assert rows["MLA"][1:4] == ["—"] * 3
    assert [row[-1] for row in rows.values()] == ["none", "1 of 3 failed", "none"]
    low, high = table(found, "fused").rows[0].cells[0].low, table(found, "fused").rows[0].cells[0].high
    spread = 1.96 * np.sqrt(85 * 15 / SAMPLES)  # the same samples are right with every seed
    assert [float(low), float(high)] == pytest.approx([85 - spread, 85 + spread], abs=0.5)
    assert any(caveat.startswith("Trials lost: Concat (1 of 3 failed).") for caveat in found.caveats)
    for part in ("n = 400 test samples", "3 seeds (0–2)", "best_val", "Brackets: 95 % interval"):
        assert part in table(found, "fused").caption


def test_a_method_that_failed_throughout_leaves_it_open(store: Store) -> None:
    failing = [("Concat", seed) for seed in (0, 1, 2)]
    found = asked(
        sweep(store, {"MLA": skill(0.9), **BASELINES}, probes={"MLA": probe(), **PROBES}, failing=failing), store
    )
    assert found.verdict == "not decided"
    assert found.findings[0].statement.endswith("not measured: no seeds in common.")
    assert shown(found, "fused")["Concat"] == ["", "—", "—", "—", "3 of 3 failed"]


@pytest.mark.parametrize(
    ("methods", "reference"),
    [
        ({"Averaged": Component(name="late_fusion", config={"objective": "separate"})}, "Averaged"),
        ({"Only text": Component(name="unimodal", config={"modality": "text"})}, "Only text"),
        ({"Averaged": Component(name="late_fusion", config={"objective": "joint"})}, None),
    ],
)
def test_the_reference_trains_each_modality_alone(
    methods: dict[str, Component], reference: str | None, store: Store
) -> None:
    joint = {"Joint": Component(name="late_fusion", config={"objective": "joint"})}
    skills = {"Joint": skill(0.7, audio=0.2), **dict.fromkeys(methods, skill(0.8)), "MLA": skill(0.9)}
    found = asked(sweep(store, skills, methods={**joint, **methods}), store)
    if reference is None:
        assert "trains no modality alone" in found.findings[-1].statement
    else:
        assert f"unimodal accuracy of MLA minus that of {reference}: +0.0 points" in found.findings[-1].statement
        assert f"({reference})" in found.rule
        assert reference not in shown(found, "laziness")
        assert shown(found, "laziness")["Joint"][0].startswith("-20.0 ")


def test_mla_is_not_compared_with_its_released_code(store: Store) -> None:
    skills = {"MLA": skill(0.9), **BASELINES, "As released": skill(0.95)}
    methods = {"As released": Component(name="mla_released")}
    found = asked(sweep(store, skills, methods=methods), store)
    assert [finding.statement.split(":")[0] for finding in found.findings[:2]] == [
        "Fused accuracy of MLA minus that of Concat",
        "Fused accuracy of MLA minus that of Late fusion",
    ]
    assert not any("As released" in finding.statement for finding in found.findings)
    assert "As released" in shown(found, "fused")


def test_without_a_modality_trained_alone_laziness_is_open(store: Store) -> None:
    found = asked(sweep(store, {"MLA": skill(0.9), "Concat": skill(0.7)}, probes={"MLA": probe()}), store)
    assert found.verdict == "not decided"
    assert [finding.verdict for finding in found.findings] == ["supported", *["not decided"] * 3]
    assert "trains no modality alone" in found.findings[1].statement
    assert any("trains no modality alone" in caveat for caveat in found.caveats)
    assert "laziness" not in {chart.name for chart in found.charts}


def test_without_predictions_seeds_are_compared(store: Store) -> None:
    def noisy(fused: float) -> Skill:
        return lambda target, _test, seed: fused + 0.01 * seed if target == "fused" else ALONE[target]

    found = asked(sweep(store, {"MLA": noisy(0.85), **BASELINES}, keep=False), store)
    first = found.findings[0]
    assert "over seeds alone, 3 seeds" in first.statement
    assert first.effect is not None
    # By hand: differences 7, 8 and 9 points; t(0.975, 2) = 4.3027.
    half = 4.3027 / np.sqrt(3)
    assert (first.effect.low, first.effect.high) == pytest.approx((8 - half, 8 + half), abs=1e-3)
    assert table(found, "fused").rows[0].cells[0].std == "1.0"
    assert any("over seeds alone" in caveat for caveat in found.caveats)
    assert "shapley" not in {table.name for table in found.tables}


def test_shapley_values_of_an_additive_method(store: Store) -> None:
    gains = {"audio": 0.02, "image": 0.25, "text": 0.1}
    subsets = [keep for size in (1, 2) for keep in combinations(MODALITIES, size)]

    def additive(target: str, test: Missing, seed: int) -> float:
        kept = test.keep or MODALITIES
        return 0.5 + sum(gains[name] for name in kept) + 0.01 * seed * ("image" in kept) if target == "fused" else 0.5

    tests = [Missing(protocol="subset", keep=keep) for keep in subsets]
    found = asked(sweep(store, {"MLA": additive, "Concat": skill(0.7)}, extra_tests=tests), store)
    values = table(found, "shapley").rows[0].cells
    assert [cell.summary.mean for cell in values] == pytest.approx([2.0, 26.0, 10.0])
    assert values[1].summary.std == pytest.approx(1.0)
    assert "50.0 %" in table(found, "shapley").note  # half of the samples are of one class


def test_no_answer_without_something_to_compare(store: Store) -> None:
    for labels in ({"MLA": skill(0.8)}, {"Concat": skill(0.8), "Late fusion": skill(0.8)}):
        plan = sweep(store, labels)
        assert answer(Evidence(load(plan, store), store)) is None
    partial = sweep(store, {"MLA": skill(0.8), **BASELINES}, rates=(0.3,))
    assert answer(Evidence(load(partial, store), store)) is None


def test_variants_of_mla_are_no_baselines(store: Store) -> None:
    plan = sweep(store, {"MLA": skill(0.85), **BASELINES})
    variant = [cell.model_copy(update={"label": "MLA w/o DF"}) for cell in plan.cells if cell.label == "MLA"]
    found = asked(plan.model_copy(update={"cells": (*variant, *plan.cells)}), store)
    assert len(found.findings) == 2 + len(MODALITIES)
    assert "MLA w/o DF" in shown(found, "fused")
    assert found.headline.startswith("Fused accuracy: MLA minus")


def test_one_seed_says_so(store: Store) -> None:
    found = asked(sweep(store, {"MLA": skill(0.9), **BASELINES}, seeds=(0,)), store)
    assert any(caveat.startswith("One seed:") for caveat in found.caveats)
    assert "1 seed)" in found.findings[0].statement


def test_nothing_measured_yet(store: Store) -> None:
    plan = sweep_without_predictions(store, ["Late fusion", "MLA"], write=False)
    found = asked(plan, store)
    assert found.verdict == "not decided"
    assert found.effect is None
    assert "no other method than MLA has been measured yet" in found.headline
    assert "MLA (9 of 9 missing)." in " ".join(found.caveats)

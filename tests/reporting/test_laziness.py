from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_rel

from mlabench.missing import Missing
from mlabench.reporting.answer import Answer
from mlabench.reporting.evidence import Archive
from mlabench.reporting.questions import answers
from mlabench.reporting.table import Table
from mlabench.store import Store
from mlabench.suite import Plan
from mlabench.trial import Component
from tests.reporting.predicted import SAMPLES, Skill, hits, sweep
from tests.reporting.synthetic import MODALITIES
from tests.reporting.synthetic import sweep as sweep_without_predictions

ALONE = {"audio": 0.4, "image": 0.6, "text": 0.5}
#: What only a seed brings about, in a share of samples.
STEP = 1 / SAMPLES


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def skill(fused: float, step: float = 0.0, **unimodal: float) -> Skill:
    """Accuracies, those of a modality as good as alone unless given; ``step``: what each seed adds to the fused one."""
    levels = {**ALONE, **unimodal, "fused": fused}
    return lambda target, _test, seed: levels[target] + step * seed * (target == "fused")


def probe(noise: float = STEP, **gaps: float) -> Callable[[str, int], float]:
    """As good as alone but for a gap and what varies with the seed."""
    return lambda modality, seed: ALONE[modality] + gaps.get(modality, 0.0) + noise * (seed - 1)


BASELINES = {"Concat": skill(0.78, audio=0.3), "Late fusion": skill(0.80)}
PROBES = {"Concat": probe(0.0, audio=-0.05), "Late fusion": probe(0.0)}


def asked(plan: Plan, store: Store) -> dict[str, Answer]:
    """Both halves, by name."""
    return {answer.half: answer for answer in answers([plan], Archive(store))}


def table(found: Answer, name: str) -> Table:
    return next(table for table in found.tables if table.name == name)


def shown(found: Table) -> dict[str, list[str]]:
    return {row.heads[0]: [" ".join(text for _, text in cell.parts) for cell in row.cells] for row in found.rows}


def test_better_than_all_and_not_lazy(store: Store) -> None:
    found = asked(sweep(store, {"MLA": skill(0.90), **BASELINES}, probes={"MLA": probe(), **PROBES}), store)
    accuracy, laziness = found["accuracy"], found["laziness"]
    assert (accuracy.verdict, laziness.verdict) == ("better", "better")
    assert accuracy.effect is not None
    assert laziness.effect is not None
    assert accuracy.effect.estimate == pytest.approx(10.0)  # late fusion is the strongest of the others
    assert laziness.effect.estimate == pytest.approx(5.0)
    assert accuracy.sentence == "With all modalities present, MLA is better than all 2 others (by +10.0 to +12.0)."
    assert "raises probe accuracy on audio (+5.0 [4.4, 5.6])" in laziness.sentence
    assert laziness.sentence.endswith("No modality is lazy: each reaches what the same encoder reaches alone "
                                      "(Late fusion), or more.")  # fmt: skip
    assert "stand-in" in accuracy.about
    assert [contrast.other for contrast in accuracy.family.contrasts] == ["Concat", "Late fusion"]
    assert any("A probe is one number per training" in caveat for caveat in laziness.caveats)
    assert not any("No linear probe" in caveat for caveat in laziness.caveats)


def test_laziness_removed_and_accuracy_unchanged_is_a_finding(store: Store) -> None:
    skills = {label: skill(0.8, STEP * place) for place, label in enumerate(("MLA", "Concat", "Late fusion"))}
    found = asked(sweep(store, skills, probes={"MLA": probe(), **PROBES}), store)
    assert (found["laziness"].verdict, found["accuracy"].verdict) == ("better", "practically equal")
    assert "practically equal to Concat (−0.2 [" in found["accuracy"].sentence


def test_p_values_of_probes_are_those_of_paired_t_tests_after_holm(store: Store) -> None:
    random = np.random.default_rng(0)
    noise = {label: random.normal(0, 0.01, size=(3, 4)) for label in ("MLA", "Concat")}

    def noisy(label: str) -> Callable[[str, int], float]:
        return lambda modality, seed: ALONE[modality] + noise[label][MODALITIES.index(modality), seed]

    plan = sweep(store, {"MLA": skill(0.8), **BASELINES}, seeds=range(4), probes={name: noisy(name) for name in noise})
    raw = np.array([ttest_rel(noise["MLA"][place], noise["Concat"][place]).pvalue for place in range(3)])
    order = np.argsort(raw)
    expected = np.empty(3)
    expected[order] = np.minimum(1, np.maximum.accumulate(raw[order] * [3, 2, 1]))
    decisions = [contrast.decision for contrast in asked(plan, store)["laziness"].family.contrasts]
    np.testing.assert_allclose([one.p_value for one in decisions if one], expected)


@pytest.mark.parametrize(
    ("gap", "noise", "verdict", "sentence"),
    [
        (
            -0.10,
            STEP,
            "worse",
            "Still lazy next to the same encoder trained alone (Late fusion): probe accuracy on audio",
        ),
        (0.10, STEP, "better", "No modality is lazy"),
        (-0.01, STEP, "better", "No modality is lazy"),  # surely below, but by less than the margin of 2 points
        (
            -0.01,
            0.02,
            "undecided",
            "Whether each reaches what the same encoder reaches alone (Late fusion) is undecided",
        ),
    ],
)
def test_laziness_is_judged_by_the_probe(store: Store, gap: float, noise: float, verdict: str, sentence: str) -> None:
    # The method's own unimodal prediction is bad, which the probe does not mind.
    skills = {"MLA": skill(0.90, audio=0.1), **BASELINES}
    found = asked(sweep(store, skills, probes={"MLA": probe(noise, audio=gap), **PROBES}), store)["laziness"]
    assert found.verdict == verdict
    if gap != -0.01 or noise > STEP:
        assert sentence in found.sentence
    audio = found.family.contrasts[0]
    assert audio.what == "probe accuracy on audio"
    assert audio.effect is not None
    assert audio.effect.estimate == pytest.approx(100 * (gap + 0.05))
    alone = dict(found.more)["MLA against the same encoders trained alone (Late fusion)"].contrasts[0]
    assert alone.effect is not None
    assert alone.effect.estimate == pytest.approx(100 * gap)


def test_without_probes_the_own_predictions_decide(store: Store) -> None:
    found = asked(sweep(store, {"MLA": skill(0.90, text=0.3), **BASELINES}), store)["laziness"]
    audio, image, text = found.family.contrasts
    assert (audio.verdict, image.verdict, text.verdict) == ("better", "practically equal", "worse")
    assert found.verdict == "mixed"
    assert text.what == "unimodal accuracy of text"
    assert text.effect is not None
    assert text.effect.estimate == pytest.approx(-20.0)
    assert any("No linear probe was recorded" in caveat for caveat in found.caveats)


def test_the_contrasts_and_accuracies_agree_with_numpy(store: Store) -> None:
    plan = sweep(store, {"MLA": skill(0.85), **BASELINES}, alike=False, failing=[("Concat", 1)])
    found = asked(plan, store)["accuracy"]
    difference = 100 * (hits(0.85, "fused", 1).mean() - hits(0.80, "fused", 3).mean())
    assert shown(found.contrasts)["Late fusion"][0].startswith(f"{difference:+.1f} [")
    rows = shown(table(found, "accuracies"))
    assert rows["MLA"][3].startswith("85.0")
    assert [row[-1] for row in rows.values()] == ["none", "1 of 3 failed", "none"]
    cell = table(found, "accuracies").rows[0].cells[3]
    spread = 1.96 * np.sqrt(85 * 15 / SAMPLES)  # the same samples are right with every seed
    assert [float(cell.low), float(cell.high)] == pytest.approx([85 - spread, 85 + spread], abs=0.5)
    assert any(caveat.startswith("Trials lost: Concat (1 of 3 failed).") for caveat in found.caveats)


def test_a_method_that_failed_throughout_leaves_it_open(store: Store) -> None:
    failing = [("Concat", seed) for seed in (0, 1, 2)]
    found = asked(sweep(store, {"MLA": skill(0.9), **BASELINES}, failing=failing), store)
    assert {answer.verdict for answer in found.values()} == {"undecided"}
    assert found["accuracy"].family.contrasts[0].statement == "fused accuracy of MLA minus Concat (0 %): not measured."
    assert "undecided against Concat (not measured)" in found["accuracy"].sentence
    assert shown(found["accuracy"].contrasts)["Concat"] == ["—"] * 5 + ["not measured"]


@pytest.mark.parametrize(
    ("methods", "reference"),
    [
        ({"Averaged": Component(name="late_fusion", config={"objective": "separate"})}, "Averaged"),
        ({"Only text": Component(name="unimodal", config={"modality": "text"})}, "Only text"),
        ({"Averaged": Component(name="late_fusion", config={"objective": "joint"})}, None),
    ],
)
def test_what_trains_each_modality_alone(methods: dict[str, Component], reference: str | None, store: Store) -> None:
    skills = {"Concat": skill(0.7, audio=0.2), **dict.fromkeys(methods, skill(0.8)), "MLA": skill(0.9)}
    found = asked(sweep(store, skills, methods=methods), store)["laziness"]
    if reference is None:
        assert any("trains a modality alone" in caveat for caveat in found.caveats)
        assert found.more == ()
    else:
        title, kept = found.more[0]
        assert title == f"MLA against the same encoders trained alone ({reference})"
        assert {one.verdict for one in kept.contrasts} == {"practically equal"}


@pytest.mark.parametrize("readout", ["logits", "probabilities"])
def test_the_control_that_reads_out_as_mla_does_is_named(readout: str, store: Store) -> None:
    config = {"objective": "separate", "fusion": "entropy", "readout": readout}
    skills = {"Concat": skill(0.7), "Control": skill(0.8), "MLA": skill(0.9)}
    found = asked(sweep(store, skills, methods={"Control": Component(name="late_fusion", config=config)}), store)
    named = "Control reads out exactly as MLA does" in found["accuracy"].rule
    assert named is (readout == "logits")


def test_mla_is_not_compared_with_variants_of_itself(store: Store) -> None:
    plan = sweep(store, {"MLA": skill(0.9), **BASELINES, "As released": skill(0.95)},
                 methods={"As released": Component(name="mla_released")})  # fmt: skip
    variant = [cell.model_copy(update={"label": "MLA w/o DF"}) for cell in plan.cells if cell.label == "MLA"]
    found = asked(plan.model_copy(update={"cells": (*variant, *plan.cells)}), store)["accuracy"]
    assert [contrast.other for contrast in found.family.contrasts] == ["Concat", "Late fusion"]
    assert {"As released", "MLA w/o DF"} <= shown(table(found, "accuracies")).keys()


def test_without_predictions_trainings_are_compared(store: Store) -> None:
    plan = sweep(store, {"MLA": skill(0.85, 0.01), **BASELINES}, keep=False)
    found = asked(plan, store)["accuracy"]
    first = found.family.contrasts[0]
    assert "over trainings alone, 3 trainings per method" in first.statement
    assert first.effect is not None
    # By hand: differences 7, 8 and 9 points; t(0.975, 2) = 4.3027.
    half = 4.3027 / np.sqrt(3)
    assert (first.effect.low, first.effect.high) == pytest.approx((8 - half, 8 + half), abs=1e-3)
    assert any("over trainings alone" in caveat for caveat in found.caveats)


def test_shapley_values_of_an_additive_method(store: Store) -> None:
    gains = {"audio": 0.02, "image": 0.25, "text": 0.1}
    subsets = [keep for size in (1, 2) for keep in combinations(MODALITIES, size)]

    def additive(target: str, test: Missing, seed: int) -> float:
        kept = test.keep or MODALITIES
        return 0.5 + sum(gains[name] for name in kept) + 0.01 * seed * ("image" in kept) if target == "fused" else 0.5

    tests = [Missing(protocol="subset", keep=keep) for keep in subsets]
    found = asked(sweep(store, {"MLA": additive, "Concat": skill(0.7)}, extra_tests=tests), store)["laziness"]
    values = table(found, "shapley").rows[0].cells
    assert [cell.summary.mean for cell in values] == pytest.approx([2.0, 26.0, 10.0])
    assert values[1].summary.std == pytest.approx(1.0)
    assert "50.0 %" in table(found, "shapley").note  # half of the samples are of one class


def test_no_answer_without_something_to_compare(store: Store) -> None:
    for labels in ({"MLA": skill(0.8)}, {"Concat": skill(0.8), "Late fusion": skill(0.8)}):
        assert asked(sweep(store, labels), store) == {}
    assert asked(sweep(store, {"MLA": skill(0.8), **BASELINES}, rates=(0.3,)), store) == {}


def test_one_training_never_decides(store: Store) -> None:
    plan = sweep(store, {"MLA": skill(0.99), **BASELINES}, seeds=(0,), probes={"MLA": probe(audio=0.5), **PROBES})
    found = asked(plan, store)
    assert {answer.verdict for answer in found.values()} == {"undecided"}
    assert any(caveat.startswith("One training of each method") for caveat in found["accuracy"].caveats)


def test_nothing_measured_yet(store: Store) -> None:
    found = asked(sweep_without_predictions(store, ["Late fusion", "MLA"], write=False), store)["accuracy"]
    assert (found.verdict, found.effect) == ("undecided", None)
    assert "undecided against Late fusion (not measured)" in found.sentence
    assert "MLA (9 of 9 missing)." in " ".join(found.caveats)


def test_brier_scores_are_a_second_end_point(store: Store) -> None:
    plan = sweep(store, {"MLA": skill(0.85), **BASELINES}, folds=2, seeds=(0, 1))
    found = asked(plan, store)["accuracy"]
    ((title, brier),) = found.more
    assert "Brier" in title
    # Right predictions score 0.25 there, wrong ones 1: five points of accuracy are 3.75 hundredths.
    assert [one.effect and one.effect.estimate for one in brier.contrasts] == pytest.approx([7 * 0.75, 5 * 0.75])
    rows = shown(table(found, "accuracies"))
    assert rows["MLA"][5] == f"{100 * (0.85 * 0.25 + 0.15):.1f}"

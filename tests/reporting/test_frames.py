"""The exports: every verdict with its numbers, and what a sceptic recomputes them from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from mlabench.reporting import compare_labels, contrasts
from mlabench.reporting.answer import Answer, Contrast
from mlabench.reporting.evidence import Archive
from mlabench.reporting.frames import outcome_frame, verdict_content
from mlabench.reporting.questions import answers
from mlabench.store import Store
from mlabench.suite import Plan
from tests.reporting.predicted import SAMPLES, Probe, Skill, sweep

LEVELS = {"MLA": 0.80, "Concat": 0.80, "Late fusion": 0.60, "QMF": 0.97, "MMIN": 0.7925}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def made(store: Store, **options: object) -> Plan:
    """All are right on the same samples but for some, other ones with every seed."""

    def skill(level: float, place: int) -> Skill:
        return lambda target, _test, seed: level + ((place * seed) % 3 - 1) / SAMPLES if target == "fused" else 0.5

    skills = {label: skill(level, place) for place, (label, level) in enumerate(LEVELS.items())}
    probes: dict[str, Probe] = {
        label: lambda modality, seed, place=place: 0.5 + 0.1 * (place == 0) + 0.01 * ((place + seed) % 3)  # type: ignore[misc]
        for place, label in enumerate(LEVELS)
    }
    options = {"seeds": range(3), "folds": 4, "rates": (0.0, 0.4), "questions": ("Q1", "Q2"), "margin": 1.2, **options}
    return sweep(store, skills, probes=probes, **options)  # type: ignore[arg-type]


def recomputed(rows: pd.DataFrame, answer: Answer, one: Contrast, margin: float) -> tuple[float, float, str]:
    """What a sceptic needs: ten lines of pandas."""
    own = rows.query(
        "half == @answer.half and dataset == @answer.dataset and what == @one.what and where == @one.where"
    )
    first, second = (own[own["method"] == name] for name in (one.method, one.other))
    pairs = first.merge(second, on=["seed", "fold", "group", "n"], suffixes=("", "_other"))
    pairs["gain"] = 100 * (pairs["correct"] - pairs["correct_other"])
    estimate = pairs["gain"].sum() / pairs["n"].sum()
    trainings, groups = (pairs.groupby(by)[["gain", "n"]].sum() for by in (["seed", "fold"], ["group"]))
    of_training = (trainings["gain"] / trainings["n"]).var() / len(trainings)
    of_group = ((groups["gain"] - estimate * groups["n"]) ** 2).sum() / groups["n"].sum() ** 2
    if set(pairs["group"]) == {""}:  # one number per training: other repeats test the same samples
        of_group = len(trainings) * of_training / (pairs["fold"].nunique() - 1)
    half = t.ppf(0.975, len(trainings) - 1) * np.sqrt(
        of_training + of_group
    )  # a little too wide: some noise counts twice
    told = "practically equal" if abs(estimate) + half < margin else "undecided"
    return estimate, half, ("better" if estimate > 0 else "worse") if abs(estimate) > half else told


def test_a_sceptic_can_recompute_any_verdict(store: Store, tmp_path: Path) -> None:
    plan = made(store)
    found = answers([plan], Archive(store))
    outcome_frame(found).to_csv(tmp_path / "outcomes.csv.gz", index=False)
    rows = pd.read_csv(tmp_path / "outcomes.csv.gz", keep_default_na=False)
    verdicts = set()
    for answer in found:
        for one in answer.family.contrasts:
            assert one.effect is not None
            estimate, half, verdict = recomputed(rows, answer, one, plan.margin)
            assert estimate == pytest.approx(one.effect.estimate, abs=1e-9)
            assert 0.85 * one.effect.half_width <= half <= 1.5 * one.effect.half_width
            assert verdict == one.verdict
            verdicts.add(verdict)
    assert verdicts == {"better", "worse", "practically equal", "undecided"}


def test_outcomes_are_sums_over_groups_and_trainings(store: Store) -> None:
    rows = outcome_frame(answers([made(store, questions=("Q1",), rates=(0.0,))], Archive(store)))
    own = rows[(rows["half"] == "accuracy") & (rows["method"] == "QMF")]
    assert own["n"].sum() == 3 * SAMPLES
    assert 100 * own["correct"].sum() / own["n"].sum() == pytest.approx(97.0, abs=0.25)
    assert own.groupby(["seed", "fold"]).ngroups == 12
    probes = rows[rows["half"] == "laziness"]
    assert set(probes["group"]) == {""}
    assert len(probes[probes["method"] == "MLA"]) == 3 * 12


def test_verdicts_are_plain_data_with_all_numbers(store: Store) -> None:
    found = answers([made(store)], Archive(store))
    content = json.loads(json.dumps(verdict_content(found), allow_nan=False))
    assert [entry["half"] for entry in content] == ["laziness", "accuracy", "missing"]
    (concat, *_) = content[1]["contrasts"]
    (first, *_) = found[1].family.contrasts
    assert first.decision is not None
    assert concat["p_holm"] == first.decision.p_value
    assert concat["verdict"] == first.verdict
    assert (concat["trainings"], concat["groups"], concat["unit"]) == (12, SAMPLES, "points")
    assert content[2]["further"]["Rate by rate, corrected together"][0]["where"] == "0 %"
    assert content[1]["margin"] == 1.2


def test_one_training_has_no_numbers_that_json_lacks(store: Store) -> None:
    content = verdict_content(answers([made(store, seeds=(0,), folds=0)], Archive(store)))
    json.dumps(content, allow_nan=False)
    assert {entry["verdict"] for entry in content} == {"undecided"}


def test_contrasts_of_a_plan_are_those_that_decide(store: Store) -> None:
    plan = made(store)
    names = {f"MLA − {label}, fused accuracy, {where}"
             for label in LEVELS if label != "MLA" for where in ("0 %", "mean of 0 % and 40 %")}  # fmt: skip
    assert contrasts(plan, store).keys() == names
    unasked = plan.model_copy(update={"questions": ()})
    assert contrasts(unasked, store).keys() == names
    assert contrasts(made(store, keep=False), store) == {}


def test_labels_are_compared_with_four_verdicts(store: Store) -> None:
    plan = made(store)
    verdicts = {
        label: compare_labels(store, [plan], "MLA", label, "multimodal")["verdict"].tolist() for label in LEVELS
    }
    assert verdicts["Concat"] == ["practically equal"] * 2
    assert verdicts["QMF"] == ["worse"] * 2
    assert verdicts["Late fusion"] == ["better"] * 2
    frame = compare_labels(store, [plan], "MLA", "MMIN", "multimodal")
    assert (frame["p_holm"] >= frame["p"]).all()
    assert (frame["trainings"] == 12).all()

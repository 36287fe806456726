from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import entropy, ttest_1samp
from sklearn.metrics import roc_auc_score

from mlabench.fusion import average_weights, entropy_weights, weighted_sum
from mlabench.missing import Missing
from mlabench.record import Record
from mlabench.reporting.answer import Answer, Family
from mlabench.reporting.evidence import Archive, Evidence
from mlabench.reporting.questions import ablation, answers, weights
from mlabench.reporting.results import load
from mlabench.reporting.table import Table
from mlabench.store import Store
from mlabench.suite import Plan, PlannedTrial
from mlabench.training.metrics import evaluate
from mlabench.trial import Component
from tests.records import make_trial
from tests.reporting.synthetic import failed

MODALITIES = ("audio", "image", "text")
SAMPLES, CLASSES = 400, 10
IDS = [f"sample{place}" for place in range(SAMPLES)]
LABELS = np.arange(SAMPLES) % CLASSES

FULL: dict[str, Any] = {"alpha": 0.1, "gradient_modification": "owm", "dynamic_fusion": "sample"}
VARIANTS: dict[str, dict[str, Any]] = {
    "nothing": {**FULL, "gradient_modification": "none", "dynamic_fusion": "average"},
    "MLA": FULL,
    "averaged": {**FULL, "dynamic_fusion": "average"},
    "unmodified": {**FULL, "gradient_modification": "none"},
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def unimodal_logits(seed: int, *, hgm: float, conflicts: float) -> NDArray[np.float32]:
    """Logits ``[N, M, C]`` of which a share is certainly right in all modalities, and another in ``image`` alone.

    Where ``image`` alone is right, the others agree on four wrong classes, one of them a little ahead: the average
    follows them, the certain one wins by entropy. The rest is wrong everywhere.
    """
    order = np.random.default_rng(seed).permutation(SAMPLES)
    first, last = round(hgm * SAMPLES), round((hgm + conflicts) * SAMPLES)
    right, conflict = order < first, (order >= first) & (order < last)
    rows = np.arange(SAMPLES)
    certain = np.zeros((SAMPLES, CLASSES), dtype=np.float32)
    certain[rows, LABELS] = 8.0
    torn = np.zeros((SAMPLES, CLASSES), dtype=np.float32)
    for step, value in enumerate((8.1, 8.0, 8.0, 8.0), start=1):
        torn[rows, (LABELS + step) % CLASSES] = value
    one_right = np.stack([torn, certain, torn], axis=1)
    chosen = np.where(conflict[:, None, None], one_right, torn[:, None])
    return np.where(right[:, None, None], certain[:, None], chosen).astype(np.float32)


def fuse(unimodal: NDArray[np.float32], present: NDArray[np.bool_], *, dynamic: bool) -> tuple[Any, Any]:
    """By the library's own functions."""
    logits, here = torch.from_numpy(unimodal), torch.from_numpy(present)
    weight = entropy_weights(logits, here) if dynamic else average_weights(here)
    return weighted_sum(logits, weight).numpy(), weight.numpy()


def suite(
    store: Store,
    skill: Mapping[str, float],
    *,
    variants: Mapping[str, dict[str, Any]] = VARIANTS,
    seeds: Sequence[int] = (0, 1, 2),
    rates: Sequence[float] = (0.0,),
    conflicts: float = 0.15,
    keep: bool = True,
    failing: Sequence[tuple[str, float, int]] = (),
) -> Plan:
    """Variants of MLA and their stored predictions; ``skill`` is the share that is right in all modalities."""
    cells = []
    for label, config in variants.items():
        for rate in rates:
            for seed in seeds:
                trial = make_trial("mla", seed, rate).model_copy(
                    update={"method": Component(name="mla", config=config)}
                )
                cell = PlannedTrial(label=label, trial=trial, tests=(trial.missing,))
                cells.append(cell)
                if (label, rate, seed) in failing:
                    store.write(failed(trial))
                    continue
                key, present = trial.missing.key, trial.missing.pattern("stamps", IDS, MODALITIES)
                unimodal = unimodal_logits(seed, hgm=skill[label] + 0.01 * seed, conflicts=conflicts)
                fused, weight = fuse(unimodal, present, dynamic=config["dynamic_fusion"] == "sample")
                own = {modality: unimodal[:, column] for column, modality in enumerate(MODALITIES)}
                embedding = {modality: np.ones((SAMPLES, 2)) for modality in MODALITIES}
                scored = evaluate(trial.missing, MODALITIES, LABELS, present, fused, own, embedding, weight)
                arrays = {"ids": np.array(IDS), "labels": LABELS, "groups": np.array(IDS)}
                arrays |= {f"{key}/present": present, f"{key}/fused": fused, f"{key}/weight": weight}
                arrays |= {f"{key}/{modality}": logits for modality, logits in own.items()}
                record = Record(trial=trial, status="ok", selected_epoch=1, evaluations={key: scored})
                store.write(record, arrays if keep else None)
    return Plan(name="ablation", questions=("Q3",), modalities=MODALITIES, cells=tuple(cells))


def asked(plan: Plan, store: Store) -> dict[str, Answer]:
    """The answers on HGM and DF."""
    return {answer.half: answer for answer in answers([plan], Archive(store))}


def table_of(answer: Answer, name: str) -> Table:
    return next(table for table in answer.tables if table.name == name)


def by_rate(answer: Answer) -> Family:
    return dict(answer.more)["Rate by rate, corrected together"]


#: HGM adds 10 points of samples that all modalities get right, with and without DF.
HELPS = {"MLA": 0.5, "averaged": 0.5, "unmodified": 0.4, "nothing": 0.4}


def test_both_parts_help(store: Store) -> None:
    found = asked(suite(store, HELPS), store)
    hgm, df = found["HGM"], found["DF"]
    assert (hgm.verdict, df.verdict) == ("better", "better")
    assert hgm.effect is not None
    assert df.effect is not None
    # DF alone gets the samples right in which only the certain modality is.
    assert hgm.effect.estimate == pytest.approx(10.0)
    assert df.effect.estimate == pytest.approx(15.0)
    assert hgm.sentence.startswith("HGM raises MLA's fused accuracy (+10.0 [")
    assert "n = 400" in hgm.family.contrasts[0].statement
    (row,) = [row for row in table_of(hgm, "effects").rows if row.heads == ("0 %", "fused")]
    assert [cell.mean for cell in row.cells] == ["+10.0", "+15.0", "+0.0"]


def test_p_values_are_corrected_over_both_parts(store: Store) -> None:
    found = asked(suite(store, {**HELPS, "MLA": 0.41, "averaged": 0.41}), store)
    decisions = [found[half].family.contrasts[0].decision for half in ("HGM", "DF")]
    raw = [one.comparison.p_value for one in decisions if one]
    assert [one.p_value for one in decisions if one] == pytest.approx(
        [2 * p if p == min(raw) else max(p, 2 * min(raw)) for p in raw]
    )


def test_a_part_that_harms_and_one_that_does_nothing(store: Store) -> None:
    harms = asked(suite(store, {"MLA": 0.4, "averaged": 0.4, "unmodified": 0.5, "nothing": 0.5}), store)
    assert (harms["HGM"].verdict, harms["DF"].verdict) == ("worse", "better")
    assert "HGM lowers MLA's fused accuracy (−10.0 [" in harms["HGM"].sentence
    nothing = asked(suite(store, dict.fromkeys(VARIANTS, 0.5)), store)
    assert nothing["HGM"].verdict == "practically equal"


def test_interaction_is_the_effect_of_hgm_with_df_minus_that_without(store: Store) -> None:
    only_together = {"MLA": 0.6, "averaged": 0.4, "unmodified": 0.4, "nothing": 0.4}
    found = asked(suite(store, only_together), store)["HGM"]
    (row,) = [row for row in table_of(found, "effects").rows if row.heads == ("0 %", "fused")]
    # With DF 60 + 15 against 40 + 15, without it 40 against 40.
    assert [cell.number for cell in row.cells] == pytest.approx([10.0, 25.0, 20.0])


def test_without_predictions_the_effects_are_those_of_the_trainings(store: Store) -> None:
    skill = {"MLA": 0.55, "averaged": 0.5, "unmodified": 0.42, "nothing": 0.4}
    plan = suite(store, skill, rates=(0.0, 0.3), keep=False)
    evidence = Evidence(load(plan, store), store)
    design = ablation.find_design(plan)
    assert design is not None
    runs = (evidence.per_seed(label, "30 %", "multimodal") for label in design)
    both, first, second, neither = (np.array([run[seed] for seed in sorted(run)]) for run in runs)
    found = asked(plan, store)
    for half, values in (("HGM", both - second + first - neither), ("DF", both - first + second - neither)):
        effect = by_rate(found[half]).contrasts[1].effect
        assert effect is not None
        low = ttest_1samp(values / 2, 0).confidence_interval(0.95).low
        assert (effect.estimate, effect.low) == pytest.approx((values.mean() / 2, low))
    assert "over trainings alone" in found["HGM"].family.contrasts[0].statement
    assert not [table for table in found["DF"].tables if table.name in ("weights", "fusion")]


def test_variants_are_found_by_their_options(store: Store) -> None:
    variants: dict[str, dict[str, Any]] = {
        "other alpha": {**FULL, "alpha": 0.5, "gradient_modification": "none"},
        "other HGM": {**FULL, "gradient_modification": "ogd", "dynamic_fusion": "average"},
        "other DF": {**FULL, "gradient_modification": "none", "dynamic_fusion": "batch"},
        "a": VARIANTS["nothing"],
        "b": VARIANTS["unmodified"],
        "c": VARIANTS["averaged"],
        "MLA": FULL,
    }
    cells = []
    for label, config in variants.items():
        trial = make_trial("mla").model_copy(update={"method": Component(name="mla", config=config)})
        cells.append(PlannedTrial(label=label, trial=trial, tests=(Missing(),)))
    cells.append(PlannedTrial(label="Concat", trial=make_trial("concat"), tests=(Missing(),)))
    plan = Plan(name="s", questions=("Q3",), modalities=MODALITIES, cells=tuple(cells))
    assert ablation.find_design(plan) == ablation.Design(both="MLA", only_hgm="c", only_df="b", neither="a")
    without = plan.model_copy(update={"cells": tuple(cell for cell in cells if cell.label != "a")})
    assert ablation.find_design(without) is None
    renamed = [cell.model_copy(update={"label": "z" if cell.label == "MLA" else cell.label}) for cell in cells]
    unnamed = plan.model_copy(update={"cells": tuple(renamed)})
    assert ablation.find_design(unnamed) == ablation.Design(both="z", only_hgm="c", only_df="b", neither="a")
    assert answers([without], Archive(store)) == []
    assert ablation.find_design(plan.model_copy(update={"cells": (cells[-1],)})) is None


def test_a_suite_that_has_not_run_is_undecided(store: Store) -> None:
    failing = [(label, 0.0, seed) for label in VARIANTS for seed in range(3)]
    found = asked(suite(store, HELPS, failing=failing), store)["HGM"]
    assert (found.verdict, found.effect) == ("undecided", None)
    assert "not measured" in found.sentence
    assert any("3 of 3 failed" in caveat for caveat in found.caveats)


def test_only_seeds_that_all_four_have_count(store: Store) -> None:
    found = asked(suite(store, HELPS, failing=[("nothing", 0.0, 1)]), store)["HGM"]
    assert "2 trainings" in found.family.contrasts[0].statement
    assert found.effect is not None
    assert found.effect.estimate == pytest.approx(10.0)


def test_rates_at_which_nothing_can_be_fused_are_not_averaged(store: Store) -> None:
    found = asked(suite(store, HELPS, rates=(0.0, 0.8)), store)  # at 80 % each sample has one modality
    assert found["DF"].family.contrasts[0].where == "0 %"
    df = {row.heads: row.cells[1] for row in table_of(found["HGM"], "effects").rows}
    assert df["80 %", "fused"].number == 0.0
    assert {row.heads[0] for row in table_of(found["DF"], "fusion").rows} == {"0 %"}


def test_fusing_again_gives_what_the_library_gives() -> None:
    generator = np.random.default_rng(0)
    unimodal = generator.normal(0, 3, (200, 3, 5)).astype(np.float32)
    present = generator.random((200, 3)) < 0.6
    present[~present.any(axis=1), 1] = True
    expected = [fuse(unimodal, present, dynamic=dynamic)[0] for dynamic in (False, True)]
    unimodal[~present] = np.nan
    np.testing.assert_allclose(weights.average_and_dynamic(unimodal, present), expected, rtol=1e-5, atol=1e-5)


def test_a_certain_prediction_has_no_entropy() -> None:
    unimodal = np.array([[[2000.0, 0.0], [0.0, 1.0]]])
    _, dynamic = weights.average_and_dynamic(unimodal, np.array([[True, True]]))
    assert np.isfinite(dynamic).all()
    assert dynamic.argmax() == 0


def test_dynamic_fusion_on_the_same_models(store: Store) -> None:
    plan = suite(store, HELPS, rates=(0.0, 0.4))
    evidence = Evidence(load(plan, store), store)
    for setting in ("0 %", "40 %"):
        for label, config in VARIANTS.items():
            pair, stored = weights.fusions(evidence, label, setting), evidence.outcomes(label, setting, "multimodal")
            assert pair is not None
            assert stored is not None
            # A variant's own way of fusing gives what is stored.
            np.testing.assert_array_equal(pair[config["dynamic_fusion"] == "sample"].correct, stored.correct)
    row = next(row for row in table_of(asked(plan, store)["DF"], "fusion").rows if row.heads == ("0 %", "MLA"))
    assert [cell.mean for cell in row.cells] == ["51.0", "66.0", "+15.0"]


def test_the_area_under_the_curve_agrees_with_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    weight = generator.random(300).round(2)  # with ties
    correct = generator.random(300) < weight
    assert weights.auroc(weight, correct) == pytest.approx(roc_auc_score(correct, weight))
    for constant in (np.ones(300, dtype=bool), np.zeros(300, dtype=bool)):
        assert np.isnan(weights.auroc(weight, constant))


def test_a_guide_counts_pairs_of_right_and_wrong() -> None:
    generator = np.random.default_rng(2)
    present = generator.random((50, 3)) < 0.7
    weight = generator.random((50, 3)).round(1)
    correct = generator.random((50, 3)) < 0.5
    guide = weights.guide(MODALITIES, present, weight, correct)
    shown = [row for row in range(50) if present[row].sum() > 1]
    mean = {m: np.mean([weight[row, m] for row in shown if present[row, m]]) for m in range(3)}
    points, constant = [], []
    for row in shown:
        for one in range(3):
            for other in range(3):
                if present[row, one] and present[row, other] and correct[row, one] and not correct[row, other]:
                    points.append(0.5 * (1 + np.sign(weight[row, one] - weight[row, other])))
                    constant.append(0.5 * (1 + np.sign(mean[one] - mean[other])))
    assert guide.concordance == pytest.approx(np.mean(points))
    assert guide.by_modality == pytest.approx(np.mean(constant))
    assert guide.weight["image"].tolist() == [weight[row, 1] for row in shown if present[row, 1]]
    assert guide.correct["image"].tolist() == [correct[row, 1] for row in shown if present[row, 1]]


def test_entropy_as_a_guide(store: Store) -> None:
    found = asked(suite(store, HELPS, rates=(0.0, 0.4, 0.8)), store)["DF"]
    rows = {row.heads: row.cells for row in table_of(found, "weights").rows}
    # Wherever one modality is right and another wrong, the right one is certain.
    assert rows["0 %", "fused"][3].number == pytest.approx(100.0)
    assert ("80 %", "audio") not in rows
    # Where image alone is right, its weight is the soft-max of minus the entropies; elsewhere all weigh the same.
    certain, torn = (entropy(softmax([*top, *[0.0] * (CLASSES - len(top))])) for top in ((8,), (8.1, 8, 8, 8)))
    alone = 100 * float(softmax([-torn, -certain, -torn])[1])
    weight, accuracy = rows["0 %", "image"][:2]
    assert accuracy.number == pytest.approx(66.0)
    assert weight.number == pytest.approx(0.85 * 100 / 3 + 0.15 * alone, abs=1e-4)
    (chart,) = [chart for chart in found.charts if chart.name == "reliability"]
    assert [panel.title for panel in chart.panels] == ["0 % missing", "40 % missing"]
    image = next(series for series in chart.panels[0].series if series.label == "image")
    assert list(image.x) == pytest.approx([100 / 3, alone], abs=1e-4)
    # 51 % of the samples are right among the 85 % in which all modalities are equally certain.
    assert list(image.y) == pytest.approx([100 * 0.51 / 0.85, 100.0])


def test_the_chart_shows_the_effects_rate_by_rate(store: Store) -> None:
    found = asked(suite(store, HELPS, rates=(0.0, 0.4)), store)["HGM"]
    (panel,) = found.charts[0].panels
    assert list(panel.series[0].x) == [0.0, 40.0]
    assert list(panel.series[0].y) == [one.effect and one.effect.estimate for one in by_rate(found).contrasts]

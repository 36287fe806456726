"""Metrics against scikit-learn and against definitions written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from mlabench.missing import Missing
from mlabench.training.metrics import calibration_error, evaluate, modality_gap, score, softmax


def random_logits(samples: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(samples, classes)).astype(np.float32)
    return logits, generator.integers(0, classes - 1, samples)  # the last class never occurs


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_scikit_learn(seed):
    logits, labels = random_logits(200, 5, seed)
    predicted = logits.argmax(axis=1)
    scores = score(logits, labels)
    assert scores.n == 200
    assert scores.accuracy == pytest.approx((predicted == labels).mean())
    assert scores.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro", zero_division=0))
    occurs = labels < 4
    recalls = [(predicted[labels == c] == c).mean() for c in range(4)]
    assert scores.uar == pytest.approx(np.mean(recalls))
    assert occurs.all()


def test_uar_equals_scikit_learn_when_only_true_classes_are_predicted():
    logits, labels = random_logits(300, 5)
    logits[:, 4] = -100
    assert score(logits, labels).uar == pytest.approx(balanced_accuracy_score(labels, logits.argmax(axis=1)))


def test_calibration_error_by_hand():
    # Confidences .95 (right), .95 (wrong) and .65 (right) fall into bins 14, 14 and 9 of 15.
    confidence, correct = np.array([0.95, 0.95, 0.65]), np.array([True, False, True])
    logits = np.log(np.stack([confidence, 1 - confidence], axis=1))
    by_hand = (2 / 3) * abs(0.5 - 0.95) + (1 / 3) * abs(1 - 0.65)
    assert calibration_error(logits, correct) == pytest.approx(by_hand)


def test_brier_score_by_hand():
    """Of (0.95, 0.05) when right, of the same when wrong, and of (0.5, 0.5)."""
    logits = np.log(np.array([[0.95, 0.05], [0.95, 0.05], [0.5, 0.5]]))
    by_hand = (2 * 0.05**2 + 2 * 0.95**2 + 2 * 0.5**2) / 3
    assert score(logits, np.array([0, 1, 1])).brier == pytest.approx(by_hand)


def test_softmax_survives_large_logits():
    assert softmax(np.array([[1e4, 0.0], [-1e4, -1e4]])).tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_modality_gap_by_hand():
    first = np.array([[2.0, 0.0], [0.0, 3.0]])  # centroid of the unit vectors: (1/2, 1/2)
    second = np.array([[-4.0, 0.0]])  # (-1, 0)
    assert modality_gap(first, second) == pytest.approx(np.hypot(1.5, 0.5))
    assert modality_gap(first, 10 * first) == pytest.approx(0.0)


def test_unimodal_scores_are_over_the_samples_that_have_the_modality():
    logits, labels = random_logits(50, 3)
    present = np.zeros((50, 2), dtype=bool)
    present[:, 0] = True
    present[:20, 1] = True
    wrong_where_absent = logits.copy()
    wrong_where_absent[20:] = np.nan
    result = evaluate(
        Missing(protocol="per_modality", rates={"b": 0.6}),
        ("a", "b"),
        labels,
        present,
        logits,
        {"a": logits, "b": wrong_where_absent},
        {"a": logits, "b": wrong_where_absent},
        np.where(present, 0.5, np.nan),
    )
    assert result.missing_rate == pytest.approx(0.3)
    assert result.multimodal == score(logits, labels)
    assert result.unimodal["b"] == score(logits[:20], labels[:20])
    assert result.fusion_weight == {"a": 0.5, "b": 0.5}
    assert result.modality_gap["a|b"] == pytest.approx(modality_gap(logits, logits[:20]))


def test_a_modality_that_is_nowhere_has_no_score():
    logits, labels = random_logits(10, 3)
    present = np.tile([True, False], (10, 1))
    nothing = np.full_like(logits, np.nan)
    unimodal = {"a": logits, "b": nothing}
    subset = Missing(protocol="subset", keep=("a",))
    result = evaluate(subset, ("a", "b"), labels, present, logits, unimodal, unimodal, None)
    assert result.unimodal["b"] is None
    assert result.modality_gap == {}
    assert result.fusion_weight is None

"""The linear probe and the projection, against scikit-learn and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from mlabench.training import probe
from mlabench.training.probe import linear_probe, project

RANDOM = np.random.default_rng(0)


def make(samples: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes around three corners, in eight dimensions of which one never varies."""
    labels = RANDOM.integers(0, 3, samples)
    values = np.zeros((samples, 8), np.float32)
    values[:, :3] = np.eye(3)[labels]
    values += noise * RANDOM.normal(size=values.shape).astype(np.float32)
    values[:, 7] = 5.0
    return values, labels


@pytest.mark.parametrize("penalty", [1e-3, 1.0])
def test_the_probe_is_ridge_regression(penalty: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PENALTIES", (penalty,))
    train, validation, (test, _) = make(200), make(50), make(40)
    scaler = StandardScaler().fit(train[0])
    ridge = Ridge(alpha=penalty * 200).fit(scaler.transform(train[0]), np.eye(3)[train[1]])
    expected = ridge.predict(scaler.transform(test))
    np.testing.assert_allclose(linear_probe(train, validation, test, 3), expected, rtol=1e-4, atol=1e-5)


def test_the_validation_split_chooses_the_penalty() -> None:
    train, validation, (test, labels) = make(60, noise=2.0), make(400, noise=2.0), make(400, noise=2.0)
    scaler = StandardScaler().fit(train[0])

    def ridge(penalty: float) -> Ridge:
        return Ridge(alpha=penalty * 60).fit(scaler.transform(train[0]), np.eye(3)[train[1]])

    def accuracy(penalty: float) -> float:
        return float((ridge(penalty).predict(scaler.transform(validation[0])).argmax(1) == validation[1]).mean())

    best = max(probe.PENALTIES, key=lambda penalty: (accuracy(penalty), penalty))
    assert len({accuracy(penalty) for penalty in probe.PENALTIES}) > 1
    expected = ridge(best).predict(scaler.transform(test))
    np.testing.assert_allclose(linear_probe(train, validation, test, 3), expected, rtol=1e-4, atol=1e-5)
    assert (expected.argmax(1) == labels).mean() > 0.4


def test_the_projection_is_pca_of_all_modalities_together() -> None:
    first, second = (RANDOM.normal(size=(30, 6)).astype(np.float32) + shift for shift in (0.0, 1.0))
    points = project({"a": first, "b": second})
    rows = np.concatenate([first, second])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = PCA(2).fit_transform(rows)
    found = np.concatenate([points["a"], points["b"]])
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-3, atol=1e-4)
    assert found.dtype == np.float32


def test_the_projection_has_a_sign_of_its_own() -> None:
    values = RANDOM.normal(size=(20, 4)).astype(np.float32)
    turned = project({"a": values[::-1].copy()})["a"][::-1]
    np.testing.assert_allclose(project({"a": values})["a"], turned, rtol=1e-4, atol=1e-5)

"""Purity, the times of diagnosis, and the move back to the initial weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from baselines.relearning import Relearning, purity
from mlabench.method import Progress, Stage
from mlabench.testing import Samples, adam, build_method, fill_absent, fit, make_batch, make_task, only, parameters

TRAIN = Stage("train", 90)


def build(**options: Any) -> Relearning:
    method = build_method("relearning", make_task(), **({"widths": [4, 6, 3]} | options))
    assert isinstance(method, Relearning)
    return method


def blobs(centres: list[tuple[float, float]], sizes: list[int]) -> Any:
    random = np.random.default_rng(0)
    parts = [random.normal(centre, 0.01, size=(n, 2)) for centre, n in zip(centres, sizes, strict=True)]
    return np.concatenate(parts).astype(np.float32)


def test_purity_by_hand() -> None:
    """Three clear clusters of 5, 4 and 3 samples with majorities of 4, 2 and 3: (4 + 2 + 3) / 12."""
    features = blobs([(0, 0), (1, 0), (0, 1)], [5, 4, 3])
    labels = np.array([0, 0, 0, 0, 2, 1, 1, 0, 2, 2, 2, 2])
    assert purity(features, labels, 3) == pytest.approx(9 / 12)
    assert purity(features, labels, 3) == purity(features.copy(), labels.copy(), 3)


def test_purity_scales_each_feature() -> None:
    """Clusters along a feature of tiny range, across one of huge range and no meaning."""
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    features = np.stack([1e-4 * labels + 1e-6 * random.normal(size=60), np.tile([0.0, 1000.0, 500.0], 20)], axis=1)
    # Scaled, both features range over [-1, 1]; three steps of the second are closer together than two of the first.
    assert purity(features, labels, 2) == 1.0
    constant = np.concatenate([features, np.full((60, 1), 7.0)], axis=1)
    assert purity(constant, labels, 2) == 1.0


def test_purity_against_another_library() -> None:
    random = np.random.default_rng(1)
    centres = random.normal(size=(4, 5)) * 6
    labels = random.integers(4, size=200)
    features = centres[labels] + random.normal(size=(200, 5))
    labels[::7] = 0
    scaled = 2 * (features - features.min(0)) / (features.max(0) - features.min(0)) - 1
    cluster = KMeans(4, n_init=10, random_state=0).fit_predict(scaled)
    expected = sum(np.bincount(labels[cluster == c]).max() for c in range(4)) / 200
    assert purity(features, labels, 4) == pytest.approx(expected)


@pytest.mark.parametrize(("samples", "expected"), [(1, 1.0), (2, 1.0)])
def test_fewer_samples_than_clusters(samples: int, expected: float) -> None:
    assert purity(np.eye(2)[:samples], np.arange(samples), 3) == expected


def test_equal_features_make_one_cluster() -> None:
    assert purity(np.zeros((4, 3)), np.array([0, 1, 1, 2]), 3) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("epochs", "options", "expected"),
    [
        (90, {}, [20, 40, 60]),  # as published
        (20, {}, [4, 8, 12]),
        (10, {}, [2, 4, 6]),
        (2, {}, [1]),
        (1, {}, []),
        (90, {"times": 1}, [20]),
        (90, {"times": 0}, []),
        (90, {"interval": 0.5}, [45]),
    ],
)
def test_times_of_diagnosis(
    epochs: int, options: dict[str, Any], expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    method = build(**options)
    called: list[int] = []
    monkeypatch.setattr(method, "diagnose", lambda *splits: called.append(epoch) or {})
    samples = Samples([make_batch(method.task)])
    for epoch in range(epochs):
        method.on_epoch_start(Progress(epoch, epochs, 0, 1), samples, samples)
    assert called == expected


def test_diagnosis_by_hand() -> None:
    method = build(strength=2.0, normalise=True)
    train = fill_absent(make_batch(method.task, 40, missing=0.3), torch.nan)
    validation = fill_absent(make_batch(method.task, 20, missing=0.3, seed=1), torch.nan)
    fit(method, [train], 3)
    before = parameters(method)
    shares = method.diagnose(Samples([train]), Samples([validation]))
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert list(shares) == list(method.task.modalities)
    method.eval()
    for column, (modality, share) in enumerate(shares.items()):
        scores = []
        for batch in (train, validation):
            rows = batch.present[:, column]
            with torch.no_grad():
                feature = method.encoders[modality](batch.inputs[modality][rows]).numpy()
            scores.append(purity(feature, batch.label[rows].numpy(), 3))
        assert share == pytest.approx(math.tanh(2.0 * abs(scores[0] - scores[1])))
    assert any(share > 0 for share in shares.values())


def test_modality_that_a_split_lacks_is_not_diagnosed() -> None:
    method = build()
    train, validation = make_batch(method.task, 20), only(make_batch(method.task, 10, seed=1), 0, 2)
    assert list(method.diagnose(Samples([train]), Samples([validation]))) == ["audio", "text"]


def test_weights_move_back_by_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    method = build(normalise=True)
    method.encoders["text"].requires_grad_(False)
    method.on_stage_start(TRAIN)
    initial = parameters(method)
    batch = make_batch(method.task, 20)
    steps = adam(method)
    method.train()
    for _ in range(5):
        method.training_step(batch, steps)
    trained = parameters(method)
    shares = {"audio": 0.3, "image": 1.0, "text": 0.5}
    monkeypatch.setattr(method, "diagnose", lambda *splits: shares)
    samples = Samples([batch])
    method.on_epoch_start(Progress(20, 90, 0, 1), samples, samples)
    weights = {name for name, _ in method.named_parameters()}
    for name, value in method.state_dict().items():
        if name in weights and name.startswith(("encoders.audio", "encoders.image")):
            share = shares[name.split(".")[1]]
            by_hand = share * initial[name].double().numpy() + (1 - share) * trained[name].double().numpy()
            np.testing.assert_allclose(value, by_hand, rtol=1e-5, atol=1e-7)
            assert not torch.equal(value, trained[name]), name
        else:  # batch statistics, the frozen encoder, the head
            assert torch.equal(value, trained[name]), name


def test_training_between_diagnoses_is_that_of_concat() -> None:
    batch = make_batch(make_task(), 20, missing=0.3)
    states = []
    for name, options in (("relearning", {"times": 0}), ("concat", {})):
        method = build_method(name, make_task(), widths=[4, 6, 3], **options)
        fit(method, [batch], 5)
        states.append(parameters(method))
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())

"""Prototypes, their momentum, distances and the losses of lagging modalities, by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.concat import Concat
from baselines.pmr import PMR, distance
from mlabench.method import Batch, Progress
from mlabench.testing import Samples, build_method, make_batch, make_task, only, parameters, sgd, take

Array = NDArray[np.float64]
START = Progress(0, 10, 0, 1)


class Split(Samples):
    """Yields two batches at a time, and remembers what was asked for."""

    asked: Tensor | None = None

    def labelled_batches(self, rows: Tensor | None = None) -> Iterator[Batch]:
        self.asked = rows
        assert rows is not None
        for part in rows.chunk(2):
            yield take(self.all, part)


def build(modalities: int = 3, normalise: bool = False, **options: object) -> PMR:
    method = build_method(PMR, make_task(modalities), widths=[4, 6, 3, 5][:modalities], normalise=normalise, **options)
    assert isinstance(method, PMR)
    return method


def features(method: PMR, batch: Batch) -> dict[str, Array]:
    method.eval()
    with torch.no_grad():
        return {m: method.encoders[m](x).double().numpy() for m, x in batch.inputs.items()}


def class_means(method: PMR, batch: Batch) -> dict[str, Array]:
    """Means of the features of each class over the samples that have the modality; NaN where there is none."""
    means = {}
    for column, (modality, feature) in enumerate(features(method, batch).items()):
        means[modality] = np.full((len(method.task.classes), feature.shape[1]), np.nan)
        for c in range(len(method.task.classes)):
            rows = (batch.label.numpy() == c) & batch.present[:, column].numpy()
            if rows.any():
                means[modality][c] = feature[rows].mean(axis=0)
    return means


def test_prototypes_are_class_means_of_a_share_of_the_training_split() -> None:
    method = build(share=0.5, normalise=True)
    split = Split([make_batch(method.task, 60, missing=0.4)])
    method.train()
    before = parameters(method)
    torch.manual_seed(0)
    method.on_epoch_start(START, split, split)
    assert split.asked is not None
    assert len(split.asked) == len(set(split.asked.tolist())) == 30
    for modality, expected in class_means(method, take(split.all, split.asked)).items():
        np.testing.assert_allclose(method.prototype(modality), expected, rtol=1e-5, atol=1e-6)
    after = parameters(method)
    assert all(torch.equal(after[key], before[key]) for key in after if "prototype" not in key and key != "known")
    first = split.asked
    method.on_epoch_start(START, split, split)
    assert not torch.equal(first, split.asked)


def test_momentum_from_the_third_epoch_on() -> None:
    method = build(share=1.0, momentum=0.2)
    old: dict[str, Array] = {}
    for epoch in range(4):
        split = Split([make_batch(method.task, 60, seed=epoch)])
        method.on_epoch_start(Progress(epoch, 10, 0, 1), split, split)
        for modality, new in class_means(method, split.all).items():
            expected = new if epoch < 2 else 0.8 * new + 0.2 * old[modality]
            np.testing.assert_allclose(method.prototype(modality), expected, rtol=1e-5, atol=1e-6)
            old[modality] = expected


def test_a_class_that_is_not_drawn_keeps_its_prototype() -> None:
    method = build(share=1.0)
    batch = make_batch(method.task, 60)
    without = [take(batch, (batch.label != c).nonzero().squeeze(1)) for c in (2, 1)]
    method.on_epoch_start(START, Split(without[:1]), Split(without[:1]))
    assert method.known.tolist() == [[True, True, False]] * 3
    kept = method.prototype("audio")[1].clone()
    method.on_epoch_start(Progress(1, 10, 0, 1), Split(without[1:]), Split(without[1:]))
    assert method.known.all()
    assert torch.equal(method.prototype("audio")[1], kept)
    expected = class_means(method, without[1])["audio"]
    np.testing.assert_allclose(method.prototype("audio")[[0, 2]], expected[[0, 2]], rtol=1e-5, atol=1e-6)


def loss_by_hand(method: PMR, batch: Batch) -> float:
    """The prototype losses, sample by sample."""
    scores, losses = [], []
    for column, (modality, feature) in enumerate(features(method, batch).items()):
        prototype = method.prototype(modality).double().numpy()
        classes = [c for c in range(len(prototype)) if method.known[column, c]]
        right = []
        for i, label in enumerate(batch.label.tolist()):
            if batch.present[i, column] and label in classes:
                near = {c: math.exp(-math.dist(feature[i], prototype[c])) for c in classes}
                right.append(near[label] / sum(near.values()))
        if right:
            scores.append(np.mean(right))
            losses.append(-np.mean(np.log(right)))
    return sum(loss for loss, score in zip(losses, scores, strict=True) if score < max(scores))


@pytest.mark.parametrize("modalities", [2, 3, 4])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_loss_by_hand(modalities: int, missing: float) -> None:
    method = build(modalities, weight=0.7)
    split = Samples([make_batch(method.task, 60, seed=1)])
    method.on_epoch_start(START, split, split)
    batch = make_batch(method.task, 12, missing=missing)
    expected = loss_by_hand(method, batch)
    assert expected > 0
    with torch.no_grad():
        embedding = method.encode(batch)
        assert method.prototype_loss(embedding, batch).item() == pytest.approx(expected, rel=1e-5)
        joint = torch.nn.functional.cross_entropy(method.head.fused(embedding), batch.label).item()
    logged = method.training_step(batch, sgd(method))["loss"].item()
    assert logged == pytest.approx(joint + 0.7 * expected, rel=1e-5)


def test_classes_without_a_prototype_take_no_part() -> None:
    method = build(share=1.0)
    batch = make_batch(method.task, 60)
    split = Samples([take(batch, (batch.label != 2).nonzero().squeeze(1))])
    method.on_epoch_start(START, split, split)
    with torch.no_grad():
        actual = method.prototype_loss(method.encode(batch), batch)
    assert actual.item() == pytest.approx(loss_by_hand(method, batch), rel=1e-5)
    only_unknown = take(batch, (batch.label == 2).nonzero().squeeze(1))
    assert method.prototype_loss(method.encode(only_unknown), only_unknown) == 0


def test_one_modality_is_never_pulled() -> None:
    method = build()
    split = Samples([make_batch(method.task, 60)])
    method.on_epoch_start(START, split, split)
    batch = only(make_batch(method.task, 12), 1)
    assert method.prototype_loss(method.encode(batch), batch) == 0


def test_prototypes_pull_in_the_first_epochs_only() -> None:
    """With the default, 101 of 150 epochs; afterwards a step is that of concatenation."""
    method = build()
    split = Split([make_batch(method.task, 60)])
    method.on_epoch_start(Progress(6, 10, 0, 1), split, split)
    assert split.asked is not None
    split.asked = None
    method.on_epoch_start(Progress(7, 10, 0, 1), split, split)
    assert split.asked is None
    concat = build_method(Concat, method.task, widths=[4, 6, 3])
    concat.load_state_dict({key: method.state_dict()[key] for key in concat.state_dict()})
    batch = make_batch(method.task, 12)
    for trained in (method, concat):
        steps = sgd(trained)
        steps.progress = Progress(7, 10, 0, 1)
        trained.training_step(batch, steps)
    after = parameters(method)
    assert all(torch.equal(after[key], value) for key, value in parameters(concat).items())
    steps.progress = Progress(6, 10, 0, 1)
    method.training_step(batch, steps := sgd(method))
    concat.training_step(batch, sgd(concat))
    assert not all(torch.equal(method.state_dict()[key], value) for key, value in concat.state_dict().items())


def test_distances_and_their_gradients() -> None:
    """Against NumPy and central differences; many points, where matrix products would be used by default."""
    random = np.random.default_rng(0)
    points = random.normal(size=(40, 5)) * 1e-2 + 10
    targets = points[:30] + random.normal(size=(30, 5)) * 1e-2
    feature = torch.tensor(points, dtype=torch.float32, requires_grad=True)
    actual = distance(feature, torch.tensor(targets, dtype=torch.float32))
    points, targets = (values.astype(np.float32).astype(np.float64) for values in (points, targets))
    expected = np.linalg.norm(points[:, None] - targets[None], axis=2)
    np.testing.assert_allclose(actual.detach(), expected, rtol=1e-4)
    weight = random.normal(size=(40, 30))
    (actual * torch.tensor(weight)).sum().backward()
    step = 1e-6
    for i, j in [(0, 0), (7, 3), (39, 4)]:
        moved = np.repeat(points[[i]], 2, axis=0)
        moved[:, j] += [step, -step]
        ends = (np.linalg.norm(moved[:, None] - targets[None], axis=2) * weight[i]).sum(axis=1)
        assert feature.grad is not None
        assert feature.grad[i, j].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-3, abs=1e-4)


def test_gradient_is_zero_where_a_feature_is_its_prototype() -> None:
    feature = torch.randn(3, 4, requires_grad=True)
    distance(feature, feature.detach()[:1]).sum().backward()
    assert feature.grad is not None
    assert torch.equal(feature.grad[0], torch.zeros(4))
    torch.testing.assert_close(feature.grad[1:].norm(dim=1), torch.ones(2))

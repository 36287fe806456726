"""Blend weights, the losses behind them and what each stage trains, by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baselines.g_blending import GBlending, blend_weights
from mlabench.method import Batch, Progress, Stage
from mlabench.testing import Samples, adam, build_method, fit, make_batch, make_task, only, parameters, take

ESTIMATE, TRAIN = Stage("estimate", 1), Stage("train", 1)
WIDTHS = [4, 6, 3]
COPIES = ("joint_", "own_")


class Split(Samples):
    """Yields a large and a small batch."""

    def labelled_batches(self, rows: Tensor | None = None) -> Iterator[Batch]:
        assert rows is None
        for part in torch.arange(len(self)).split(len(self) - 5):
            yield take(self.all, part)


def build(normalise: bool = False, **options: object) -> GBlending:
    method = build_method(GBlending, make_task(), widths=WIDTHS, normalise=normalise, **options)
    assert isinstance(method, GBlending)
    return method


def test_blend_by_hand() -> None:
    before = torch.tensor([[2.0, 2.1, 2.2, 2.0], [2.1, 2.2, 2.2, 2.3]])
    after = torch.tensor([[0.5, 1.0, 2.0, 0.2], [1.1, 1.8, 2.4, 0.5001]])
    g = [1.0, 0.4, 0.0, 1.7999]  # text does not generalise
    o = [0.6 - 0.1, 0.8 - 0.1, 0.4 - 0.0, 0.1]  # the last is 0.0001, below the floor
    ratio = np.array([gk / ok**2 for gk, ok in zip(g, o, strict=True)])
    np.testing.assert_allclose(blend_weights(before, after, 0.1), ratio / ratio.sum(), rtol=1e-4)


def test_blend_is_even_if_nothing_generalises() -> None:
    before = torch.ones(2, 3)
    torch.testing.assert_close(blend_weights(before, before + 0.5, 0.01), torch.full((3,), 1 / 3))


def test_overfitting_counts_by_its_size() -> None:
    """A validation loss that falls faster than the training loss is as far from none as one that falls slower."""
    before = torch.ones(2, 2)
    after = torch.tensor([[0.6, 0.4], [0.5, 0.5]])
    torch.testing.assert_close(blend_weights(before, after, 0.01), torch.tensor([0.5, 0.5]))


@pytest.mark.parametrize(
    ("epochs", "share", "expected"),
    [(20, 0.5, (10, 10)), (10, 0.2, (2, 8)), (3, 0.9, (2, 1)), (4, 0.01, (1, 3)), (1, 0.5, (1, 1))],
)
def test_stages_share_the_epochs(epochs: int, share: float, expected: tuple[int, int]) -> None:
    stages = build(estimate_share=share).stages(epochs)
    assert [(stage.name, stage.selects) for stage in stages] == [("estimate", False), ("train", True)]
    assert tuple(stage.epochs for stage in stages) == expected


def cross_entropies(logits: Tensor, label: Tensor) -> list[float]:
    return [
        math.log(sum(math.exp(z) for z in row)) - row[y] for row, y in zip(logits.tolist(), label.tolist(), strict=True)
    ]


def measure_by_hand(method: GBlending, batch: Batch) -> list[float]:
    """Mean losses of the copies over all samples, that of the joint one last."""
    method.eval()
    result, features = [], []
    with torch.no_grad():
        for column, (modality, x) in enumerate(batch.inputs.items()):
            z = method.own_heads[modality](method.own_encoders[modality](x))
            losses = cross_entropies(z, batch.label)
            here = [loss for loss, present in zip(losses, batch.present[:, column], strict=True) if present]
            result.append(sum(here) / len(here) if here else 0.0)
            features.append(method.joint_encoders[modality](x) * batch.present[:, [column]])
        joint = cross_entropies(method.joint_head(torch.cat(features, dim=1)), batch.label)
    return [*result, sum(joint) / len(joint)]


def trained(normalise: bool = False) -> GBlending:
    """A method whose copies have been trained a little."""
    method = build(normalise)
    method.on_stage_start(ESTIMATE)
    steps = adam(method)
    method.train()
    for _ in range(10):
        method.training_step(make_batch(method.task, 24, missing=0.3), steps)
    return method


def test_measured_losses_are_means_over_the_samples_that_have_the_modality() -> None:
    method = trained(normalise=True)
    split = Split([make_batch(method.task, 40, missing=0.4, seed=1)])
    before = parameters(method)
    method.train()
    np.testing.assert_allclose(method.measure(split), measure_by_hand(method, split.all), rtol=1e-5)
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())
    nobody = Split([only(split.all, 0, 2)])
    np.testing.assert_allclose(method.measure(nobody), measure_by_hand(method, nobody.all), rtol=1e-5)
    assert method.measure(nobody)[1] == 0


def test_weights_are_set_between_the_stages() -> None:
    method = build()
    train, validation = (Split([make_batch(method.task, 40, seed=seed)]) for seed in (1, 2))
    method.on_stage_start(ESTIMATE)
    before = [measure_by_hand(method, split.all) for split in (train, validation)]
    steps = adam(method)
    for epoch in range(6):
        method.on_epoch_start(Progress(epoch, 6, 0, 1), train, validation)
        method.train()
        method.training_step(train.all, steps)
        np.testing.assert_allclose(method.before, before, rtol=1e-5)
        assert method.blend.tolist() == [0.25] * 4
    after = [measure_by_hand(method, split.all) for split in (train, validation)]
    method.on_stage_start(TRAIN)
    method.on_epoch_start(Progress(0, 6, 0, 1), train, validation)
    (t0, v0), (t1, v1) = np.array(before), np.array(after)
    ratio = np.maximum(v0 - v1, 0) / np.maximum(np.abs(v1 - t1 - v0 + t0), 0.01) ** 2
    assert ratio.sum() > 0
    np.testing.assert_allclose(method.blend, ratio / ratio.sum(), rtol=1e-3, atol=1e-5)
    blend = method.blend.clone()
    method.on_epoch_start(Progress(1, 6, 0, 1), validation, train)
    assert torch.equal(method.blend, blend)


def test_copies_are_trained_first_and_the_model_from_the_initial_weights() -> None:
    method = build(normalise=True)
    initial = parameters(method)
    batch = make_batch(method.task, 24, missing=0.3)
    for stage in (ESTIMATE, TRAIN):
        method.on_stage_start(stage)
        before = parameters(method)
        steps = adam(method)
        method.train()
        for _ in range(3):
            method.training_step(batch, steps)
        for key, value in method.state_dict().items():
            copied = key.startswith(COPIES)
            buffer = key in {"estimating", "before", "blend"}
            assert torch.equal(value, before[key]) == (buffer or copied != (stage is ESTIMATE)), key
            if stage is ESTIMATE and not copied and not buffer:
                assert torch.equal(value, initial[key]), key


def test_copies_start_like_the_model_and_train_alone() -> None:
    """A unimodal copy sees its own loss only, and the joint copy the joint one."""
    method = build()
    state = parameters(method)
    for copied, original in (("joint_encoders", "encoders"), ("own_encoders", "encoders"), ("own_heads", "heads")):
        for key, value in state.items():
            if key.startswith(f"{copied}."):
                assert torch.equal(value, state[key.replace(copied, original)]), key
    method.on_stage_start(ESTIMATE)
    batch = make_batch(method.task, 12)
    method.loss(batch).backward()
    alone = nn.functional.cross_entropy(
        method.own_heads["image"](method.own_encoders["image"](batch.inputs["image"])), batch.label
    )
    members = list(method.own_encoders["image"].parameters())
    for parameter, expected in zip(members, torch.autograd.grad(alone, members), strict=True):
        torch.testing.assert_close(parameter.grad, expected)
    together = torch.cat([method.joint_encoders[m](x) for m, x in batch.inputs.items()], dim=1)
    joint = nn.functional.cross_entropy(method.joint_head(together), batch.label)
    members = list(method.joint_encoders.parameters())
    for parameter, expected in zip(members, torch.autograd.grad(joint, members), strict=True):
        torch.testing.assert_close(parameter.grad, expected)


def test_blended_loss_by_hand() -> None:
    method = build()
    method.on_stage_start(TRAIN)
    method.blend.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    for batch in (make_batch(method.task, 12, missing=0.4), only(make_batch(method.task, 12), 1)):
        with torch.no_grad():
            prediction = method.predict(batch)
            expected, features = 0.0, []
            for column, (modality, x) in enumerate(batch.inputs.items()):
                h = method.encoders[modality](x)
                features.append(h * batch.present[:, [column]])
                losses = cross_entropies(method.heads[modality](h), batch.label)
                here = [loss for loss, present in zip(losses, batch.present[:, column], strict=True) if present]
                expected += [0.1, 0.2, 0.3][column] * (sum(here) / len(here) if here else 0.0)
            fused = method.head(torch.cat(features, dim=1))
            torch.testing.assert_close(prediction.fused, fused)
            expected += 0.4 * np.mean(cross_entropies(fused, batch.label))
            assert method.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_prediction_is_that_of_the_stage_and_part_of_the_state() -> None:
    method = trained()
    batch = make_batch(method.task, 12)
    method.eval()
    with torch.no_grad():
        joint = torch.cat([method.joint_encoders[m](x) for m, x in batch.inputs.items()], dim=1)
        torch.testing.assert_close(method.predict(batch).fused, method.joint_head(joint))
        other = build(seed=1)
        other.load_state_dict(method.state_dict())
        torch.testing.assert_close(other.eval().predict(batch).fused, method.predict(batch).fused)


def test_trained_from_stage_to_stage() -> None:
    """The weights that the whole training ends with are those of its own losses, and sum to one."""
    method = build()
    fit(method, [make_batch(method.task, 24, missing=0.3)], 8)
    assert method.blend.sum().item() == pytest.approx(1)
    assert not torch.allclose(method.blend, torch.full((4,), 0.25))

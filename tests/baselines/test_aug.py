"""Losses against the authors' own, restated; when heads are assigned, and to whom."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from baselines.aug import ASSIGNMENTS, AUG
from mlabench.method import Progress
from mlabench.testing import Samples, adam, build_method, fit, make_batch, make_task, only, parameters, predict, sgd

WIDTHS = [4, 6, 3, 5]


def build(modalities: int = 3, heads: tuple[int, ...] = (), **options: object) -> AUG:
    method = build_method(AUG, make_task(modalities), **{"widths": WIDTHS[:modalities], "hidden": 8, **options})
    assert isinstance(method, AUG)
    if heads:
        method.heads.copy_(torch.tensor(heads))
    return method


def authors_loss(method: AUG, modality: str, feature: Tensor, label: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """``classfier`` in model/AudioVideo.py and the loss in train_CREMAD.py at 841d079, whose labels are one-hot."""
    y = F.one_hot(label, 3).float()
    first, *more = list(method.layers[modality])[:heads]
    out = older = method.out(torch.relu(first(feature)))
    newest = None
    for i, layer in enumerate(more, start=1):
        newest = method.out(torch.relu(layer(feature)))
        out = out + newest
        if i < len(more):
            older = out

    def criterion(logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target, reduction="none").mean()

    if newest is None:
        return criterion(out, y), out
    kl = y * older.detach().softmax(1)
    loss = criterion(out, y) + criterion(older, y) + criterion(newest, y) - 0.5 * criterion(newest, kl)
    return loss, out


@pytest.mark.parametrize("heads", [1, 2, 3, 5])
def test_loss_and_gradients_are_the_authors(heads: int) -> None:
    method = build(heads=(heads, 1, 1))
    batch = make_batch(method.task, 12)
    feature = method.encoders["audio"](batch.inputs["audio"])
    expected, out = authors_loss(method, "audio", feature, batch.label, heads)
    logits = method.logits("audio", feature)
    torch.testing.assert_close(logits.sum(dim=0), out)
    actual = method.boosting_loss(logits, batch.label)
    torch.testing.assert_close(actual, expected)
    names = [n for n, _ in method.named_parameters() if n.startswith(("encoders.audio", "layers.audio", "out."))]
    members = [method.get_parameter(name) for name in names]
    pairs = [torch.autograd.grad(x, members, retain_graph=True, allow_unused=True) for x in (actual, expected)]
    for name, ours, theirs in zip(names, *pairs, strict=True):
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            torch.testing.assert_close(ours, theirs, msg=name)


@pytest.mark.parametrize("modalities", [2, 3, 4])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_step_trains_modalities_in_turn(modalities: int, missing: float) -> None:
    """Each sees the shared layer that the one before has left; means are over the samples that have the modality."""
    heads = (1, 3, 2, 1)[:modalities]
    method = build(modalities, heads=heads)
    batch = make_batch(method.task, 12, missing=missing)
    expected = copy.deepcopy(method)
    right = []
    for column, modality in enumerate(method.task.modalities):
        rows = batch.present[:, column]
        feature = expected.encoders[modality](batch.inputs[modality][rows])
        loss, out = authors_loss(expected, modality, feature, batch.label[rows], heads[column])
        probability = out.detach().softmax(dim=1)[torch.arange(int(rows.sum())), batch.label[rows]]
        right.append(float(probability.sum()))
        expected.zero_grad(set_to_none=True)
        loss.backward()
        with torch.no_grad():
            for parameter in expected.parameters():
                if parameter.grad is not None:
                    parameter.sub_(0.1 * parameter.grad)
    method.training_step(batch, sgd(method, lr=0.1))
    for name, parameter in expected.named_parameters():
        torch.testing.assert_close(method.get_parameter(name), parameter, msg=name)
    np.testing.assert_allclose(method.confidence, right, rtol=1e-5)
    np.testing.assert_array_equal(method.seen, batch.present.sum(dim=0))


def assigned(method: AUG, confidence: list[float], epoch: int, epochs: int) -> list[int]:
    """How many heads each modality has after an epoch with these confidences of ten samples each."""
    method.heads.fill_(1)
    method.confidence.copy_(10 * torch.tensor(confidence))
    method.seen.fill_(10)
    samples = Samples([make_batch(method.task)])
    method.on_epoch_start(Progress(epoch + 1, epochs, 0, 1), samples, samples)
    assert torch.equal(method.confidence, torch.zeros(len(confidence)))
    assert torch.equal(method.seen, torch.zeros(len(confidence)))
    return method.heads.tolist()


def test_the_less_confident_modality_gets_the_head() -> None:
    pair, three = build(2), build(3)
    assert assigned(pair, [0.5, 0.4], 0, 20) == [1, 2]
    assert assigned(pair, [0.4, 0.5], 0, 20) == [2, 1]
    assert assigned(pair, [0.5, 0.496], 0, 20) == [1, 1]  # within 1.01
    assert assigned(pair, [0.5, 0.494], 0, 20) == [1, 2]
    assert assigned(three, [0.5, 0.3, 0.4], 0, 20) == [1, 2, 1]
    assert assigned(build(2, ratio=1.5), [0.5, 0.4], 0, 20) == [1, 1]


@pytest.mark.parametrize(
    ("epochs", "authors"), [(200, True), (100, True), (30, True), (10, True), (4, True), (15, False)]
)
def test_heads_are_assigned_when_the_authors_do(epochs: int, authors: bool) -> None:
    method = build(2)
    due = [epoch for epoch in range(epochs) if method.is_due(epoch, epochs)]
    check = int(epochs / 10) if epochs > 10 else 1
    theirs = [epoch for epoch in range(epochs) if (epoch + 1) % check == 0 or epoch == 0]
    assert (due == theirs) == authors
    assert len(due) <= 1 + ASSIGNMENTS


def test_no_head_is_assigned_in_between() -> None:
    method = build(2)
    assert assigned(method, [0.5, 0.4], 1, 200) == [1, 1]
    assert assigned(method, [0.5, 0.4], 18, 200) == [1, 1]
    assert assigned(method, [0.5, 0.4], 19, 200) == [1, 2]


@pytest.mark.parametrize("epochs", [12, 19, 37])
def test_there_are_heads_enough(epochs: int) -> None:
    method = build(2)
    samples = Samples([make_batch(method.task)])
    for epoch in range(epochs):
        method.on_epoch_start(Progress(epoch, epochs, 0, 1), samples, samples)
        method.confidence.copy_(torch.tensor([9.0, 1.0]))
        method.seen.fill_(10)
    batch = make_batch(method.task, 4)
    heads = int(method.heads[1])
    assert len(method.logits("image", method.encoders["image"](batch.inputs["image"]))) == heads
    assert 5 < heads <= len(method.layers["image"])


def test_an_epoch_without_a_modality_assigns_nothing() -> None:
    method = build(2)
    method.confidence.copy_(torch.tensor([5.0, 0.0]))
    method.seen.copy_(torch.tensor([10.0, 0.0]))
    samples = Samples([make_batch(method.task)])
    method.on_epoch_start(Progress(1, 10, 0, 1), samples, samples)
    assert method.heads.tolist() == [1, 1]


@pytest.mark.parametrize(("added", "moves"), [("trained", True), ("official", False)])
def test_layers_of_added_heads(added: str, moves: bool) -> None:
    """The released code leaves them as they were drawn; the encoder learns through them all the same."""
    method = build(2, heads=(1, 3), added=added)
    batch = make_batch(method.task, 12)
    before = parameters(method)
    method.training_step(batch, sgd(method))
    after = parameters(method)
    for head, changes in ((0, True), (1, moves), (2, moves), (3, False)):
        name = f"layers.image.{head}.weight"
        assert torch.equal(after[name], before[name]) != changes, name


def test_resumes_with_its_heads() -> None:
    """Stopped after any epoch, with state and momentum kept, it goes on as if it had not been."""
    batches = [make_batch(make_task(2), 16, seed=seed) for seed in range(3)]
    whole = build(2)
    fit(whole, batches, 8)
    assert whole.heads.sum() > 3  # or nothing would be tested
    for stop in range(1, 8):
        first, second = build(2), build(2, seed=1)
        steps = adam(first)
        for epoch in range(8):
            if epoch == stop:
                state = copy.deepcopy((first.state_dict(), steps.optimizer.state_dict()))
                second.load_state_dict(state[0])
                first, steps = second, adam(second)
                steps.optimizer.load_state_dict(state[1])
            samples = Samples(batches)
            first.on_epoch_start(Progress(epoch, 8, 0, 3), samples, samples)
            first.train()
            for step, batch in enumerate(batches):
                steps.progress = Progress(epoch, 8, step, 3)
                first.training_step(batch, steps)
        for name, value in whole.state_dict().items():
            assert torch.equal(first.state_dict()[name], value), (stop, name)


def test_prediction_by_hand() -> None:
    method = build(heads=(1, 3, 2)).eval()
    batch = make_batch(method.task, 12, missing=0.4)
    prediction = predict(method, batch)
    with torch.no_grad():
        for i in range(len(batch)):
            here = []
            for column, modality in enumerate(method.task.modalities):
                if batch.present[i, column]:
                    feature = method.encoders[modality](batch.inputs[modality][[i]])
                    heads = int(method.heads[column])
                    here.append(authors_loss(method, modality, feature, batch.label[[i]], heads)[1][0])
                    torch.testing.assert_close(prediction.unimodal[modality][i], here[-1])
            torch.testing.assert_close(prediction.fused[i], torch.stack(here).mean(dim=0))


def test_absent_modality_leaves_its_encoder_and_heads_alone() -> None:
    method = build(heads=(1, 2, 1), normalise=True)
    before = parameters(method)
    method.training_step(only(make_batch(method.task, 12), 0, 2), adam(method))
    for key, value in method.named_parameters():
        unused = any(f"layers.{m}.{head}." in key for m in ("audio", "text") for head in range(1, 12))
        still = "encoders.image" in key or "layers.image" in key or unused
        assert torch.equal(value, before[key]) == still, key

"""Drop probabilities, drops, their scale and the steps that use them, by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from baselines.concat import Concat
from baselines.opm import OPM
from mlabench.method import Batch, Progress
from mlabench.testing import Updater, build_method, make_batch, make_task, only, parameters, sgd, take


def build(modalities: int = 2, **options: object) -> OPM:
    method = build_method(OPM, make_task(modalities), widths=[4, 6, 3, 5][:modalities], **options)
    assert isinstance(method, OPM)
    return method


def logits(method: OPM, batch: Batch) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return method.head.unimodal(method.encode(batch))


def scores(method: OPM, batch: Batch) -> list[float | None]:
    """Mean probability of the right class, sample by sample; None where nobody has the modality."""
    result: list[float | None] = []
    for column, z in enumerate(logits(method, batch).values()):
        right = [
            math.exp(row[label]) / sum(math.exp(other) for other in row)
            for row, label, here in zip(
                z.tolist(), batch.label.tolist(), batch.present[:, column].tolist(), strict=True
            )
            if here
        ]
        result.append(sum(right) / len(right) if right else None)
    return result


def test_probability_of_two_modalities_is_the_published_one() -> None:
    method = build()
    batch = make_batch(method.task, 12)
    first, second = scores(method, batch)
    assert first is not None and second is not None
    expected = [
        0.5 * (1 + 0.5 * math.tanh(ratio - 1)) if ratio > 1 else 0.0 for ratio in (first / second, second / first)
    ]
    actual = method.drop_probability(logits(method, batch), batch)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    assert sorted(value > 0 for value in expected) == [False, True]


def test_probability_of_three_modalities_with_absences() -> None:
    method = build(3, base=0.3, slope=2.0)
    batch = make_batch(method.task, 12, missing=0.4)
    values = [value for value in scores(method, batch) if value is not None]
    expected = []
    for m, value in enumerate(values):
        ratio = value / np.mean([other for j, other in enumerate(values) if j != m])
        expected.append(0.3 * (1 + 2 * math.tanh(ratio - 1)) if ratio > 1 else 0.0)
    np.testing.assert_allclose(method.drop_probability(logits(method, batch), batch), expected, rtol=1e-5)


def test_probability_is_at_most_one() -> None:
    method = build(base=0.9, slope=100.0)
    batch = make_batch(method.task, 12)
    certain = torch.nn.functional.one_hot(batch.label, 3) * 20.0
    actual = method.drop_probability({"audio": certain, "image": torch.zeros(12, 3)}, batch)
    torch.testing.assert_close(actual, torch.tensor([1.0, 0.0]))


def test_modalities_that_nobody_has_are_not_compared() -> None:
    method = build(3)
    batch = only(make_batch(method.task, 12), 0, 2)
    first, middle, last = scores(method, batch)
    assert middle is None and first is not None and last is not None
    ratio = max(first / last, last / first)
    expected = [0.5 * (1 + 0.5 * math.tanh(ratio - 1)) if first > last else 0.0, 0.0, 0.0]
    expected[2] = 0.0 if expected[0] else 0.5 * (1 + 0.5 * math.tanh(ratio - 1))
    np.testing.assert_allclose(method.drop_probability(logits(method, batch), batch), expected, rtol=1e-5)
    alone = only(batch, 1)
    assert method.drop_probability(logits(method, alone), alone).tolist() == [0.0, 0.0, 0.0]


def test_drops_and_scale_by_hand() -> None:
    method = build(3)
    batch = make_batch(method.task, 200, missing=0.4)
    embedding = {modality: feature.detach() for modality, feature in method.encode(batch).items()}
    probability = np.array([0.6, 0.0, 0.3])
    torch.manual_seed(3)
    draws = torch.rand(200, 3).numpy()
    torch.manual_seed(3)
    dropped = method.drop(embedding, batch.present, torch.tensor(probability, dtype=torch.float32))
    share = (4 * 0.6 + 3 * 0.3) / (4 + 6 + 3)
    restored = 0
    for i in range(200):
        present = batch.present[i].numpy()
        kept = present & (draws[i] >= probability)
        if not kept.any():
            kept, restored = present, restored + 1
        for column, modality in enumerate(method.task.modalities):
            expected = embedding[modality][i].numpy() * (kept[column] / (1 - share))
            np.testing.assert_allclose(dropped[modality][i], expected, rtol=1e-5, atol=1e-7)
    assert restored > 0
    complete = dataclasses.replace(batch, present=torch.ones(200, 3, dtype=torch.bool))
    dropped = method.drop(method.encode(complete), complete.present, torch.tensor([0.99, 0.0, 0.99]))
    assert (dropped["image"] != 0).any(dim=1).all()


@pytest.mark.parametrize(("epoch", "execution"), [(5, 1.0), (6, 0.0)])
def test_without_drops_a_step_is_that_of_concatenation(epoch: int, execution: float) -> None:
    opm = build(3, execution=execution)
    concat = build_method(Concat, opm.task, widths=[4, 6, 3])
    concat.load_state_dict(opm.state_dict())
    batch = make_batch(opm.task, 12, missing=0.3)
    for method in (opm, concat):
        steps = sgd(method)
        steps.progress = Progress(epoch, 100, 0, 1)
        method.train()
        method.training_step(batch, steps)
    expected = parameters(concat)
    assert all(torch.equal(value, expected[key]) for key, value in parameters(opm).items())


def test_step_with_drops_by_hand() -> None:
    """One gradient step of the head, from the features that are left."""
    method = build(2, execution=1.0)
    batch = take(make_batch(method.task, 40), range(30))
    head = method.head
    weight, bias = (value.detach().double().numpy().copy() for value in (head.weight, head.bias))
    features = [feature.detach().double().numpy() for feature in method.encode(batch).values()]
    q = method.drop_probability(logits(method, batch), batch).double().numpy()
    torch.manual_seed(7)
    torch.rand(())
    kept = torch.rand(30, 2).numpy() >= q
    share = (q * [4, 6]).sum() / 10
    x = np.concatenate([feature * kept[:, [m]] / (1 - share) for m, feature in enumerate(features)], axis=1)
    z = x @ weight.T + bias
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    error = p - np.eye(3)[batch.label]

    torch.manual_seed(7)
    steps = Updater(torch.optim.SGD(method.parameters(), 0.1), Progress(6, 100, 0, 1))
    method.train()
    loss = method.training_step(batch, steps)["loss"]
    assert not kept.all()
    assert loss.item() == pytest.approx(-np.log(p[np.arange(30), batch.label]).mean(), rel=1e-5)
    np.testing.assert_allclose(head.weight.detach(), weight - 0.1 * error.T @ x / 30, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(head.bias.detach(), bias - 0.1 * error.mean(axis=0), rtol=1e-4, atol=1e-6)

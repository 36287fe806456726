"""Factors against the authors' computation, restated, and steps against separate gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from baselines.arl import ARL
from mlabench.method import Batch, Progress
from mlabench.testing import adam, build_method, make_batch, make_task, only, parameters, sgd

WIDTHS = [4, 6, 3, 5]


def build(modalities: int = 3, **options: object) -> ARL:
    method = build_method(ARL, make_task(modalities), widths=WIDTHS[:modalities], **options)
    assert isinstance(method, ARL)
    return method


def authors_coefficients(out_a: Tensor, out_v: Tensor, sharpness: float) -> tuple[float, float]:
    """``weight`` in main_arl_variance.py at adfc58c, of the logits of a batch."""
    size_a = torch.mean(torch.abs(out_a), 0).sum()
    size_v = torch.mean(torch.abs(out_v), 0).sum()
    p_a, p_v = torch.softmax(out_a, dim=1), torch.softmax(out_v, dim=1)
    h_a = torch.sum(-p_a * torch.log(p_a + 1e-16), dim=1).mean()
    h_v = torch.sum(-p_v * torch.log(p_v + 1e-16), dim=1).mean()
    h_a, h_v = h_a / (h_a + h_v), h_v / (h_a + h_v)
    a, v = 1 / torch.clamp(h_a, 0.3), 1 / torch.clamp(h_v, 0.3)
    size_a, size_v = size_a / (size_a + size_v), size_v / (size_a + size_v)
    a, v = a / (a + v), v / (a + v)
    weight = F.softmax(torch.tensor([size_v * a * sharpness, size_a * v * sharpness]), dim=0)
    return float(weight[0]), float(weight[1])


@pytest.mark.parametrize("scale", [(1.0, 1.0), (4.0, 0.5), (0.1, 6.0)])
@pytest.mark.parametrize("sharpness", [4.0, 8.0])
def test_factors_of_two_modalities_are_the_authors(scale: tuple[float, float], sharpness: float) -> None:
    method = build(2, temperature=sharpness)
    random = np.random.default_rng(0)
    logits = {
        m: torch.tensor(s * random.normal(size=(9, 3)), dtype=torch.float32)
        for m, s in zip(method.task.modalities, scale, strict=True)
    }
    k = authors_coefficients(*logits.values(), sharpness)
    factors = method.factors(logits, torch.ones(9, 2, dtype=torch.bool))
    np.testing.assert_allclose(factors, 1 + np.array(k), rtol=1e-5)
    if scale != (1.0, 1.0):
        assert abs(k[0] - k[1]) > 0.2  # or nothing would be tested


@pytest.mark.parametrize("modalities", [3, 4])
@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_factors_of_more_modalities_by_hand(modalities: int, missing: float) -> None:
    method = build(modalities, temperature=8.0)
    present = make_batch(method.task, 20, missing=missing).present.numpy()
    random = np.random.default_rng(1)
    logits = {m: (j + 0.5) * random.normal(size=(20, 3)) for j, m in enumerate(method.task.modalities)}
    entropy, size = [], []
    for column, z in enumerate(logits.values()):
        rows = z[present[:, column]]
        p = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)
        entropy.append(-(p * np.log(p)).sum(axis=1).mean())
        size.append(np.abs(rows).sum(axis=1).mean())
    q = 1 / np.maximum(np.array(entropy) / sum(entropy), 0.6 / modalities)
    score = np.exp(8.0 * q / q.sum() * (1 - np.array(size) / sum(size)))
    values = {m: torch.tensor(z, dtype=torch.float32) for m, z in logits.items()}
    factors = method.factors(values, torch.tensor(present))
    np.testing.assert_allclose(factors, 1 + score / score.sum() * modalities / 2, rtol=1e-5)
    assert float(factors.mean()) == pytest.approx(1.5)


def test_factors_ignore_what_the_batch_lacks() -> None:
    """Two of three modalities are weighed as if there were no third one; a single one grows by half."""
    method, pair = build(3), build(2)
    random = np.random.default_rng(0)
    values = [torch.tensor(s * random.normal(size=(8, 3)), dtype=torch.float32) for s in (1.0, 2.0, 0.5)]
    present = torch.ones(8, 3, dtype=torch.bool)
    present[:, 1] = False
    logits = dict(zip(method.task.modalities, [values[0], torch.full((8, 3), torch.nan), values[2]], strict=True))
    both = dict(zip(pair.task.modalities, [values[0], values[2]], strict=True))
    torch.testing.assert_close(method.factors(logits, present)[[0, 2]], pair.factors(both, present[:, [0, 2]]))
    present[:, 2] = False
    assert float(method.factors(logits, present)[0]) == pytest.approx(1.5)


def test_certain_predictions_have_finite_factors() -> None:
    method = build(2)
    certain = torch.tensor([[900.0, 0.0, 0.0]]).expand(4, 3)
    everything = torch.ones(4, 2, dtype=torch.bool)
    for logits in (certain, torch.zeros(4, 3)):
        factors = method.factors(dict.fromkeys(method.task.modalities, logits), everything)
        torch.testing.assert_close(factors, torch.tensor([1.5, 1.5]))


def losses(method: ARL, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """The joint loss, the sum of the modalities' own ones, and their logits."""
    feature = {
        m: method.encoders[m](x) * batch.present[:, [column]] for column, (m, x) in enumerate(batch.inputs.items())
    }
    joint = F.cross_entropy(method.head(torch.cat(list(feature.values()), dim=1)), batch.label)
    own, logits = [], {}
    for column, modality in enumerate(feature):
        rows = batch.present[:, column]
        alone = [f if m == modality else torch.zeros_like(f) for m, f in feature.items()]
        logits[modality] = method.head(torch.cat(alone, dim=1))
        own.append(F.cross_entropy(logits[modality][rows], batch.label[rows]))
    return joint, torch.stack(own).sum(), logits


@pytest.mark.parametrize("epoch", [5, 6])
@pytest.mark.parametrize("modulation", ["paper", "official"])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_step_by_hand(epoch: int, modulation: str, missing: float) -> None:
    """Six of a hundred epochs are plain; then ``gamma`` and the factors are at work, the latter on encoders only."""
    method = build(gamma=3.0, modulation=modulation)
    batch = make_batch(method.task, 12, missing=missing)
    joint, own, logits = losses(method, batch)
    loss = joint + (3.0 if epoch == 6 else 1.0) * own
    factors = torch.ones(3)
    if epoch == 6:
        factors = method.factors(logits, batch.present) if modulation == "paper" else torch.full((3,), 1.5)
    names = [name for name, _ in method.named_parameters()]
    gradients = torch.autograd.grad(loss, list(method.parameters()))
    before = parameters(method)
    steps = sgd(method, lr=0.1)
    steps.progress = Progress(epoch, 100, 0, 1)
    logged = method.training_step(batch, steps)
    torch.testing.assert_close(logged["loss"], loss.detach())
    for name, gradient in zip(names, gradients, strict=True):
        where = [factors[c] for c, m in enumerate(method.task.modalities) if name.startswith(f"encoders.{m}.")]
        expected = gradient * (where[0] if where else 1.0)
        actual = (before[name] - method.get_parameter(name).detach()) / 0.1
        torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-5, msg=name)


def test_absent_modality_leaves_its_encoder_alone() -> None:
    method = build(normalise=True)
    before = parameters(method)
    steps = adam(method)
    steps.progress = Progress(50, 100, 0, 1)
    method.training_step(only(make_batch(method.task, 12), 0, 2), steps)
    for key, value in parameters(method).items():
        assert torch.equal(value, before[key]) == ("encoders.image" in key), key

"""The losses between modalities and the course of the weight, against the authors' functions and by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from baselines.lfm import LFM, contrast, divergence, label_weight
from mlabench.method import Batch, Progress
from mlabench.testing import adam, build_method, make_batch, make_task, only, parameters, sgd

Array = NDArray[np.float64]


def build(modalities: int = 3, **options: object) -> LFM:
    method = build_method(LFM, make_task(modalities), **options)
    assert isinstance(method, LFM)
    return method


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=shape), dtype=torch.float32)


def authors_contrast(a: Tensor, v: Tensor) -> Tensor:
    """``Alignment`` of features in Crema_ours.py at f3af6ea."""
    similarity = F.normalize(a, p=2, dim=-1) @ F.normalize(v, p=2, dim=-1).T / 0.07
    labels = torch.arange(len(a))
    return (F.cross_entropy(similarity, labels) + F.cross_entropy(similarity.T, labels)) / 2.0


def authors_divergence(p: Tensor, q: Tensor) -> Tensor:
    """``Alignment`` of logits in Crema_epoch.py at ad44fa0."""
    p, q = F.softmax(p, dim=-1), F.softmax(q, dim=-1)
    m = 0.5 * p + 0.5 * q
    kl_p, kl_q = F.kl_div(p.log(), m, reduction="batchmean"), F.kl_div(q.log(), m, reduction="batchmean")
    return 0.5 * (kl_p + kl_q)


def contrast_by_hand(a: Array, v: Array, temperature: float) -> float:
    a, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, v))
    scores = a @ v.T / temperature
    return -float((np.diag(log_softmax(scores, axis=1)) + np.diag(log_softmax(scores, axis=0))).mean()) / 2


def test_losses_between_modalities_are_the_authors() -> None:
    everyone = torch.ones(9, dtype=torch.bool)
    a, v = random(9, 5), random(9, 5, seed=1)
    torch.testing.assert_close(contrast(a, v, everyone, 0.07), authors_contrast(a, v))
    torch.testing.assert_close(divergence(3 * a, v, everyone), authors_divergence(3 * a, v))


def test_losses_take_the_samples_with_both_only() -> None:
    a, v = random(9, 5), random(9, 5, seed=1)
    both = torch.tensor([True, False, True, True, False, True, False, True, True])
    rows = both.nonzero().squeeze(1)
    torch.testing.assert_close(contrast(a, v, both, 0.2), contrast(a[rows], v[rows], both[rows], 0.2))
    expected = contrast_by_hand(a[rows].double().numpy(), v[rows].double().numpy(), 0.2)
    assert float(contrast(a, v, both, 0.2)) == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(divergence(a, v, both), divergence(a[rows], v[rows], both[rows]))
    nobody = torch.zeros(9, dtype=torch.bool)
    assert contrast(a, v, nobody, 0.2) == 0
    assert divergence(a, v, nobody) == 0


def test_absent_features_do_not_disturb_the_gradient() -> None:
    """Absent features are zero, which has no direction; certain predictions have probabilities of zero."""
    a, v = random(6, 4), random(6, 4, seed=1)
    a[2:4] = 0
    a.requires_grad_(True)
    both = torch.tensor([True, True, False, False, True, True])
    contrast(a, v, both, 0.07).backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()
    assert torch.equal(a.grad[2:4], torch.zeros(2, 4))
    certain = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    value = divergence(certain, -certain.detach(), torch.tensor([True, True]))
    value.backward()
    assert value.isfinite()
    assert certain.grad is not None
    assert certain.grad.isfinite().all()


@pytest.mark.parametrize("epoch", [0, 1, 30, 99, 199])
def test_fitted_weight_is_the_authors_in_200_epochs(epoch: int) -> None:
    # getAlpha_Learnable_Fitted in Crema_epoch.py: the two weights sum to one.
    second = [7.95376296e-01, -3.35472727e-03, -1.22989557e-04, 2.92947416e-06, -2.23835486e-08, 5.39717505e-11]
    alpha = label_weight(Progress(epoch, 200, 0, 1), "fitted")
    assert 1 - alpha == pytest.approx(np.polynomial.Polynomial(second)(epoch), abs=1e-9)


def test_weights_rise_whatever_the_number_of_epochs() -> None:
    for course in ("fitted", "heuristic"):
        alphas = [label_weight(Progress(epoch, 12, 0, 1), course) for epoch in range(12)]
        assert alphas[0] < 0.3
        assert alphas[-1] > 0.9
        assert all(a < b + 0.02 for a, b in itertools.pairwise(alphas))
        assert label_weight(Progress(50, 100, 0, 1), course) == label_weight(Progress(3, 6, 0, 1), course)


@pytest.mark.parametrize("epoch", [0, 1, 5, 19])
def test_heuristic_weight_is_the_authors_in_20_epochs(epoch: int) -> None:
    matching = np.clip(np.exp(-0.3 * epoch), 0.05, 0.95)  # getAlpha_heritic in Crema_ours.py
    assert label_weight(Progress(epoch, 20, 0, 1), "heuristic") == pytest.approx(1 - matching)


def loss_by_hand(method: LFM, batch: Batch, alpha: float, temperature: float) -> float:
    """Sample by sample, in NumPy."""
    with torch.no_grad():
        feature = {m: method.encoders[m](x) for m, x in batch.inputs.items()}
        logits = {m: method.heads[m](h).double().numpy() for m, h in feature.items()}
    present, label = batch.present.numpy(), batch.label.numpy()
    classification = []
    for i in range(len(batch)):
        average = np.mean([z[i] for column, z in enumerate(logits.values()) if present[i, column]], axis=0)
        classification.append(-log_softmax(average)[label[i]])
    matching = []
    for (i, one), (j, other) in itertools.combinations(enumerate(batch.inputs), 2):
        rows = present[:, i] & present[:, j]
        if method.config.matching == "contrastive":
            a, v = feature[one].double().numpy()[rows], feature[other].double().numpy()[rows]
            matching.append(contrast_by_hand(a, v, temperature))
        else:
            p, q = softmax(logits[one][rows], axis=1), softmax(logits[other][rows], axis=1)
            m = (p + q) / 2
            matching.append(float((m * (np.log(m) - (np.log(p) + np.log(q)) / 2)).sum(axis=1).mean()))
    return float(2 * (alpha * np.mean(classification) + (1 - alpha) * np.mean(matching)))


@pytest.mark.parametrize("modalities", [2, 3, 4])
@pytest.mark.parametrize("matching", ["contrastive", "official"])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_loss_by_hand(modalities: int, matching: str, missing: float) -> None:
    method = build(modalities, matching=matching, temperature=0.3)
    batch = make_batch(method.task, 16, missing=missing)
    steps = sgd(method)
    steps.progress = Progress(50, 200, 0, 1)
    alpha = sum(
        c * 50**i
        for i, c in enumerate(
            (0.204623704, 3.35472727e-3, 1.22989557e-4, -2.92947416e-6, 2.23835486e-8, -5.39717505e-11)
        )
    )
    expected = loss_by_hand(method, batch, alpha, 0.3)
    assert float(method.training_step(batch, steps)["loss"]) == pytest.approx(expected, rel=1e-4)


def test_prediction_is_the_average_of_the_present_logits() -> None:
    method = build().eval()
    batch = make_batch(method.task, 12, missing=0.4)
    prediction = method.predict(batch)
    for i in range(len(batch)):
        here = [prediction.unimodal[m][i] for c, m in enumerate(batch.inputs) if batch.present[i, c]]
        torch.testing.assert_close(prediction.fused[i], torch.stack(here).mean(dim=0))


def test_absent_modality_leaves_its_encoder_and_head_alone() -> None:
    method = build(normalise=True)
    before = parameters(method)
    method.training_step(only(make_batch(method.task, 12), 0, 2), adam(method))
    for key, value in parameters(method).items():
        still = "encoders.image" in key or "heads.image" in key
        assert torch.equal(value, before[key]) == still, key


def test_refuses_features_of_different_widths() -> None:
    with pytest.raises(ValueError, match="equal width"):
        build(2, widths=[4, 6])
    build(2, widths=[4, 6], matching="official")

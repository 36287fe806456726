"""Distillation, weak combinations and stages of MMANet, against the released functions restated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from baselines.mmanet import MMANet, divergences, margin_aware
from mlabench.method import Progress, Stage
from mlabench.testing import adam, build_method, fill_absent, fit, make_batch, make_task, parameters
from mlabench.testing.fitting import Samples

WIDTHS = [4, 6, 3, 5]
TEACHER, STUDENT = Stage("teacher", 1), Stage("student", 1)


def build(modalities: int = 3, **options: Any) -> MMANet:
    method = build_method("mmanet", make_task(modalities), **({"widths": WIDTHS[:modalities]} | options))
    assert isinstance(method, MMANet)
    return method


def mad_as_released(fm_s: Tensor, fm_t: Tensor, logit_t: Tensor) -> Tensor:
    """``MAD.forward`` of the released ``mad.py``."""
    similar_s = F.normalize(torch.mm(fm_s, fm_s.t()), p=2, dim=1)
    similar_t = F.normalize(torch.mm(fm_t, fm_t.t()), p=2, dim=1)
    loss = F.mse_loss(similar_s, similar_t, reduction="none")
    probability = F.softmax(logit_t, dim=1)
    entropy = torch.sum(-probability * torch.log(probability), dim=1)
    return torch.sum(loss * (entropy / torch.sum(entropy)))


def test_distillation_equals_the_released_function() -> None:
    torch.manual_seed(0)
    student, teacher, logits = torch.randn(9, 5), torch.randn(9, 7), 2 * torch.randn(9, 4)
    torch.testing.assert_close(margin_aware(student, teacher, logits), mad_as_released(student, teacher, logits))


def test_divergence_equals_the_released_one() -> None:
    counts = torch.tensor([[5.0, 1, 4], [2, 6, 2], [3, 3, 4]], dtype=torch.float64)
    share = counts / 10
    expected = [
        F.kl_div(F.log_softmax(share[[2]], dim=1), F.softmax(share[[row]], dim=1), reduction="batchmean")
        for row in range(2)
    ]
    torch.testing.assert_close(divergences(counts), torch.stack(expected))


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_loss_by_hand(modalities: int, monkeypatch: pytest.MonkeyPatch) -> None:
    method = build(modalities, distillation=3.0, regularisation=0.7)
    batch = fill_absent(make_batch(method.task, 16, missing=0.3), torch.nan)
    fit(method, [batch], 8)
    method.eval()
    assert int(method.weakest.sum()) == modalities - 1
    available = method.draw_available(batch.present)
    assert (available <= batch.present).all() and available.any(dim=1).all()
    monkeypatch.setattr(method, "draw_available", lambda present: available)
    feature, teacher = [], []
    for column, modality in enumerate(method.task.modalities):
        own = torch.nan_to_num(batch.inputs[modality])
        feature.append(method.encoders[modality](own) * available[:, [column]])
        teacher.append(method.teacher_encoders[modality](own) * batch.present[:, [column]])
    f, t = torch.cat(feature, dim=1), torch.cat(teacher, dim=1)
    left_out = int(method.divergence.argmax())
    weak = [i for i in range(16) if not available[i, left_out]]
    assert 0 < len(weak) < 16
    regularised = F.cross_entropy(method.weak_head(f[weak]), batch.label[weak], reduction="sum") / 16
    distilled = mad_as_released(f, t, method.teacher_head(t))
    expected = F.cross_entropy(method.head(f), batch.label) + 3 * distilled + 0.7 * regularised
    torch.testing.assert_close(method.loss(batch), expected)


def test_classes_are_counted_without_each_modality() -> None:
    method = build()
    batch = make_batch(method.task, 20, missing=0.4)
    counts = method.count_classes(Samples([batch]))
    for row in range(4):
        expected = np.zeros(3)
        for i in range(20):
            parts, some = [], False
            for column, modality in enumerate(method.task.modalities):
                here = bool(batch.present[i, column]) and column != row
                some = some or here
                parts.append(method.encoders[modality](batch.inputs[modality][[i]])[0] * here)
            if some:
                expected[int(method.head(torch.cat(parts)).argmax())] += 1
        np.testing.assert_array_equal(counts[row], expected)


def test_the_weakest_combination_is_found_after_the_plain_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    method = build(plain_share=0.2)
    method.on_stage_start(STUDENT)
    samples = Samples([make_batch(method.task)])
    counts = iter([[[9.0, 1, 0], [5, 5, 0], [4, 6, 0], [5, 5, 0]], [[5.0, 5, 0], [5, 5, 0], [1, 9, 0], [5, 5, 0]]])
    monkeypatch.setattr(method, "count_classes", lambda split: torch.tensor(next(counts), dtype=torch.float64))
    for epoch in range(2):
        method.on_epoch_start(Progress(epoch, 10, 0, 1), samples, samples)
        assert not method.weakest.any()
    for epoch in range(2, 5):  # divergences add up: that without the last modality is the largest
        method.on_epoch_start(Progress(epoch, 10, 0, 1), samples, samples)
        assert method.weakest.tolist() == [True, True, False]


def test_teacher_stays_and_student_starts_from_the_initial_weights() -> None:
    method = build(normalise=True)
    initial, batch = parameters(method), make_batch(method.task, 24)
    for stage, moving in ((TEACHER, "teacher_"), (STUDENT, ("encoders.", "head."))):
        method.on_stage_start(stage)
        before, steps = parameters(method), adam(method)
        method.train()
        for _ in range(3):
            method.training_step(batch, steps)
        for name, value in method.state_dict().items():
            if name.startswith(("teacher_", "encoders.", "head.", "weak_head.")):
                assert torch.equal(value, before[name]) != name.startswith(moving), name
    assert all(torch.equal(before[name], initial[name]) for name in initial if name.startswith("encoders."))

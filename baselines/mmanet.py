"""MMANet: margin-aware distillation and modality-aware regularisation (CVPR 2023)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from baselines.subsets import draw_subsets, non_empty_subsets
from mlabench.encoders import Encoder
from mlabench.fusion import JointHead, JointHeadMethod, entropies
from mlabench.method import (
    SGD,
    AuthorsTraining,
    Batch,
    Hyperparameters,
    LabelledSplit,
    Prediction,
    Progress,
    Stage,
    Task,
)


class MMANet(JointHeadMethod):
    """Distils a teacher that has all modalities to a student that loses some, and trains weak combinations more.

    Source: Wei, Luo, Luo, "MMANet: Margin-aware Distillation and Modality-aware Regularization for Incomplete
    Multimodal Learning", CVPR 2023, arXiv 2304.08028, and the authors' code for classification
    (shicaiwei123/MMANet, commit c330689).

    Stage ``teacher`` trains a concatenation with a joint linear head. Stage ``student`` trains another from the initial
    weights. Of each sample a set of modalities is left, drawn uniformly from the non-empty subsets of what it has; the
    features of the others are zero. With ``f`` the student's concatenated features ``[B, D]``, ``t`` the teacher's of
    all modalities, ``rows(F)`` the matrix ``F F'`` with rows of length one, and ``H_j`` the entropy of the teacher's
    prediction, large near its decision boundaries,

        MAD = sum_j H_j / (sum_k H_k) sum_i (rows(f)_ij - rows(t)_ij)^2
        MAR = 1/B sum of CE(weak_head(f)) over the samples whose set is weak
        L = CE(head(f)) + distillation MAD + regularisation MAR

    The first epochs have the first term only. After each, the predicted classes are counted with one modality left out
    at a time, and compared to those with all by the divergence of the soft-max of both frequencies. Weak sets are the
    combination whose divergences add up to most, and all within it.

    Unimodal logits: the modality's block of the head and its part of the bias, ``W_m h_m + b / M``.

    Absent modality: its feature is zero, exactly as if it were dropped; the teacher, too, makes do without it.

    Deviations:

    * Distilled and classified are the encoders' pooled features side by side, in place of feature maps that shared
      convolutional layers make of them. Both heads are linear.
    * Classes are counted on the training split; the released code counts them on the test split.
    * More or fewer than three modalities (an extension): a weak combination lacks one modality. With three, this is the
      released rule, a pair and its two members.
    * The released code counts after the third to the fifth of its 100 epochs; here it is after each of the first ones.
    * The two stages share the budget of epochs that other methods have.
    """

    title = "MMANet"
    paper = "https://arxiv.org/abs/2304.08028"
    version = 1
    claims = ("withstands missing modalities",)
    # The learning rate falls to a tenth at 1/6, 2/6 and 3/6 of the epochs and then stays, which no schedule here does.
    authors_training = AuthorsTraining(
        optimizer=(
            SGD(lr=1e-3, momentum=0.9, weight_decay=5e-4),
            "classification/configuration/config_feature_kd.py at c330689 (with Nesterov's momentum)",
        ),
        batch_size=(64, "classification/configuration/config_feature_kd.py at c330689"),
        epochs=(200, "config_baseline_multi.py and config_feature_kd.py at c330689: 100 for each stage"),
    )

    class Config(Hyperparameters):
        """Defaults are those of the authors' script for CASIA-SURF."""

        distillation: float = Field(
            default=30.0,
            ge=0,
            json_schema_extra={"tune": {"low": 3.0, "high": 100.0, "log": True}},
            description="Weight of the distillation (surf_mmanet.sh: 30).",
        )
        regularisation: float = Field(
            default=0.5,
            ge=0,
            json_schema_extra={"tune": {"low": 0.05, "high": 5.0, "log": True}},
            description="Weight of the regularisation (surf_mmanet.sh: 0.5).",
        )
        plain_share: float = Field(
            default=0.05,
            gt=0,
            lt=1,
            description="Share of the student's epochs before both begin (config_feature_kd.py: 5 of 100).",
        )
        teacher_share: float = Field(
            default=0.5,
            gt=0,
            lt=1,
            description="Share of the epochs spent on the teacher (released: 100 for each stage).",
        )

    config: Config
    distilling: Tensor
    divergence: Tensor
    weakest: Tensor
    subsets: Tensor

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        widths, classes = {m: encoders[m].width for m in task.modalities}, len(task.classes)
        self.weak_head = nn.Linear(sum(widths.values()), classes)
        self.teacher_encoders = copy.deepcopy(self.encoders)
        self.teacher_head = JointHead(widths, classes)
        modalities = len(task.modalities)
        #: Whether the second stage has begun; part of the state, since predictions depend on it.
        self.register_buffer("distilling", torch.tensor(False))
        #: By the modality left out, the divergences so far. float64 [M]
        self.register_buffer("divergence", torch.zeros(modalities, dtype=torch.float64))
        #: The weakest combination; empty while the student learns plainly. bool [M]
        self.register_buffer("weakest", torch.zeros(modalities, dtype=torch.bool))
        #: The non-empty sets of modalities. bool [2^M - 1, M]
        self.register_buffer("subsets", non_empty_subsets(len(task.modalities)), persistent=False)

    def train(self, mode: bool = True) -> Self:
        """Keeps the teacher in evaluation mode while it teaches."""
        super().train(mode)
        self.teacher_encoders.train(mode and not self.distilling)
        return self

    def stages(self, epochs: int) -> Sequence[Stage]:
        """The teacher's share first, the rest for the student; one epoch at least for each."""
        teacher = min(max(1, round(self.config.teacher_share * epochs)), max(1, epochs - 1))
        return [Stage("teacher", teacher), Stage("student", max(1, epochs - teacher))]

    def on_stage_start(self, stage: Stage) -> None:
        """Freezes the teacher before it teaches. The student has not been trained until then."""
        self.distilling.fill_(stage.name == "student")
        if self.distilling:
            self.teacher_encoders.requires_grad_(False)
            self.teacher_head.requires_grad_(False)

    def on_epoch_start(self, progress: Progress, train: LabelledSplit, validation: LabelledSplit) -> None:  # noqa: ARG002
        """Compares the student's predictions without each modality after its plain epochs, and finds the weakest."""
        plain = max(1, round(self.config.plain_share * progress.epochs))
        if self.distilling and len(self.weakest) > 1 and 1 <= progress.epoch <= plain:
            self.divergence += divergences(self.count_classes(train))
            if progress.epoch == plain:
                self.weakest.fill_(True)
                self.weakest[self.divergence.argmax()] = False

    @torch.no_grad()
    def count_classes(self, split: LabelledSplit) -> Tensor:
        """How often the student predicts each class, without the first to the last modality and with all.

        A sample is left out where it has none of the others.
        """
        self.eval()
        modalities, classes = len(self.task.modalities), len(self.task.classes)
        kept = ~torch.eye(modalities + 1, modalities, dtype=torch.bool, device=self.weakest.device)
        counts = torch.zeros(modalities + 1, classes, dtype=torch.float64, device=self.weakest.device)
        for batch in split.labelled_batches():
            features = self.encode(batch)
            for row, keep in enumerate(kept):
                available = batch.present & keep
                predicted = self.head.fused(self.without(features, available)).argmax(dim=1)
                counts[row] += torch.bincount(predicted[available.any(dim=1)], minlength=classes)
        return counts

    def loss(self, batch: Batch) -> Tensor:
        """The teacher's cross-entropy, or the student's three terms."""
        teacher = self.encode(batch, self.teacher_encoders)
        logits = self.teacher_head.fused(teacher)
        if not self.distilling:
            return F.cross_entropy(logits, batch.label)
        available = self.draw_available(batch.present)
        student = self.without(self.encode(batch), available)
        loss = F.cross_entropy(self.head.fused(student), batch.label)
        if not self.weakest.any():
            return loss
        feature = torch.cat(list(student.values()), dim=1)
        weak = (available <= self.weakest).all(dim=1)
        own = F.cross_entropy(self.weak_head(feature).float(), batch.label, reduction="none")
        return (
            loss
            + self.config.distillation * margin_aware(feature, torch.cat(list(teacher.values()), dim=1), logits)
            + self.config.regularisation * (own * weak).mean()
        )

    def draw_available(self, present: Tensor) -> Tensor:
        """Draws what is left to each sample, uniformly over the non-empty subsets of ``present``. bool ``[B, M]``."""
        return draw_subsets(self.subsets, present)

    def without(self, features: Mapping[str, Tensor], available: Tensor) -> dict[str, Tensor]:
        """The features ``{modality: [B, d_m]}``, zero where not ``available [B, M]``."""
        return {
            modality: feature.masked_fill(~available[:, [column]], 0.0)
            for column, (modality, feature) in enumerate(features.items())
        }

    def predict(self, batch: Batch) -> Prediction:
        """The student's joint head and each modality's part of it; in the first stage, the teacher's."""
        if self.distilling:
            return super().predict(batch)
        embedding = self.encode(batch, self.teacher_encoders)
        return Prediction(self.teacher_head.fused(embedding), self.teacher_head.unimodal(embedding), embedding)


def margin_aware(student: Tensor, teacher: Tensor, logits: Tensor) -> Tensor:
    """The distance of both similarity matrices, its columns weighted by the teacher's uncertainty.

    Args:
        student: Features ``[B, D]``.
        teacher: Features ``[B, D']``.
        logits: The teacher's. ``[B, C]``
    """
    with torch.autocast(student.device.type, enabled=False):
        similarity = [F.normalize(feature.float() @ feature.float().T, dim=1) for feature in (student, teacher)]
        uncertainty = entropies(logits)
        return ((similarity[0] - similarity[1]).square() * (uncertainty / uncertainty.sum())).sum()


def divergences(counts: Tensor) -> Tensor:
    """``KL(softmax(q_m) || softmax(q))`` of the frequencies in each row of counts to those in the last. ``[M]``.

    Args:
        counts: Of the predicted classes, without each modality and, last, with all. ``[M + 1, C]``
    """
    logarithms = (counts / counts.sum(dim=1, keepdim=True).clamp(min=1)).log_softmax(dim=1)
    return (logarithms[:-1].exp() * (logarithms[:-1] - logarithms[-1])).sum(dim=1)

"""UMT: unimodal teachers for multimodal learning (ICML 2023)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import JointHeadMethod, apply_heads, average_weights, linear_heads, weighted_sum
from mlabench.method import Batch, Hyperparameters, Prediction, Stage, Task


class UMT(JointHeadMethod):
    """Trains each modality alone, then all together with the features of the unimodal encoders as targets.

    Source: Du et al., "On Uni-Modal Feature Learning in Supervised Multi-Modal Learning", ICML 2023,
    arXiv 2305.01233.

    Stage ``teachers`` trains an encoder and a linear head per modality by its own cross-entropy. They share no
    parameter, so training them side by side equals training them one by one. Stage ``student`` starts from the
    initial weights, with a joint head as in ``concat``; its features ``h_m`` are drawn to those of the frozen
    teachers, ``t_m``:

        L = CE(W [h_1; ...; h_M] + b) + weight sum_m MSE(h_m, t_m)

    The MSE is a mean over samples and feature dimensions.

    Unimodal logits: the modality's block of the head and its part of the bias, ``W_m h_m + b / M``; in the first
    stage, the teacher's head.

    Absent modality: its feature is zero, and the sample takes no part in that teacher's loss, nor in that MSE.

    Deviations:

    * The two stages share the budget of epochs that other methods have.
    * One epoch is selected for all teachers, the one with the best average of their logits. (That average is the
      paper's other method, the unimodal ensemble; see ``late_fusion``.)
    * The authors have published no code. The weight is that of a public port; 50, which is said to be theirs, could
      not be traced to a source.
    * The student learns with its dropout at work. An encoder with dropout on its *output* (``text_cnn``, probability
      p) has its mean drawn to the teacher's features, and so ends at 1 - p of them in prediction. Dropout before a
      linear layer (``mlp``) does no such thing.
    * The teachers are in evaluation mode while they teach; a public port leaves them in training mode, so that their
      batch statistics keep changing.
    """

    title = "UMT"
    paper = "https://arxiv.org/abs/2305.01233"
    version = 2
    claims = ("raises the weak modality",)

    class Config(Hyperparameters):
        """The paper tunes the weight of the distillation."""

        weight: float = Field(
            default=10.0,
            ge=0,
            json_schema_extra={"tune": {"choices": [1.0, 10.0, 50.0]}},
            description="Weight of the distillation (public port in BalanceBenchmark: 10).",
        )
        teacher_share: float = Field(
            default=0.5,
            gt=0,
            lt=1,
            description="Share of the epochs spent on the teachers (our choice: as much as on the student).",
        )

    config: Config
    distilling: Tensor

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        self.teacher_encoders = copy.deepcopy(self.encoders)
        self.teacher_heads = linear_heads(task, encoders)
        #: Whether the second stage has begun; part of the state, since predictions depend on it.
        self.register_buffer("distilling", torch.tensor(False))

    def train(self, mode: bool = True) -> Self:
        """Keeps the teachers in evaluation mode while they teach."""
        super().train(mode)
        self.teacher_encoders.train(mode and not self.distilling)
        return self

    def stages(self, epochs: int) -> Sequence[Stage]:
        """The teachers' share first, the rest for the student; one epoch at least for each."""
        teachers = min(max(1, round(self.config.teacher_share * epochs)), max(1, epochs - 1))
        return [Stage("teachers", teachers), Stage("student", max(1, epochs - teachers))]

    def on_stage_start(self, stage: Stage) -> None:
        """Freezes the teachers before they teach. The student has not been trained until then."""
        self.distilling.fill_(stage.name == "student")
        if self.distilling:
            self.teacher_encoders.requires_grad_(False)
            self.teacher_heads.requires_grad_(False)

    def loss(self, batch: Batch) -> Tensor:
        """The sum of the teachers' cross-entropies, or the student's loss."""
        target = self.encode(batch, self.teacher_encoders)
        if not self.distilling:
            losses = self.unimodal_losses(batch, apply_heads(self.teacher_heads, target))
            return torch.stack(list(losses.values())).sum()
        feature = self.encode(batch)
        loss = F.cross_entropy(self.head.fused(feature), batch.label)
        for column, modality in enumerate(self.task.modalities):
            # Both features of an absent modality are zero.
            squared = (feature[modality].float() - target[modality].float()).square().sum()
            entries = batch.present[:, column].sum() * feature[modality].shape[1]
            loss = loss + self.config.weight * squared / entries.clamp(min=1)
        return loss

    def predict(self, batch: Batch) -> Prediction:
        """The student's joint head and each modality's part of it; in the first stage, the teachers' average."""
        if self.distilling:
            return super().predict(batch)
        embedding = self.encode(batch, self.teacher_encoders)
        unimodal = apply_heads(self.teacher_heads, embedding)
        weight = average_weights(batch.present)
        fused = weighted_sum(torch.stack(list(unimodal.values()), dim=1), weight)
        return Prediction(fused, unimodal, embedding, weight)

"""Unimodal: one modality's prediction, as if there were no other."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from mlabench.encoders import Encoder
from mlabench.fusion import linear_heads
from mlabench.method import Batch, Hyperparameters, LabelledSplit, Method, Prediction, Progress, Task


class Unimodal(Method):
    """Predicts from one modality, trained alone: the yardstick that fusion has to beat.

    Source: the baseline that Wang et al., "What Makes Training Multi-Modal Classification Networks Hard?",
    CVPR 2020, arXiv 1905.12681, find ahead of joint training.

    Every modality has its own encoder and linear head, and the loss is the sum of their cross-entropies. They
    share nothing, so each learns what it would learn alone. The fused prediction is that of the modality
    ``modality``, which also decides the selected epoch. One training so shows what each modality reaches alone, and it
    costs what training all of them does, not one.

    Unimodal logits: the modality's own head.

    Absent modality: the sample takes no part in that modality's loss. A sample that lacks the chosen modality
    gets the class prior: the logarithm of the classes' shares among the training labels, in which a class that
    never occurs counts once.
    """

    title = "Unimodal"
    paper = "https://arxiv.org/abs/1905.12681"
    version = 1

    class Config(Hyperparameters):
        """Which modality predicts."""

        modality: str = Field(default="", description="The modality that predicts; empty: the dataset's first.")

        def check_modalities(self, modalities: tuple[str, ...]) -> None:
            """Refuses a modality that is not there."""
            if self.modality and self.modality not in modalities:
                raise ValueError(
                    f"modality: there is no modality {self.modality!r}; there are {', '.join(modalities)}."
                )

    config: Config
    prior: Tensor

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        config.check_modalities(task.modalities)
        self.modality = config.modality or task.modalities[0]
        self.heads = linear_heads(task, encoders)
        #: Logarithm of the class shares; equal ones until training starts. [C]
        self.register_buffer("prior", torch.zeros(len(task.classes)))

    def on_epoch_start(self, progress: Progress, train: LabelledSplit, validation: LabelledSplit) -> None:  # noqa: ARG002
        """Counts the training labels, once."""
        if progress.epoch == 0:
            label = torch.cat([batch.label for batch in train.labelled_batches()])
            count = torch.bincount(label, minlength=len(self.prior)).clamp(min=1)
            self.prior.copy_((count / count.sum()).log())

    def loss(self, batch: Batch) -> Tensor:
        """Sum over the modalities of the mean cross-entropy of the samples that have it."""
        _, unimodal = self.read_out(batch, self.heads.__getitem__)
        return torch.stack(list(self.unimodal_losses(batch, unimodal).values())).sum()

    def predict(self, batch: Batch) -> Prediction:
        """Each modality's own head, one of which decides."""
        embedding, unimodal = self.read_out(batch, self.heads.__getitem__)
        here = batch.present[:, [self.task.modalities.index(self.modality)]]  # [B, 1]
        return Prediction(torch.where(here, unimodal[self.modality], self.prior), unimodal, embedding)

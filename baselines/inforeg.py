"""InfoReg: adaptive unimodal regulation of information acquisition (CVPR 2025)."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import JointHeadMethod
from mlabench.method import (
    SGD,
    AuthorsTraining,
    Batch,
    Hyperparameters,
    LabelledSplit,
    Optimization,
    Progress,
    Step,
    Task,
)

#: Epochs over which the released code averages the trace of the Fisher information.
WINDOW = 10


class InfoReg(JointHeadMethod):
    """Slows the encoder of the leading modality while the information in it still grows fast.

    Source: Huang, Wei, Yang, Hu, "Adaptive Unimodal Regulation for Balanced Multimodal Information Acquisition", CVPR
    2025, arXiv 2503.18595, and the authors' code (GeWu-Lab/InfoReg_CVPR2025, commit 939b2ed, main.py).

    A concatenation with one joint linear head, ``z = sum_m z_m`` with ``z_m = W_m h_m + b / M``, trained by
    ``CE(z) + sum_m CE(z_m)``. With ``s_m`` the sum over the batch of the probability that ``z_m`` gives the true class,
    the encoder of the modality with the highest ``s_m`` is pulled back to its weights at the start of the epoch:

        gradient += beta exp(tanh(s_first - s_second)) (weights - weights at the start of the epoch)

    That holds in the prime window, while the ten-epoch mean ``t`` of the trace of the Fisher information of the
    sufficient modality grows by a share of more than ``threshold``, ``(t - t_before) / t``, and in the first epoch. The
    trace of an epoch is the sum over an encoder's weight tensors of the mean of their squared gradients, added up over
    steps.

    Unimodal logits: the modality's block of the head and its part of the bias, ``W_m h_m + b / M``.

    Absent modality: its feature is zero in the joint head; ``CE(z_m)`` and ``s_m`` are means over the samples that have
    it, ``s_m`` times the size of the batch. A modality that no sample of a batch has is not compared.

    Deviations:

    * The released code knows audio as the sufficient modality: the window is that of its trace, and ``beta`` is 0.95
      for audio, 0.1 for video. Here the sufficient one is that with the highest score since the training began.
    * More than two modalities (an extension): the gap is that between the first and the second of the batch.
    * Weight tensors are parameters with two or more dimensions; released: those of convolutions and linear layers.
    """

    title = "InfoReg"
    paper = "https://arxiv.org/abs/2503.18595"
    version = 1
    claims = ("raises the weak modality",)
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=2e-3, momentum=0.9, weight_decay=1e-4), "main.py at 939b2ed"),
        schedule=(Step(epochs=30, factor=0.1), "main.py at 939b2ed"),
        batch_size=(64, "main.py at 939b2ed"),
        epochs=(50, "main.py at 939b2ed"),
    )

    class Config(Hyperparameters):
        """Defaults are those of the authors' code."""

        beta: float = Field(
            default=0.95,
            ge=0,
            json_schema_extra={"tune": {"low": 0.1, "high": 3.0, "log": True}},
            description="Pull on the sufficient modality (main.py: 0.95, for audio).",
        )
        other_beta: float = Field(
            default=0.1, ge=0, description="Pull on any other that leads in a batch (main.py: 0.1, for video)."
        )
        threshold: float = Field(
            default=0.05, description="Growth of the trace at which the prime window ends (main.py: 0.05)."
        )

    config: Config
    score: Tensor
    fisher: Tensor
    traces: Tensor
    growth: Tensor

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        #: Weights at the start of the epoch.
        self.start = copy.deepcopy(self.encoders).requires_grad_(False)
        modalities = len(task.modalities)
        #: Scores since the training began. [M]
        self.register_buffer("score", torch.zeros(modalities))
        #: The trace of this epoch so far. [M]
        self.register_buffer("fisher", torch.zeros(modalities))
        #: Those of the last epochs, zero before the first. [M, 11]
        self.register_buffer("traces", torch.zeros(modalities, WINDOW + 1))
        #: By what share the mean of the traces has grown. [M]
        self.register_buffer("growth", torch.ones(modalities))

    def on_epoch_start(self, progress: Progress, train: LabelledSplit, validation: LabelledSplit) -> None:  # noqa: ARG002
        """Notes the encoders' weights."""
        self.start.load_state_dict(self.encoders.state_dict())

    def on_epoch_end(self, logs: Mapping[str, float]) -> None:  # noqa: ARG002
        """Takes the epoch's trace into the mean over ten epochs, and notes how much that has grown."""
        self.traces.copy_(torch.cat([self.traces[:, 1:], self.fisher.unsqueeze(1)], dim=1))
        self.fisher.zero_()
        mean, before = self.traces[:, 1:].mean(dim=1), self.traces[:, :-1].mean(dim=1)
        self.growth.copy_(torch.where(mean > 0, (mean - before) / mean, 0.0))

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        """One update of the joint and the unimodal losses, with the leading encoder pulled back."""
        embedding = self.encode(batch)
        unimodal = self.head.unimodal(embedding)
        loss = F.cross_entropy(self.head.fused(embedding), batch.label)
        loss = loss + torch.stack(list(self.unimodal_losses(batch, unimodal).values())).sum()
        pull = self.pulls(batch, {modality: logits.detach() for modality, logits in unimodal.items()})
        optimization.update(loss, before_step=lambda: self.regulate(pull))
        return {"loss": loss.detach()}

    def pulls(self, batch: Batch, unimodal: Mapping[str, Tensor]) -> Tensor:
        """The factor on each encoder's way since the start of the epoch; zero for all but the leading one. ``[M]``."""
        probability = torch.stack([logits.softmax(dim=1) for logits in unimodal.values()], dim=1)  # [B, M, C]
        right = probability[torch.arange(len(batch), device=batch.label.device), :, batch.label]  # [B, M]
        number = batch.present.sum(dim=0)
        score = torch.where(batch.present, right, 0.0).sum(dim=0) * len(batch) / number.clamp(min=1)
        self.score += score
        if len(score) == 1:
            return torch.zeros_like(score)
        sufficient = self.score.argmax()
        (first, second), (leading, _) = torch.where(number > 0, score, 0.0).topk(2)
        compared = ((number > 0).sum() > 1) & (first > second)
        strength = torch.where(leading == sufficient, self.config.beta, self.config.other_beta)
        strength = strength * (first - second).tanh().exp()
        growth = self.growth.gather(0, sufficient.unsqueeze(0))  # indexing would wait for a GPU
        regulated = compared & (growth > self.config.threshold)
        columns = torch.arange(len(score), device=score.device)
        return torch.where((columns == leading) & regulated, strength, 0.0)

    @torch.no_grad()
    def regulate(self, pull: Tensor) -> None:
        """Adds the pull to the encoders' gradients, and their squares to the trace."""
        for column, modality in enumerate(self.task.modalities):
            old = self.start[modality].parameters()
            for parameter, start in zip(self.encoders[modality].parameters(), old, strict=True):
                if parameter.grad is not None:
                    parameter.grad += pull[column] * (parameter - start)
                    if parameter.ndim > 1:
                        self.fisher[column] += parameter.grad.square().mean()

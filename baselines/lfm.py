"""LFM: label fitting mixed with matching of modalities (NeurIPS 2024)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import average_weights, linear_heads, weighted_sum
from mlabench.method import (
    SGD,
    AuthorsTraining,
    Batch,
    Hyperparameters,
    Method,
    Optimization,
    Prediction,
    Progress,
    Step,
    Task,
)

#: The classification's weight, learned by the authors on CREMA-D, as a polynomial of the epoch (of 200).
FITTED = (2.04623704e-01, 3.35472727e-03, 1.22989557e-04, -2.92947416e-06, 2.23835486e-08, -5.39717505e-11)


class LFM(Method):
    """Matches the modalities of a sample at first, and fits labels more and more.

    Source: Yang, Wan, Jiang, Xu, "Facilitating Multimodal Classification via Dynamically Learning Modality Gap",
    NeurIPS 2024, and the authors' code (njustkmg/NeurIPS24-LFM; Crema_epoch.py at commit ad44fa0, and its forerunner
    Crema_ours.py at commit f3af6ea).

    A linear head per modality; the prediction is the average of their logits. Fitting labels is what makes one modality
    learn faster than another, so a loss without labels takes its place early in training:

        L = 2 (alpha CE(mean_m z_m) + (1 - alpha) matching)

    *Matching* is contrastive; ``s_ij`` is the cosine of two modalities' features of samples i and j,

        matching = 1/2 mean_i (CE(s_i. / temperature, i) + CE(s_.i / temperature, i))

    The weight ``alpha`` rises during training. *Fitted*: the course that it takes when it is learned on CREMA-D, from
    0.2 over 0.5 to 1, for which the code has a polynomial. *Heuristic*: ``1 - clip(exp(-0.3 t), 0.05, 0.95)`` at epoch
    t of 20.

    Unimodal logits: the modality's own head.

    Absent modality: its logits leave the average; two modalities are matched over the samples that have both, which are
    each other's negatives.

    Deviations:

    * More than two modalities: the mean of all pairs' losses (an extension).
    * We have not seen the paper's own formula of its contrastive loss: the one here, and its temperature, are those of
      f3af6ea. There, and in ad44fa0, a later definition takes its place, the divergence of the modalities' class
      probabilities ``p`` and ``q`` from their mean ``m``, ``(KL(m || p) + KL(m || q)) / 2`` (``matching: official``).
    * Learning the weight anew is left out: the code's rule for it takes the mean of one layer's second derivatives,
      for one batch. The factor 2 is that of ad44fa0; f3af6ea has none.
    * Epochs count as shares of the training, of 200 (fitted) and 20 (heuristic, after a training without matching).
    * The contrastive loss needs encoders of equal width.
    """

    title = "LFM"
    paper = "https://proceedings.neurips.cc/paper_files/paper/2024/hash/71b17f00017da0d73823ccf7fbce2d4f-Abstract-Conference.html"
    version = 1
    claims = ("raises the weak modality",)
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=1e-2, momentum=0.9, weight_decay=1e-4), "data/crema.json at ad44fa0"),
        schedule=(Step(epochs=70, factor=0.1), "data/crema.json and Crema_epoch.py at ad44fa0"),
        batch_size=(64, "data/crema.json at ad44fa0"),
        epochs=(200, "data/crema.json at ad44fa0"),
    )

    class Config(Hyperparameters):
        """Defaults are the paper's loss with the values of the authors' code."""

        matching: Literal["contrastive", "official"] = Field(
            default="contrastive",
            description="Loss between modalities: of features ('contrastive', the paper), or the divergence of class "
            "probabilities with which the released code replaces it ('official').",
        )
        weight: Literal["fitted", "heuristic"] = Field(
            default="fitted",
            json_schema_extra={"tune": {"choices": ["fitted", "heuristic"]}},
            description="Course of the classification's weight (Crema_epoch.py: fitted; Crema_ours.py: heuristic).",
        )
        temperature: float = Field(
            default=0.07,
            gt=0,
            json_schema_extra={"tune": {"low": 0.03, "high": 1.0, "log": True}},
            description="Temperature of the contrastive loss (Crema_ours.py: 0.07).",
        )

    config: Config

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        widths = {modality: encoders[modality].width for modality in task.modalities}
        if config.matching == "contrastive" and len(set(widths.values())) != 1:
            raise ValueError(f"LFM's contrastive loss needs encoders of equal width, but they are {widths}.")
        self.heads = linear_heads(task, encoders)

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        """One update by both losses, of which it logs the parts, too."""
        embedding, unimodal = self.read_out(batch, self.heads.__getitem__)
        classification = F.cross_entropy(self._fuse(unimodal, batch.present), batch.label)
        matching = self.matching_loss(embedding, unimodal, batch.present)
        alpha = label_weight(optimization.progress, self.config.weight)
        loss = 2 * (alpha * classification + (1 - alpha) * matching)
        optimization.update(loss)
        return {
            "loss": loss.detach(),
            "loss/classification": classification.detach(),
            "loss/matching": matching.detach(),
        }

    def matching_loss(self, embedding: Mapping[str, Tensor], unimodal: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """The mean over pairs of modalities; a scalar, zero where there is no pair.

        Args:
            embedding: Features. ``{modality: [B, d]}``
            unimodal: Logits. ``{modality: [B, C]}``
            present: bool ``[B, M]``
        """
        losses = []
        for (i, one), (j, other) in itertools.combinations(enumerate(self.task.modalities), 2):
            both = present[:, i] & present[:, j]
            if self.config.matching == "contrastive":
                losses.append(contrast(embedding[one], embedding[other], both, self.config.temperature))
            else:
                losses.append(divergence(unimodal[one], unimodal[other], both))
        return torch.stack(losses).mean() if losses else torch.zeros((), device=present.device)

    def predict(self, batch: Batch) -> Prediction:
        """Each modality's own head, and the average of their logits."""
        embedding, unimodal = self.read_out(batch, self.heads.__getitem__)
        return Prediction(self._fuse(unimodal, batch.present), unimodal, embedding, average_weights(batch.present))

    def _fuse(self, unimodal: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """The average of the present modalities' logits. ``[B, C]``."""
        return weighted_sum(torch.stack(list(unimodal.values()), dim=1), average_weights(present))


def label_weight(progress: Progress, course: str) -> float:
    """The weight ``alpha`` of the classification in an epoch."""
    share = progress.epoch / progress.epochs
    if course == "fitted":
        return sum(coefficient * (200 * share) ** power for power, coefficient in enumerate(FITTED))
    return 1 - min(max(math.exp(-0.3 * 20 * share), 0.05), 0.95)


def contrast(one: Tensor, other: Tensor, both: Tensor, temperature: float) -> Tensor:
    """The contrastive loss of two modalities' features ``[B, d]`` over the samples ``both``, bool ``[B]``. A scalar."""
    cosine = F.normalize(one.float(), dim=1) @ F.normalize(other.float(), dim=1).T  # [B, B]
    # Samples without the pair are nobody's negatives. Their own entry stays, so that no row is empty.
    negative = both.unsqueeze(1) & both.unsqueeze(0)
    apart = ~(negative | torch.eye(len(both), dtype=torch.bool, device=both.device))
    logits = (cosine.float() / temperature).masked_fill(apart, -torch.inf)
    own = torch.arange(len(both), device=both.device)
    losses = F.cross_entropy(logits, own, reduction="none") + F.cross_entropy(logits.T, own, reduction="none")
    return (losses * both).sum() / (2 * both.sum().clamp(min=1))


def divergence(one: Tensor, other: Tensor, both: Tensor) -> Tensor:
    """``(KL(m || p) + KL(m || q)) / 2`` of the soft-max of logits ``[B, C]``, with ``m = (p + q) / 2``. A scalar."""
    log_p, log_q = one.float().log_softmax(dim=1), other.float().log_softmax(dim=1)
    log_mean = torch.logaddexp(log_p, log_q) - math.log(2)
    values = (log_mean.exp() * (log_mean - (log_p + log_q) / 2)).sum(dim=1)
    return (values * both).sum() / both.sum().clamp(min=1)

"""QMF: quality-aware multimodal fusion (ICML 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import linear_heads, weighted_sum
from mlabench.method import (
    Adam,
    AuthorsTraining,
    Batch,
    Hyperparameters,
    Method,
    Prediction,
    Task,
    absent_as_zero,
    present_only,
)


class QMF(Method):
    """Weighs each modality's logits by its energy confidence, trained to follow past losses.

    Source: Zhang et al., "Provable Dynamic Fusion for Low-Quality Multimodal Data", ICML 2023,
    arXiv 2306.02050, and the authors' text-image code (QingyangZhang/QMF, commit fe6c4c6).

        omega_m = logsumexp(z_m) / 10,   z = sum_m stopgrad(omega_m) z_m
        L = CE(z) + sum_m CE(z_m) + rank_weight sum_m R_m

    ``R_m`` compares neighbours ``i, j`` of a batch: the sample with the larger sum of past losses (its
    *history*) should have the smaller confidence.

    Unimodal logits: the modality's own head.

    Absent modality: its term leaves the fused logits, the losses, the pairs and the history. The authors
    define none of this; zero-filling would leave the modality a weight of about ``log(C) / 10``.

    Notes and deviations:

    * The weights are not normalised, as published, so fused logits have another scale than unimodal ones.
      ``Prediction.weight`` reports the share ``|omega_m| / sum_i |omega_i|``; with positive weights the
      prediction is the one that these shares give.
    * A constant added to all logits of a modality changes its weight, but none of its cross-entropy. Nothing but
      the ranking loss holds this freedom, and it can use it to drive a strong modality's weight down, even below
      zero: on the dataset ``stamps`` the fused accuracy falls after a few epochs for this reason (it does not
      with ``rank_weight: 0``), and the validation split selects an earlier epoch.
    * The history is updated before the ranking term, as in the text-image code (the RGB-D code does it
      afterwards, and its first batch divides zero by zero). While all histories are equal, the term is zero.
    * A sample not yet visited, or one that never has the modality, counts as history 0 in the range that
      scales the histories, as every unvisited sample does in the released code.
    """

    title = "QMF"
    paper = "https://arxiv.org/abs/2306.02050"
    version = 1
    authors_training = AuthorsTraining(
        optimizer=(
            Adam(lr=5e-5),
            "train_qmf.py at fe6c4c6; it halves the rate on a plateau, 16 to 32 samples a batch, summed over 24 or 40",
        ),
        epochs=(100, "the training script before 28f0294, with a patience of 5"),
    )

    class Config(Hyperparameters):
        """Defaults are those of the authors' text-image code."""

        margin: Literal["official", "paper"] = Field(
            default="official",
            description="Ranking loss of a pair with history difference a >= 0: 'official' max(0, g(w_i - w_j) - a), "
            "what the released code computes, or 'paper' max(0, g(w_i - w_j) + a), a confidence gap of at least a.",
        )
        rank_weight: float = Field(
            default=1.0,
            ge=0,
            json_schema_extra={"tune": {"low": 0.01, "high": 10.0, "log": True}},
            description="Weight of the ranking loss (text-image code: 1; RGB-D code: 0.1 or 1).",
        )
        fused_loss: bool = Field(
            default=True,
            description="Whether the cross-entropy of the fused logits is part of the loss (the authors' code: yes; "
            "MLA's code: no, where the encoders are M3AE).",
        )

    config: Config
    history: Tensor

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        self.heads = linear_heads(task, encoders)
        #: Sum of each training sample's past losses. [M, samples]
        self.register_buffer("history", torch.zeros(len(task.modalities), samples))

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropies of the fused logits and of the unimodal ones, and the ranking losses."""
        unimodal, losses = [], []
        for modality, history in zip(self.task.modalities, self.history, strict=True):
            feature, rows = self.encode_present(batch, modality)  # [n, d]
            if len(feature) == 0:
                unimodal.append(torch.zeros(len(batch), len(self.task.classes), device=feature.device))
                continue
            logits = self.heads[modality](feature).float()  # [n, C]
            unimodal.append(absent_as_zero(logits, rows, len(batch)))
            index = present_only(batch.index, rows)
            sample_loss = F.cross_entropy(logits, present_only(batch.label, rows), reduction="none")  # [n]
            history.index_add_(0, index, sample_loss.detach())
            losses += [sample_loss.mean(), self.config.rank_weight * self._rank_loss(logits, history, index)]
        total = torch.stack(losses).sum()
        if not self.config.fused_loss:
            return total
        fused, _ = fuse(torch.stack(unimodal, dim=1), batch.present)
        return F.cross_entropy(fused, batch.label) + total

    def _rank_loss(self, logits: Tensor, history: Tensor, index: Tensor) -> Tensor:
        """The ranking loss of cyclic neighbours.

        Args:
            logits: Logits of the samples that have the modality. ``[n, C]``
            history: Sums of past losses of all training samples. ``[samples]``
            index: Positions of the ``n`` samples. ``[n]``
        """
        weight = confidence(logits)
        # Only differences enter, so the minimum cancels in the scaled history. No spread: no ranking.
        spread = history.max() - history.min()
        past = torch.where(spread > 0, history[index] / spread, 0.0)
        difference = past - past.roll(-1)
        margin = difference.abs() if self.config.margin == "paper" else -difference.abs()
        pairs = F.relu(difference.sign() * (weight - weight.roll(-1)) + margin)
        return pairs.mean()  # pairs of equal histories give relu(0) = 0

    def predict(self, batch: Batch) -> Prediction:
        """Each modality's own head, and their sum weighted by confidence."""
        embedding, unimodal = self.read_out(batch, self.heads.__getitem__)
        fused, weight = fuse(torch.stack(list(unimodal.values()), dim=1), batch.present)
        influence = weight.abs()
        share = influence / influence.sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        return Prediction(fused, unimodal, embedding, share)


def confidence(logits: Tensor) -> Tensor:
    """``omega = logsumexp_c(z_c) / 10``, a tenth of the negative energy of logits ``[..., C]``. ``[...]``."""
    return logits.logsumexp(dim=-1) / 10


def fuse(logits: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """The confidence-weighted sum; no gradient passes through the weights.

    Args:
        logits: ``[B, M, C]``
        present: bool ``[B, M]``

    Returns:
        The fused logits ``[B, C]`` and the weights, zero at absent modalities ``[B, M]``.
    """
    weight = confidence(logits.detach()).masked_fill(~present, 0.0)
    return weighted_sum(logits, weight), weight

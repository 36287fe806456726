"""OPM: on-the-fly prediction modulation (TPAMI 2024)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from baselines.scores import score_ratios
from mlabench.fusion import JointHeadMethod
from mlabench.method import AdamW, AuthorsTraining, Batch, Hyperparameters, Optimization, Step


class OPM(JointHeadMethod):
    """Drops the features of the modality that does better, and more often the better it does.

    Source: Wei, Hu, Du, Wen, "On-the-fly Modulation for Balanced Multimodal Learning", TPAMI 2024,
    arXiv 2410.11582, and the authors' code (GeWu-Lab/BML_TPAMI2024, commit 8db168f).

    A concatenation with one joint linear head, whose part for a modality gives its score ``s_m``, the mean
    probability of the right class. With ``rho_m = s_m / s_other`` a sample loses the feature of modality ``m``
    with probability

        q_m = base (1 + slope tanh(rho_m - 1)) if rho_m > 1, else 0

    and all features are divided by ``1 - sum_m d_m q_m / sum_m d_m``, the share that is kept on average. A
    batch is treated so with probability ``execution``, and not at all in the first epochs. Prediction
    drops and scales nothing.

    Unimodal logits: the modality's block of the head and its part of the bias, ``W_m h_m + b / M``.

    Absent modality: its feature is zero, as if it were dropped. A score is a mean over the samples that have
    the modality; one that no sample of the batch has takes no part in the comparison.

    Deviations:

    * More than two modalities: ``s_other`` is the mean score of the others, as there is only one of them otherwise.
    * A sample that would lose all it has keeps it. The released code takes it out of the batch, but among
      complete samples this cannot happen: the weakest modality is never dropped.
    * The published warm-up of 6 of 100 epochs is a share of the epochs.
    * Optimiser and schedule are the suite's. Published: AdamW, learning rate 5e-5, batches of 32.
    """

    title = "OPM"
    paper = "https://arxiv.org/abs/2410.11582"
    version = 1
    claims = ("raises the weak modality",)
    authors_training = AuthorsTraining(
        optimizer=(AdamW(lr=5e-5, weight_decay=0.01), "code/config.py and code/main.py at 8db168f"),
        schedule=(Step(epochs=40, factor=0.1), "code/config.py"),
        batch_size=(32, "code/config.py"),
        epochs=(100, "code/config.py"),
    )

    class Config(Hyperparameters):
        """Defaults are those of the authors' training script."""

        base: float = Field(
            default=0.5,
            ge=0,
            lt=1,
            json_schema_extra={"tune": {"low": 0.1, "high": 0.9}},
            description="Probability of dropping at rho = 1 (script: 0.5).",
        )
        slope: float = Field(default=0.5, ge=0, description="Its relative growth with rho, at most (script: 0.5).")
        execution: float = Field(default=0.7, ge=0, le=1, description="Share of the batches with drops (script: 0.7).")
        warm_up: float = Field(
            default=0.06, ge=0, le=1, description="Share of the epochs before the first drop (code: 6 of 100)."
        )

    config: Config

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        """One update from the joint head's cross-entropy, with some features dropped after the warm-up."""
        embedding = self.encode(batch)
        progress = optimization.progress
        warm = progress.epoch >= round(self.config.warm_up * progress.epochs)
        if warm and torch.rand(()) < self.config.execution:
            with torch.no_grad():
                probability = self.drop_probability(self.head.unimodal(embedding), batch)
            embedding = self.drop(embedding, batch.present, probability)
        loss = F.cross_entropy(self.head.fused(embedding), batch.label)
        optimization.update(loss)
        return {"loss": loss.detach()}

    def drop_probability(self, unimodal: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """``q_m`` of the batch, from the unimodal logits ``{modality: [B, C]}``. ``[M]``."""
        ratio = score_ratios(unimodal, batch)
        probability = self.config.base * (1 + self.config.slope * torch.tanh(ratio - 1))
        return torch.where(ratio > 1, probability.clamp(max=1), 0.0)

    def drop(self, embedding: Mapping[str, Tensor], present: Tensor, probability: Tensor) -> dict[str, Tensor]:
        """Features with some of them zero, scaled by the inverse of the share that is kept on average.

        Args:
            embedding: ``{modality: [B, d_m]}``
            present: bool ``[B, M]``
            probability: ``q_m`` ``[M]``
        """
        kept = present & (torch.rand(present.shape, device=present.device) >= probability)
        kept |= present & ~kept.any(dim=1, keepdim=True)
        widths = torch.tensor(self.head.widths, device=present.device)
        scale = 1 / (1 - (widths * probability).sum() / widths.sum())
        factor = (kept * scale).unbind(dim=1)  # M of [B]
        return {m: feature * part.unsqueeze(1) for (m, feature), part in zip(embedding.items(), factor, strict=True)}

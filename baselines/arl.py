"""ARL: asymmetric representation learning (ICCV 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.fusion import JointHeadMethod, alone, entropies
from mlabench.method import (
    SGD,
    AuthorsTraining,
    Batch,
    Hyperparameters,
    Optimization,
    Prediction,
    Step,
    UnfitOptimizers,
)


class ARL(JointHeadMethod):
    """Lets the model depend on a modality the more, the less its predictions vary: no balance, but the right imbalance.

    Source: Wei, Luo, Luo, "Improving Multimodal Learning via Imbalanced Learning", ICCV 2025, arXiv 2507.10203, and
    the authors' code (shicaiwei123/ICCV2025-ARL, commit adfc58c, main_arl_variance.py and models/).

    A concatenation with one joint linear head. A modality's own prediction is that of the head when the features of
    all others are zero, ``z_m = W_m h_m + b``. The loss adds those of the modalities, against bias:

        L = CE(z) + gamma sum_m CE(z_m)

    Against variance, an encoder's gradient is multiplied by ``1 + k_m``. Entropy stands for variance, and the size of
    the logits for how much the model depends on a modality; of a batch,

        v_m = max(0.3, mean entropy of softmax(z_m), as a share of both),    q_m = 1 / v_m, as a share of both
        d_m = mean ||z_m||_1, as a share of both
        k = softmax_m(T q_m (1 - d_m))

    In the first epochs ``gamma`` is one, and gradients are left as they are.

    Unimodal logits: ``z_m``, the joint head on that modality alone, with its whole bias.

    Absent modality: its feature is zero in the joint head; its loss, entropy and size are means over the samples that
    have it, and the shares are over the modalities that the batch has.

    Deviations:

    * The released code computes ``k`` and does not use it: all its encoders' gradients are multiplied by 1.5
      (``modulation: official``). We apply ``k`` as it is computed there, to the batch it is computed from.
    * More than two modalities: 0.6 / M in place of 0.3, and ``1 + k_m M / 2``, so that gradients grow by half on
      average, as with two (an extension; the paper has results with three, the code is for two).
    * The published 6 of 100 epochs without modulation are a share of the epochs.
    """

    title = "ARL"
    paper = "https://arxiv.org/abs/2507.10203"
    version = 1
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=1e-3, momentum=0.9, weight_decay=1e-4), "main_arl_variance.py at adfc58c"),
        schedule=(Step(epochs=70, factor=0.1), "main_arl_variance.py at adfc58c: once within its 100 epochs"),
        batch_size=(64, "main_arl_variance.py at adfc58c"),
        clip_norm=(40.0, "main_arl_variance.py at adfc58c"),
        epochs=(100, "main_arl_variance.py at adfc58c"),
    )
    unfit_optimizers = UnfitOptimizers(
        names=("adam", "adamw"),
        reason="Adam divides each encoder's gradient by its running magnitude, which undoes ARL's re-weighting.",
    )

    class Config(Hyperparameters):
        """Defaults are those of the authors' script for CREMA-D."""

        gamma: float = Field(
            default=4.0,
            ge=0,
            json_schema_extra={"tune": {"low": 0.5, "high": 8.0, "log": True}},
            description="Weight of the unimodal losses (scripts: CREMA-D 4, Kinetics-Sounds 3, AVE 5).",
        )
        temperature: float = Field(
            default=8.0,
            ge=0,
            json_schema_extra={"tune": {"choices": [4.0, 8.0]}},
            description="Sharpness T of the coefficients (scripts: CREMA-D 8, Kinetics-Sounds and AVE 4).",
        )
        start: float = Field(
            default=0.06,
            ge=0,
            le=1,
            description="Share of the epochs before gamma and the coefficients are at work (code: 6 of 100).",
        )
        modulation: Literal["paper", "official"] = Field(
            default="paper",
            description="The coefficients k: of variance and dependence ('paper'), or 1 / M as in the released code, "
            "which does not use what it computes ('official').",
        )

    config: Config

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        """One update, with gradients of the encoders multiplied by their factors."""
        started = optimization.progress.epoch >= round(self.config.start * optimization.progress.epochs)
        embedding = self.encode(batch)
        unimodal = self._unimodal(embedding)
        own = torch.stack(list(self.unimodal_losses(batch, unimodal).values())).sum()
        loss = F.cross_entropy(self.head.fused(embedding), batch.label) + (self.config.gamma if started else 1.0) * own
        factor = self.factors(unimodal, batch.present)  # [M]

        def modulate() -> None:
            for column, modality in enumerate(self.task.modalities):
                for parameter in self.encoders[modality].parameters():
                    if parameter.grad is not None:
                        parameter.grad *= factor[column]

        optimization.update(loss, before_step=modulate if started else None)
        logs = {f"factor/{modality}": factor[column] for column, modality in enumerate(self.task.modalities)}
        return {"loss": loss.detach(), **(logs if started else {})}

    @torch.no_grad()
    def factors(self, unimodal: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """What each encoder's gradient is multiplied by, ``1 + k_m M / 2``; anything for an absent one. ``[M]``.

        Args:
            unimodal: Logits, anything at absent modalities. ``{modality: [B, C]}``
            present: bool ``[B, M]``
        """
        here = present.any(dim=0)  # [M]
        modalities = here.sum()
        if self.config.modulation == "official":
            return torch.full((present.shape[1],), 1.5, device=present.device)
        logits = torch.stack(list(unimodal.values()), dim=1)  # [B, M, C]
        floor = 0.6 / modalities
        variance = _share(_means(entropies(logits), present), here).clamp(min=floor)
        certainty = _share(1 / variance, here)
        dependence = _share(_means(logits.abs().sum(dim=2), present), here)
        score = self.config.temperature * certainty * (1 - dependence)
        return 1 + score.masked_fill(~here, -torch.inf).softmax(dim=0) * modalities / 2

    def predict(self, batch: Batch) -> Prediction:
        """The joint head on all modalities, and on each alone."""
        embedding = self.encode(batch)
        return Prediction(self.head.fused(embedding), self._unimodal(embedding), embedding)

    def _unimodal(self, embedding: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The joint head on each modality alone. ``{modality: [B, C]}``."""
        return {modality: self.head.fused(alone(embedding, modality)) for modality in self.task.modalities}


def _means(values: Tensor, present: Tensor) -> Tensor:
    """Means of ``values [B, M]`` over the samples that have the modality. ``[M]``."""
    return values.where(present, 0.0).sum(dim=0) / present.sum(dim=0).clamp(min=1)


def _share(values: Tensor, here: Tensor) -> Tensor:
    """``values [M]`` as shares of their sum over the modalities that are ``here``."""
    return values / values.where(here, 0.0).sum().clamp(min=torch.finfo(values.dtype).tiny)

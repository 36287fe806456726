"""MLA: Multimodal representation Learning with Alternating unimodal adaptation (CVPR 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import average_weights, weighted_sum
from mlabench.method import (
    Batch,
    Hyperparameters,
    Method,
    Optimization,
    Prediction,
    Progress,
    Task,
    present_only,
)
from mlabench.mla.dynamic_fusion import dynamic_fusion
from mlabench.mla.gradient_modification import GradientModification


class MLA(Method):
    """Trains one modality at a time on a shared head, and fuses by certainty at test time.

    Source: Zhang, Yoon, Bansal, Yao, "Multimodal Representation Learning by Alternating Unimodal
    Adaptation", CVPR 2024, arXiv 2311.10707, and the code its authors released (commit ab6c184).

    Each mini-batch gives one update per modality in turn: the modality's encoder and the shared linear
    head descend on that modality's cross-entropy alone; no fused loss exists. The gradient of the head's
    weight, never of its bias, is first multiplied by a matrix that damps the directions of the mean
    features seen so far (HGM), and at test time the logits are weighted by certainty (DF).

    Unimodal logits: the shared head on that modality's feature.

    Absent modality: the sample takes no part in that modality's update, nor in its mean feature, and the
    fused prediction weighs the present modalities only. A batch without any sample that has the modality
    skips its update.

    Deviations from the released code:

    * HGM acts. The released plug-in looks for a parameter name that does not exist, so no published
      commit modifies a gradient.
    * The recursion divides by the scalar of recursive least squares, where the released formula divides
      element-wise by an outer product, and does not scale ``P`` to unit Frobenius norm.
    * HGM starts with the first update, where the released code leaves the very first one as it is.
    * Entropies are per sample and over the classes, so a prediction does not depend on what shares its
      batch. The released code takes the soft-max over the batch and has one weight per test batch.
    * Without DF the average is plain, where the released code has weights chosen for each dataset.
    * Updating one modality leaves the other encoders alone. With the released code on older versions of
      torch, zero gradients let momentum and weight decay move them.
    * ``order`` is the dataset's; the released code has audio, visual, (text), and text before image.

    HGM assumes that the step is proportional to the gradient. SGD keeps that, up to momentum and weight
    decay (which act after HGM); Adam rescales each element of the modified gradient, which gives back
    much of the damping and turns the step out of the directions HGM left.
    """

    title = "MLA"
    paper = "https://arxiv.org/abs/2311.10707"
    version = 1

    class Config(Hyperparameters):
        """Defaults are the paper's method, as far as its equations and figure determine it."""

        gradient_modification: bool = Field(
            default=True, description="Modify the head's gradient, HGM (the full method; the ablation turns it off)."
        )
        projector: Literal["current", "previous"] = Field(
            default="current",
            description="Which P modifies a gradient: 'current' has this batch's mean feature in it already "
            "(the order of the paper's recursion and of the released code), 'previous' has not "
            "(orthogonal weight modification proper: earlier modalities only).",
        )
        alpha: float = Field(
            default=0.1,
            gt=0,
            description="Regulariser in P's denominator (released code: 0.1 at the start of each epoch).",
        )
        alpha_schedule: Literal["constant", "within_epoch"] = Field(
            default="constant",
            description="'constant' (the paper's equations have no schedule), or 'within_epoch': "
            "alpha ** (1 + step / steps_per_epoch), the released code's 0.1 to 0.01 inside every epoch.",
        )
        dynamic_fusion: bool = Field(
            default=True,
            description="Weight logits by entropy, DF (the full method); otherwise the plain average of the logits.",
        )
        order: Literal["given", "weak_to_strong"] | tuple[str, ...] = Field(
            default="given",
            description="Order of the updates: 'given' by the dataset (the paper's figure cycles in a fixed order), "
            "the modalities' names, or 'weak_to_strong': after each epoch by decreasing training loss "
            "(arXiv 2506.00030 argues for it).",
        )

    config: Config

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        widths = {modality: encoders[modality].width for modality in task.modalities}
        if len(set(widths.values())) != 1:
            raise ValueError(f"MLA's shared head needs encoders of equal width, but they are {widths}.")
        if isinstance(config.order, tuple) and sorted(config.order) != sorted(task.modalities):
            raise ValueError(f"order must name each of {task.modalities} once, but it is {config.order}.")
        width = widths[task.modalities[0]]
        self.order = config.order if isinstance(config.order, tuple) else task.modalities
        self.head = nn.Linear(width, len(task.classes))
        self.gradient_modification = GradientModification(width) if config.gradient_modification else None

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        """One update per modality, in turn. Logs each modality's loss and their mean."""
        losses = {}
        for modality in self.order:
            feature, rows = self.encode_present(batch, modality)  # [n, d]
            if len(feature) == 0:
                continue
            loss = F.cross_entropy(self.head(feature).float(), present_only(batch.label, rows))
            mean_feature = feature.detach().float().mean(dim=0)  # [d]
            optimization.update(loss, partial(self._modify_gradient, mean_feature, optimization.progress))
            losses[modality] = loss.detach()
        mean_loss = torch.stack(list(losses.values())).mean()
        return {"loss": mean_loss, **{f"loss/{modality}": loss for modality, loss in losses.items()}}

    def _modify_gradient(self, mean_feature: Tensor, progress: Progress) -> None:
        """Folds the batch into P and applies P to the head's weight gradient, in the configured order."""
        gradient = self.head.weight.grad
        if self.gradient_modification is None or gradient is None:
            return
        alpha = self.config.alpha
        if self.config.alpha_schedule == "within_epoch":
            alpha **= 1 + progress.step / progress.steps_per_epoch
        if self.config.projector == "previous":
            self.gradient_modification.modify(gradient)
            self.gradient_modification.update(mean_feature, alpha)
        else:
            self.gradient_modification.update(mean_feature, alpha)
            self.gradient_modification.modify(gradient)

    def on_epoch_end(self, logs: Mapping[str, float]) -> None:
        """Puts the modalities in the order of decreasing training loss, if so configured."""
        if self.config.order == "weak_to_strong":
            # A modality that no sample had is skipped wherever it stands.
            self.order = tuple(sorted(self.order, key=lambda modality: -logs.get(f"loss/{modality}", 0.0)))

    def predict(self, batch: Batch) -> Prediction:
        """The shared head on every modality, fused by certainty or averaged."""
        embedding, unimodal = self.read_out(batch, lambda _: self.head)
        logits = torch.stack(list(unimodal.values()), dim=1)  # [B, M, C]
        if self.config.dynamic_fusion:
            fused, weight = dynamic_fusion(logits, batch.present)
        else:
            weight = average_weights(batch.present)
            fused = weighted_sum(logits, weight)
        return Prediction(fused, unimodal, embedding, weight)

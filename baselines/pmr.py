"""PMR: prototypical modal rebalance (CVPR 2023)."""

from __future__ import annotations

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
    present_only,
)


class PMR(JointHeadMethod):
    """Pulls the features of the modalities that lag behind towards the prototypes of their classes.

    Source: Fan, Xu, Wang, Wang, Guo, "PMR: Prototypical Modal Rebalance for Multimodal Learning", CVPR 2023,
    arXiv 2211.07089, and the authors' code (fanyunfeng-bit/Modal-Imbalance-PMR, commit 3615e48).

    A concatenation with one joint linear head. The prototype ``p_mc`` of a class is its mean feature over a
    share of the training split, computed in evaluation mode before every epoch. The nearer a prototype, the
    likelier its class:

        sim_m = -||h_m - p_m||_2,   s_m = mean softmax(sim_m)[y]
        L = CE(z) + weight sum_{m: s_m < max_j s_j} CE(sim_m)

    Prototypes carry no gradient.

    Unimodal logits: the modality's block of the head and its part of the bias, ``W_m h_m + b / M``.

    Absent modality: its feature is zero in the joint head; prototypes, scores and the losses of ``sim`` are
    means over the samples that have the modality.

    Deviations:

    * More than two modalities: all but the best one are pulled, as the worse of two is in the released code.
    * As in the released code, the loss of a lagging modality has the full weight, however far it lags, and there is no
      entropy regularisation of the dominant modality. The paper describes such a term for the early epochs.
    * A class without a sample in the share keeps its prototype; while it has none, it takes no part in
      ``sim`` (the released code divides zero by zero).
    * The published 101 of 150 epochs with prototypes are a share of the epochs.
    """

    title = "PMR"
    paper = "https://arxiv.org/abs/2211.07089"
    version = 1
    claims = ("raises the weak modality",)
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=1e-3, weight_decay=1e-4), "the CREMA-D script at 3615e48; its default is 1e-4"),
        schedule=(Step(epochs=70, factor=0.1), "main_Prototype_grad.py"),
        batch_size=(64, "main_Prototype_grad.py"),
        epochs=(150, "main_Prototype_grad.py"),
    )

    class Config(Hyperparameters):
        """Defaults are those of the authors' command line."""

        weight: float = Field(
            default=1.0,
            ge=0,
            json_schema_extra={"tune": {"low": 0.1, "high": 10.0, "log": True}},
            description="Weight of the prototype losses (alpha, default 1).",
        )
        momentum: float = Field(
            default=0.2,
            ge=0,
            lt=1,
            description="Share of the old prototype in the new one (default 0.2; the CREMA-D script: 0).",
        )
        share: float = Field(
            default=0.1,
            gt=0,
            le=1,
            description="Share of the training split, drawn before each epoch, for prototypes (CREMA-D: 0.1).",
        )
        until: float = Field(
            default=0.67,
            ge=0,
            le=1,
            description="Share of the epochs after which nothing is pulled (default 101 of 150).",
        )

    config: Config
    known: Tensor

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        classes = len(task.classes)
        for modality in task.modalities:
            #: The class prototypes of a modality. [C, d]
            self.register_buffer(f"prototype_{modality}", torch.zeros(classes, encoders[modality].width))
        #: Which prototypes there are. bool [M, C]
        self.register_buffer("known", torch.zeros(len(task.modalities), classes, dtype=torch.bool))

    @torch.no_grad()
    def on_epoch_start(self, progress: Progress, train: LabelledSplit, validation: LabelledSplit) -> None:  # noqa: ARG002
        """Computes the prototypes from a random share of the training split."""
        if not self._pulls(progress):
            return
        self.eval()
        rows = torch.randperm(len(train))[: max(1, round(self.config.share * len(train)))]
        classes = len(self.task.classes)
        sums = {modality: torch.zeros_like(self.prototype(modality)) for modality in self.task.modalities}
        counts = torch.zeros(self.known.shape, device=self.known.device)
        for batch in train.labelled_batches(rows):
            for column, modality in enumerate(self.task.modalities):
                feature, here = self.encode_present(batch, modality)  # [n, d]
                label = present_only(batch.label, here)
                sums[modality].index_add_(0, label, feature.float())
                counts[column] += torch.bincount(label, minlength=classes)
        # The first prototypes are those of untrained encoders: the second ones replace them.
        momentum = self.config.momentum if progress.epoch > 1 else 0.0
        for column, modality in enumerate(self.task.modalities):
            old, count = self.prototype(modality), counts[column].unsqueeze(1)
            new = sums[modality] / count.clamp(min=1)
            mixed = torch.where(self.known[column].unsqueeze(1), torch.lerp(new, old, momentum), new)
            old.copy_(torch.where(count > 0, mixed, old))
        self.known |= counts > 0

    def _pulls(self, progress: Progress) -> bool:
        return progress.epoch < round(self.config.until * progress.epochs)

    def prototype(self, modality: str) -> Tensor:
        """The class prototypes of a modality. ``[C, d]``."""
        return self.get_buffer(f"prototype_{modality}")

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        """One update from the joint cross-entropy and, in the first epochs, the prototype losses."""
        embedding = self.encode(batch)
        loss = F.cross_entropy(self.head.fused(embedding), batch.label)
        if self._pulls(optimization.progress):
            loss = loss + self.config.weight * self.prototype_loss(embedding, batch)
        optimization.update(loss)
        return {"loss": loss.detach()}

    def prototype_loss(self, embedding: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The sum of ``CE(sim_m)`` over the modalities whose score is not the best. A scalar."""
        scores, losses = [], []
        for column, (modality, feature) in enumerate(embedding.items()):
            known = self.known[column]
            rows = (batch.present[:, column] & known[batch.label]).nonzero().squeeze(1)
            if len(rows) == 0:
                continue
            similarity = -distance(feature[rows], self.prototype(modality))
            log_probability = similarity.masked_fill(~known, -torch.inf).log_softmax(dim=1)
            right = log_probability.gather(1, batch.label[rows].unsqueeze(1))  # [n, 1]
            scores.append(right.detach().exp().mean())
            losses.append(-right.mean())
        if not losses:
            return torch.zeros((), device=batch.label.device)
        score = torch.stack(scores)
        return (torch.stack(losses) * (score < score.max())).sum()


def distance(feature: Tensor, prototype: Tensor) -> Tensor:
    """Euclidean distances of features ``[n, d]`` to prototypes ``[C, d]``, in float32. ``[n, C]``.

    The gradient is zero where a feature coincides with a prototype.
    """
    # Not by matrix products: they lose small distances to cancellation, and with them the direction of the gradient.
    return torch.cdist(feature.float(), prototype.float(), compute_mode="donot_use_mm_for_euclid_dist")

"""AUG: further classifiers for the weak modality, by sustained boosting (NeurIPS 2025)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import average_weights, weighted_sum
from mlabench.method import (
    SGD,
    AuthorsTraining,
    Batch,
    Hyperparameters,
    LabelledSplit,
    Method,
    Optimization,
    Prediction,
    Progress,
    Step,
    Task,
    absent_as_zero,
    present_only,
)

#: How often heads are assigned: in a training of more than ten epochs after the first one and ten times in all.
ASSIGNMENTS = 10


class AUG(Method):
    """Trains the modalities in turn, and gives the one whose predictions are less confident further heads.

    Source: Jiang, Huang, Yang, "Rethinking Multimodal Learning from the Perspective of Mitigating Classification
    Ability Disproportion", NeurIPS 2025, arXiv 2502.20120, and the authors' code (njustkmg/NeurIPS25-AUG, commit
    841d079, train_CREMAD.py and model/AudioVideo.py).

    A modality has heads ``t = 1..n_m``, each a layer of its own and a last layer ``W`` that all heads of all modalities
    share, ``z_mt = W relu(U_mt h_m + c_mt) + b``; its logits are ``z_m = sum_t z_mt``. Batch by batch, the modalities
    take turns, one update each. A modality with one head learns by ``CE(z_m)``. With more, its newest head fits what
    the others leave, the others stay a classifier by themselves, and all together are one:

        z' = z_m1 + ... + z_m(n-1),    q = softmax(z')[y] without gradient
        L_m = CE(z_m) + CE(z') + mean (1 - residual q) CE(z_mn)

    The confidence of a modality is the mean of ``softmax(z_m)[y]`` over an epoch's training batches. After the first
    epoch, and after every tenth of the training, the less confident modality gets a head if the ratio of confidences
    exceeds ``ratio``. The prediction is the average of the modalities' logits.

    Unimodal logits: ``z_m``.

    Absent modality: its logits leave the average; losses and confidences are means over the samples that have it. A
    batch without it passes over its turn, and an epoch without it assigns no head.

    Deviations:

    * In the released code, the optimiser does not know the heads that are added, whose own layers stay as they were
      drawn (``added: official``). The method is about training them.
    * More than two modalities: the least confident one gets the head if the most confident one exceeds it by the ratio
      (an extension).
    * The released script weighs the logits of CREMA-D's audio by 0.4 and those of video by 0.6; no other dataset's
      weights are given. Here all are equal.
    * All heads that could be assigned are there from the start, without a part in anything: they count as parameters.
    * A training of 11 to 19 epochs assigns heads after every second epoch (code: after each).
    """

    title = "AUG"
    paper = "https://arxiv.org/abs/2502.20120"
    version = 1
    claims = ("raises the weak modality",)
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=1e-2, momentum=0.9, weight_decay=1e-4), "data/crema.json at 841d079"),
        schedule=(Step(epochs=70, factor=0.1), "data/crema.json and train_CREMAD.py at 841d079"),
        batch_size=(64, "data/crema.json at 841d079"),
        epochs=(200, "data/crema.json at 841d079"),
    )

    class Config(Hyperparameters):
        """Defaults are those of the authors' script for CREMA-D."""

        residual: float = Field(
            default=0.5,
            ge=0,
            le=1,
            json_schema_extra={"tune": {"low": 0.1, "high": 1.0}},
            description="How much what the older heads get right counts less to the newest one (code: 0.5).",
        )
        ratio: float = Field(
            default=1.01,
            ge=1,
            json_schema_extra={"tune": {"low": 1.0, "high": 1.5}},
            description="Ratio of confidences above which a head is assigned (code: 1 + 0.01).",
        )
        hidden: int = Field(default=256, ge=1, description="Width of a head's own layer (code: 256).")
        added: Literal["trained", "official"] = Field(
            default="trained",
            description="Whether the layers of added heads are 'trained', or stay as they were drawn, as in the "
            "released code ('official').",
        )

    config: Config
    heads: Tensor
    confidence: Tensor
    seen: Tensor

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        self.layers = nn.ModuleDict()
        for modality in task.modalities:
            layers = [nn.Linear(encoders[modality].width, config.hidden) for _ in range(2 + ASSIGNMENTS)]
            for layer in layers:
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
            for layer in layers[1:]:
                layer.requires_grad_(config.added == "trained")
            self.layers[modality] = nn.ModuleList(layers)
        self.out = nn.Linear(config.hidden, len(task.classes))
        #: How many heads each modality has. int64 [M]
        self.register_buffer("heads", torch.ones(len(task.modalities), dtype=torch.int64))
        #: Sums of the probabilities of the right class in the current epoch, and of how many samples. [M]
        self.register_buffer("confidence", torch.zeros(len(task.modalities)))
        self.register_buffer("seen", torch.zeros(len(task.modalities)))

    @torch.no_grad()
    def on_epoch_start(self, progress: Progress, train: LabelledSplit, validation: LabelledSplit) -> None:  # noqa: ARG002
        """Assigns a head if one is due after the epoch before."""
        if progress.epoch > 0 and self.is_due(progress.epoch - 1, progress.epochs) and bool((self.seen > 0).all()):
            mean = self.confidence / self.seen
            if mean.max() > self.config.ratio * mean.min():
                self.heads[mean.argmin()] += 1
        self.confidence.zero_()
        self.seen.zero_()

    def is_due(self, epoch: int, epochs: int) -> bool:
        """Whether a head may be assigned after an epoch, counted from zero."""
        return epoch == 0 or (epoch + 1) % math.ceil(epochs / ASSIGNMENTS) == 0

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        """One update per modality, in turn. Logs each modality's loss and their mean."""
        losses: dict[str, Tensor] = {}
        for column, modality in enumerate(self.task.modalities):
            feature, rows = self.encode_present(batch, modality)  # [n, d]
            if len(feature) == 0:
                continue
            label = present_only(batch.label, rows)
            logits = self.logits(modality, feature)  # [n_m, n, C]
            optimization.update(loss := self.boosting_loss(logits, label))
            losses[modality] = loss.detach()
            right = logits.detach().sum(dim=0).softmax(dim=1).gather(1, label.unsqueeze(1))  # [n, 1]
            self.confidence[column] += right.sum()
            self.seen[column] += len(label)
        mean_loss = torch.stack(list(losses.values())).mean()
        return {"loss": mean_loss, **{f"loss/{modality}": loss for modality, loss in losses.items()}}

    def boosting_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """The loss of a modality from its heads' logits ``[n_m, n, C]``; a scalar."""
        everything = F.cross_entropy(logits.sum(dim=0), label)
        if len(logits) == 1:
            return everything
        older = logits[:-1].sum(dim=0)
        known = older.detach().softmax(dim=1).gather(1, label.unsqueeze(1)).squeeze(1)  # q, [n]
        newest = (1 - self.config.residual * known) * F.cross_entropy(logits[-1], label, reduction="none")
        return everything + F.cross_entropy(older, label) + newest.mean()

    def logits(self, modality: str, feature: Tensor) -> Tensor:
        """The logits of each of a modality's heads, float32. ``[n_m, n, C]``."""
        heads = int(self.heads[self.task.modalities.index(modality)])
        layers = list(self.layers[modality].children())[:heads]
        return torch.stack([self.out(layer(feature).relu()).float() for layer in layers])

    def predict(self, batch: Batch) -> Prediction:
        """Each modality's sum of heads, and their average."""
        embedding, unimodal = {}, {}
        for modality in self.task.modalities:
            feature, rows = self.encode_present(batch, modality)
            none = feature.new_zeros(0, len(self.task.classes), dtype=torch.float32)
            logits = self.logits(modality, feature).sum(dim=0) if len(feature) > 0 else none
            embedding[modality] = absent_as_zero(feature, rows, len(batch))
            unimodal[modality] = absent_as_zero(logits, rows, len(batch))
        weight = average_weights(batch.present)
        fused = weighted_sum(torch.stack(list(unimodal.values()), dim=1), weight)
        return Prediction(fused, unimodal, embedding, weight)

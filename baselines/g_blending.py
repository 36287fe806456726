"""G-Blending: gradient blending by overfitting-to-generalisation ratios (CVPR 2020)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import JointHeadMethod, apply_heads, linear_heads
from mlabench.method import Batch, Hyperparameters, LabelledSplit, Prediction, Progress, Stage, Task


class GBlending(JointHeadMethod):
    """Weighs the losses of joint and unimodal heads by how much each network generalises and overfits.

    Source: Wang, Tran, Feiszli, "What Makes Training Multi-Modal Classification Networks Hard?", CVPR 2020,
    arXiv 1905.12681, in its offline form.

    Stage ``estimate`` trains copies: a network per modality and a joint one, each with its own loss and from
    the initial weights. Stage ``train`` begins with the initial weights again and has one model with all
    heads, ``k`` in modalities and joint:

        G_k = V_k(before) - V_k(after),   O_k = (V_k - T_k)(after) - (V_k - T_k)(before)
        w_k = (G_k / O_k^2) / sum_i (G_i / O_i^2),   L = sum_k w_k CE(z_k)

    *Before* is before the first epoch of ``estimate`` and *after* is after its last one, whatever the suite selects.
    ``T`` and ``V`` are mean losses on the training and the validation split in evaluation mode. **The labels of the
    validation split are used** for these ``M + 1`` weights.

    Unimodal logits: the modality's own head.

    Absent modality: its feature is zero in the joint head, and its own losses are means over the samples that
    have it.

    Deviations:

    * The two stages share the budget of epochs that other methods have. An epoch of ``estimate`` costs two of
      concatenation.
    * ``max(G, 0)`` and ``max(|O|, floor)``: the formula assumes ``G > 0``, and a network that hardly overfits yet would
      take all the weight. If no network generalises, all weights are equal.
    """

    title = "G-Blending"
    paper = "https://arxiv.org/abs/1905.12681"
    version = 3

    class Config(Hyperparameters):
        """The paper's offline form leaves no other choice."""

        estimate_share: float = Field(
            default=0.5,
            gt=0,
            lt=1,
            description="Share of the epochs spent on the estimate (paper: as many as training).",
        )
        floor: float = Field(
            default=0.01,
            gt=0,
            description="Smallest overfitting |O|, in nats, in place of anything less (ours).",
        )

    config: Config
    estimating: Tensor
    before: Tensor
    blend: Tensor

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        self.heads = linear_heads(task, encoders)
        # Copies for the estimate: the model itself keeps its initial weights until stage `train`.
        self.joint_encoders, self.own_encoders = copy.deepcopy(self.encoders), copy.deepcopy(self.encoders)
        self.joint_head, self.own_heads = copy.deepcopy(self.head), copy.deepcopy(self.heads)
        #: Whether the copies are being trained; part of the state, since predictions depend on it.
        self.register_buffer("estimating", torch.tensor(False))
        networks = len(task.modalities) + 1
        #: Losses of the untrained copies on the training and the validation split. [2, M + 1]
        self.register_buffer("before", torch.zeros(2, networks))
        #: w, the joint head's weight last. [M + 1]
        self.register_buffer("blend", torch.full((networks,), 1 / networks))

    def stages(self, epochs: int) -> Sequence[Stage]:
        """The estimate's share first, the rest for training; one epoch at least for each."""
        estimate = min(max(1, round(self.config.estimate_share * epochs)), max(1, epochs - 1))
        return [Stage("estimate", estimate, selects=False), Stage("train", max(1, epochs - estimate))]

    def on_stage_start(self, stage: Stage) -> None:
        """Chooses between the copies and the model."""
        self.estimating.fill_(stage.name == "estimate")

    def on_epoch_start(self, progress: Progress, train: LabelledSplit, validation: LabelledSplit) -> None:
        """Measures the copies before their training, and after it to set the weights."""
        if progress.epoch > 0:
            return
        losses = torch.stack([self.measure(train), self.measure(validation)])
        if self.estimating:
            self.before.copy_(losses)
        else:
            self.blend.copy_(blend_weights(self.before, losses, self.config.floor))

    @torch.no_grad()
    def measure(self, split: LabelledSplit) -> Tensor:
        """Mean losses of the copies in evaluation mode, the joint one last; 0 for what no sample has. ``[M + 1]``."""
        self.eval()
        sums, counts = torch.zeros_like(self.blend), torch.zeros_like(self.blend)
        for batch in split.labelled_batches():
            _, unimodal, fused = self.copies(batch)
            losses = self.unimodal_losses(batch, unimodal)
            for column, (modality, present) in enumerate(zip(self.task.modalities, batch.present.T, strict=True)):
                if modality in losses:
                    sums[column] += losses[modality] * present.sum()
                    counts[column] += present.sum()
            sums[-1] += F.cross_entropy(fused, batch.label, reduction="sum")
            counts[-1] += len(batch)
        return sums / counts.clamp(min=1)

    def copies(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Features and logits of the unimodal copies ``{modality: [B, ...]}``, logits of the joint one ``[B, C]``."""
        embedding = self.encode(batch, self.own_encoders)
        fused = self.joint_head.fused(self.encode(batch, self.joint_encoders))
        return embedding, apply_heads(self.own_heads, embedding), fused

    def model(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Features, unimodal and fused logits of the model; as :meth:`copies`."""
        embedding = self.encode(batch)
        return embedding, apply_heads(self.heads, embedding), self.head.fused(embedding)

    def loss(self, batch: Batch) -> Tensor:
        """The sum of the copies' losses, which share no parameter, or the blended loss of the model."""
        _, unimodal, fused = self.copies(batch) if self.estimating else self.model(batch)
        weight = torch.ones_like(self.blend) if self.estimating else self.blend
        weights = dict(zip(self.task.modalities, weight, strict=False))
        own = [weights[modality] * loss for modality, loss in self.unimodal_losses(batch, unimodal).items()]
        return torch.stack([*own, weight[-1] * F.cross_entropy(fused, batch.label)]).sum()

    def predict(self, batch: Batch) -> Prediction:
        """The joint head and each modality's own; those of the copies while they are trained."""
        embedding, unimodal, fused = self.copies(batch) if self.estimating else self.model(batch)
        return Prediction(fused, unimodal, embedding)


def blend_weights(before: Tensor, after: Tensor, floor: float) -> Tensor:
    """``w_k`` from mean losses before and after training.

    Args:
        before: On the training split (row 0) and the validation split (row 1). ``[2, K]``
        after: Likewise. ``[2, K]``
        floor: Smallest ``|O_k|``.

    Returns:
        Weights that sum to one. ``[K]``
    """
    generalisation = (before[1] - after[1]).clamp(min=0)
    overfitting = ((after[1] - after[0]) - (before[1] - before[0])).abs().clamp(min=floor)
    ratio = generalisation / overfitting.square()
    return torch.where(ratio.sum() > 0, ratio / ratio.sum(), 1 / len(ratio))

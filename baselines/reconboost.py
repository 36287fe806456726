"""ReconBoost: modalities take turns in correcting the others, as in gradient boosting (ICML 2024)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import average_weights, linear_heads, weighted_sum
from mlabench.hyperparameters import OrderedModalities
from mlabench.method import SGD, AuthorsTraining, Batch, Method, Optimization, Prediction, Stage, Task, present_only


class ReconBoost(Method):
    """Trains one modality at a time where the ensemble of the others falls short, and all together in between.

    Source: Hua et al., "ReconBoost: Boosting Can Achieve Modality Reconcilement", ICML 2024, arXiv 2405.09321,
    and the authors' code (huacong/ReconBoost, commit 14ab57a).

    Stage ``pretrain`` trains each encoder alone, with a linear head of its own that is then discarded. In stage
    ``train`` a head ``H`` of two layers is shared: ``z_m = H(h_m)``, and ``z = eta sum_m z_m`` with a learned factor
    ``eta``, one at first. It alternates two phases; each starts with a fresh optimiser.

    *Boosting* updates the encoder of one modality ``k``, the next in turn, and the head. With
    ``p_k = softmax(z_k)`` and, without gradient, ``q = softmax(eta sum_{m != k} z_m)`` of the others and ``p_j`` of the
    modality boosted before:

        L = (1 / C) (weight1 - weight2 q[y]) CE(z_k) + alpha MSE(p_k, p_j)

    so that samples count less, the better the others classify them. The last term, the memory consolidation, is a mean
    over samples and classes and absent from the first phase.

    *Rectification* updates everything by the cross-entropy of ``z``.

    Unimodal logits: the shared head on that modality's feature; in the first stage, the modality's own head.

    Absent modality: its logits leave the sums. The loss of boosting is over the samples that have the modality, its
    last term over those that have both; a sample with nothing else has the ``q`` of an empty ensemble, 1 / C. A
    batch in which no sample has the modality is spent on rectification.

    Deviations:

    * The two stages share the budget of epochs that other methods have. Epochs are passes over the data, and a phase
      shrinks where the budget would not reach for every modality to be boosted and rectified once. (Published: up to
      about 100 epochs for each encoder, then 8 epochs for each of about 100 turns.)
    * One epoch of ``pretrain`` is selected for all encoders, the one with the best average of their logits.
    * All modalities belong to the ensemble from the start, as in the published runs. Without encoders trained before
      (here ``pretrain_share: 0``), the released code adds them one by one.
    * While a modality is boosted, the others are in evaluation mode; in the released code, dropout and batch statistics
      are at work in ``q``.
    * Learning rate, its decay and weight decay are the suite's. With many classes the factor 1 / C makes boosting slow
      (0.05 of the cross-entropy for 101 classes), unless the optimiser is indifferent to it, as Adam is; see ``over``.
    """

    title = "ReconBoost"
    paper = "https://arxiv.org/abs/2405.09321"
    version = 2
    claims = ("raises the weak modality",)
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=1e-2, weight_decay=5e-4), "train.py and the README's command at 14ab57a"),
        batch_size=(64, "the command in the README"),
    )

    class Config(OrderedModalities):
        """Defaults are those of the authors' script for CREMA-D."""

        pretrain_share: float = Field(
            default=0.11,
            ge=0,
            lt=1,
            description="Share of the epochs that train the encoders alone (CREMA-D: about 100 of 900). 0: none.",
        )
        epochs_per_stage: int = Field(
            default=4, ge=1, description="Epochs of a phase, boosting or rectification (authors' script: 4 each)."
        )
        weight1: float = Field(
            default=5.0,
            ge=0,
            json_schema_extra={"tune": {"low": 1.0, "high": 10.0}},
            description="Weight of the cross-entropy in boosting (CREMA-D: 5; AVE, ModelNet40: 4).",
        )
        weight2: float = Field(
            default=1.0, ge=0, description="Weight of what the other modalities get right (authors' script: 1)."
        )
        alpha: float = Field(
            default=0.5,
            ge=0,
            json_schema_extra={"tune": {"low": 0.05, "high": 5.0, "log": True}},
            description="Weight of the memory consolidation (authors' script: 0.5).",
        )
        over: Literal["mean", "sum"] = Field(
            default="mean",
            description="Boosting's loss is the 'mean' over the classes (released code) or their 'sum', C times it.",
        )
        consolidation: Literal["paper", "official"] = Field(
            default="paper",
            description="'paper': the memory consolidation acts on the modality that is boosted; 'official': it has no "
            "gradient, since the released code detaches both its sides.",
        )
        hidden: int = Field(default=256, ge=1, description="Hidden width of the shared head (authors' script: 256).")
        order: tuple[str, ...] = Field(
            default=(),
            description="The modalities' names, in the order in which they are boosted. Empty: the dataset's order "
            "(authors' script: audio before video).",
        )

    config: Config
    pretraining: Tensor

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        self.order = config.ordered(task.modalities)
        widths = {modality: encoders[modality].width for modality in task.modalities}
        if len(set(widths.values())) != 1:
            raise ValueError(f"ReconBoost's shared head needs encoders of equal width, but they are {widths}.")
        self.head = nn.Sequential(
            nn.Linear(widths[task.modalities[0]], config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, len(task.classes)),
        )
        #: The factor eta of the ensemble.
        self.boost_rate = nn.Parameter(torch.tensor(1.0))
        self.own_heads = linear_heads(task, encoders)
        #: Whether the encoders are being trained alone; part of the state, since predictions depend on it.
        self.register_buffer("pretraining", torch.tensor(False))

    def stages(self, epochs: int) -> Sequence[Stage]:
        """The share of pretraining first, the rest for boosting; one epoch at least for each."""
        if self.config.pretrain_share == 0:
            return super().stages(epochs)
        alone = min(max(1, round(self.config.pretrain_share * epochs)), max(1, epochs - 1))
        return [Stage("pretrain", alone), Stage("train", max(1, epochs - alone))]

    def on_stage_start(self, stage: Stage) -> None:
        """Chooses between the encoders' own heads and the shared one."""
        self.pretraining.fill_(stage.name == "pretrain")

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        """One update of the current phase. Logs the loss, and once more under the name of the phase."""
        if self.pretraining:
            return super().training_step(batch, optimization)
        progress = optimization.progress
        phase, epoch = divmod(progress.epoch, self.phase_epochs(progress.epochs))
        if epoch == 0 and progress.step == 0:
            optimization.restart()
        turn, rectifying = divmod(phase, 2)
        modality = self.order[turn % len(self.order)]
        rows = self.rows(batch, modality)
        if rectifying or (rows is not None and len(rows) == 0):
            name, loss = "rectification", self.rectification_loss(batch)
        else:
            previous = self.order[(turn - 1) % len(self.order)] if turn > 0 else None
            name, loss = "boosting", self.boosting_loss(batch, modality, previous)
        optimization.update(loss)
        return {"loss": loss.detach(), f"loss/{name}": loss.detach()}

    def loss(self, batch: Batch) -> Tensor:
        """The sum of the cross-entropies of encoders trained alone."""
        _, unimodal = self.read_out(batch, self.own_heads.__getitem__)
        return torch.stack(list(self.unimodal_losses(batch, unimodal).values())).sum()

    def phase_epochs(self, epochs: int) -> int:
        """Epochs of a phase, such that ``epochs`` hold two phases for every modality if they can."""
        return min(self.config.epochs_per_stage, max(1, epochs // (2 * len(self.order))))

    def boosting_loss(self, batch: Batch, modality: str, previous: str | None) -> Tensor:
        """The loss of boosting ``modality``, which some sample has, after ``previous``."""
        classes = len(self.task.classes)
        feature, rows = self.encode_present(batch, modality)  # [n, d]
        logits = self.head(feature).float()  # [n, C]
        label = present_only(batch.label, rows)
        ensemble, others = self._others(batch, modality)
        known = present_only(ensemble, rows).softmax(dim=1).gather(1, label.unsqueeze(1)).squeeze(1)  # q[y], [n]
        weight = self.config.weight1 - self.config.weight2 * known
        loss: Tensor = (weight * F.cross_entropy(logits, label, reduction="none")).mean()
        if self.config.over == "mean":
            loss = loss / classes
        if previous is None:
            return loss
        both = present_only(batch.present[:, [self.task.modalities.index(previous)]], rows)  # [n, 1]
        squared = (logits.softmax(dim=1) - present_only(others[previous], rows).softmax(dim=1)).square()
        consolidation = squared.masked_fill(~both, 0.0).sum() / (both.sum() * classes).clamp(min=1)
        if self.config.consolidation == "official":
            consolidation = consolidation.detach()
        total: Tensor = loss + self.config.alpha * consolidation
        return total

    @torch.no_grad()
    def _others(self, batch: Batch, modality: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits of the ensemble without ``modality``, and of its members; all zero where absent. ``[B, C]``."""
        training = self.training
        self.eval()
        present = batch.present.clone()
        present[:, self.task.modalities.index(modality)] = False
        rest = dataclasses.replace(batch, present=present)
        _, unimodal = self.read_out(rest, lambda _: self.head)
        self.train(training)
        return self._fuse(unimodal, present), unimodal

    def rectification_loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the whole ensemble."""
        _, unimodal = self.read_out(batch, lambda _: self.head)
        return F.cross_entropy(self._fuse(unimodal, batch.present), batch.label)

    def predict(self, batch: Batch) -> Prediction:
        """The shared head on every modality, and ``eta`` times the sum; in the first stage, the own heads' average."""
        if self.pretraining:
            embedding, unimodal = self.read_out(batch, self.own_heads.__getitem__)
            weight = average_weights(batch.present)
            fused = weighted_sum(torch.stack(list(unimodal.values()), dim=1), weight)
            return Prediction(fused, unimodal, embedding, weight)
        embedding, unimodal = self.read_out(batch, lambda _: self.head)
        return Prediction(self._fuse(unimodal, batch.present), unimodal, embedding, average_weights(batch.present))

    def _fuse(self, unimodal: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """``eta`` times the sum of the present modalities' logits. ``[B, C]``."""
        logits = torch.stack(list(unimodal.values()), dim=1)  # [B, M, C]
        fused: Tensor = self.boost_rate * weighted_sum(logits, present.float())
        return fused

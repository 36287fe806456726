"""ReconBoost: modalities take turns in correcting the others, as in gradient boosting (ICML 2024)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import average_weights, weighted_sum
from mlabench.hyperparameters import OrderedModalities
from mlabench.method import SGD, AuthorsTraining, Batch, Method, Optimization, Prediction, Task, present_only


class ReconBoost(Method):
    """Trains one modality at a time where the ensemble of the others falls short, and all together in between.

    Source: Hua et al., "ReconBoost: Boosting Can Achieve Modality Reconcilement", ICML 2024, arXiv 2405.09321,
    and the authors' code (huacong/ReconBoost, commit 14ab57a).

    A head ``H`` of two layers is shared: ``z_m = H(h_m)``, and ``z = eta sum_m z_m`` with a learned factor ``eta``,
    one at first. Training alternates two phases; each starts with a fresh optimiser.

    *Boosting* updates the encoder of one modality ``k``, the next in turn, and the head. With
    ``p_k = softmax(z_k)`` and, without gradient, ``q = softmax(eta sum_{m != k} z_m)`` of the others and ``p_j`` of the
    modality boosted before:

        L = (1 / C) (weight1 - weight2 q[y]) CE(z_k) + alpha MSE(p_k, p_j)

    so that samples count less, the better the others classify them. The last term, the memory consolidation, is a mean
    over samples and classes and absent from the first phase.

    *Rectification* updates everything by the cross-entropy of ``z``.

    Unimodal logits: the shared head on that modality's feature.

    Absent modality: its logits leave the sums. The loss of boosting is over the samples that have the modality, its
    last term over those that have both; a sample with nothing else has the ``q`` of an empty ensemble, 1 / C. A
    batch in which no sample has the modality is spent on rectification.

    Deviations:

    * Epochs are passes over the data, and a phase shrinks where the budget would not reach for every modality to be
      boosted and rectified once. (Published: 8 epochs for each of about 100 turns.)
    * All modalities belong to the ensemble from the start. So they do in the published runs, which start from encoders
      trained on their modality alone; without these, the released code adds them one by one.
    * While a modality is boosted, the others are in evaluation mode; in the released code, dropout and batch statistics
      are at work in ``q``.
    * Learning rate and schedule are the suite's.
    """

    title = "ReconBoost"
    paper = "https://arxiv.org/abs/2405.09321"
    version = 1
    claims = ("raises the weak modality",)
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=1e-2, weight_decay=5e-4), "train.py and the README's command at 14ab57a"),
        batch_size=(64, "the command in the README"),
    )

    class Config(OrderedModalities):
        """Defaults are those of the authors' script for CREMA-D."""

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

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        """One update of the current phase. Logs the loss, and once more under the name of the phase."""
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
        loss: Tensor = (weight * F.cross_entropy(logits, label, reduction="none")).mean() / classes
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
        """The shared head on every modality, and ``eta`` times the sum."""
        embedding, unimodal = self.read_out(batch, lambda _: self.head)
        return Prediction(self._fuse(unimodal, batch.present), unimodal, embedding, average_weights(batch.present))

    def _fuse(self, unimodal: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """``eta`` times the sum of the present modalities' logits. ``[B, C]``."""
        logits = torch.stack(list(unimodal.values()), dim=1)  # [B, M, C]
        fused: Tensor = self.boost_rate * weighted_sum(logits, present.float())
        return fused

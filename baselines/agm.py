"""AGM: adaptive gradient modulation (ICCV 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise, product
from math import factorial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.method import (
    SGD,
    AuthorsTraining,
    Batch,
    Hyperparameters,
    Method,
    Optimization,
    Prediction,
    Step,
    Task,
    UnfitOptimizers,
)

#: Smallest probability in a modality's loss, as published.
FLOOR = 1e-8


class AGM(Method):
    """Slows down the modality that does better now than over its history, by its Shapley value.

    Source: Li, Li, Hu, Wang, Zhou, "Boosting Multi-modal Model Performance with Adaptive Gradient
    Modulation", ICCV 2023, arXiv 2308.07686, and the authors' code (lihong2303/AGM_ICCV2023, commit 5a65542).

    ``f(S)`` are the logits of a joint head on the concatenated features of the modalities ``S``, zeros for the
    others. The Shapley values ``phi_m`` of this game, with ``f({}) = 0``, share out ``f(P)`` of all present
    modalities ``P``: ``sum_m phi_m = f(P)``. With ``s_m`` the mean cross-entropy of ``phi_m`` and ``S_m`` the mean
    of all past ``s_m``,

        r_m = exp(mean_{j != m} s_j - s_m),   tau_m = exp(mean_{j != m} S_j - S_m)
        kappa_m = exp(alpha min(tau_m - r_m, cap))
        L = CE(sum_m kappa_m phi_m + (1 - kappa_m) stopgrad(phi_m))

    so that the gradient at ``phi_m`` is multiplied by ``kappa_m``.

    Unimodal logits: ``f({m})``, the joint head on that modality alone. The authors score ``phi_m``, which depends
    on the other modalities; with a linear head it is ``f({m})`` with a smaller share of the bias.

    Absent modality: Shapley values are those of the game among a sample's present modalities. ``s_m`` is a mean
    over the samples that have the modality, and only modalities that the batch has and that have a history
    are compared.

    Deviations:

    * A modality left out of ``S`` is a zero *feature*. The authors feed a zero *input* in evaluation mode and
      encode once per subset; here encoders run once and never see an absent input, and the other passes
      cost no more than the head. With the linear head ``phi_m = W_m h_m + b / |P|``.
    * The authors clip all gradients to norm 1 when an entry of the head's exceeds 1; here that is the training's
      ``clip_norm``, and without condition.
    * The published window is epochs 0 to 20, of the 100 of the README's command; here it is that share of the epochs.
    * A unimodal read-out has the whole bias of the head, of which ``concat`` gives it 1 / M.
    * Any number of modalities: the published exponents for two and three are the one above.
    * The first batch, which has no history, is not modulated.
    * Adam divides a gradient by its running magnitude, which undoes a steady ``kappa``. The published optimiser is SGD.
    """

    title = "AGM"
    paper = "https://arxiv.org/abs/2308.07686"
    version = 2
    claims = ("raises the weak modality",)
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=1e-4, weight_decay=1e-4), "the command in the README at 5a65542, tasks/CREMAD_task.py"),
        schedule=(Step(epochs=70, factor=0.1), "utils/config.py"),
        batch_size=(64, "the command in the README"),
        clip_norm=(1.0, "run/CREMAD_main.py, there only while an entry of the head's gradient exceeds 1"),
        epochs=(100, "the command in the README"),
    )
    unfit_optimizers = UnfitOptimizers(
        names=("adam", "adamw"),
        reason="it divides a gradient by its running magnitude, which undoes a modulation that lasts.",
        unless={"alpha": (0.0,)},
    )

    class Config(Hyperparameters):
        """Defaults are those of the authors' CREMA-D script."""

        alpha: float = Field(
            default=1.0,
            ge=0,
            json_schema_extra={"tune": {"low": 0.1, "high": 10.0, "log": True}},
            description="Strength of the modulation (default 1; AV-MNIST: 2.5).",
        )
        cap: float = Field(default=10.0, gt=0, description="Largest tau - r (CREMA-D: 10; UR-Funny: 7).")
        until: float = Field(
            default=0.21,
            ge=0,
            le=1,
            json_schema_extra={"tune": {"choices": [0.21, 1.0]}},
            description="Share of the epochs that are modulated (code: 0 to 20; README's command: of 100).",
        )
        hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field(
            default=(), description="Hidden layers of the joint head (CREMA-D: none, a linear head)."
        )

    config: Config
    subsets: Tensor
    shares: Tensor
    owner: Tensor
    history: Tensor
    batches: Tensor

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        widths = [encoders[modality].width for modality in task.modalities]
        modalities = len(widths)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([sum(widths), *config.hidden, len(task.classes)]):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.head = nn.Sequential(*layers[:-1])
        subsets = torch.tensor([subset for subset in product([False, True], repeat=modalities) if any(subset)])
        #: The non-empty sets of modalities. bool [2^M - 1, M]
        self.register_buffer("subsets", subsets, persistent=False)
        #: What each subset's logits add to each Shapley value. [M, 2^M - 1]
        self.register_buffer("shares", shapley_shares(subsets), persistent=False)
        #: The modality that each position of the concatenated features belongs to. int64 [D]
        owner = torch.arange(modalities).repeat_interleave(torch.tensor(widths))
        self.register_buffer("owner", owner, persistent=False)
        #: S, the mean of each modality's past losses, and of how many batches. [M], int64 [M]
        self.register_buffer("history", torch.zeros(modalities))
        self.register_buffer("batches", torch.zeros(modalities, dtype=torch.int64))

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        """One update from the cross-entropy of all Shapley values, their gradients modulated."""
        phi = self.shapley_values(self.encode(batch), batch.present)  # [M, B, C]
        modulation = self.observe(phi.detach(), batch)
        progress = optimization.progress
        if progress.epoch < self.config.until * progress.epochs:
            kappa = modulation.view(-1, 1, 1)
            # The same values as phi, and kappa times its gradient.
            phi = kappa * phi + (1 - kappa) * phi.detach()
        loss = F.cross_entropy(phi.sum(dim=0), batch.label)
        optimization.update(loss)
        return {"loss": loss.detach()}

    def evaluate(self, embedding: Mapping[str, Tensor], subsets: Tensor) -> Tensor:
        """``f(S)`` for each of the ``subsets`` (bool ``[S, M]``), in float32. ``[S, B, C]``."""
        feature = torch.cat(list(embedding.values()), dim=1)  # [B, D]
        logits: Tensor = self.head(feature * subsets[:, self.owner].unsqueeze(1))
        return logits.float()

    def shapley_values(self, embedding: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """``phi_m`` among the modalities that a sample has, zero for the others. ``[M, B, C]``.

        Args:
            embedding: Zeros where absent. ``{modality: [B, d_m]}``
            present: bool ``[B, M]``
        """
        logits = self.evaluate(embedding, self.subsets)
        # An absent modality changes no subset's logits: a null player, and the others share as if it did not exist.
        empty = ~(self.subsets.unsqueeze(1) & present).any(dim=2)  # [2^M - 1, B]
        logits = logits.masked_fill(empty.unsqueeze(2), 0.0)
        # Not a matrix product, which mixed precision would round.
        return (self.shares.view(*self.shares.shape, 1, 1) * logits).sum(dim=1)

    def observe(self, phi: Tensor, batch: Batch) -> Tensor:
        """The modulation ``kappa [M]`` for this batch; then takes its losses into the history.

        Args:
            phi: Shapley values without gradient. ``[M, B, C]``
            batch: The samples they belong to.
        """
        label = batch.label.view(1, -1, 1).expand(len(phi), -1, 1)
        right = phi.softmax(dim=2).gather(2, label).squeeze(2)  # [M, B]
        present = batch.present.T
        count = present.sum(dim=1)
        loss = (-right.clamp(min=FLOOR).log() * present).sum(dim=1) / count.clamp(min=1)  # s
        here = count > 0
        compared = here & (self.batches > 0)
        excess = (lead(self.history, compared).exp() - lead(loss, compared).exp()).clamp(max=self.config.cap)
        kappa = torch.where(compared, (self.config.alpha * excess).exp(), 1.0)
        self.batches += here
        self.history += torch.where(here, (loss - self.history) / self.batches.clamp(min=1), 0.0)
        return kappa

    def predict(self, batch: Batch) -> Prediction:
        """The joint head on all present modalities, and on each alone."""
        embedding = self.encode(batch)
        alone = torch.eye(len(embedding), dtype=torch.bool, device=self.owner.device)
        *unimodal, fused = self.evaluate(embedding, torch.cat([alone, torch.ones_like(alone[:1])]))
        return Prediction(fused, dict(zip(embedding, unimodal, strict=True)), embedding)


def shapley_shares(subsets: Tensor) -> Tensor:
    """Coefficients of the value of each subset in each Shapley value, where the empty set has the value 0.

    ``phi_m = sum_{S without m} |S|! (M - |S| - 1)! / M! (f(S + m) - f(S))``

    Args:
        subsets: All non-empty subsets of ``M`` players. bool ``[2^M - 1, M]``

    Returns:
        ``[M, 2^M - 1]``
    """
    players = subsets.shape[1]
    shares = torch.zeros(players, len(subsets))
    for column, subset in enumerate(subsets.tolist()):
        size = sum(subset)
        for player, inside in enumerate(subset):
            smaller = size - inside
            share = factorial(smaller) * factorial(players - smaller - 1) / factorial(players)
            shares[player, column] = share if inside else -share
    return shares


def lead(loss: Tensor, compared: Tensor) -> Tensor:
    """``mean_{j != m} loss_j - loss_m`` among the ``compared`` (bool ``[M]``), zero if there is no ``j``. ``[M]``."""
    kept = torch.where(compared, loss, 0.0)
    others = compared.sum() - compared.long()
    difference = (kept.sum() - kept) / others.clamp(min=1) - kept
    return torch.where(compared & (others > 0), difference, 0.0)

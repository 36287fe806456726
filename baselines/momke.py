"""MoMKE: mixture of modality knowledge experts (ACM Multimedia 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from baselines.subsets import draw_subsets, non_empty_subsets
from mlabench.encoders import Dropout, Encoder
from mlabench.fusion import average_weights, weighted_sum
from mlabench.method import (
    Adam,
    AuthorsTraining,
    Batch,
    Constant,
    Hyperparameters,
    Method,
    Prediction,
    Stage,
    Task,
    absent_as_zero,
    present_only,
)


class MoMKE(Method):
    """Trains an expert per modality, then lets every available modality consult all experts.

    Source: Xu, Jiang, Liang, "Leveraging Knowledge of Modality Experts for Incomplete Multimodal Learning", ACM
    Multimedia 2024, and the authors' code (wxxv/MoMKE, commit 2dceb57).

    The feature of modality ``m`` is projected to a token ``t_m``. An expert ``E_m`` is a transformer. Stage ``experts``
    trains each on its own modality, with a linear head and the cross-entropy of its own. Stage ``routing`` trains all
    further. A router per modality weighs the experts, the modalities' mixtures stand side by side, zero where a
    modality is not available, and one loss remains:

        r_m = softmax(router_m(t_m))                    one weight per expert
        x = [sum_e r_1e E_e(t_1); ...; sum_e r_Me E_e(t_M)]
        L = CE(W (x + dropout(relu(P x))) + b)

    Unimodal logits: the prediction when that modality alone is available; in the first stage, the modality's own head.

    Absent modality: its mixture is zero; in the first stage the sample takes no part in its loss.

    Deviations:

    * Released scripts train one model per test condition, whose second stage sees that condition only. Here one model
      serves all: in the second stage each sample keeps a set of modalities drawn uniformly from the non-empty subsets
      of what it has, which is what the released file has in a comment (``utils.py``). ``hide: none`` keeps them all.
    * A token per sample, the encoder's pooled feature, in place of one per utterance of a dialogue. Attention to
      itself alone has weight one, whatever query and key are, so they are left out, and heads mean nothing.
    * Each stage has its own optimiser, and one epoch of the first is selected for all experts, the one with the best
      average of their logits. (The released code means to go back to each expert's best epoch, but keeps the last.)
    * The two stages share the budget of epochs that other methods have, in the published proportion.
    """

    title = "MoMKE"
    paper = "https://doi.org/10.1145/3664647.3681683"
    version = 1
    claims = ("withstands missing modalities",)
    # The batch of 16 is of dialogues, not of samples.
    authors_training = AuthorsTraining(
        optimizer=(Adam(lr=1e-4, weight_decay=1e-5), "run_MoMKE_iemocap4.sh and train_MoMKE.py at 2dceb57"),
        schedule=(Constant(), "train_MoMKE.py at 2dceb57"),
        epochs=(200, "run_MoMKE_iemocap4.sh at 2dceb57"),
    )

    class Config(Hyperparameters):
        """Defaults are those of the authors' IEMOCAP script."""

        width: int = Field(default=256, ge=1, description="Width of tokens and experts (run_MoMKE_iemocap4.sh: 256).")
        depth: int = Field(default=4, ge=1, description="Layers of an expert (run_MoMKE_iemocap4.sh: 4).")
        dropout: float = Field(
            default=0.5,
            ge=0,
            lt=1,
            json_schema_extra={"tune": {"low": 0.0, "high": 0.7}},
            description="Dropout of tokens and before the last layer (run_MoMKE_iemocap4.sh: 0.5).",
        )
        expert_share: float = Field(
            default=0.5,
            gt=0,
            lt=1,
            description="Share of the epochs spent on the experts (run_MoMKE_iemocap4.sh: 100 of 200).",
        )
        hide: Literal["uniform", "none"] = Field(
            default="uniform",
            description="What is hidden from the second stage: all sets of modalities are equally likely to be left "
            "(comment in utils.py), or nothing is (what the released code runs under its condition atv).",
        )

    config: Config
    routing: Tensor
    subsets: Tensor

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        modalities, width, classes = task.modalities, config.width, len(task.classes)
        self.projections = nn.ModuleDict({m: nn.Linear(encoders[m].width, width) for m in modalities})
        self.experts = nn.ModuleDict(
            {m: nn.Sequential(*(ExpertLayer(width) for _ in range(config.depth))) for m in modalities}
        )
        self.expert_heads = nn.ModuleDict({m: nn.Linear(width, classes) for m in modalities})
        self.routers = nn.ModuleDict({m: perceptron(width, len(modalities)) for m in modalities})
        self.dropout = Dropout(config.dropout)
        self.mixing = nn.Linear(len(modalities) * width, len(modalities) * width)
        self.head = nn.Linear(len(modalities) * width, classes)
        #: Whether the second stage has begun; part of the state, since predictions depend on it.
        self.register_buffer("routing", torch.tensor(False))
        #: The non-empty sets of modalities. bool [2^M - 1, M]
        self.register_buffer("subsets", non_empty_subsets(len(task.modalities)), persistent=False)

    def stages(self, epochs: int) -> Sequence[Stage]:
        """The experts' share first, the rest for routing; one epoch at least for each."""
        experts = min(max(1, round(self.config.expert_share * epochs)), max(1, epochs - 1))
        return [Stage("experts", experts), Stage("routing", max(1, epochs - experts))]

    def on_stage_start(self, stage: Stage) -> None:
        """Notes which stage it is."""
        self.routing.fill_(stage.name == "routing")

    def loss(self, batch: Batch) -> Tensor:
        """The sum of the experts' cross-entropies, or the one of what all available modalities say."""
        embedding = self.encode(batch)
        if not self.routing:
            own = self.of_present(self.own_logits, batch, embedding, len(self.task.classes))
            return torch.stack(list(self.unimodal_losses(batch, own).values())).sum()
        available = batch.present if self.config.hide == "none" else self.draw_available(batch.present)
        mixtures = self.of_present(self.mixture, batch, embedding, self.config.width)
        return F.cross_entropy(self.joint_logits(mixtures, available), batch.label)

    def draw_available(self, present: Tensor) -> Tensor:
        """Draws what is left to each sample, uniformly over the non-empty subsets of ``present``. bool ``[B, M]``."""
        return draw_subsets(self.subsets, present)

    def of_present(
        self,
        compute: Callable[[str, Tensor], Tensor],
        batch: Batch,
        embedding: Mapping[str, Tensor],
        width: int,
    ) -> dict[str, Tensor]:
        """What ``compute`` makes of each modality's tokens, zero where it is absent. ``{modality: [B, width]}``.

        Args:
            compute: From a modality and its tokens ``[n, D]`` to ``[n, width]``; not called for ``n = 0``.
            batch: The samples.
            embedding: Their features.
            width: Of what it gives.
        """
        result = {}
        for modality, feature in embedding.items():
            rows = self.rows(batch, modality)
            here = present_only(feature, rows)
            if len(here) > 0:
                value = compute(modality, self.dropout(self.projections[modality](here))).float()
            else:
                value = feature.new_zeros(0, width, dtype=torch.float32)
            result[modality] = absent_as_zero(value, rows, len(batch))
        return result

    def own_logits(self, modality: str, token: Tensor) -> Tensor:
        """What a modality's own expert says of its tokens ``[n, D]``. ``[n, C]``."""
        logits: Tensor = self.expert_heads[modality](self.experts[modality](token))
        return logits

    def mixture(self, modality: str, token: Tensor) -> Tensor:
        """What all experts make of a modality's tokens ``[n, D]``, as its router weighs them. ``[n, D]``."""
        weight = self.routers[modality](token).float().softmax(dim=1)  # [n, M]
        opinions = torch.stack([expert(token).float() for expert in self.experts.values()], dim=1)  # [n, M, D]
        mixture: Tensor = (weight.unsqueeze(2) * opinions).sum(dim=1)
        return mixture

    def joint_logits(self, mixtures: Mapping[str, Tensor], available: Tensor) -> Tensor:
        """Logits ``[B, C]`` of the mixtures ``[B, D]`` of all modalities, of which some are ``available [B, M]``."""
        parts = [
            part.masked_fill(~here.unsqueeze(1), 0.0) for part, here in zip(mixtures.values(), available.T, strict=True)
        ]
        x = torch.cat(parts, dim=1)
        logits: Tensor = self.head(x + self.dropout(F.relu(self.mixing(x))))
        return logits.float()

    def predict(self, batch: Batch) -> Prediction:
        """All present modalities together, and each alone; in the first stage, the experts' average."""
        embedding = self.encode(batch)
        if not self.routing:
            unimodal = self.of_present(self.own_logits, batch, embedding, len(self.task.classes))
            weight = average_weights(batch.present)
            return Prediction(
                weighted_sum(torch.stack(list(unimodal.values()), dim=1), weight), unimodal, embedding, weight
            )
        mixtures = self.of_present(self.mixture, batch, embedding, self.config.width)
        alone = torch.eye(len(mixtures), dtype=torch.bool, device=batch.present.device)
        unimodal = {
            modality: self.joint_logits(mixtures, only.expand_as(batch.present))
            for modality, only in zip(mixtures, alone, strict=True)
        }
        return Prediction(self.joint_logits(mixtures, batch.present), unimodal, embedding)


class ExpertLayer(nn.Module):
    """A transformer's layer for a single token, ``x + u + mlp(u)`` with ``u = value(x)``, without normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, width)
        self.mlp = perceptron(width, width)

    def forward(self, token: Tensor) -> Tensor:
        """``[n, D]`` to ``[n, D]``."""
        value = self.value(token)
        result: Tensor = token + value + self.mlp(value)
        return result


def perceptron(width: int, outputs: int) -> nn.Sequential:
    """One hidden layer with GELU, as wide as its input."""
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, outputs))

"""ShaSpec: shared and specific features for missing modalities (CVPR 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import JointHead
from mlabench.method import Batch, Hyperparameters, Method, Prediction, Stage, Task, absent_as_zero


class ShaSpec(Method):
    """Describes each modality by what all share and what it alone has; what is missing borrows the former.

    Source: Wang et al., "Multi-modal Learning with Missing Modality via Shared-Specific Feature Modelling",
    CVPR 2023, arXiv 2307.14126, and the authors' code (billhhh/ShaSpec, commit 081fe7a). That code segments volumes;
    its parts that make no use of their shape are kept:

        f_m = r_m + V [r_m; s_m] + c           for a modality that is there,
        f_m = r                                for one that is missing,
        z = W [f_1; ...; f_M] + b
        L = CE(z) + alpha sum_(i,j) L1(r_i, r_j) + beta CE_modality(U s_m + a)

    with shared features ``r_m`` and specific ones ``s_m``. ``V`` is one layer for all modalities, ``r`` comes from the
    shared features of the modalities that are there. The L1 distances, means over samples and dimensions, are those
    of neighbours in a ring of the modalities; ``U`` tells the modality of a specific feature. Stage ``complete`` sees
    whole samples; stage ``incomplete`` continues with random subsets of their modalities.

    Unimodal logits: the prediction when that modality alone is there.

    Absent modality: as missing above; it takes no part in the two auxiliary losses.

    Deviations (the authors' classification network is not public):

    * The released code has, per modality, two networks that read the input: one of its own, and one that is the same
      for all. Modalities of different kinds cannot share the latter. Here the given encoder reads the input; a linear
      layer per modality turns its output into ``s_m``, another one and then a perceptron, the same for all modalities,
      into ``r_m``. All are as wide as the widest encoder.
      These two hidden layers are capacity that ``concat`` does not have.
    * A linear head takes the place of the decoder.
    * With two modalities the ring is one pair, which the released loop would count twice.
    * In the released code, missing inputs are zeros that pass the encoders and enter both auxiliary losses.
    * Subsets are drawn per sample (the released code has one sample per batch): as there, first how many modalities
      are left, then which.
    * The two stages share the budget of epochs that other methods have, in the published proportion.
    """

    title = "ShaSpec"
    paper = "https://arxiv.org/abs/2307.14126"
    version = 2
    claims = ("withstands missing modalities",)

    class Config(Hyperparameters):
        """Defaults are those of the authors' BraTS scripts, unless they say otherwise."""

        alpha: float = Field(
            default=0.1,
            ge=0,
            json_schema_extra={"tune": {"low": 0.01, "high": 1.0, "log": True}},
            description="Weight of the distances of shared features (authors: 0.1).",
        )
        beta: float = Field(
            default=0.02,
            ge=0,
            json_schema_extra={"tune": {"low": 0.002, "high": 0.2, "log": True}},
            description="Weight of the modality classification (authors: 0.02).",
        )
        complete_share: float = Field(
            default=80 / 260,
            ge=0,
            le=1,
            description="Share of the epochs before modalities are dropped at random (authors: 80 of 260 thousand).",
        )
        substitute: Literal["mean", "first"] = Field(
            default="mean",
            description="What stands for a missing modality: the 'mean' of the shared features that are there (in the "
            "released code as a comment; does not depend on the order of the modalities), or the 'first' of them (what "
            "the released code runs).",
        )

    config: Config

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        width = max(encoders[modality].width for modality in task.modalities)
        self.specific = nn.ModuleDict({m: nn.Linear(encoders[m].width, width) for m in task.modalities})
        self.stems = nn.ModuleDict({m: nn.Linear(encoders[m].width, width) for m in task.modalities})
        self.shared = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.composition = nn.Linear(2 * width, width)
        self.modality_classifier = nn.Linear(width, len(task.modalities))
        self.head = JointHead(dict.fromkeys(task.modalities, width), len(task.classes))
        self.dropping = False

    def stages(self, epochs: int) -> Sequence[Stage]:
        """Complete samples for their share of the epochs, then random subsets of their modalities."""
        complete = round(self.config.complete_share * epochs)
        stages = [Stage("complete", complete), Stage("incomplete", epochs - complete)]
        return [stage for stage in stages if stage.epochs > 0]

    def on_stage_start(self, stage: Stage) -> None:
        """Decides whether modalities are dropped in this stage."""
        self.dropping = stage.name == "incomplete"

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy, distances of shared features, and modality classification."""
        _, shared, specific = self._represent(batch)
        available = draw_subsets(batch.present) if self.dropping else batch.present
        return (
            F.cross_entropy(self._classify(shared, specific, available), batch.label)
            + self.config.alpha * ring_distance(shared, available)
            + self.config.beta * self._modality_loss(specific, available)
        )

    def predict(self, batch: Batch) -> Prediction:
        """The head on what is there, and on each modality as if it alone were there."""
        embedding, shared, specific = self._represent(batch)
        columns = torch.arange(len(self.task.modalities), device=shared.device)
        unimodal = {
            modality: self._classify(shared, specific, (columns == column).expand_as(batch.present))
            for column, modality in enumerate(self.task.modalities)
        }
        return Prediction(self._classify(shared, specific, batch.present), unimodal, embedding)

    def _represent(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Encoder outputs ``{modality: [B, d_m]}``, shared and specific features ``[B, M, d]``; zero where absent."""
        embedding, shared, specific = {}, [], []
        for modality in self.task.modalities:
            feature, rows = self.encode_present(batch, modality)  # [n, d_m]
            embedding[modality] = absent_as_zero(feature, rows, len(batch))
            r = s = feature.new_zeros(0, self.composition.out_features)
            if len(feature) > 0:
                r, s = self.shared(self.stems[modality](feature)), self.specific[modality](feature)
            shared.append(absent_as_zero(r.float(), rows, len(batch)))
            specific.append(absent_as_zero(s.float(), rows, len(batch)))
        return embedding, torch.stack(shared, dim=1), torch.stack(specific, dim=1)

    def _classify(self, shared: Tensor, specific: Tensor, present: Tensor) -> Tensor:
        """Logits ``[B, C]`` of the modalities that are ``present [B, M]``, with features ``[B, M, d]``."""
        composed = shared + self.composition(torch.cat([shared, specific], dim=2)).float()
        substitute = self.substitute(shared, present).unsqueeze(1)
        fused = torch.where(present.unsqueeze(2), composed, substitute)  # [B, M, d]
        return self.head.fused(dict(zip(self.task.modalities, fused.unbind(dim=1), strict=True)))

    def substitute(self, shared: Tensor, present: Tensor) -> Tensor:
        """What stands for a missing modality. ``[B, d]``."""
        if self.config.substitute == "first":
            first = present.float().argmax(dim=1)  # [B]
            return shared[torch.arange(len(shared), device=shared.device), first]
        weight = present.unsqueeze(2)
        return shared.masked_fill(~weight, 0.0).sum(dim=1) / weight.sum(dim=1)

    def _modality_loss(self, specific: Tensor, present: Tensor) -> Tensor:
        """Mean cross-entropy of telling the modality of each specific feature that is there."""
        owner = torch.arange(present.shape[1], device=present.device).expand_as(present)
        return F.cross_entropy(self.modality_classifier(specific[present]).float(), owner[present])


def ring_distance(shared: Tensor, present: Tensor) -> Tensor:
    """Sum over neighbours in a ring of the modalities of the mean L1 distance of samples that have both.

    Args:
        shared: ``[B, M, d]``
        present: bool ``[B, M]``
    """
    modalities = shared.shape[1]
    total = torch.zeros((), device=shared.device)
    # Two modalities are one pair, not two.
    for first in range(modalities if modalities > 2 else 1):
        second = (first + 1) % modalities
        both = (present[:, first] & present[:, second]).unsqueeze(1)
        distance = (shared[:, first] - shared[:, second]).abs().masked_fill(~both, 0.0)
        total = total + distance.sum() / (both.sum() * shared.shape[2]).clamp(min=1)
    return total


def draw_subsets(present: Tensor) -> Tensor:
    """Draws how many modalities are left to each sample, uniformly from one to all, and then which.

    Args:
        present: bool ``[B, M]``; every sample has a modality.

    Returns:
        A non-empty part of each row of ``present``. bool ``[B, M]``
    """
    having = present.sum(dim=1, keepdim=True)
    left = (torch.rand(having.shape, device=present.device) * having).long() + 1  # 1, ..., having
    order = torch.rand(present.shape, device=present.device).masked_fill(~present, -1.0)
    rank = order.argsort(dim=1, descending=True).argsort(dim=1)
    return rank < left

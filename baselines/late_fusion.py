"""Late fusion: independently trained modalities whose predictions are combined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import average_weights, entropy_weights, linear_heads, weighted_sum
from mlabench.method import Batch, Hyperparameters, Method, Prediction, Task


class LateFusion(Method):
    """Trains every modality by itself and combines the predictions.

    Source: the common baseline; MLA's tables (arXiv 2311.10707) have it without giving its exact form. The
    literature has two readings; the option ``objective`` chooses:

    * ``separate``: independent trainings. The loss is the sum of the modalities' own cross-entropies. They
      share no parameter, and SGD and Adam treat each parameter by itself, so this equals separate trainings
      (clipping the *global* gradient norm would couple them).
    * ``joint``: one cross-entropy, of the fused prediction itself, with the gradient passing through all of it.
      With ``readout: logits`` this is ``sum`` with an average in place of the sum.
      With ``readout: probabilities`` it is a mixture of experts: one right modality explains a sample, so nothing
      keeps the others from being confidently wrong, which hurts a plain average at test time.

    Unimodal logits: the modality's own head.

    Absent modality: the prediction combines the present modalities with weights that sum to one. In separate
    training the sample takes no part in that modality's loss (a mean over the samples that have it).
    """

    title = "Late fusion"
    paper = "https://arxiv.org/abs/2311.10707"
    version = 1

    class Config(Hyperparameters):
        """Defaults are the textbook form: the average of the probabilities of separately trained modalities."""

        objective: Literal["separate", "joint"] = Field(
            default="separate",
            description="The loss: 'separate' cross-entropies of the modalities (independent trainings, the usual "
            "reading), or 'joint', the cross-entropy of the fused prediction (as in AGM's code).",
        )
        fusion: Literal["average", "entropy"] = Field(
            default="average",
            description="Weights of the modalities: equal (the common baseline), or MLA's entropy weights.",
        )
        readout: Literal["logits", "probabilities"] = Field(
            default="probabilities",
            description="What is averaged: 'probabilities' (the usual reading: larger logits give a modality no more "
            "weight; the fused logits are the logarithm of the mixture) or 'logits' (as in QMF's and MLA's code).",
        )

    config: Config

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        self.heads = linear_heads(task, encoders)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the fused prediction, or the sum of the modalities' own ones."""
        if self.config.objective == "joint":
            return F.cross_entropy(self.predict(batch).fused, batch.label)
        _, unimodal = self.read_out(batch, self.heads.__getitem__)
        return torch.stack(list(self.unimodal_losses(batch, unimodal).values())).sum()

    def predict(self, batch: Batch) -> Prediction:
        """Each modality's own head, and their weighted average."""
        embedding, unimodal = self.read_out(batch, self.heads.__getitem__)
        logits = torch.stack(list(unimodal.values()), dim=1)  # [B, M, C]
        entropy = self.config.fusion == "entropy"
        weight = entropy_weights(logits, batch.present) if entropy else average_weights(batch.present)
        if self.config.readout == "probabilities":
            # log sum_m w_m p_m, where log 0 = -inf takes an absent modality out. The gradient of log 0 is avoided.
            log_weight = weight.where(batch.present, 1.0).log().masked_fill(~batch.present, -torch.inf)
            fused = (log_weight.unsqueeze(-1) + logits.log_softmax(dim=-1)).logsumexp(dim=1)
        else:
            fused = weighted_sum(logits, weight)
        return Prediction(fused, unimodal, embedding, weight)

"""Modality dropout: concatenation whose modalities are dropped at random in training (ModDrop, TPAMI 2016)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.fusion import JointHeadMethod
from mlabench.method import Batch, Hyperparameters


class ModalityDropout(JointHeadMethod):
    """Trains a joint head on features of which whole modalities are dropped at random, sample by sample.

    Source: Neverova, Wolf, Taylor, Nebout, "ModDrop: adaptive multi-modal gesture recognition", TPAMI 2016,
    arXiv 1501.00102: each modality's channel is switched by a Bernoulli variable of its own, so that the head learns
    to do without any of them. Here, as in ``concat``, ``z = W [delta_1 h_1; ...; delta_M h_M] + b`` with the
    cross-entropy of ``z``; nothing is dropped in prediction.

    Unimodal logits: the modality's block of the head and its part of the bias, ``W_m h_m + b / M``.

    Absent modality: its feature is zero, exactly as if it were dropped.

    Deviations:

    * A sample that would lose all its modalities is drawn again, so that one is left.
    * Features are dropped, not inputs, so that an encoder's batch statistics are those of all samples that have it.
    * What is kept is not scaled up, unlike in ordinary dropout: it looks in training as at test time.
    * Only the dropping is the paper's. Its convolutional networks on several time scales, their separate
      pre-training and the gradual release of the fusion weights belong to gesture recognition.
    """

    title = "Modality dropout"
    paper = "https://arxiv.org/abs/1501.00102"
    version = 1
    claims = ("withstands missing modalities",)

    class Config(Hyperparameters):
        """The default is ours."""

        rate: float = Field(
            default=0.5,
            ge=0,
            lt=1,
            json_schema_extra={"tune": {"low": 0.1, "high": 0.7}},
            description="Probability with which each modality is dropped (our choice: every combination of modalities "
            "is then equally frequent).",
        )

    config: Config

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the joint head on what is kept."""
        features = self.encode(batch)
        kept = drop_modalities(batch.present, self.config.rate)
        for column, modality in enumerate(self.task.modalities):
            features[modality] = features[modality].masked_fill(~kept[:, [column]], 0.0)
        return F.cross_entropy(self.head.fused(features), batch.label)


def drop_modalities(present: Tensor, rate: float) -> Tensor:
    """Drops each modality of each sample with probability ``rate``, given that one is left.

    Args:
        present: bool ``[B, M]``; every sample has a modality.
        rate: Below one.

    Returns:
        A non-empty part of each row of ``present``. bool ``[B, M]``
    """
    kept = present & (torch.rand(present.shape, device=present.device) >= rate)
    while (empty := ~kept.any(dim=1)).any():
        drawn = present & (torch.rand(present.shape, device=present.device) >= rate)
        kept = torch.where(empty.unsqueeze(1), drawn, kept)
    return kept

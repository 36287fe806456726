"""What OGM-GE and OPM share: how far each modality leads in saying the labels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mlabench.method import Batch


def score_ratios(unimodal: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """``rho_m = s_m / mean_{j != m} s_j`` with ``s_m``, the mean probability of the right class.

    A score is a mean over the samples that have the modality. What no sample has takes no part, and is 0, as is what
    has nothing to be compared with.

    Args:
        unimodal: Logits, anything at absent modalities. ``{modality: [B, C]}``
        batch: The samples.

    Returns:
        ``[M]``
    """
    logits = torch.stack(list(unimodal.values()), dim=1)  # [B, M, C]
    label = batch.label.view(-1, 1, 1).expand(-1, logits.shape[1], 1)
    right = logits.softmax(dim=2).gather(2, label).squeeze(2)  # [B, M]
    count = batch.present.sum(dim=0)
    score = (right * batch.present).sum(dim=0) / count.clamp(min=1)
    others = (count > 0).sum() - (count > 0).long()
    average = (score.sum() - score) / others.clamp(min=1)
    return torch.where(others > 0, score / average.clamp(min=torch.finfo(score.dtype).tiny), 0.0)

"""MLA's test-time dynamic fusion (DF in the paper's ablation), as in the paper and as in the released code."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mlabench.fusion import entropies

Fusion = Literal["sample", "batch", "average"]


def fusion_scores(kind: Fusion, logits: Tensor, present: Tensor, size: int) -> Tensor:
    """What decides how much each modality's logits ``z_m`` count in ``z = sum_m lambda_m z_m``.

        e_m      = -sum_c p_mc log p_mc,  p_m = softmax(z_m)                  (sample)
        lambda_m = exp(max_j e_j - e_m) / sum_i exp(max_j e_j - e_i)

    The maximum cancels, so ``lambda`` is the soft-max of the scores ``-e`` over the modalities that the sample has.
    ``batch`` has another ``e`` (:func:`batch_entropies`), ``average`` has none: all scores are equal.

    Args:
        kind: Which scores.
        logits: Logits of each modality; anything at absent ones. ``[B, M, C]``
        present: bool ``[B, M]``
        size: For ``batch``, how many consecutive samples make one.

    Returns:
        The scores; of no meaning at absent modalities. ``[B, M]``
    """
    match kind:
        case "sample":
            return -entropies(logits)
        case "batch":
            parts = zip(torch.split(logits, size), torch.split(present, size), strict=True)
            return torch.cat([-batch_entropies(own, here).expand_as(here) for own, here in parts])
        case "average":
            return torch.zeros(present.shape, device=present.device)


def batch_entropies(logits: Tensor, present: Tensor) -> Tensor:
    """Entropies of a soft-max over the batch in place of the classes, as MLA's released code takes it.

        e_m = -sum_b sum_c p_bmc log p_bmc,  p_bmc = exp(z_bmc) / sum_b' exp(z_b'mc)

    With ``n`` samples and ``C`` classes ``e_m`` lies between 0 and ``C log n``: weights are close to a choice of
    one modality for the whole batch. Sums run over the samples that have the modality; the fewer they are, the smaller
    is the bound, whatever the logits.

    Args:
        logits: ``[n, M, C]``; anything at absent modalities.
        present: bool ``[n, M]``

    Returns:
        ``e``. ``[M]``
    """
    here = present.unsqueeze(-1)
    log_probability = logits.float().masked_fill(~here, -torch.inf).log_softmax(dim=0)
    return -torch.where(here, log_probability.exp() * log_probability, 0.0).sum(dim=(0, 2))

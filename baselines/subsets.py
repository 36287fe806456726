"""What IMDer, MMANet and MoMKE share: which modalities training leaves to each sample."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor


def non_empty_subsets(modalities: int) -> Tensor:
    """The non-empty sets of ``M`` modalities. bool ``[2^M - 1, M]``."""
    return torch.tensor([subset for subset in product([False, True], repeat=modalities) if any(subset)])


def draw_subsets(subsets: Tensor, present: Tensor) -> Tensor:
    """Draws what is left to each sample, uniformly over the non-empty subsets of what it has.

    Args:
        subsets: See :func:`non_empty_subsets`.
        present: bool ``[B, M]``

    Returns:
        bool ``[B, M]``
    """
    within = (subsets <= present.unsqueeze(1)).all(dim=2)  # [B, 2^M - 1]
    return subsets[torch.multinomial(within.float(), 1).squeeze(1)]

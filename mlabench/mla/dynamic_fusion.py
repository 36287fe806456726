"""MLA's test-time dynamic fusion (DF in the paper's ablation)."""

from __future__ import annotations

from torch import Tensor

from mlabench.fusion import entropy_weights, weighted_sum


def dynamic_fusion(logits: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Weights each modality's logits by how certain it is about this sample.

        e_m      = -sum_c p_mc log p_mc,  p_m = softmax(z_m)
        lambda_m = exp(max_j e_j - e_m) / sum_i exp(max_j e_j - e_i)
        z        = sum_m lambda_m z_m

    The maximum cancels, so ``lambda`` is the soft-max of ``-e`` over the modalities that the sample has.

    Args:
        logits: Logits of each modality; anything at absent ones. ``[B, M, C]``
        present: bool ``[B, M]``

    Returns:
        The fused logits ``[B, C]`` and the weights ``[B, M]``.
    """
    weight = entropy_weights(logits, present)
    return weighted_sum(logits, weight), weight

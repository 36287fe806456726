"""MLA's gradient modification of the shared head (HGM in the paper's ablation)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GradientModification(nn.Module):
    """Keeps the head's updates away from the directions of mean features it has already seen.

    The matrix ``P`` is the one of orthogonal weight modification (Zeng et al. 2019) for a single linear
    layer, computed by recursive least squares from the mean features ``h_t`` of successive mini-batches:

        P_0 = I
        P_t = P_{t-1} - (P_{t-1} h_t)(P_{t-1} h_t)^T / (alpha + h_t^T P_{t-1} h_t)

    For a constant ``alpha`` this is ``P_t = (I + H H^T / alpha)^-1`` with ``H = [h_1 ... h_t]``. The
    gradient ``[C, d]`` of a head ``z = W h + b`` is multiplied by ``P_t`` from the right, so that the
    changed head still answers nearly as before to ``h_1 ... h_t``.

    Args:
        width: Feature width ``d``.
    """

    projector: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("projector", torch.eye(width))

    @torch.no_grad()
    def update(self, mean_feature: Tensor, alpha: float) -> None:
        """Folds one mean feature into ``P``, in place.

        Args:
            mean_feature: ``h_t``. ``[d]``
            alpha: Positive; the smaller, the more completely ``h_t`` is removed.
        """
        # Half precision would destroy P within a few steps: mixed precision stops here.
        with torch.autocast(mean_feature.device.type, enabled=False):
            mean_feature = mean_feature.to(self.projector.dtype)
            direction = self.projector @ mean_feature
            energy = mean_feature @ direction
            # h^T P h is positive. Where rounding says otherwise, nothing of h is left in P, and removing it
            # once more would only feed the rounding error until P is infinite.
            scale = torch.where(energy > 0, (alpha + energy).rsqrt(), 0.0)
            # One symmetric rank-one update; the scale stays on the device.
            direction *= scale
            self.projector.addr_(direction, direction, alpha=-1)

    @torch.no_grad()
    def modify(self, gradient: Tensor) -> None:
        """Replaces the head's weight gradient by ``gradient P``, in place.

        Args:
            gradient: ``[C, d]``
        """
        with torch.autocast(gradient.device.type, enabled=False):
            gradient.copy_(gradient.to(self.projector.dtype) @ self.projector)

"""Dropout that costs little on a CPU."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

_LEVELS = 2**16


class Dropout(nn.Dropout):
    """:class:`torch.nn.Dropout`, several times as fast on a CPU, where drawing is most of what it costs.

    It draws 16 random bits per value in place of 64, so the probability is rounded to a multiple of 2^-16; what is kept
    is scaled up by the rounded one. On other devices it is torch's own.
    """

    def forward(self, values: Tensor) -> Tensor:
        """``values`` of any shape, in training each zero with probability ``p``, else divided by ``1 - p``."""
        if not self.training or self.p == 0 or values.device.type != "cpu":
            return super().forward(values)
        dropped = min(round(self.p * _LEVELS), _LEVELS - 1)
        count = prod(values.shape)
        words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)  # any 64 bits
        bits = words.view(torch.int16)[:count].view(values.shape)
        kept = bits >= dropped - _LEVELS // 2
        return values * kept.to(values.dtype).mul_(_LEVELS / (_LEVELS - dropped))

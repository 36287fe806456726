"""The encoder contract: one modality's input to one feature vector.

An encoder is a class registered under the entry-point group ``mlabench.encoders``.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from mlabench.hyperparameters import Hyperparameters

__all__ = ["Encoder", "Hyperparameters"]


class Encoder(nn.Module):
    """Maps an input ``[n, *shape]`` to features ``[n, d]``; sees present samples only.

    Args:
        shape: Shape of one sample's input, e.g. ``(1280,)``.
        config: The hyper-parameters.
    """

    class Config(Hyperparameters):
        """The encoder's hyper-parameters."""

    config: Hyperparameters
    #: Increase it whenever a change to the code changes results; trials with older versions then run again.
    version: ClassVar[int] = 1
    #: Width ``d`` of the output; set by the constructor.
    width: int

    def __init__(self, shape: tuple[int, ...], config: Hyperparameters) -> None:
        super().__init__()
        self.shape = shape
        self.config = config

    def forward(self, inputs: Tensor) -> Tensor:
        """Features ``[n, d]`` of ``inputs [n, *shape]``."""
        raise NotImplementedError

"""The encoder contract: one modality's input to one feature vector.

An encoder is a class registered under the entry-point group ``mlabench.encoders``.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from mlabench.hyperparameters import Hyperparameters
from mlabench.media import Medium
from mlabench.media.preprocessing import Preprocessing


class Encoder(nn.Module):
    """Maps an input ``[n, *shape]`` to features ``[n, d]``; sees present samples only.

    Raw inputs come as :meth:`preprocessing` made them (for instance uint8 pictures); scaling and random
    augmentation are done in :meth:`forward`, on the device.

    Args:
        shape: Shape of one sample's input, e.g. ``(1280,)``.
        config: The hyper-parameters.
    """

    class Config(Hyperparameters):
        """The encoder's hyper-parameters."""

    config: Hyperparameters
    #: Increase it whenever a change to the code changes results; trials with older versions then run again.
    version: ClassVar[int] = 1
    #: What it can read; suites are checked against it.
    reads: ClassVar[tuple[Medium, ...]] = ("features",)
    #: Width ``d`` of the output; set by the constructor.
    width: int

    def __init__(self, shape: tuple[int, ...], config: Hyperparameters) -> None:
        super().__init__()
        self.shape = shape
        self.config = config

    @classmethod
    def preprocessing(cls, config: Hyperparameters, medium: Medium) -> Preprocessing:
        """How raw items of a ``medium`` among :attr:`reads` become this encoder's input. Not for features.

        Raises:
            UserError: If the options do not fit the medium, or name something that is not there.
        """
        raise NotImplementedError(f"{cls.__name__} reads no raw {medium}")

    def forward(self, inputs: Tensor) -> Tensor:
        """Features ``[n, d]`` of ``inputs [n, *shape]``."""
        raise NotImplementedError

    def lr_scale(self, parameter: str) -> float:  # noqa: ARG002
        """Factor on the learning rate of a parameter of this name, e.g. to spare pretrained weights."""
        return 1.0

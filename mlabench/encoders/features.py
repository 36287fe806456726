"""Small encoders for frozen features."""

from __future__ import annotations

from math import prod
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from mlabench.encoders.contract import Encoder
from mlabench.encoders.dropout import Dropout
from mlabench.hyperparameters import Hyperparameters


class MLP(Encoder):
    """Multi-layer perceptron with ReLU on frozen features."""

    class Config(Hyperparameters):
        """Options of ``mlp``."""

        hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field(
            default=(256,), description="Widths of the hidden layers."
        )
        width: int = Field(
            default=128, ge=1, description="Width of the output; a shared head needs it equal everywhere."
        )
        dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="Dropout after each hidden layer.")

    config: Config
    version = 2

    def __init__(self, shape: tuple[int, ...], config: Config) -> None:
        super().__init__(shape, config)
        layers: list[nn.Module] = [nn.Flatten()]
        width = prod(shape)
        for hidden in config.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU()]
            if config.dropout:
                layers.append(Dropout(config.dropout))
            width = hidden
        layers += [nn.Linear(width, config.width), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.width = config.width

    def forward(self, inputs: Tensor) -> Tensor:
        """Features ``[n, width]`` of ``inputs [n, *shape]``."""
        features: Tensor = self.layers(inputs)
        return features

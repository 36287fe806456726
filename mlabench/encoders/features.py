"""Small encoders for frozen features."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

from mlabench.encoders.contract import Encoder
from mlabench.encoders.dropout import Dropout
from mlabench.hyperparameters import MLPOptions


class MLP(Encoder):
    """Multi-layer perceptron with ReLU on frozen features."""

    class Config(MLPOptions):
        """Options of ``mlp``."""

    config: MLPOptions
    version = 2

    def __init__(self, shape: tuple[int, ...], config: MLPOptions) -> None:
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

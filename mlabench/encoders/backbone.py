"""Encoders built around a published network, which may be fine-tuned, trained from scratch or frozen."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import torch
from torch import Tensor, nn

from mlabench.encoders.contract import Encoder
from mlabench.encoders.features import MLP
from mlabench.hyperparameters import BackboneOptions


class BackboneEncoder(Encoder):
    """A network that represents an input, and optionally a trainable layer or small network on top.

    A subclass's constructor calls ``super().__init__(shape, config)``, builds the network with its weights
    and hands it to :meth:`_use`; it implements :meth:`represent`, and its ``Config`` derives from
    :class:`mlabench.hyperparameters.BackboneOptions`.
    """

    config: BackboneOptions
    #: The network; None once its features are computed (see :meth:`without_backbone`).
    backbone: nn.Module | None
    projection: nn.Module

    def _use(self, backbone: nn.Module, width: int) -> None:
        """Takes over a network whose representation is ``width`` wide; freezes it if the options say so."""
        self.backbone = backbone
        self.representation_width = width
        if self.config.frozen:
            backbone.requires_grad_(False)
        if self.config.mlp:
            self.projection = MLP((width,), self.config.mlp)
            self.width = self.config.mlp.width
        else:
            self.width = self.config.project or width
            self.projection = nn.Linear(width, self.width) if self.config.project else nn.Identity()

    @abstractmethod
    def represent(self, inputs: Tensor) -> Tensor:
        """The network's representation ``[n, representation_width]`` of ``inputs [n, *shape]``."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Features ``[n, width]`` of ``inputs``, which are representations already if the network was dropped."""
        if self.backbone is None:
            representation = inputs
        elif self.config.frozen:
            with torch.no_grad():
                representation = self.represent(inputs)
        else:
            representation = self.represent(inputs)
        features: Tensor = self.projection(representation)
        return features

    def train(self, mode: bool = True) -> Self:
        """As in torch, but a frozen network always stays in evaluation mode."""
        super().train(mode)
        if self.config.frozen and self.backbone is not None:
            self.backbone.eval()
        return self

    def without_backbone(self) -> Self:
        """Drops the network: from now on inputs are its representations ``[n, representation_width]``."""
        self.backbone = None
        self.shape = (self.representation_width,)
        return self

    def lr_scale(self, parameter: str) -> float:
        """The option ``lr_scale`` for the network, 1 for what is on top of it."""
        return self.config.lr_scale if parameter.startswith("backbone.") else 1.0

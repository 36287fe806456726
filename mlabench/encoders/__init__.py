"""Encoders: from one modality's input to one feature vector. Training builds one per modality, for the method.

``contract`` says what an encoder is, ``backbone`` what those around a published network have in common; the others are
the registered encoders and their parts. Plugins derive from :class:`Encoder` or :class:`BackboneEncoder`.
"""

from mlabench.encoders.backbone import BackboneEncoder
from mlabench.encoders.contract import Encoder
from mlabench.encoders.dropout import Dropout
from mlabench.hyperparameters import BackboneOptions, Hyperparameters

__all__ = ["BackboneEncoder", "BackboneOptions", "Dropout", "Encoder", "Hyperparameters"]

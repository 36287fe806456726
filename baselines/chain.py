"""What FiLM and BiGated share: modalities that act, one after another, on the features of one of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import alone
from mlabench.hyperparameters import OrderedModalities
from mlabench.method import Batch, Method, Prediction, Task


class ModalityChain(Method):
    """The first modality acts on the features of the second, each further one on the result.

    Attributes:
        target: The modality whose features the others act on.
        acting: The other modalities, in the order in which they act.
    """

    config: OrderedModalities

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: OrderedModalities, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        order = config.ordered(task.modalities)
        self.target = order[1] if len(order) > 1 else order[0]
        self.acting = [modality for modality in order if modality != self.target]

    @abstractmethod
    def classify(self, features: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """The logits ``[B, C]`` at the end of the chain.

        Args:
            features: Zeros where absent. ``{modality: [B, d_m]}``
            present: Which modalities take part. bool ``[B, M]``
        """
        raise NotImplementedError

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the fused logits."""
        return F.cross_entropy(self.classify(self.encode(batch), batch.present), batch.label)

    def predict(self, batch: Batch) -> Prediction:
        """The whole chain, and the chain with all features but one set to zero."""
        embedding = self.encode(batch)
        everything = torch.ones_like(batch.present)
        unimodal = {m: self.classify(alone(embedding, m), everything) for m in self.task.modalities}
        return Prediction(self.classify(embedding, batch.present), unimodal, embedding)

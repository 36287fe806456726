"""From several modalities to one prediction; part of the public contract.

All functions of weights and logits take logits ``[B, M, C]`` and the presence table ``[B, M]``, treat each sample by
itself and compute in float32. Every sample must have at least one modality.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.hyperparameters import Hyperparameters
from mlabench.method import Batch, Method, Prediction, Task

__all__ = [
    "JointHead",
    "JointHeadMethod",
    "alone",
    "apply_heads",
    "average_weights",
    "entropies",
    "entropy_weights",
    "linear_heads",
    "softmax_weights",
    "weighted_sum",
]


class JointHead(nn.Linear):
    """One linear layer on the features of all modalities, ``z = W [h_1; ...; h_M] + b``.

    Features are ``{modality: [B, d_m]}``, zeros where a modality is absent: its block then drops out.

    Args:
        widths: Feature width ``d_m`` of each modality, in the task's order.
        classes: Number of classes ``C``.
    """

    def __init__(self, widths: Mapping[str, int], classes: int) -> None:
        super().__init__(sum(widths.values()), classes)
        self.widths = list(widths.values())

    def fused(self, features: Mapping[str, Tensor]) -> Tensor:
        """Logits of all modalities together, float32. ``[B, C]``."""
        logits: Tensor = self(torch.cat(list(features.values()), dim=1))
        return logits.float()

    def unimodal(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each modality's block with its part of the bias, ``W_m h_m + b / M``, float32; they sum to the fused logits.

        Returns:
            ``{modality: [B, C]}``
        """
        blocks = torch.split(self.weight, self.widths, dim=1)  # M of [C, d_m]
        bias = self.bias / len(self.widths)
        return {
            modality: F.linear(feature, block, bias).float()
            for (modality, feature), block in zip(features.items(), blocks, strict=True)
        }


class JointHeadMethod(Method):
    """Concatenation: one linear head on the features of all modalities, trained by its cross-entropy.

    Many methods are "concatenation, but": they derive from this class and change its gradients, loss or features.
    """

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Hyperparameters, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        self.head = JointHead({modality: encoders[modality].width for modality in task.modalities}, len(task.classes))

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the joint head."""
        return F.cross_entropy(self.head.fused(self.encode(batch)), batch.label)

    def predict(self, batch: Batch) -> Prediction:
        """The joint head, and each modality's part of it."""
        embedding = self.encode(batch)
        return Prediction(self.head.fused(embedding), self.head.unimodal(embedding), embedding)


def linear_heads(task: Task, encoders: Mapping[str, Encoder]) -> nn.ModuleDict:
    """One linear head per modality, from its features to logits."""
    classes = len(task.classes)
    return nn.ModuleDict({modality: nn.Linear(encoders[modality].width, classes) for modality in task.modalities})


def apply_heads(heads: nn.ModuleDict, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each modality's own logits, float32. ``{modality: [B, C]}``."""
    return {modality: heads[modality](feature).float() for modality, feature in features.items()}


def alone(features: Mapping[str, Tensor], modality: str) -> dict[str, Tensor]:
    """The features ``{modality: [B, d_m]}`` of one modality, and zeros in place of those of the others."""
    return {name: feature if name == modality else torch.zeros_like(feature) for name, feature in features.items()}


def average_weights(present: Tensor) -> Tensor:
    """The same weight for every present modality. ``[B, M]``."""
    share = present.float()
    return share / share.sum(dim=1, keepdim=True)


def entropy_weights(logits: Tensor, present: Tensor) -> Tensor:
    """Weights that favour the modalities whose predictions are certain.

    ``e_m = -sum_c p_mc log p_mc`` with ``p_m = softmax(z_m)``, and the weights are the soft-max of
    ``-e_m`` over the present modalities.

    Args:
        logits: ``[B, M, C]``; anything at absent modalities.
        present: bool ``[B, M]``

    Returns:
        The weights, zero at absent modalities; rows sum to one. ``[B, M]``
    """
    return softmax_weights(-entropies(logits), present)


def entropies(logits: Tensor) -> Tensor:
    """``-sum_c p_c log p_c`` of each soft-max of ``logits [..., C]``. ``[...]``."""
    log_probability = logits.float().log_softmax(dim=-1)
    return -(log_probability.exp() * log_probability).sum(dim=-1)


def softmax_weights(scores: Tensor, present: Tensor) -> Tensor:
    """The soft-max of ``scores [B, M]`` over the present modalities; zero at the others, whatever they hold."""
    return scores.masked_fill(~present, -torch.inf).softmax(dim=1)


def weighted_sum(logits: Tensor, weight: Tensor) -> Tensor:
    """``sum_m weight_m z_m``; a modality of weight zero has no effect, whatever its logits hold.

    Args:
        logits: ``[B, M, C]``
        weight: ``[B, M]``

    Returns:
        The fused logits. ``[B, C]``
    """
    weight = weight.unsqueeze(-1)
    # 0 * NaN is NaN: an absent modality is taken out, not multiplied out.
    return (weight * logits.float()).masked_fill(weight == 0, 0.0).sum(dim=1)

"""MMPareto: Pareto integration of multimodal and unimodal gradients (ICML 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import JointHeadMethod, apply_heads, linear_heads
from mlabench.method import (
    SGD,
    AuthorsTraining,
    Batch,
    Constant,
    Hyperparameters,
    Optimization,
    Prediction,
    Task,
    UnfitOptimizers,
)


class MMPareto(JointHeadMethod):
    """Gives each encoder a direction that helps both the multimodal loss and its own.

    Source: Wei, Hu, "MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance", ICML 2024,
    arXiv 2405.17730, and the authors' code (GeWu-Lab/MMPareto_ICML2024, commit a339db3).

    A concatenation with one joint linear head (loss ``L_0``) and a head per modality (losses ``L_m``). For the
    encoder of modality ``m``, with ``a = grad L_0`` and ``b = grad L_m`` over all its parameters,

        c = 1/2 if <a, b> > 0, else (<b, b> - <a, b>) / ||a - b||^2      (the shortest vector between a and b)
        n = 2 c a + 2 (1 - c) b
        gradient = gamma n max(1, ||a + b|| / ||n||)                     (per parameter tensor)

    The heads have the plain gradient of ``L_0 + sum_m L_m``.

    Unimodal logits: the modality's own head.

    Absent modality: its feature is zero in the joint head, and ``L_m`` is a mean over the samples that have it;
    where no sample of the batch has it, its encoder and its head stay as they are.

    Deviations:

    * Where ``a`` or ``b`` is zero, ``c = 1/2``: the shortest vector would be no update at all. So it is where their
      product is exactly zero otherwise, for which the released code takes the other formula; it does not occur.
    * Adam divides a gradient by its running magnitude, which undoes ``gamma``. The published optimiser is SGD.
    * The optimiser's schedule is the suite's (the released code keeps the learning rate constant, by an omission).
    """

    title = "MMPareto"
    paper = "https://arxiv.org/abs/2405.17730"
    version = 1
    claims = ("raises the weak modality",)
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=2e-3, weight_decay=1e-4), "code/MMPareto.py at a339db3"),
        schedule=(Constant(), "code/MMPareto.py, which never steps its scheduler"),
        batch_size=(64, "code/MMPareto.py"),
        epochs=(50, "code/MMPareto.py"),
    )
    unfit_optimizers = UnfitOptimizers(
        names=("adam", "adamw"),
        reason="it divides a gradient by its running magnitude, which undoes gamma; directions stay.",
        unless={"gamma": (1.0,)},
    )

    class Config(Hyperparameters):
        """Defaults are those of the authors' code."""

        gamma: float = Field(
            default=1.5,
            gt=0,
            json_schema_extra={"tune": {"low": 1.0, "high": 3.0}},
            description="Factor on the encoders' gradients (code: 1.5).",
        )

    config: Config

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        self.heads = linear_heads(task, encoders)

    def losses(self, embedding: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """The multimodal loss, and the sum of the unimodal ones; scalars."""
        own = self.unimodal_losses(batch, apply_heads(self.heads, embedding))
        return F.cross_entropy(self.head.fused(embedding), batch.label), torch.stack(list(own.values())).sum()

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        """One update: plain gradients for the heads, integrated ones for each encoder."""
        embedding = self.encode(batch)
        multimodal, unimodal = self.losses(embedding, batch)
        integrated = self.encoder_gradients(multimodal, unimodal)

        def give_encoders_theirs() -> None:
            for parameter, gradient in integrated.items():
                parameter.grad = gradient

        # The heads' own pass over constant features: a third pass through the encoders is not needed.
        constant = {modality: feature.detach() for modality, feature in embedding.items()}
        optimization.update(torch.stack(self.losses(constant, batch)).sum(), before_step=give_encoders_theirs)
        return {"loss": (multimodal + unimodal).detach()}

    def encoder_gradients(self, multimodal: Tensor, unimodal: Tensor) -> dict[nn.Parameter, Tensor]:
        """The gradient of every encoder parameter that the losses reach.

        Args:
            multimodal: ``L_0``.
            unimodal: The sum of the ``L_m``; each of them reaches its own encoder only.
        """
        everything = [parameter for parameter in self.encoders.parameters() if parameter.requires_grad]
        if not everything:
            return {}
        joint = torch.autograd.grad(multimodal, everything, retain_graph=True, allow_unused=True)
        own = torch.autograd.grad(unimodal, everything, allow_unused=True)
        pairs = dict(zip(everything, zip(joint, own, strict=True), strict=True))
        result: dict[nn.Parameter, Tensor] = {}
        for encoder in self.encoders.values():
            # A parameter that the batch does not use, as those of an absent modality, has no gradient of either loss.
            reached = [p for p in encoder.parameters() if p in pairs and pairs[p][0] is not None]
            if reached:
                a, b = zip(*(pairs[parameter] for parameter in reached), strict=True)
                result |= zip(reached, integrate(a, b, self.config.gamma), strict=True)
        return result

    def predict(self, batch: Batch) -> Prediction:
        """The joint head, and each modality's own."""
        embedding = self.encode(batch)
        return Prediction(self.head.fused(embedding), apply_heads(self.heads, embedding), embedding)


def integrate(multimodal: Sequence[Tensor], unimodal: Sequence[Tensor], gamma: float) -> list[Tensor]:
    """The gradient of an encoder from those of its two losses, tensor by tensor.

    Args:
        multimodal: ``a``, one tensor per parameter.
        unimodal: ``b``, likewise.
        gamma: Factor on the result.

    Returns:
        One tensor per parameter.
    """
    both = list(zip(multimodal, unimodal, strict=True))
    product = torch.stack([(a * b).sum() for a, b in both]).sum()
    square = torch.stack([(b * b).sum() for b in unimodal]).sum()
    between = torch.stack([(a - b).square().sum() for a, b in both]).sum()
    conflict = (product < 0) & (between > 0)
    share = torch.where(conflict, (square - product) / between, 0.5)
    result = []
    for a, b in both:
        direction = 2 * share * a + 2 * (1 - share) * b
        length = direction.norm()
        boost = torch.where(length > 0, (a + b).norm() / length, 1.0).clamp(min=1)
        result.append(gamma * boost * direction)
    return result

"""OGM-GE: on-the-fly gradient modulation with generalisation enhancement (CVPR 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from baselines.scores import score_ratios
from mlabench.fusion import JointHeadMethod
from mlabench.method import SGD, AuthorsTraining, Batch, Hyperparameters, Optimization, Step, UnfitOptimizers


class OGMGE(JointHeadMethod):
    """Slows the encoders of the modalities that lead, and adds noise to the gradients of all encoders.

    Source: Peng et al., "Balanced Multimodal Learning via On-the-fly Gradient Modulation", CVPR 2022,
    arXiv 2203.15332, and the authors' code (GeWu-Lab/OGM-GE_CVPR2022, commit 343dc1d).

    The model and its loss are those of ``concat``. Between the gradient and the step of each batch,

        s_m   = mean_i softmax(z_m)_{i, y_i}          how much modality m alone says about the labels
        rho_m = s_m / mean_{j != m} s_j               how far it leads
        k_m   = 1 - tanh(alpha rho_m) if rho_m > 1, else 1
        g     <- k_m g + noise,  noise ~ N(0, std(g)^2)     for every weight of encoder m

    For two modalities ``rho`` is the published ratio of the two scores; the mean over the others is the
    rule for more (the published code has none). The noise (GE) takes its standard deviation from the whole
    unmodulated gradient of a weight and goes to all encoders, also those with ``k = 1``. The head is left alone.

    Unimodal logits: the modality's block of the head and its part of the bias, ``W_m h_m + b / M``.

    Absent modality: its feature is zero, so its block drops out and the whole bias stays. A score is a mean over the
    samples that have the modality (on complete data the ratio of means is the published one of sums); one that no
    sample of the batch has takes no part in the comparison.

    Notes and deviations:

    * ``min_ndim: 2`` modulates all weight matrices and convolutions. The published code takes four-dimensional
      gradients, convolutions of pictures, only: for transformers and frozen features it does nothing. With 2 the noise
      also reaches all rows of embedding tables, those of words that the batch lacks too.
    * A ratio of exactly one slows nobody; the published code, which has an else branch there, slows audio.
    * The modulated epochs are a share of the budget; of the published 100 these are the published 0 to 50.
    * MLA's released code, for three modalities, divides by the sum of the others, so that hardly any ratio
      exceeds one, and then always slows audio.
    * Adam divides a gradient by its running magnitude, which undoes a constant ``k``; what remains with Adam is
      its change from batch to batch and, most of all, the noise. The published optimiser is SGD.
    """

    title = "OGM-GE"
    paper = "https://arxiv.org/abs/2203.15332"
    version = 2
    claims = ("raises the weak modality",)
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=1e-3, weight_decay=1e-4), "main.py at 343dc1d"),
        schedule=(Step(epochs=70, factor=0.1), "main.py"),
        batch_size=(64, "main.py"),
        epochs=(100, "main.py"),
    )
    unfit_optimizers = UnfitOptimizers(
        names=("adam", "adamw"),
        reason="it divides a gradient by its running magnitude, which undoes a damping that lasts.",
        unless={"alpha": (0.0,)},
    )

    class Config(Hyperparameters):
        """Defaults are those of the authors' code, as far as it has any."""

        alpha: float = Field(
            default=0.3,
            gt=0,
            json_schema_extra={"tune": {"low": 0.05, "high": 1.0, "log": True}},
            description="Strength of the modulation (no default published; MLA's code: 0.3, the authors' README: 0.1, "
            "and 0.3 for CREMA-D).",
        )
        noise: bool = Field(
            default=True, description="Add Gaussian noise, GE (the full method); without it the method is OGM."
        )
        share: float = Field(
            default=0.5, gt=0, le=1, description="Share of the epochs that are modulated (authors' code: 50 of 100)."
        )
        min_ndim: int = Field(
            default=2,
            ge=1,
            description="Modulate the parameters of an encoder that have at least so many dimensions: 2 for all "
            "weights, 4 for convolutions of pictures only (authors' code), 1 for biases as well.",
        )

    config: Config

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        """One step on the joint loss with modulated gradients. Logs each modality's ``k_m`` where there is one."""
        features = self.encode(batch)
        loss = F.cross_entropy(self.head.fused(features), batch.label)
        coefficients: dict[str, Tensor] = {}
        progress = optimization.progress
        if progress.epoch <= self.config.share * progress.epochs:
            coefficients = self._coefficients(features, batch)
        optimization.update(loss, partial(self._modulate, coefficients))
        return {"loss": loss.detach(), **{f"coefficient/{modality}": k for modality, k in coefficients.items()}}

    @torch.no_grad()
    def _coefficients(self, features: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The scalar ``k_m`` of every modality."""
        ratio = score_ratios(self.head.unimodal(features), batch)
        coefficients = torch.where(ratio > 1, 1 - (self.config.alpha * ratio).tanh(), 1.0)
        return dict(zip(features, coefficients, strict=True))

    def _modulate(self, coefficients: Mapping[str, Tensor]) -> None:
        """Scales the encoders' gradients in place, and adds noise."""
        for modality, coefficient in coefficients.items():
            for parameter in self.encoders[modality].parameters():
                gradient = parameter.grad
                if gradient is None or gradient.ndim < self.config.min_ndim:
                    continue
                # A single number has no spread, so it gets no noise.
                noisy = self.config.noise and gradient.numel() > 1
                noise = torch.randn_like(gradient) * gradient.std() if noisy else 0.0
                gradient.mul_(coefficient).add_(noise)

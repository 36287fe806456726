"""Diagnosing & Re-learning: encoders that overfit are moved back towards their initial weights (ECCV 2024)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.cluster.vq import kmeans, vq
from torch import Tensor

from mlabench.encoders import Encoder
from mlabench.fusion import JointHeadMethod
from mlabench.method import (
    SGD,
    AuthorsTraining,
    Constant,
    Hyperparameters,
    LabelledSplit,
    Progress,
    Stage,
    Task,
    present_only,
)

#: Random starts of k-means, of which the tightest clustering counts.
_STARTS = 10


class Relearning(JointHeadMethod):
    """Diagnoses each encoder by how well its features cluster, and resets those that overfit in part.

    Source: Wei, Li, Feng, Hu, "Diagnosing and Re-learning for Balanced Multimodal Learning", ECCV 2024,
    arXiv 2407.09705, and the authors' code (GeWu-Lab/Diagnosing_Relearning_ECCV2024, commit 025085e).

    Training is that of ``concat``, interrupted a few times between epochs. An encoder's features of the training
    and of the validation split, each scaled to [-1, 1], are clustered by k-means into as many clusters as there are
    classes. The *purity* of a clustering is the share of samples that have the majority label of their cluster. The
    gap between the two purities decides how far the encoder goes back to its initial weights ``theta_m^0``:

        alpha_m = tanh(strength |purity_m(train) - purity_m(validation)|)
        theta_m <- alpha_m theta_m^0 + (1 - alpha_m) theta_m

    for all parameters of the encoder, those of its normalisation too. Batch statistics, the head and the
    optimiser's state stay.

    It uses the labels of the validation split, on which epochs are selected as well (so do the authors, with a
    validation split of their own; they select on the test split).

    Unimodal logits: the modality's block of the head and its part of the bias, ``W_m h_m + b / M``.

    Absent modality: its feature is zero; a diagnosis clusters the samples that have the modality, and one that no
    training or no validation sample has is not diagnosed.

    Deviations:

    * The times of re-learning are shares of the budget, in the published proportion.
    * Features are taken as in prediction; the released code takes those of the training split with its random
      augmentation.
    * k-means starts from random samples, ten times, and keeps the tightest clustering (SciPy's; the released code has
      scikit-learn's, which spreads its starting points).
    * A frozen encoder, or a frozen part of one, stays as it is.
    """

    title = "Re-learning"
    paper = "https://arxiv.org/abs/2407.09705"
    version = 1
    claims = ("raises the weak modality",)
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=2e-3, weight_decay=1e-4), "code/ours.py at 025085e"),
        schedule=(Constant(), "code/ours.py"),
        batch_size=(64, "code/ours.py"),
        epochs=(90, "code/ours.py"),
    )

    class Config(Hyperparameters):
        """Defaults are those of the authors' script for CREMA-D."""

        strength: float = Field(
            default=3.0,
            ge=0,
            json_schema_extra={"tune": {"low": 0.3, "high": 30.0, "log": True}},
            description="Factor lambda on the purity gap (authors' script: 3).",
        )
        interval: float = Field(
            default=20 / 90,
            gt=0,
            le=1,
            description="Share of the epochs between two diagnoses (authors' script: 20 of 90 epochs).",
        )
        times: int = Field(default=3, ge=0, description="Diagnoses at most (authors' script: 3).")

    config: Config

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        #: The encoders' weights before training, not needed afterwards, so not part of the state.
        self.initial: dict[str, Tensor] = {}

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002
        """Remembers the initial weights of the encoders."""
        self.initial = {
            name: parameter.detach().clone()
            for name, parameter in self.encoders.named_parameters()
            if parameter.requires_grad
        }

    def on_epoch_start(self, progress: Progress, train: LabelledSplit, validation: LabelledSplit) -> None:
        """Diagnoses and re-learns when it is time; looks at the labels of both splits."""
        interval = max(1, round(self.config.interval * progress.epochs))
        turn, rest = divmod(progress.epoch, interval)
        if rest == 0 and 0 < turn <= self.config.times:
            for modality, share in self.diagnose(train, validation).items():
                self.relearn(modality, share)

    def diagnose(self, train: LabelledSplit, validation: LabelledSplit) -> dict[str, float]:
        """The share ``alpha_m`` of its initial weights that each encoder gets back."""
        seen, unseen = self._labelled_features(train), self._labelled_features(validation)
        clusters = len(self.task.classes)
        return {
            modality: math.tanh(
                self.config.strength * abs(purity(*seen[modality], clusters) - purity(*unseen[modality], clusters))
            )
            for modality in self.task.modalities
            if modality in seen and modality in unseen
        }

    @torch.no_grad()
    def _labelled_features(self, split: LabelledSplit) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
        """Features ``[n, d]`` and labels ``[n]`` of the samples that have the modality, if there are any."""
        self.eval()
        parts: dict[str, list[tuple[Tensor, Tensor]]] = {modality: [] for modality in self.task.modalities}
        for batch in split.labelled_batches():
            for modality in self.task.modalities:
                feature, rows = self.encode_present(batch, modality)
                if len(feature) > 0:
                    parts[modality].append((feature.float().cpu(), present_only(batch.label, rows).cpu()))
        return {
            modality: (torch.cat([feature for feature, _ in pairs]).numpy(), torch.cat([y for _, y in pairs]).numpy())
            for modality, pairs in parts.items()
            if pairs
        }

    @torch.no_grad()
    def relearn(self, modality: str, share: float) -> None:
        """Moves an encoder this share of the way back to its initial weights."""
        for name, parameter in self.encoders.named_parameters():
            if name in self.initial and name.startswith(f"{modality}."):
                parameter.lerp_(self.initial[name], share)


def purity(features: NDArray[Any], labels: NDArray[Any], clusters: int) -> float:
    """Share of the samples that have the majority label of their k-means cluster; the same for the same input.

    Args:
        features: Scaled to [-1, 1] per column before they are clustered. ``[n, d]``
        labels: Class indices. ``[n]``
        clusters: Their number; fewer if there are fewer samples.
    """
    values = features.astype(np.float64)
    low, high = values.min(axis=0), values.max(axis=0)
    scaled = 2 * (values - low) / np.where(high > low, high - low, 1.0) - 1
    centres, _ = kmeans(scaled, min(clusters, len(scaled)), iter=_STARTS, seed=0)
    cluster, _ = vq(scaled, centres)
    counts = np.zeros((len(centres), labels.max() + 1), dtype=np.int64)
    np.add.at(counts, (cluster, labels), 1)
    return float(counts.max(axis=1).sum() / len(labels))

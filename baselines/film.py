"""FiLM: feature-wise linear modulation (AAAI 2018)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from baselines.chain import ModalityChain
from mlabench.encoders import Encoder
from mlabench.hyperparameters import OrderedModalities
from mlabench.method import SGD, AuthorsTraining, Step, Task


class FiLM(ModalityChain):
    """Lets one modality scale and shift the features of another, and classifies the result.

    Source: Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018,
    arXiv 1709.07871, in the two-modality form of OGM-GE's code (arXiv 2203.15332, commit 343dc1d), where audio
    conditions the picture:

        (gamma, beta) = W_1 h_1 + b_1,   u = gamma * h_2 + beta,   z = W u + b

    and the cross-entropy of ``z``. The modulation is what is learned of ``gamma``, not ``1 + gamma``.

    More than two modalities (an extension; the sources define none) make a chain from left to right: each
    further one conditions the result so far, ``u <- gamma(h_k) * u + beta(h_k)`` for ``k = 3, ..., M``.

    Unimodal logits: those with the features of all other modalities set to zero, so that only their learned
    biases speak. The sources define none: the released split of the head fails for FiLM. They understate the
    modality that is modulated, since a bias alone makes a poor ``gamma``: on the dataset ``stamps`` they read
    10 % off an encoder in which a linear probe finds 73 %.

    Absent modality: one that conditions leaves the features as they are (``gamma = 1, beta = 0``); in place of
    the one that is modulated there are zeros, so that ``u = beta``. The unimodal logits of a sample with one
    modality are therefore not its fused ones.

    Deviation: layers start with torch's default values, as in ``concat``, not with Xavier's.
    """

    title = "FiLM"
    paper = "https://arxiv.org/abs/1709.07871"
    version = 1
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=1e-3, weight_decay=1e-4), "OGM-GE's main.py at 343dc1d, as MLA's main.py at ab6c184"),
        schedule=(Step(epochs=70, factor=0.1), "both"),
        batch_size=(64, "both"),
        epochs=(100, "the README of either"),
    )

    class Config(OrderedModalities):
        """The default is the order of the released two-modality code, where the data have audio first."""

        order: tuple[str, ...] = Field(
            default=(),
            description="The modalities' names: the first conditions the second, each further one conditions the "
            "result. Empty: the dataset's order (OGM-GE's code: audio conditions the picture).",
        )

    config: Config

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        width = encoders[self.target].width
        #: From the features of a modality that conditions to gamma and beta. ``[d_m] -> [2 d]``
        self.conditions = nn.ModuleDict({m: nn.Linear(encoders[m].width, 2 * width) for m in self.acting})
        self.head = nn.Linear(width, len(task.classes))

    def classify(self, features: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """The logits; a modality that is not ``present`` leaves the features as they are."""
        result = features[self.target]
        for modality, condition in self.conditions.items():
            here = present[:, [self.task.modalities.index(modality)]]  # [B, 1]
            scale, shift = condition(features[modality]).chunk(2, dim=1)
            result = torch.where(here, scale * result + shift, result)
        logits: Tensor = self.head(result).float()
        return logits

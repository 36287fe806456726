"""BiGated: gated fusion of features (Kiela et al., 2018)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from baselines.chain import ModalityChain
from mlabench.encoders import Encoder
from mlabench.hyperparameters import OrderedModalities
from mlabench.method import SGD, AuthorsTraining, Step, Task


class BiGated(ModalityChain):
    """Lets one modality gate the projected features of another, and classifies the result.

    Source: Kiela, Grave, Joulin, Mikolov, "Efficient Large-Scale Multi-Modal Classification", AAAI 2018,
    arXiv 1802.02892, in the two-modality form of OGM-GE's code (arXiv 2203.15332, commit 343dc1d), where audio
    is the gate. This is what MLA's tables call BiGated:

        x = W_1 h_1 + b_1,   y = W_2 h_2 + b_2,   u = sigmoid(x) * y,   z = W u + b

    and the cross-entropy of ``z``. The projections have the width of the gated modality.

    More than two modalities (an extension; the sources define none) make a chain from left to right: each
    further one gates a projection of the result so far, ``u <- sigmoid(W_k h_k + b_k) * (V_k u + c_k)``.

    Unimodal logits: those with the features of all other modalities set to zero, so that only their learned
    biases speak. The sources define none: the released split of the head fails for gated fusion.

    Absent modality: its factor is one. An absent gate is open, and where the gated features are absent, the
    gate itself is passed on. The unimodal logits of a sample with one modality are therefore not its fused ones.

    Deviation: layers start with torch's default values, as in ``concat``, not with Xavier's.
    """

    title = "BiGated"
    paper = "https://arxiv.org/abs/1802.02892"
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
            description="The modalities' names: the first gates the second, each further one gates the result. "
            "Empty: the dataset's order (OGM-GE's code: audio is the gate).",
        )

    config: Config

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        width = encoders[self.target].width
        self.gates = nn.ModuleDict({modality: nn.Linear(encoders[modality].width, width) for modality in self.acting})
        #: What each gate is applied to: a projection of the gated features, later of the result so far.
        self.projections = nn.ModuleDict({modality: nn.Linear(width, width) for modality in self.acting})
        self.head = nn.Linear(width, len(task.classes))

    def classify(self, features: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """The logits; a modality that is not ``present`` contributes a factor of one."""
        column = {modality: present[:, [at]] for at, modality in enumerate(self.task.modalities)}  # [B, 1]
        result, known = features[self.target], column[self.target]
        for modality, gate in self.gates.items():
            value = torch.where(known, self.projections[modality](result), 1.0)
            opening = torch.where(column[modality], gate(features[modality]).sigmoid(), 1.0)
            result, known = opening * value, known | column[modality]
        logits: Tensor = self.head(result).float()
        return logits

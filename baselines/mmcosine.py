"""MMCosine: multi-modal cosine loss (ICASSP 2023)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import weighted_sum
from mlabench.method import SGD, AuthorsTraining, Batch, Hyperparameters, Method, Prediction, Step, Task


class MMCosine(Method):
    """Adds the cosines between each modality's feature and its class weights, so that no norm can dominate.

    Source: Xu, Feng, Zhang, Hu, "MMCosine: Multi-Modal Cosine Loss Towards Balanced Audio-Visual Fine-Grained
    Learning", ICASSP 2023, arXiv 2303.05338, and the authors' code (GeWu-Lab/MMCosine_ICASSP23, CREMA-D script):

        z_m = s cos(h_m, W_m),   z = sum_m z_m

    and the cross-entropy of ``z``; the cosine is taken with each row (class) of ``W_m``, and there is no bias.

    Unimodal logits: the modality's own term ``z_m``, as in the authors' code.

    Absent modality: its term drops out. Fused logits then have a smaller range, ``s`` per present modality.
    """

    title = "MMCosine"
    paper = "https://arxiv.org/abs/2303.05338"
    version = 1
    claims = ("raises the weak modality",)
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=1e-3, weight_decay=1e-4), "main_CD.py of GeWu-Lab/MMCosine_ICASSP23 at 214797c"),
        schedule=(Step(epochs=100, factor=0.1), "main_CD.py"),
        batch_size=(32, "main_CD.py"),
        epochs=(200, "main_CD.py"),
    )

    class Config(Hyperparameters):
        """The default is that of the authors' code."""

        scale: float = Field(
            default=10.0,
            gt=0,
            json_schema_extra={"tune": {"low": 2.0, "high": 50.0, "log": True}},
            description="The factor s on every cosine (authors' CREMA-D script: 10; other benchmarks: 15). Too small "
            "a value bounds the predicted probabilities away from one.",
        )

    config: Config

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        classes = len(task.classes)
        self.heads = nn.ModuleDict(
            {modality: CosineHead(encoders[modality].width, classes, config.scale) for modality in task.modalities}
        )

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the summed cosines."""
        return F.cross_entropy(self.predict(batch).fused, batch.label)

    def predict(self, batch: Batch) -> Prediction:
        """The sum of the cosines, and each modality's own."""
        embedding, unimodal = self.read_out(batch, self.heads.__getitem__)
        logits = torch.stack(list(unimodal.values()), dim=1)  # [B, M, C]
        return Prediction(weighted_sum(logits, batch.present.float()), unimodal, embedding)


class CosineHead(nn.Module):
    """Scaled cosines between features ``[n, d]`` and one weight per class. ``[n, C]``.

    Args:
        width: Feature width ``d``.
        classes: Number of classes ``C``.
        scale: Factor on the cosines.
    """

    def __init__(self, width: int, classes: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(classes, width))
        nn.init.xavier_normal_(self.weight)

    def forward(self, feature: Tensor) -> Tensor:
        """The logits."""
        return self.scale * F.linear(F.normalize(feature.float()), F.normalize(self.weight))

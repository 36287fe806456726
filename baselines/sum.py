"""Sum of the modalities' logits, or of their features, trained with one loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import linear_heads, weighted_sum
from mlabench.method import SGD, AuthorsTraining, Batch, Hyperparameters, Method, Prediction, Step, Task


class Sum(Method):
    """Adds the logits of one linear head per modality and trains them with one loss.

    Source: the baseline that OGM-GE (arXiv 2203.15332), MLA (arXiv 2311.10707) and others share:
    ``z = sum_m (W_m h_m + b_m)`` and the cross-entropy of ``z``. Some papers add features instead,
    ``z = W sum_m h_m + b``; that is the option ``level``.

    With all modalities present, the sum of logits can compute what ``concat`` can, no more and no less: only the
    initial values differ, and the bias, which is one per modality here.

    Unimodal logits: the modality's own head, ``W_m h_m + b_m``; with added features, the shared head on
    that feature alone, ``W h_m + b``. Both are the fused logits of a sample that has nothing else.

    Absent modality: its term drops out, with its bias; with added features it is zero, and the bias stays.

    Deviations: the released code of OGM-GE and MLA validates with ``b_m / 2``, but trains with ``b_m``, and its heads
    start with Xavier's values, not with torch's defaults.
    """

    title = "Sum"
    paper = "https://arxiv.org/abs/2203.15332"
    version = 1
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=1e-3, weight_decay=1e-4), "OGM-GE's main.py at 343dc1d, as MLA's main.py at ab6c184"),
        schedule=(Step(epochs=70, factor=0.1), "both"),
        batch_size=(64, "both"),
        epochs=(100, "the README of either"),
    )

    class Config(Hyperparameters):
        """The default is the definition of the released code that these papers share."""

        level: Literal["logits", "features"] = Field(
            default="logits",
            description="What is added: 'logits' of a head per modality (OGM-GE's and MLA's code), or 'features' of "
            "equal width before one head (the other reading).",
        )

    config: Config

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        if config.level == "logits":
            self.heads = linear_heads(task, encoders)
            return
        widths = {modality: encoders[modality].width for modality in task.modalities}
        if len(set(widths.values())) != 1:
            raise ValueError(f"a sum of features needs encoders of equal width, but they are {widths}.")
        self.head = nn.Linear(widths[task.modalities[0]], len(task.classes))

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the fused logits."""
        return F.cross_entropy(self.predict(batch).fused, batch.label)

    def predict(self, batch: Batch) -> Prediction:
        """The sum, and each modality's part of it."""
        if self.config.level == "logits":
            embedding, unimodal = self.read_out(batch, self.heads.__getitem__)
            logits = torch.stack(list(unimodal.values()), dim=1)  # [B, M, C]
            fused = weighted_sum(logits, batch.present.float())
        else:
            embedding, unimodal = self.read_out(batch, lambda _: self.head)
            fused = self.head(torch.stack(list(embedding.values())).sum(dim=0)).float()
        return Prediction(fused, unimodal, embedding)

"""My method: what it is, in one line."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import average_weights, weighted_sum
from mlabench.method import Batch, Hyperparameters, Method, Prediction, Task


class MyMethod(Method):
    """Averages the logits of one head per modality, trained together and each by itself.

    Source: yours. The equations go here, and what a reader of the paper would not expect.

    Unimodal logits: the modality's own head.

    Absent modality: it has no weight and no loss of its own.
    """

    name = "my_method"  # in suites
    title = "My method"  # in tables
    paper = ""  # a link, if there is one
    version = 1  # increase it whenever results change: what was run before then runs again

    class Config(Hyperparameters):
        """The options that a suite may set."""

        unimodal_weight: float = Field(
            default=1.0, ge=0, description="Weight of the modalities' own losses (where the default comes from)."
        )

    config: Config

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        # What prediction needs must be parameters or buffers, or it is lost when weights are saved.
        self.heads = nn.ModuleDict(
            {modality: nn.Linear(encoders[modality].width, len(task.classes)) for modality in task.modalities}
        )

    def loss(self, batch: Batch) -> Tensor:
        """The scalar that one optimiser step per batch descends on; override ``training_step`` for anything else."""
        prediction = self.predict(batch)
        loss = F.cross_entropy(prediction.fused, batch.label)
        for column, logits in enumerate(prediction.unimodal.values()):
            present = batch.present[:, column]  # bool [B]
            if present.any():  # a mean over no samples would be NaN
                loss = loss + self.config.unimodal_weight * F.cross_entropy(logits[present], batch.label[present])
        return loss

    def predict(self, batch: Batch) -> Prediction:
        """The heads and their average; called for evaluation, too, where ``batch.label`` is hidden."""
        # Encoders and heads only ever see the samples that have the modality; the others get rows of zeros.
        embedding, unimodal = self.read_out(batch, self.heads.__getitem__)  # {m: [B, d]}, {m: [B, C]}
        weight = average_weights(batch.present)  # [B, M], zero where absent
        fused = weighted_sum(torch.stack(list(unimodal.values()), dim=1), weight)  # [B, C]
        return Prediction(fused, unimodal, embedding, weight)

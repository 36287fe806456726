"""A method that keeps the contract, and others that differ from it by one mistake each."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mlabench.encoders import Encoder
from mlabench.fusion import average_weights, weighted_sum
from mlabench.method import Batch, Hyperparameters, Limit, Method, Optimization, Prediction, Task


class Sound(Method):
    """Averages the logits of one head per modality.

    Unimodal logits: the modality's own head.

    Absent modality: it has no vote.
    """

    title = "Sound"

    class Config(Hyperparameters):
        """Options."""

        smoothing: float = Field(default=0.0, ge=0, lt=1, description="Label smoothing.")

    config: Config

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        self.heads = nn.ModuleDict({m: nn.Linear(encoders[m].width, len(task.classes)) for m in task.modalities})

    def loss(self, batch: Batch) -> Tensor:
        return F.cross_entropy(Sound.predict(self, batch).fused, batch.label, label_smoothing=self.config.smoothing)

    def predict(self, batch: Batch) -> Prediction:
        embedding, unimodal = self.read_out(batch, self.heads.__getitem__)
        weight = average_weights(batch.present)
        logits = torch.stack(list(unimodal.values()), dim=1)
        return Prediction(weighted_sum(logits, weight), unimodal, embedding, weight)


class ReadsAbsentInputs(Sound):
    def encode_present(self, batch: Batch, modality: str, encoders: Any = None) -> tuple[Tensor, Tensor | None]:
        feature: Tensor = self.encoders[modality](batch.inputs[modality])
        return feature, None


class ScalesByTheBatch(Sound):
    def predict(self, batch: Batch) -> Prediction:
        prediction = super().predict(batch)
        fused = prediction.fused - prediction.fused.mean(dim=0)
        return Prediction(fused, prediction.unimodal, prediction.embedding, prediction.weight)


class EncodesByThePattern(Sound):
    factor: float

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.factor = 1.0
        for encoder in self.encoders.values():
            encoder.register_forward_hook(lambda _, __, feature: self.factor * feature)

    def predict(self, batch: Batch) -> Prediction:
        self.factor = float(batch.present.float().mean())
        return super().predict(batch)


class LooksAtTheLabel(Sound):
    def predict(self, batch: Batch) -> Prediction:
        prediction = super().predict(batch)
        hint = 0.01 * (batch.label == 0).float().unsqueeze(1)
        return Prediction(prediction.fused + hint, prediction.unimodal, prediction.embedding, prediction.weight)


class RemembersTheSplit(Sound):
    def predict(self, batch: Batch) -> Prediction:
        prediction = super().predict(batch)
        hint = 0.01 * (batch.index.float() + 1).log().unsqueeze(1) * torch.eye(3)[0]
        return Prediction(prediction.fused + hint, prediction.unimodal, prediction.embedding, prediction.weight)


class DrawsFromElsewhere(Sound):
    def loss(self, batch: Batch) -> Tensor:
        return super().loss(batch) * random.uniform(0.9, 1.1)  # not of torch's seeded generator


class DropsWhilePredicting(Sound):
    def predict(self, batch: Batch) -> Prediction:
        prediction = super().predict(batch)
        fused = F.dropout(prediction.fused, 0.5, training=True)
        return Prediction(fused, prediction.unimodal, prediction.embedding, prediction.weight)


class CountsPredictions(Sound):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.register_buffer("count", torch.zeros(()))

    def predict(self, batch: Batch) -> Prediction:
        self.count += len(batch)
        return super().predict(batch)


class KeepsStateElsewhere(Sound):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.bias = torch.zeros(len(self.task.classes))

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        self.bias = self.bias + 0.01 * F.one_hot(batch.label, len(self.task.classes)).float().mean(dim=0)
        return super().training_step(batch, optimization)

    def predict(self, batch: Batch) -> Prediction:
        prediction = super().predict(batch)
        return Prediction(prediction.fused + self.bias, prediction.unimodal, prediction.embedding, prediction.weight)


class MissesAClass(Sound):
    def predict(self, batch: Batch) -> Prediction:
        prediction = super().predict(batch)
        return Prediction(
            prediction.fused, dict.fromkeys(prediction.unimodal, prediction.fused[:, 1:]), prediction.embedding
        )


class ForgetsAModality(Sound):
    def predict(self, batch: Batch) -> Prediction:
        prediction = super().predict(batch)
        unimodal = dict(list(prediction.unimodal.items())[1:])
        return Prediction(prediction.fused, unimodal, prediction.embedding)


class HasWideLogits(Sound):
    def predict(self, batch: Batch) -> Prediction:
        prediction = super().predict(batch)
        return Prediction(prediction.fused.double(), prediction.unimodal, prediction.embedding)


class StaysInBfloat16(Sound):
    def predict(self, batch: Batch) -> Prediction:
        prediction = super().predict(batch)
        narrow = prediction.fused.bfloat16() if torch.is_autocast_enabled("cpu") else prediction.fused
        return Prediction(narrow, prediction.unimodal, prediction.embedding)


class HasHalfTheWeight(Sound):
    def predict(self, batch: Batch) -> Prediction:
        prediction = super().predict(batch)
        assert prediction.weight is not None
        return Prediction(prediction.fused, prediction.unimodal, prediction.embedding, prediction.weight / 2)


class MixesModalities(Sound):
    def predict(self, batch: Batch) -> Prediction:
        prediction = super().predict(batch)
        unimodal = {name: logits + 0.01 * prediction.fused for name, logits in prediction.unimodal.items()}
        return Prediction(prediction.fused, unimodal, prediction.embedding)


class SaysTheSameToAll(Sound):
    def predict(self, batch: Batch) -> Prediction:
        prediction = super().predict(batch)
        return Prediction(torch.zeros_like(prediction.fused), prediction.unimodal, prediction.embedding)


class NeedsAllModalities(Sound):
    def loss(self, batch: Batch) -> Tensor:
        losses = []
        for column, logits in enumerate(self.read_out(batch, self.heads.__getitem__)[1].values()):
            rows = batch.present[:, column]
            losses.append(F.cross_entropy(logits[rows], batch.label[rows]))  # NaN, if there are none
        return torch.stack(losses).sum()


class DecaysTheAbsent(Sound):
    def loss(self, batch: Batch) -> Tensor:
        return super().loss(batch) + 0.01 * sum(p.square().sum() for p in self.encoders.parameters())


class NeedsTwoSamples(Sound):
    def loss(self, batch: Batch) -> Tensor:
        fused = Sound.predict(self, batch).fused
        variance = (fused - fused.mean(dim=0)).square().sum() / (len(batch) - 1)  # 0 / 0, if there is one
        return super().loss(batch) + 0.001 * variance


class LogsTheGraph(Sound):
    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        loss = self.loss(batch)
        optimization.update(loss)
        return {"loss": loss}


class LogsNothing(Sound):
    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        super().training_step(batch, optimization)
        return {}


class NeverSteps(Sound):
    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        return {"loss": self.loss(batch).detach()}


class ClimbsItsLoss(Sound):
    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        loss = self.loss(batch)
        optimization.update(-loss)
        return {"loss": loss.detach()}


class UnlearnsTheComplete(Sound):
    def loss(self, batch: Batch) -> Tensor:
        fused = Sound.predict(self, batch).fused
        complete = batch.present.all(dim=1)
        wrong = torch.where(complete & ~complete.all(), (batch.label + 1) % 3, batch.label)
        return F.cross_entropy(fused, wrong)


class Crashes(Sound):
    def predict(self, batch: Batch) -> Prediction:
        if len(batch) == 1:
            raise RuntimeError("squeezed too much")
        return super().predict(batch)


class HasNoSections(Sound):
    """Says little."""

    title = "Sections"

    class Config(Hyperparameters):
        """Options."""

        smoothing: float = Field(default=0.0, ge=0, lt=1, description="Label smoothing.")


class HasNoTitle(Sound):
    """As sound as any.

    Unimodal logits: the modality's own head.

    Absent modality: it has no vote.
    """

    title = ""

    class Config(Hyperparameters):
        """Options."""

        smoothing: float = Field(default=0.0, ge=0, lt=1, description="Label smoothing.")


class HidesAnOption(Sound):
    """As sound as any.

    Unimodal logits: the modality's own head.

    Absent modality: it has no vote.
    """

    title = "Hides"

    class Config(Hyperparameters):
        """Options."""

        smoothing: float = 0.0


class NamesAnUnknownLimit(Sound):
    """As sound as any.

    Unimodal logits: the modality's own head.

    Absent modality: it has no vote.
    """

    title = "Limited"
    limits: ClassVar[Mapping[Limit, str]] = {"missing somewhere": "it loses its way."}  # type: ignore[dict-item]

    class Config(Hyperparameters):
        """Options."""

        smoothing: float = Field(default=0.0, description="Label smoothing.")

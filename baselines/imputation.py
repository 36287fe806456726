"""Imputation: concatenation in which absent inputs are filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mlabench.encoders import Encoder
from mlabench.fusion import JointHeadMethod
from mlabench.method import Batch, Hyperparameters, LabelledSplit, Progress, Task, present_only


class Imputation(JointHeadMethod):
    """Fills absent inputs with zeros or with the training mean, then proceeds as if nothing were missing.

    Source: the simplest remedies for missing modalities, the first that surveys list (Wu et al., arXiv
    2409.07825). Zeros in place of inputs are also what the released code of MLA (arXiv 2311.10707) gives to all
    its methods. The rest is ``concat``: ``z = W [h_1; ...; h_M] + b`` and the cross-entropy of ``z``.

    Unimodal logits: the modality's block of the head and its part of the bias, ``W_m h_m + b / M``.

    Absent modality: its feature is the encoder's response to the filling, the same for all samples.

    Deviation: the filling passes through the encoder in evaluation mode and without gradient, so that only
    real inputs train the encoder and enter its batch statistics. The head is trained on both.
    """

    title = "Imputation"
    paper = "https://arxiv.org/abs/2409.07825"
    version = 1

    class Config(Hyperparameters):
        """The default is what the released code of MLA does to absent inputs."""

        fill: Literal["zero", "mean"] = Field(
            default="zero",
            description="What stands for an absent input: 'zero' (MLA's released code), or 'mean' of the training "
            "split's present inputs, element by element (the usual alternative; floating-point inputs only).",
        )

    config: Config

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        for modality in task.modalities:
            #: Stands for an absent input; part of the state, since predictions depend on it. [*shape]
            self.register_buffer(f"filling_{modality}", torch.zeros(task.shapes[modality]))

    def on_epoch_start(self, progress: Progress, train: LabelledSplit, validation: LabelledSplit) -> None:  # noqa: ARG002
        """Gathers the means of the training inputs, once; refuses inputs without a mean, such as pictures in bytes."""
        if self.config.fill == "zero" or progress.epoch > 0:
            return
        totals = {m: torch.zeros(shape, dtype=torch.float64) for m, shape in self.task.shapes.items()}
        counts = dict.fromkeys(self.task.modalities, 0)
        for batch in train.labelled_batches():
            for modality in self.task.modalities:
                inputs = present_only(batch.inputs[modality], self.rows(batch, modality))
                if not inputs.is_floating_point():
                    raise ValueError(
                        f"fill: mean needs floating-point inputs, but those of {modality!r} are {inputs.dtype}; "
                        "use fill: zero."
                    )
                totals[modality] += inputs.sum(dim=0, dtype=torch.float64).cpu()
                counts[modality] += len(inputs)
        for modality, total in totals.items():
            self.get_buffer(f"filling_{modality}").copy_(total / max(counts[modality], 1))

    def encode(self, batch: Batch, encoders: nn.ModuleDict | None = None) -> dict[str, Tensor]:
        """Features of every modality, the filling's where it is absent. ``{modality: [B, d]}``."""
        features = super().encode(batch, encoders)
        for column, modality in enumerate(self.task.modalities):
            if self.rows(batch, modality) is not None:
                here = batch.present[:, [column]]  # [B, 1]
                features[modality] = torch.where(here, features[modality], self._encode_filling(batch, modality))
        return features

    @torch.no_grad()
    def _encode_filling(self, batch: Batch, modality: str) -> Tensor:
        """The encoder's response to the filling. ``[1, d]``."""
        encoder = cast(Encoder, self.encoders[modality])
        filling = self.get_buffer(f"filling_{modality}").to(batch.inputs[modality].dtype)
        training = encoder.training
        encoder.eval()
        feature: Tensor = encoder(filling.unsqueeze(0))
        encoder.train(training)
        return feature

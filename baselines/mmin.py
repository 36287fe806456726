"""MMIN: missing modality imagination network (ACL 2021)."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Dropout, Encoder
from mlabench.method import (
    Adam,
    AuthorsTraining,
    Batch,
    Hyperparameters,
    Method,
    Prediction,
    Stage,
    Task,
    UnfitOptimizers,
)


class MMIN(Method):
    """Imagines the embeddings of missing modalities from the available ones, and classifies on the way.

    Source: Zhao, Li, Jin, "Missing Modality Imagination Network for Emotion Recognition with Uncertain
    Missing Modalities", ACL 2021, and the authors' code (AIM3-RUC/MMIN, commit 69a45fe, IEMOCAP scripts).

    Stage ``teacher`` trains the encoders and a classifier on the concatenated embeddings. Stage
    ``imagination`` trains these encoders further and keeps a frozen copy of them, the teacher. Each sample
    hides some of its modalities, drawn each time. From the embeddings ``f`` of the available ones, a
    cascade of residual autoencoders (*forward*) imagines ``g``, the teacher's embeddings of the hidden
    ones; a second cascade (*backward*) leads from there back to ``f``. The class is read off the codes
    ``l`` of the forward cascade, the only part that prediction uses:

        L = CE(classifier(l)) + 4 MSE(forward(f), g) + 2 MSE(backward(forward(f)), stopgrad(f))

    Unimodal logits: the prediction when that modality alone is available.

    Absent modality: its embedding is zero, as if it were hidden, but it is never a target.

    Deviations:

    * Any number of modalities, and training data that really lack some: the available modalities are
      drawn uniformly from the proper non-empty subsets of what the sample has (a sample with one modality
      keeps it and, having nothing to imagine, counts in the cross-entropy alone), and both MSE are means over
      the positions of modalities that the other samples have. The published training data are complete.
    * An unavailable modality is the zero embedding, in ``f`` and in ``g``. The published code feeds a zero
      *input*, whose embedding is some constant; here encoders see present samples only, so that an
      absent input cannot reach batch statistics.
    * The two stages share the budget of epochs that other methods have, in the published proportion.
    * Embedding widths are those of the given encoders (published: 128 each).
    * Optimiser and schedule are the suite's. Published: Adam, learning rate 2e-4, beta_1 0.5, gradient
      norms clipped per sub-network.
    """

    title = "MMIN"
    paper = "https://aclanthology.org/2021.acl-long.203"
    version = 4
    claims = ("withstands missing modalities",)
    authors_training = AuthorsTraining(
        optimizer=(Adam(lr=2e-4, betas=(0.5, 0.999)), "scripts/CAP_mmin.sh at 69a45fe and the options' defaults"),
        batch_size=(128, "scripts/CAP_mmin.sh"),
        clip_norm=(1.0, "models/mmin_model.py, there for each network by itself"),
        epochs=(80, "scripts/CAP_utt_fusion.sh and CAP_mmin.sh: 20 and 60, half of each with a falling rate"),
    )
    unfit_optimizers = UnfitOptimizers(
        names=("sgd",),
        reason="the cascade hardly learns: on stamps, validation stays at the majority class with a rate of 1e-3.",
    )

    class Config(Hyperparameters):
        """Defaults are those of the authors' IEMOCAP scripts."""

        teacher_share: float = Field(
            default=0.25, gt=0, lt=1, description="Share of the epochs spent on the teacher (published: 20 of 80)."
        )
        imagination_weight: float = Field(
            default=4.0,
            ge=0,
            json_schema_extra={"tune": {"low": 0.4, "high": 40.0, "log": True}},
            description="Weight of the forward MSE (IEMOCAP: 4).",
        )
        cycle_weight: float = Field(
            default=2.0,
            ge=0,
            json_schema_extra={"tune": {"low": 0.2, "high": 20.0, "log": True}},
            description="Weight of the backward MSE (IEMOCAP: 2).",
        )
        blocks: int = Field(default=5, ge=1, description="Residual autoencoders in a cascade (IEMOCAP: 5).")
        autoencoder: tuple[int, ...] = Field(
            default=(256, 128, 64), min_length=1, description="Layers of an autoencoder, the last its code (IEMOCAP)."
        )
        classifier: tuple[int, ...] = Field(default=(128, 128), description="Hidden layers of a classifier (IEMOCAP).")
        teacher_dropout: float = Field(
            default=0.3, ge=0, lt=1, description="Dropout in the teacher's classifier (IEMOCAP: 0.3)."
        )
        dropout: float = Field(
            default=0.5,
            ge=0,
            lt=1,
            json_schema_extra={"tune": {"low": 0.0, "high": 0.7}},
            description="Dropout in the final classifier (IEMOCAP: 0.5).",
        )

    config: Config
    imagining: Tensor
    subsets: Tensor
    owner: Tensor

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        widths = [encoders[modality].width for modality in task.modalities]
        width, classes = sum(widths), len(task.classes)
        self.teacher_classifier = classifier(width, config.classifier, classes, config.teacher_dropout)
        self.teacher_encoders = copy.deepcopy(self.encoders).requires_grad_(False)
        self.forward_imagination = Cascade(width, config.autoencoder, config.blocks)
        self.backward_imagination = Cascade(width, config.autoencoder, config.blocks)
        self.classifier = classifier(config.blocks * config.autoencoder[-1], config.classifier, classes, config.dropout)
        #: Whether the second stage has begun; part of the state, since predictions depend on it.
        self.register_buffer("imagining", torch.tensor(False))
        subsets = [subset for subset in product([False, True], repeat=len(widths)) if any(subset)]
        #: The non-empty sets of modalities. bool [2^M - 1, M]
        self.register_buffer("subsets", torch.tensor(subsets), persistent=False)
        #: The modality that each position of the concatenated embeddings belongs to. int64 [D]
        owner = torch.arange(len(widths)).repeat_interleave(torch.tensor(widths))
        self.register_buffer("owner", owner, persistent=False)

    def train(self, mode: bool = True) -> Self:
        """Keeps the teacher's copy in evaluation mode."""
        super().train(mode)
        self.teacher_encoders.eval()
        return self

    def stages(self, epochs: int) -> Sequence[Stage]:
        """The teacher's share first, the rest for imagination; one epoch at least for each."""
        teacher = min(max(1, round(self.config.teacher_share * epochs)), max(1, epochs - 1))
        return [Stage("teacher", teacher), Stage("imagination", max(1, epochs - teacher))]

    def on_stage_start(self, stage: Stage) -> None:
        """Copies the teacher before imagination starts, and leaves each stage its own parameters."""
        imagining = stage.name == "imagination"
        self.imagining.fill_(imagining)
        if imagining:
            self.teacher_encoders.load_state_dict(self.encoders.state_dict())
        self.teacher_classifier.requires_grad_(not imagining)
        for module in (self.forward_imagination, self.backward_imagination, self.classifier):
            module.requires_grad_(imagining)

    def loss(self, batch: Batch) -> Tensor:
        """The teacher's cross-entropy, or the three terms of imagination."""
        if not self.imagining:
            return F.cross_entropy(self._classify(concatenate(self.encode(batch))), batch.label)
        available = self.draw_available(batch.present)
        hidden = batch.present & ~available
        feature = concatenate(self.encode(dataclasses.replace(batch, present=available)))  # f [B, D]
        # No gradient: the teacher is frozen.
        target = concatenate(self.encode(dataclasses.replace(batch, present=hidden), self.teacher_encoders))  # g [B, D]
        imagined, code = self.forward_imagination(feature)
        recovered, _ = self.backward_imagination(imagined)
        # At available positions g is zero, as f is at hidden ones: otherwise f could pass straight through.
        real = (batch.present & hidden.any(dim=1, keepdim=True))[:, self.owner]  # [B, D]
        return (
            F.cross_entropy(self.classifier(code).float(), batch.label)
            + self.config.imagination_weight * masked_mse(imagined, target, real)
            + self.config.cycle_weight * masked_mse(recovered, feature.detach(), real)
        )

    def draw_available(self, present: Tensor) -> Tensor:
        """Draws the modalities left to each sample, uniformly over the proper non-empty subsets of what it has.

        Args:
            present: bool ``[B, M]``

        Returns:
            A subset of ``present``; all of it for a sample with one modality. bool ``[B, M]``
        """
        within = (self.subsets <= present.unsqueeze(1)).all(dim=2)  # [B, 2^M - 1]
        proper = self.subsets.sum(dim=1) < present.sum(dim=1, keepdim=True)
        alone = present.sum(dim=1, keepdim=True) == 1
        allowed = within & (proper | alone)
        return self.subsets[torch.multinomial(allowed.float(), 1).squeeze(1)]

    def predict(self, batch: Batch) -> Prediction:
        """The classifier of the current stage on all present modalities, and on each alone."""
        embedding = self.encode(batch)
        feature = concatenate(embedding)
        unimodal = {
            modality: self._classify(feature.masked_fill(self.owner != column, 0.0))
            for column, modality in enumerate(self.task.modalities)
        }
        return Prediction(self._classify(feature), unimodal, embedding)

    def _classify(self, feature: Tensor) -> Tensor:
        """Logits ``[B, C]`` of concatenated embeddings ``[B, D]``, zero where unavailable."""
        if self.imagining:
            logits: Tensor = self.classifier(self.forward_imagination.codes(feature))
        else:
            logits = self.teacher_classifier(feature)
        return logits.float()


class Cascade(nn.Module):
    """Cascaded residual autoencoders: ``c_b = encode_b(x_b)``, ``x_{b+1} = x_b + decode_b(c_b)``.

    Args:
        width: Width ``D`` of the concatenated embeddings.
        widths: Layers of each encoder; the decoders mirror them.
        blocks: Number of autoencoders.
    """

    def __init__(self, width: int, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        down = [width, *widths]
        self.encoders = nn.ModuleList(perceptron(down, nn.LeakyReLU()) for _ in range(blocks))
        self.decoders = nn.ModuleList(perceptron(down[::-1], nn.ReLU()) for _ in range(blocks))
        self.transition = perceptron([width, width, width], nn.ReLU())

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """The imagined embeddings ``[B, D]`` and all codes ``[B, blocks * widths[-1]]``."""
        feature, codes = self._up_to_last_code(feature)
        return self.transition(feature + self.decoders[-1](codes[-1])), torch.cat(codes, dim=1)

    def codes(self, feature: Tensor) -> Tensor:
        """The codes alone, as :meth:`forward` gives them; they need neither the last decoder nor the transition."""
        return torch.cat(self._up_to_last_code(feature)[1], dim=1)

    def _up_to_last_code(self, feature: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What the last autoencoder reads ``[B, D]``, and each one's code."""
        codes = [self.encoders[0](feature)]
        for decode, encode in zip(self.decoders[:-1], self.encoders[1:], strict=True):
            feature = feature + decode(codes[-1])
            codes.append(encode(feature))
        return feature, codes


def perceptron(widths: Sequence[int], activation: nn.Module) -> nn.Sequential:
    """Linear layers with an activation between them, none after the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), activation]
    return nn.Sequential(*layers[:-1])


def classifier(inputs: int, hidden: Sequence[int], classes: int, dropout: float) -> nn.Sequential:
    """Hidden layers, each with ReLU and dropout, and a linear layer to the classes."""
    layers: list[nn.Module] = []
    for outputs in hidden:
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), Dropout(dropout)]
        inputs = outputs
    return nn.Sequential(*layers, nn.Linear(inputs, classes))


def concatenate(features: Mapping[str, Tensor]) -> Tensor:
    """The embeddings of all modalities side by side. ``[B, D]``."""
    return torch.cat(list(features.values()), dim=1)


def masked_mse(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the entries of ``[B, D]`` where ``mask`` holds; 0 without any."""
    squared = (output.float() - target.float()).square()
    return squared.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)

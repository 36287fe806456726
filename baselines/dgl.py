"""DGL: disentangled gradient learning (ICCV 2025)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.fusion import JointHeadMethod, alone
from mlabench.method import SGD, AuthorsTraining, Batch, Hyperparameters, Prediction, Step


class DGL(JointHeadMethod):
    """Trains the head by the fused prediction alone, and each encoder by its own modality's prediction alone.

    Source: Wei, Luo, Luo, "Boosting Multimodal Learning via Disentangled Gradient Learning", ICCV 2025,
    arXiv 2507.10213, and the authors' code (shicaiwei123/ICCV2025-GDL, commit b72a55f, main_dgl.py and
    models/fusion_modules.py).

    A concatenation with one joint linear head. A modality's own prediction is that of the head when the features of
    all others are zero, ``z_m = W_m h_m + b``. With ``sg`` for what is held constant,

        L = CE(W sg[h_1; ...; h_M] + b) + alpha sum_m CE(sg(W_m) h_m + sg(b))

    so that fusion does not weaken the encoders' gradients, nor do the unimodal losses pull at the head.

    Unimodal logits: ``z_m``, the joint head on that modality alone, with its whole bias.

    Absent modality: its feature is zero in the joint head, and its own loss is a mean over the samples that have it.

    Deviations:

    * More than two modalities: the sum has a term for each (an extension; the released code has two).
    * Of the fusions in the paper, concatenation is here: the authors' scripts for audio and video use it.
    * Adam divides a gradient by its running magnitude, and no other loss reaches the encoders: ``alpha`` then does
      almost nothing, but the separation of the gradients stays. The published optimiser is SGD.
    """

    title = "DGL"
    paper = "https://arxiv.org/abs/2507.10213"
    version = 1
    claims = ("raises the weak modality",)
    authors_training = AuthorsTraining(
        optimizer=(
            SGD(lr=2e-3, momentum=0.9, weight_decay=1e-4),
            "cramed_dgl.sh (learning rate) and main_dgl.py at b72a55f",
        ),
        schedule=(Step(epochs=70, factor=0.1), "main_dgl.py at b72a55f: once, at epoch 70"),
        batch_size=(64, "main_dgl.py at b72a55f"),
        clip_norm=(40.0, "main_dgl.py at b72a55f"),
        epochs=(100, "main_dgl.py at b72a55f"),
    )

    class Config(Hyperparameters):
        """Defaults are those of the authors' command line."""

        alpha: float = Field(
            default=4.0,
            gt=0,
            json_schema_extra={"tune": {"low": 0.5, "high": 8.0, "log": True}},
            description="Weight of the unimodal losses (code: 4; scripts: CREMA-D 4 and 5, Kinetics-Sounds 2 and 3).",
        )

    config: Config

    def loss(self, batch: Batch) -> Tensor:
        """The fused loss on constant features, and the unimodal losses through a constant head."""
        embedding = self.encode(batch)
        fused = self.head.fused({modality: feature.detach() for modality, feature in embedding.items()})
        weight, bias = self.head.weight.detach(), self.head.bias.detach()
        blocks = torch.split(weight, self.head.widths, dim=1)  # M of [C, d_m]
        unimodal = {
            modality: F.linear(feature, block, bias).float()
            for (modality, feature), block in zip(embedding.items(), blocks, strict=True)
        }
        own = torch.stack(list(self.unimodal_losses(batch, unimodal).values())).sum()
        return F.cross_entropy(fused, batch.label) + self.config.alpha * own

    def predict(self, batch: Batch) -> Prediction:
        """The joint head on all modalities, and on each alone."""
        embedding = self.encode(batch)
        unimodal = {modality: self.head.fused(alone(embedding, modality)) for modality in self.task.modalities}
        return Prediction(self.head.fused(embedding), unimodal, embedding)

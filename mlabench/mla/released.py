"""MLA as its authors' released code trains and fuses it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mlabench.method import Claim
from mlabench.mla.dynamic_fusion import Fusion
from mlabench.mla.gradient_modification import Modification
from mlabench.mla.method import MLA


class MLAReleased(MLA):
    """MLA with the defaults of its released code: no gradient modification, one fusion weight per batch.

    Source: the code of Zhang, Yoon, Bansal, Yao (CVPR 2024, arXiv 2311.10707), commit ab6c184, run as published.
    Its plug-in for HGM looks for a parameter called ``module.weight``, is handed a bare linear layer, and so changes no
    gradient; the soft-max behind the fusion weights runs over the batch. README.md in this folder lists all differences
    from the paper and what each was measured to be worth.

    Unimodal logits: the shared head on that modality's feature.

    Absent modality: the sample takes no part in that modality's update. In the fusion the modality counts with the
    head's answer to a feature of zeros.

    Deviations: those of ``mla`` without an option. Batches are as long as in the released code, but hold the test
    split in this benchmark's order. The released code reports the best epoch on the test split; that is the suite's
    choice here (``training: {selection: best_test}``).
    """

    title = "MLA (released code)"
    paper = "https://arxiv.org/abs/2311.10707"
    version = 1
    claims: ClassVar[tuple[Claim, ...]] = ()  # the paper's are those of ``mla``
    predicts_per_sample = False

    class Config(MLA.Config):
        """Defaults are what the released code does, run as published with the torch version it pins."""

        gradient_modification: Modification = Field(
            default="none", description="See `mla`; the released code reaches none."
        )
        alpha_schedule: Literal["constant", "within_epoch"] = Field(
            default="within_epoch", description="See `mla`; without effect until gradients are modified."
        )
        idle_steps: bool = Field(default=True, description="See `mla`; the released code pins torch 1.8.")
        dynamic_fusion: Fusion = Field(default="batch", description="See `mla`; the released code's soft-max axis.")
        absent_votes: bool = Field(
            default=True, description="See `mla`; in the released code, absent modalities enter the fusion."
        )

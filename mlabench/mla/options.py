"""The options of MLA, apart from its algorithm: the paper's method and its published code differ in defaults only."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mlabench.hyperparameters import OrderedModalities

Modification = Literal["owm", "owm_frobenius", "released", "added", "ogd", "none"]
Fusion = Literal["sample", "batch", "average"]
AlphaSchedule = Literal["constant", "within_epoch"]


class MLAOptions(OrderedModalities):
    """Defaults are the paper's method, as far as its equations and figure determine it."""

    gradient_modification: Modification = Field(
        default="owm",
        description="How the gradient G of a head's weight is modified, HGM. 'owm': G P with P of orthogonal weight "
        "modification (the paper's recursion); 'owm_frobenius': P is scaled to unit Frobenius norm after every step; "
        "'released': the formula of the released code, which also divides element by element, as if it acted; "
        "'added': G + G P^T with that P (the port in BalanceBenchmark, commit 4c1482f); 'ogd': G without its part "
        "along the other modalities' last mean features (after Farajtabar et al. 2020); 'none': G.",
    )
    projector: Literal["current", "previous"] = Field(
        default="current",
        description="Which P modifies a gradient: 'current' has this batch's mean feature in it already "
        "(the order of the paper's recursion and of the released code), 'previous' has not "
        "(orthogonal weight modification proper: earlier modalities only). Of no effect on 'ogd' and 'none'.",
    )
    alpha: float = Field(
        default=0.1,
        gt=0,
        json_schema_extra={"tune": {"low": 0.01, "high": 1.0, "log": True}},
        description="Regulariser in P's denominator (released code: 0.1 at the start of each epoch).",
    )
    alpha_schedule: AlphaSchedule = Field(
        default="constant",
        description="'constant' (the paper's equations have no schedule), or 'within_epoch': "
        "alpha ** (1 + step / steps_per_epoch), the released code's 0.1 to 0.01 inside every epoch.",
    )
    head: Literal["shared", "own"] = Field(
        default="shared",
        description="One head for all modalities (the paper), or one for each; P is one in either case.",
    )
    order: Literal["given", "weak_to_strong"] | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        default="given",
        description="Order of the updates: 'given' by the dataset (the paper's figure cycles in a fixed order), "
        "the modalities' names, or 'weak_to_strong': after each epoch by decreasing training loss "
        "(arXiv 2506.00030 argues for it).",
    )
    idle_steps: bool = Field(
        default=False,
        description="Encoders that have had their turn take part in the rest of the batch's steps with a gradient of "
        "zero, so that momentum and weight decay move them (the released code under the torch 1.8 that it pins); "
        "otherwise a step leaves the other encoders alone (the paper, and that code from torch 2.0 on).",
    )
    dynamic_fusion: Fusion = Field(
        default="sample",
        description="Weights of the logits, DF. 'sample': by the entropy of each sample's class probabilities (the "
        "paper); 'batch': by the entropy of a soft-max over the batch, one weight per modality and batch (the released "
        "code; a prediction then depends on its neighbours); 'average': equal weights (the ablation).",
    )
    fusion_batch: int = Field(
        default=64,
        ge=1,
        description="For 'batch': how many consecutive samples share their weights (released code: its batch size).",
    )
    absent_votes: bool = Field(
        default=False,
        description="Absent modalities enter the fusion with the head's answer to a feature of zeros, its bias. In the "
        "released code they enter with the answer to an input of zeros; the paper fuses what is there.",
    )

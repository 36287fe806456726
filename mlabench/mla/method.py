"""MLA: Multimodal representation Learning with Alternating unimodal adaptation (CVPR 2024)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Annotated, ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.encoders import Encoder
from mlabench.fusion import softmax_weights, weighted_sum
from mlabench.hyperparameters import OrderedModalities
from mlabench.method import (
    SGD,
    AuthorsTraining,
    Batch,
    Claim,
    Method,
    Optimization,
    Prediction,
    Progress,
    Step,
    Task,
    UnfitOptimizers,
    present_only,
)
from mlabench.mla.dynamic_fusion import Fusion, fusion_scores
from mlabench.mla.gradient_modification import GradientModification, Modification, make_modification, norm_ratio


class MLA(Method):
    """Trains one modality at a time on a shared head, and fuses by certainty at test time.

    Source: Zhang, Yoon, Bansal, Yao, "Multimodal Representation Learning by Alternating Unimodal
    Adaptation", CVPR 2024, arXiv 2311.10707, and the code its authors released (commit ab6c184).

    Each mini-batch gives one update per modality in turn: the modality's encoder and the shared linear
    head descend on that modality's cross-entropy alone; no fused loss exists. The gradient of the head's
    weight, never of its bias, is first multiplied by a matrix that damps the directions of the mean
    features seen so far (HGM), and at test time the logits are weighted by certainty (DF).

    Unimodal logits: the shared head on that modality's feature.

    Absent modality: the sample takes no part in that modality's update, nor in its mean feature, and the
    fused prediction weighs the present modalities only. A batch without any sample that has the modality
    skips its update.

    Deviations: the released code differs from the paper. The defaults follow the paper; each difference that acts on
    results is an option (README.md in this folder lists them), and ``mla_released`` sets them all. No option has:

    * HGM starts with the first update, where the released code would leave the very first one as it is.
    * Without DF the average is plain, where the released code has weights chosen for each dataset.
    * Samples do not train a modality that they lack; in the released code an absent input is zeros, and trained on.
    * ``order`` is the dataset's; the released code has audio, visual, (text), and text before image.
    * The best epoch on the test split, which the released code reports, is the suite's choice
      (``training: {selection: best_test}``), not the method's.

    What HGM comes to: mean features scatter in all directions, so in time ``P`` damps all of them, not a few, and about
    as ``1 / t``: the shared head learns ever more slowly, until it stands still. The log ``hgm/norm_ratio`` says how
    far that has gone: the norm of the modified gradient over that of the plain one. Whether the paper ever
    resets ``P`` is not known (``reset``); ``isotropic`` and ``decay`` shrink the gradient without turning it.

    HGM assumes that the step is proportional to the gradient. SGD keeps that, up to momentum and weight
    decay (which act after HGM); Adam rescales each element of the modified gradient, which gives back
    much of the damping and turns the step out of the directions HGM left. A weight decay that is added to a gradient of
    almost nothing is all that Adam sees of it, and the head shrinks (``head_weight_decay``).

    With ``dynamic_fusion: batch``, unlike with any other option, a prediction depends on what is in its batch.
    """

    title = "MLA"
    paper = "https://arxiv.org/abs/2311.10707"
    version = 2
    claims: ClassVar[tuple[Claim, ...]] = ("raises the weak modality", "withstands missing modalities")
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=1e-3, weight_decay=1e-4), "main.py at ab6c184; the paper's appendix was not at hand"),
        schedule=(Step(epochs=70, factor=0.1), "main.py"),
        batch_size=(64, "main.py"),
        epochs=(100, "README"),
    )
    unfit_optimizers = UnfitOptimizers(
        names=("adam", "adamw"),
        reason="it rescales every element of a gradient, which gives back most of what HGM takes.",
        unless={"gradient_modification": ("none",)},
    )

    class Config(OrderedModalities):
        """Defaults are the paper's method, as far as its equations and figure determine it."""

        gradient_modification: Modification = Field(
            default="owm",
            description="How the gradient G of a head's weight is modified, HGM. 'owm': G P with P of orthogonal "
            "weight modification (the paper's recursion); 'owm_frobenius': P scaled to unit Frobenius norm every step; "
            "'released': the formula of the released code, which also divides element by element, as if it acted; "
            "'added': G + G P^T with that P (the port in BalanceBenchmark, commit 4c1482f); 'ogd': G without its part "
            "along the other modalities' last mean features (after Farajtabar et al. 2020); 'none': G. Two controls of "
            "ours: 'isotropic': G scaled to the norm of G P; 'decay': G / (1 + t / half_life) after t updates.",
        )
        half_life: float = Field(
            default=10.0, gt=0, description="For 'decay': after how many updates G is halved (the control is ours)."
        )
        reset: Literal["never", "epoch", "round"] = Field(
            default="never",
            description="When P starts from the identity again: 'never' (the released code; the paper is not known "
            "to), with each 'epoch', or with each 'round' over the modalities of a batch.",
        )
        head_weight_decay: bool = Field(
            default=True,
            description="Whether the optimiser's weight decay acts on the heads (the released code). It is added after "
            "HGM, and outweighs what HGM leaves of the gradient.",
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
        alpha_schedule: Literal["constant", "within_epoch"] = Field(
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
            description="Encoders that have had their turn take part in the rest of the batch's steps with a gradient "
            "of zero, so momentum and weight decay move them (the released code under the torch 1.8 that it pins); "
            "otherwise a step leaves the other encoders alone (the paper, and that code from torch 2.0 on).",
        )
        dynamic_fusion: Fusion = Field(
            default="sample",
            description="Weights of the logits, DF. 'sample': by the entropy of each sample's class probabilities "
            "(the paper); 'batch': by the entropy of a soft-max over the batch, one weight per modality and batch (the "
            "released code; a prediction then depends on its neighbours); 'average': equal weights (the ablation).",
        )
        fusion_batch: int = Field(
            default=64,
            ge=1,
            description="For 'batch': how many consecutive samples share weights (released code: its batch size).",
        )
        absent_votes: bool = Field(
            default=False,
            description="Absent modalities enter the fusion with the head's answer to a feature of zeros, its bias. In "
            "the released code they enter with the answer to an input of zeros; the paper fuses what is there.",
        )

    config: Config
    #: The modalities in the order of their turns, as columns. int64 ``[M]``
    places: Tensor

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        self.order = config.ordered(task.modalities)
        # The order is part of the state: a training that resumes goes on in it.
        self.register_buffer("places", torch.tensor([task.modalities.index(modality) for modality in self.order]))
        self.register_load_state_dict_post_hook(lambda *_: self._read_order())  # type: ignore[no-untyped-call]
        widths = {modality: encoders[modality].width for modality in task.modalities}
        if len(set(widths.values())) != 1:
            raise ValueError(f"MLA's shared head needs encoders of equal width, but they are {widths}.")
        width = widths[task.modalities[0]]
        names = task.modalities if config.head == "own" else ("shared",)
        self.heads = nn.ModuleDict({name: nn.Linear(width, len(task.classes)) for name in names})
        kind = config.gradient_modification
        self.gradient_modification = make_modification(kind, len(task.modalities), width, config.half_life)

    def head(self, modality: str) -> nn.Linear:
        """The head that reads a modality's feature ``[n, d]``."""
        return cast(nn.Linear, self.heads[modality if self.config.head == "own" else "shared"])

    def undecayed(self) -> Iterable[nn.Parameter]:
        """The heads, if so configured."""
        return () if self.config.head_weight_decay else self.heads.parameters()

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        """One update per modality, in turn. Logs each modality's loss, their mean, and what HGM leaves of gradients."""
        if self.gradient_modification is not None and self._starts_again(optimization.progress):
            self.gradient_modification.reset()
        losses: dict[str, Tensor] = {}
        ratios: list[Tensor] = []
        for modality in self.order:
            feature, rows = self.encode_present(batch, modality)  # [n, d]
            if len(feature) == 0:
                continue
            loss = F.cross_entropy(self.head(modality)(feature).float(), present_only(batch.label, rows))
            mean_feature = feature.detach().float().mean(dim=0)  # [d]
            earlier = tuple(losses) if self.config.idle_steps else ()
            change = partial(self._change_gradients, modality, mean_feature, earlier, optimization.progress, ratios)
            optimization.update(loss, change)
            losses[modality] = loss.detach()
        mean_loss = torch.stack(list(losses.values())).mean()
        logs = {"loss": mean_loss, **{f"loss/{modality}": loss for modality, loss in losses.items()}}
        return {**logs, "hgm/norm_ratio": torch.stack(ratios).mean()} if ratios else logs

    def _starts_again(self, progress: Progress) -> bool:
        """Whether ``P`` is reset before this batch."""
        return self.config.reset == "round" or (self.config.reset == "epoch" and progress.step == 0)

    def _change_gradients(
        self, modality: str, mean_feature: Tensor, idle: tuple[str, ...], progress: Progress, ratios: list[Tensor]
    ) -> None:
        """Modifies the gradient of the head, and gives idle encoders one of zero, if so configured."""
        gradient = self.head(modality).weight.grad
        if self.gradient_modification is not None and gradient is not None:
            plain = gradient.clone()
            self._modify_head(modality, gradient, mean_feature, progress)
            ratios.append(norm_ratio(gradient, plain))
        for parameter in (parameter for name in idle for parameter in self.encoders[name].parameters()):
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)

    def _modify_head(self, modality: str, gradient: Tensor, mean_feature: Tensor, progress: Progress) -> None:
        """Takes in the batch's mean feature and modifies the head's weight gradient, in the configured order."""
        modification = cast(GradientModification, self.gradient_modification)
        alpha = self.config.alpha
        if self.config.alpha_schedule == "within_epoch":
            alpha **= 1 + progress.step / progress.steps_per_epoch
        index = self.task.modalities.index(modality)
        if self.config.projector == "previous":
            modification.modify(index, gradient)
            modification.update(index, mean_feature, alpha)
        else:
            modification.update(index, mean_feature, alpha)
            modification.modify(index, gradient)

    def on_epoch_end(self, logs: Mapping[str, float]) -> None:
        """Puts the modalities in the order of decreasing training loss, if so configured."""
        if self.config.order == "weak_to_strong":
            # A modality that no sample had is skipped wherever it stands.
            weak_first = sorted(self.order, key=lambda modality: -logs.get(f"loss/{modality}", 0.0))
            self.places.copy_(torch.tensor([self.task.modalities.index(modality) for modality in weak_first]))
            self._read_order()

    def _read_order(self) -> None:
        """The order as names, so that no step has to ask the device for it."""
        self.order = tuple(self.task.modalities[place] for place in self.places.tolist())

    def predict(self, batch: Batch) -> Prediction:
        """The head on every modality, fused by certainty or averaged.

        The weights that are reported are shares among the modalities that a sample has, even if absent ones count.
        """
        embedding, unimodal = self.read_out(batch, self.head)
        logits, counted = torch.stack(list(unimodal.values()), dim=1), batch.present  # [B, M, C], [B, M]
        if self.config.absent_votes:
            bias = torch.stack([self.head(modality).bias for modality in self.task.modalities]).float()
            logits, counted = torch.where(counted.unsqueeze(-1), logits, bias), torch.ones_like(counted)
        scores = fusion_scores(self.config.dynamic_fusion, logits, counted, self.config.fusion_batch)
        fused = weighted_sum(logits, softmax_weights(scores, counted))
        return Prediction(fused, unimodal, embedding, weight=softmax_weights(scores, batch.present))

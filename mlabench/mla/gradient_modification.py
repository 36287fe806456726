"""MLA's gradient modification of the head (HGM in the paper's ablation), and what has been published in its place."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

Modification = Literal["owm", "owm_frobenius", "released", "added", "ogd", "isotropic", "decay", "none"]


class GradientModification(nn.Module):
    """Remembers the mean features of mini-batches and changes gradients ``[C, d]`` of heads ``z = W h + b``."""

    @abstractmethod
    def update(self, modality: int, mean_feature: Tensor, alpha: float) -> None:
        """Takes in a mean feature ``h_t [d]`` of the modality with this index; ``alpha > 0`` is the regulariser."""
        raise NotImplementedError

    @abstractmethod
    def modify(self, modality: int, gradient: Tensor) -> None:
        """Changes the gradient ``[C, d]`` of a step on ``modality``, in place."""
        raise NotImplementedError

    @abstractmethod
    def reset(self) -> None:
        """Forgets all mean features."""
        raise NotImplementedError


class Projector(GradientModification):
    """Multiplies gradients by a matrix that damps the directions of the mean features seen so far.

    The matrix ``P`` is the one of orthogonal weight modification (Zeng et al. 2019) for a single linear
    layer, computed by recursive least squares from the mean features ``h_t`` of successive mini-batches:

        P_0 = I
        P_t = P_{t-1} - (P_{t-1} h_t)(P_{t-1} h_t)^T / (alpha + h_t^T P_{t-1} h_t)
        G  <- G P_t

    For a constant ``alpha`` this is ``P_t = (I + H H^T / alpha)^-1`` with ``H = [h_1 ... h_t]``, so that the
    changed head still answers nearly as before to ``h_1 ... h_t``.

    Args:
        width: Feature width ``d``.
        unit_norm: Whether ``P_t`` is divided by its Frobenius norm, which makes ``G`` smaller by about
            ``1 / sqrt(d)`` and the recursion's next ``P_{t-1}`` likewise.
    """

    projector: Tensor

    def __init__(self, width: int, *, unit_norm: bool = False) -> None:
        super().__init__()
        self.unit_norm = unit_norm
        self.register_buffer("projector", torch.eye(width))

    @torch.no_grad()
    def update(self, modality: int, mean_feature: Tensor, alpha: float) -> None:  # noqa: ARG002  (one P for all)
        """Folds one mean feature into ``P``; the smaller ``alpha``, the more completely it is removed."""
        # Half precision would destroy P within a few steps: mixed precision stops here.
        with torch.autocast(mean_feature.device.type, enabled=False):
            self._fold(mean_feature.to(self.projector.dtype), alpha)
            if self.unit_norm:
                self.projector /= torch.linalg.matrix_norm(self.projector)

    def _fold(self, mean_feature: Tensor, alpha: float) -> None:
        direction = self.projector @ mean_feature
        energy = mean_feature @ direction
        # h^T P h is positive. Where rounding says otherwise, nothing of h is left in P, and removing it
        # once more would only feed the rounding error until P is infinite.
        scale = torch.where(energy > 0, (alpha + energy).rsqrt(), 0.0)
        # One symmetric rank-one update; the scale stays on the device.
        direction *= scale
        self.projector.addr_(direction, direction, alpha=-1)

    @torch.no_grad()
    def modify(self, modality: int, gradient: Tensor) -> None:  # noqa: ARG002
        """Replaces ``G`` by ``G P``."""
        with torch.autocast(gradient.device.type, enabled=False):
            gradient.copy_(gradient.to(self.projector.dtype) @ self.projector)

    @torch.no_grad()
    def reset(self) -> None:
        """``P = I`` again."""
        self.projector.zero_().fill_diagonal_(1.0)


class Isotropic(Projector):
    """A control for :class:`Projector`: the gradient gets just as small, but keeps its direction.

    G <- G ||G P_t|| / ||G||
    """

    @torch.no_grad()
    def modify(self, modality: int, gradient: Tensor) -> None:  # noqa: ARG002
        """Scales ``G`` to the norm of ``G P``."""
        with torch.autocast(gradient.device.type, enabled=False):
            full = gradient.to(self.projector.dtype)
            gradient.copy_(full * norm_ratio(full @ self.projector, full))


class Decay(GradientModification):
    """A control for :class:`Projector`: the learning rate of the head's weight falls, whatever the features are.

        G <- G / (1 + t / half_life),   t: updates of a head so far

    In a direction of feature variance ``s``, ``P_t`` shrinks the gradient alike, with ``alpha / s`` for ``half_life``.

    Args:
        half_life: After how many updates the gradient is halved.
    """

    updates: Tensor

    def __init__(self, half_life: float) -> None:
        super().__init__()
        self.half_life = half_life
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, modality: int, mean_feature: Tensor, alpha: float) -> None:  # noqa: ARG002
        """Counts the update."""
        self.updates += 1

    @torch.no_grad()
    def modify(self, modality: int, gradient: Tensor) -> None:  # noqa: ARG002
        """Divides ``G``."""
        gradient /= 1 + self.updates / self.half_life

    @torch.no_grad()
    def reset(self) -> None:
        """Counts from zero again."""
        self.updates.zero_()


class ReleasedProjector(Projector):
    """The formula of MLA's released code (commit ab6c184), which there is never reached.

        k   = P_{t-1} h_t
        P_t = P_{t-1} - k k^T / (alpha + k h_t^T)   element by element
        P_t = P_t / ||P_t||_F
        G  <- G P_t^T

    The denominator is a matrix where the recursion has a scalar, so ``P_t`` is neither symmetric nor
    positive, and near a zero of the denominator a few elements are all that is left of it.

    Args:
        width: Feature width ``d``.
        added: ``G <- G + G P_t^T`` instead, as in the port of BalanceBenchmark (commit 4c1482f).
    """

    def __init__(self, width: int, *, added: bool = False) -> None:
        super().__init__(width, unit_norm=True)
        self.added = added

    def _fold(self, mean_feature: Tensor, alpha: float) -> None:
        direction = self.projector @ mean_feature
        self.projector -= torch.outer(direction, direction) / (alpha + torch.outer(direction, mean_feature))

    @torch.no_grad()
    def modify(self, modality: int, gradient: Tensor) -> None:  # noqa: ARG002
        """Replaces ``G`` by ``G P^T``, or adds it."""
        with torch.autocast(gradient.device.type, enabled=False):
            product = gradient.to(self.projector.dtype) @ self.projector.T
            gradient.copy_(gradient + product if self.added else product)


class OrthogonalToOthers(GradientModification):
    """Takes out of a gradient what would change the answers to the other modalities' last mean features.

    Orthogonal gradient descent (Farajtabar, Azizan, Mott, Li, "Orthogonal Gradient Descent for Continual
    Learning", AISTATS 2020, arXiv 1910.07104) keeps a step orthogonal to stored gradients of the model's
    outputs on earlier tasks. Of a linear head, the gradient of output ``c`` on a feature ``h`` is ``e_c h^T``, so
    a step is orthogonal to those of all outputs if ``G h = 0``. Here the tasks are the modalities, and what is stored
    of each is the mean feature ``h_j`` of its last mini-batch:

        G <- G - G H^+ H,   the rows of H: h_j of all modalities j but the one whose turn it is

    Unlike :class:`Projector` it forgets older mini-batches, removes at most ``M - 1`` directions, and these
    entirely.

    Args:
        modalities: Their number ``M``.
        width: Feature width ``d``.
    """

    last: Tensor

    def __init__(self, modalities: int, width: int) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(modalities, width))

    @torch.no_grad()
    def update(self, modality: int, mean_feature: Tensor, alpha: float) -> None:  # noqa: ARG002  (no regulariser)
        """Stores the mean feature in place of the modality's former one."""
        self.last[modality] = mean_feature

    @torch.no_grad()
    def modify(self, modality: int, gradient: Tensor) -> None:
        """Projects ``G`` onto the complement of the other modalities' mean features; zeros stand for none yet."""
        with torch.autocast(gradient.device.type, enabled=False):
            others = torch.cat([self.last[:modality], self.last[modality + 1 :]])  # [M - 1, d]
            full = gradient.to(others.dtype)
            gradient.copy_(full - full @ torch.linalg.pinv(others) @ others)

    @torch.no_grad()
    def reset(self) -> None:
        """Nothing has been seen."""
        self.last.zero_()


def norm_ratio(changed: Tensor, gradient: Tensor) -> Tensor:
    """``||changed|| / ||gradient||`` in float32 or better; 1 if there is no gradient. Stays on the device."""
    norms = [
        torch.linalg.vector_norm(value if value.dtype == torch.float64 else value.float())
        for value in (changed, gradient)
    ]
    return torch.where(norms[1] > 0, norms[0] / norms[1], 1.0)


def make_modification(
    kind: Modification, modalities: int, width: int, half_life: float = 10.0
) -> GradientModification | None:
    """The modification called ``kind``; None for ``none``. ``half_life`` is that of ``decay``."""
    match kind:
        case "owm" | "owm_frobenius":
            return Projector(width, unit_norm=kind == "owm_frobenius")
        case "released" | "added":
            return ReleasedProjector(width, added=kind == "added")
        case "ogd":
            return OrthogonalToOthers(modalities, width)
        case "isotropic":
            return Isotropic(width)
        case "decay":
            return Decay(half_life)
        case "none":
            return None

"""The contract that every multimodal learning method implements.

A method is one class in one file, registered under the entry-point group ``mlabench.methods``.
Most methods write :meth:`Method.loss` and :meth:`Method.predict` and nothing else.

Letters in shapes: ``B`` samples in a batch, ``M`` modalities, ``C`` classes, ``d`` feature width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Protocol, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mlabench.authors import AuthorsTraining, UnfitOptimizers
from mlabench.datasets import Task
from mlabench.encoders import Encoder
from mlabench.hyperparameters import Hyperparameters
from mlabench.optimizers import SGD, Adam, AdamW, Constant, Cosine, Step

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "AuthorsTraining",
    "Batch",
    "Claim",
    "Constant",
    "Cosine",
    "Hyperparameters",
    "LabelledSplit",
    "Limit",
    "Method",
    "Optimization",
    "Prediction",
    "Progress",
    "Stage",
    "Step",
    "Task",
    "UnfitOptimizers",
    "absent_as_zero",
    "present_only",
]


@dataclass(frozen=True)
class Batch:
    """Samples on their way to a method.

    Attributes:
        inputs: One tensor ``[B, ...]`` per modality. Rows of absent modalities hold no information.
        present: Which modalities each sample has; columns in the order of ``task.modalities``. bool ``[B, M]``
        label: Class indices. int64 ``[B]``
        index: Position of each sample in its split. int64 ``[B]``
    """

    inputs: Mapping[str, Tensor]
    present: Tensor
    label: Tensor
    index: Tensor
    # Not carried over by `dataclasses.replace`: another pattern has other rows, and other inputs have other features.
    _rows: list[Tensor | None] = field(default_factory=list, init=False, repr=False, compare=False)
    _features: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def with_rows(
        cls,
        inputs: Mapping[str, Tensor],
        present: Tensor,
        label: Tensor,
        index: Tensor,
        rows: Sequence[Tensor | None],
    ) -> Self:
        """A batch whose :meth:`rows` of all columns are known already, so that no device has to be asked for them."""
        batch = cls(inputs, present, label, index)
        batch._rows.extend(rows)
        return batch

    def with_features(self, features: Mapping[str, Tensor]) -> Self:
        """The same samples, of which :meth:`Method.encode_present` has the ``features`` already.

        Args:
            features: What the method's own encoders give of each sample, in evaluation mode; anything where the
                modality is absent. ``{modality: [B, d]}``
        """
        batch = replace(self)
        batch._rows.extend(self._rows)
        batch._features.update(features)
        return batch

    def rows(self, column: int) -> Tensor | None:
        """Indices of the samples that have the modality of a column, or None when all of them do. int64 ``[n]``."""
        if not self._rows:
            self._rows.extend(rows_where(here) for here in self.present.T)
        return self._rows[column]


@dataclass(frozen=True)
class Prediction:
    """What a method says about a batch; logits everywhere.

    Rows of an absent modality in ``unimodal``, ``embedding`` and ``weight`` are never read.

    Attributes:
        fused: Logits from all present modalities together. ``[B, C]``
        unimodal: Logits from each modality alone. ``{modality: [B, C]}``
        embedding: Encoder outputs. ``{modality: [B, d]}``
        weight: Share of each modality in the fused prediction, if the method has such a thing. ``[B, M]``
    """

    fused: Tensor
    unimodal: dict[str, Tensor]
    embedding: dict[str, Tensor]
    weight: Tensor | None = None


@dataclass(frozen=True)
class Progress:
    """Where training stands, counted from zero within the current stage."""

    epoch: int
    epochs: int
    step: int
    steps_per_epoch: int


@dataclass(frozen=True)
class Stage:
    """One part of a method's training. Each stage has its own optimiser and, as a rule, selects its own epoch.

    Attributes:
        name: Shown in the progress display and in the learning curves.
        epochs: Passes over the training split.
        selects: Whether it ends with the epoch that the suite selects; if not, with its last, whatever the patience.
    """

    name: str
    epochs: int
    selects: bool = True


#: What a method may be unable to do; see :attr:`Method.limits`.
Limit = Literal["more than two modalities", "missing in training", "missing at test"]

#: What a method's source claims of it, against concatenation; see :attr:`Method.claims`.
Claim = Literal["raises the weak modality", "withstands missing modalities"]


class LabelledSplit(Protocol):
    """A split that a method may look at between epochs: the training or the validation split, never the test split."""

    def __len__(self) -> int: ...

    def labelled_batches(self, rows: Tensor | None = None) -> Iterator[Batch]:
        """Samples in large batches, with their labels.

        Args:
            rows: Which samples, in this order; int64 ``[n]`` on the CPU. None for all, in the split's order.
        """


class Optimization(Protocol):
    """What :meth:`Method.training_step` uses to change the parameters."""

    progress: Progress

    def update(self, loss: Tensor, before_step: Callable[[], None] | None = None) -> None:
        """One update: clear gradients, back-propagate ``loss``, call ``before_step``, step the optimiser.

        If the training has a ``clip_norm``, gradients are clipped between the last two.

        Parameters that ``loss`` does not reach have no gradient and stay untouched.

        Args:
            loss: A scalar.
            before_step: Called when the gradients are there, to modify them in place.
        """

    def restart(self) -> None:
        """Forgets momentum and moment estimates, as a new optimiser would; the learning rate stays."""


class Method(nn.Module):
    """A multimodal learning method: encoders, heads, a training step and a prediction.

    The docstring of a method states its source, how its unimodal logits arise, and what an absent
    modality means to it.

    Args:
        task: What is to be learned.
        encoders: One encoder per modality, in the order of ``task.modalities``.
        config: The hyper-parameters.
        samples: Size of the training split, for methods that keep a value per sample.
    """

    class Config(Hyperparameters):
        """The method's hyper-parameters; each description cites the source of its default."""

    config: Hyperparameters
    #: Name used in tables.
    title: ClassVar[str] = ""
    #: Link to the paper.
    paper: ClassVar[str] = ""
    #: Increase it whenever a change to the code changes results; trials of older versions then run again.
    version: ClassVar[int] = 1
    #: What the method cannot do, each with the sentence in which a plan refuses such a trial.
    limits: ClassVar[Mapping[Limit, str]] = {}
    #: What its source claims of it, for ``suites/verify.yaml`` to check on data made for that.
    claims: ClassVar[tuple[Claim, ...]] = ()
    #: The training its source uses, for suites that say ``training: authors``; None if the source does not say.
    authors_training: ClassVar[AuthorsTraining | None] = None
    #: Optimisers that neutralise it; plans and reports mark such a training.
    unfit_optimizers: ClassVar[UnfitOptimizers | None] = None
    #: Whether a sample's prediction is the same whatever shares its batch. False is for reproducing published code
    #: that is not so: its scores depend on the batch size of the evaluation, as listings say.
    predicts_per_sample: ClassVar[bool] = True
    #: Whether a modality's features of a sample are the same whatever else of the sample, and of its batch, is there.
    #: An evaluation then encodes each sample once and predicts it under every pattern from the stored features. False
    #: is for a method whose encoders see several modalities, or change while it predicts: each pattern is encoded anew.
    encodes_per_sample: ClassVar[bool] = True

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Hyperparameters, samples: int) -> None:
        super().__init__()
        for modality in task.modalities:
            if hasattr(nn.ModuleDict, modality):
                raise ValueError(f"torch has a meaning of its own for {modality!r}; call this modality otherwise.")
        self.task = task
        self.config = config
        self.samples = samples
        self.encoders = nn.ModuleDict(dict(encoders))

    # -- to implement ---------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Tensor:
        """The scalar training loss, for methods that take one optimiser step per batch."""
        raise NotImplementedError(f"{type(self).__name__} implements neither loss nor training_step")

    @abstractmethod
    def predict(self, batch: Batch) -> Prediction:
        """Logits for a batch; called in evaluation mode without gradients.

        A sample's prediction depends on its own present modalities only (see :attr:`predicts_per_sample`).
        """
        raise NotImplementedError

    # -- optional hooks -------------------------------------------------------------------------

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        """One batch of training. Returns detached scalars to log; ``loss`` should be among them."""
        loss = self.loss(batch)
        optimization.update(loss)
        return {"loss": loss.detach()}

    def stages(self, epochs: int) -> Sequence[Stage]:
        """How the budget of ``epochs`` passes over the data is spent."""
        return [Stage("train", epochs)]

    def on_stage_start(self, stage: Stage) -> None:
        """Called before the optimiser of ``stage`` is made; may freeze or copy parameters."""

    def on_epoch_start(self, progress: Progress, train: LabelledSplit, validation: LabelledSplit) -> None:
        """Called before each epoch, for what needs more than a mini-batch, such as prototypes or diagnoses.

        A method that uses the labels of ``validation`` says so in its docstring. The mode (training or evaluation)
        in which this hook leaves the method does not matter.
        """

    def on_epoch_end(self, logs: Mapping[str, float]) -> None:
        """Called after each epoch with the epoch's mean of what :meth:`training_step` returned."""

    def undecayed(self) -> Iterable[nn.Parameter]:
        """Parameters that the optimiser's weight decay leaves alone; asked for whenever a stage's optimiser is made."""
        return ()

    # -- for use by methods ---------------------------------------------------------------------

    def rows(self, batch: Batch, modality: str) -> Tensor | None:
        """Indices of the samples that have ``modality``, or None when all of them do. int64 ``[n]``."""
        return batch.rows(self.task.modalities.index(modality))

    def encode_present(
        self, batch: Batch, modality: str, encoders: nn.ModuleDict | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Encodes the samples that have ``modality``, so that absent inputs never reach the encoder.

        If no sample has it, the encoder does not run: its statistics stay as they are, and its parameters
        get no gradient rather than a zero one, which would let momentum and weight decay move them. Nor does it run
        where features are stored (see :attr:`encodes_per_sample`).

        Args:
            batch: The samples.
            modality: Which one to encode.
            encoders: Others than the method's own, e.g. a teacher's.

        Returns:
            The features ``[n, d]`` and the rows ``[n]`` they belong to (None: all ``B`` rows).
        """
        rows = self.rows(batch, modality)
        encoder = cast(Encoder, (encoders or self.encoders)[modality])
        if rows is not None and len(rows) == 0:
            return torch.zeros(0, encoder.width, device=rows.device), rows
        if modality in batch._features and (encoders is None or encoders is self.encoders):
            return present_only(batch._features[modality], rows), rows
        feature: Tensor = encoder(present_only(batch.inputs[modality], rows))
        return feature, rows

    def encode(self, batch: Batch, encoders: nn.ModuleDict | None = None) -> dict[str, Tensor]:
        """Features of every modality, zeros where it is absent. ``{modality: [B, d]}``."""
        features = {}
        for modality in self.task.modalities:
            feature, rows = self.encode_present(batch, modality, encoders)
            features[modality] = absent_as_zero(feature, rows, len(batch))
        return features

    def read_out(self, batch: Batch, head: Callable[[str], nn.Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Features of every modality and what a head of its own, or a shared one, makes of them.

        Neither encoder nor head runs for a modality that no sample has (see :meth:`encode_present`).

        Args:
            batch: The samples.
            head: The head of a modality, features ``[n, d]`` to logits ``[n, C]``.

        Returns:
            ``{modality: [B, d]}`` and ``{modality: [B, C]}`` in float32, zeros where the modality is absent.
        """
        embedding, unimodal = {}, {}
        for modality in self.task.modalities:
            feature, rows = self.encode_present(batch, modality)
            none = feature.new_zeros(0, len(self.task.classes))
            logits = head(modality)(feature).float() if len(feature) > 0 else none
            embedding[modality] = absent_as_zero(feature, rows, len(batch))
            unimodal[modality] = absent_as_zero(logits, rows, len(batch))
        return embedding, unimodal

    def unimodal_losses(self, batch: Batch, unimodal: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The cross-entropy of each modality's logits, a mean over the samples that have it.

        Args:
            batch: The samples.
            unimodal: Logits, anything at absent modalities. ``{modality: [B, C]}``

        Returns:
            A scalar for every modality that some sample has.
        """
        losses = {}
        for modality, logits in unimodal.items():
            rows = self.rows(batch, modality)
            if rows is None or len(rows) > 0:
                losses[modality] = F.cross_entropy(present_only(logits, rows), present_only(batch.label, rows))
        return losses


def rows_where(here: Tensor) -> Tensor | None:
    """Indices at which ``here`` (bool ``[B]``) holds, or None if it does everywhere. int64 ``[n]``."""
    return None if bool(here.all()) else here.nonzero().squeeze(1)


def present_only(values: Tensor, rows: Tensor | None) -> Tensor:
    """The ``rows`` of ``values [B, ...]`` that :meth:`Method.encode_present` returned; all of them if None."""
    return values if rows is None else values[rows]


def absent_as_zero(values: Tensor, rows: Tensor | None, size: int) -> Tensor:
    """Scatters ``values [n, ...]`` to their ``rows`` of a zero tensor ``[size, ...]``."""
    if rows is None:
        return values
    return torch.zeros(size, *values.shape[1:], dtype=values.dtype, device=values.device).index_copy(0, rows, values)

"""A split as tensors on the device, under one missing pattern or many, and what a method predicts of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from statistics import fmean
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlabench.datasets import Split, StoredRows
from mlabench.method import Batch, Method, Prediction, absent_as_zero
from mlabench.training.devices.fabric import Fabric
from mlabench.training.devices.resident import on_device

#: Samples per batch when predicting, and how many input values such a batch holds at most.
PREDICTION_BATCH, PREDICTION_VALUES = 4096, 2**25
#: What a method sees in place of the label when it predicts.
HIDDEN_LABEL = -1


def prediction_batch(shapes: Iterable[Sequence[int]]) -> int:
    """Samples per batch when predicting from inputs of these shapes. It depends on nothing else, so results do not."""
    return max(1, min(PREDICTION_BATCH, PREDICTION_VALUES // sum(prod(shape) for shape in shapes)))


class Predictable(Protocol):
    """A split under one pattern, as :func:`predict` and :func:`accuracies` need it."""

    present: Tensor
    label: Tensor

    def prediction_batches(self) -> Iterator[Batch]:
        """All samples in order, in large batches, with every label hidden."""


class SplitTensors:
    """A split on the device, or on disk where its inputs are decoded pictures, sounds or texts.

    Features live on the device, and so does what is stored and fits on a GPU: a batch is an indexing operation. What
    stays on disk is read while the batch before it is worked on. Inputs of absent modalities are overwritten with
    zeros. ``present`` is the missing pattern, bool ``[N, M]``; its columns have the order of ``modalities``.
    """

    def __init__(
        self, split: Split, modalities: tuple[str, ...], present: NDArray[np.bool_], device: torch.device
    ) -> None:
        self.device = device
        self.modalities = modalities
        self._pattern = present
        self.present = torch.from_numpy(present).to(device)
        self.label = torch.from_numpy(split.labels).to(device)
        self._in_memory: dict[str, Tensor] = {}
        self._resident: dict[str, _ResidentRows] = {}
        self._on_disk: dict[str, tuple[StoredRows, NDArray[np.bool_]]] = {}
        shapes = []
        for column, modality in enumerate(modalities):
            values, here = split.inputs[modality], present[:, column]
            if isinstance(values, tuple):
                raise TypeError(f"the inputs of {modality!r} are not decoded")
            if not isinstance(values, StoredRows):
                self._in_memory[modality] = torch.from_numpy(_without_absent(values, here)).to(device)
                shapes.append(values.shape[1:])
                continue
            shapes.append(values.array.shape[1:])
            if (whole := on_device(values.array, device)) is not None:
                self._resident[modality] = _ResidentRows(
                    whole, torch.from_numpy(values.rows).to(device), self.present[:, column]
                )
            else:
                self._on_disk[modality] = (values, here)
        self._prediction_batch = prediction_batch(shapes)

    def __len__(self) -> int:
        return len(self.label)

    def training_batches(self, order: Tensor, batch_size: int) -> Iterator[Batch]:
        """The samples in the ``order`` (int64 ``[n]`` on the CPU), with their labels."""
        yield from self._batches(order, batch_size, self.label)

    def prediction_batches(self) -> Iterator[Batch]:
        """All samples in order, in large batches, with every label hidden."""
        hidden = torch.full_like(self.label, HIDDEN_LABEL)
        yield from self._batches(torch.arange(len(self)), self._prediction_batch, hidden)

    def encoded_batches(self, features: Sequence[Mapping[str, Tensor]], present: NDArray[np.bool_]) -> Iterator[Batch]:
        """Those of :meth:`prediction_batches` under another pattern ``[N, M]``, each with its ``features``.

        Inputs are read only if a method asks for them.
        """
        size, here = self._prediction_batch, torch.from_numpy(present).to(self.device)
        parts = torch.split(torch.arange(len(self)), size)
        rows = _rows_present(present, size, self.device)
        for part, own, stored in zip(parts, rows, features, strict=True):
            at = part.to(self.device)
            inputs = _WhenAsked(self.modalities, partial(self._inputs, part, here[at]))
            hidden = torch.full_like(at, HIDDEN_LABEL)
            yield Batch.with_rows(inputs, here[at], hidden, at, own).with_features(stored)

    def _inputs(self, part: Tensor, here: Tensor, modality: str) -> Tensor:
        """The inputs of a modality at the rows ``part``, with zeros where it is not ``here [n, M]``."""
        if modality in self._in_memory:
            values = self._in_memory[modality].index_select(0, part.to(self.device))
        elif modality in self._resident:
            values = self._resident[modality].read(part.to(self.device))
        else:
            values = self._read_one(modality, part).to(self.device)
        values[~here[:, self.modalities.index(modality)]] = 0
        return values

    def labelled_batches(self, rows: Tensor | None = None) -> Iterator[Batch]:
        """The samples at ``rows`` (int64 ``[n]`` on the CPU; None: all, in order), in large batches, with labels."""
        order = torch.arange(len(self)) if rows is None else rows
        yield from self._batches(order, self._prediction_batch, self.label)

    def _batches(self, order: Tensor, size: int, label: Tensor) -> Iterator[Batch]:
        """The samples in the ``order`` (on the CPU).

        What is known beforehand of all batches goes to the device at once: a GPU is never waited for in between.
        """
        parts = torch.split(order, size)
        rows = torch.split(order.to(self.device), size)
        here = _rows_present(self._pattern[order.numpy()], size, self.device)
        for at, read, own in zip(rows, self._read_ahead(parts), here, strict=True):
            inputs = {modality: values.index_select(0, at) for modality, values in self._in_memory.items()}
            inputs |= {modality: values.read(at) for modality, values in self._resident.items()}
            inputs |= {modality: values.to(self.device, non_blocking=True) for modality, values in read.items()}
            yield Batch.with_rows(inputs, self.present[at], label[at], at, own)

    def _read_ahead(self, parts: Sequence[Tensor]) -> Iterator[dict[str, Tensor]]:
        """What lies on disk of each of the ``parts``; the next one is read while one is worked on."""
        if not self._on_disk:
            yield from ({} for _ in parts)
            return
        with ThreadPoolExecutor(max_workers=1) as reader:
            ahead = reader.submit(self._read, parts[0])
            for part in parts[1:]:
                read = ahead.result()
                ahead = reader.submit(self._read, part)
                yield read
            yield ahead.result()

    def _read(self, part: Tensor) -> dict[str, Tensor]:
        return {modality: self._read_one(modality, part) for modality in self._on_disk}

    def _read_one(self, modality: str, part: Tensor) -> Tensor:
        rows, (values, here) = part.numpy(), self._on_disk[modality]
        own = torch.from_numpy(_without_absent(values.read(rows), here[rows]))
        return own.pin_memory() if self.device.type == "cuda" else own


@dataclass(frozen=True)
class _ResidentRows:
    """Rows ``[N]`` of an array that lives on the device, ``whole [R, *shape]``, and where they are present ``[N]``."""

    whole: Tensor
    rows: Tensor
    here: Tensor

    def read(self, at: Tensor) -> Tensor:
        """A copy of the rows ``at [n]``, with zeros where they are absent. ``[n, *shape]``"""
        values = self.whole.index_select(0, self.rows[at])
        return values.masked_fill_(~self.here[at].view(-1, *[1] * (values.dim() - 1)), 0)


class _WhenAsked(Mapping[str, Tensor]):
    """Inputs that are read when they are asked for, as they seldom are where features are stored."""

    def __init__(self, modalities: tuple[str, ...], read: Callable[[str], Tensor]) -> None:
        self._modalities, self._read = modalities, read

    def __getitem__(self, modality: str) -> Tensor:
        if modality not in self._modalities:
            raise KeyError(modality)
        return self._read(modality)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modalities)

    def __len__(self) -> int:
        return len(self._modalities)


class EncodedTensors:
    """A split under a pattern, whose samples a method has encoded before: see :class:`ManyPatterns`."""

    def __init__(
        self, split: SplitTensors, features: Sequence[Mapping[str, Tensor]], present: NDArray[np.bool_]
    ) -> None:
        self._split, self._features, self._pattern = split, features, present
        self.present = torch.from_numpy(present).to(split.device)
        self.label = split.label

    def prediction_batches(self) -> Iterator[Batch]:
        """As those of :class:`SplitTensors`, with features."""
        return self._split.encoded_batches(self._features, self._pattern)


@dataclass(frozen=True)
class ManyPatterns:
    """A split that is to be predicted under several ``patterns``, bool ``[N, M]`` each."""

    split: Split
    modalities: tuple[str, ...]
    patterns: Sequence[NDArray[np.bool_]]
    device: torch.device

    def under_each(self, method: Method, fabric: Fabric) -> Iterator[Predictable]:
        """The split under each pattern in turn; encoded once for all of them, if the method encodes per sample.

        What is absent under all patterns is not encoded.
        """
        if len(self.patterns) == 1 or not method.encodes_per_sample:
            for present in self.patterns:
                yield SplitTensors(self.split, self.modalities, present, self.device)
            return
        features = encode(method, self._whole, fabric)
        for present in self.patterns:
            yield EncodedTensors(self._whole, features, present)

    @cached_property
    def _whole(self) -> SplitTensors:
        anywhere = np.logical_or.reduce(list(self.patterns))
        return SplitTensors(self.split, self.modalities, anywhere, self.device)


def _rows_present(pattern: NDArray[np.bool_], size: int, device: torch.device) -> Iterator[tuple[Tensor | None, ...]]:
    """The rows of each batch that have each modality, as :meth:`mlabench.method.Batch.rows` gives them."""
    lengths = [min(size, len(pattern) - start) for start in range(0, len(pattern), size)]
    columns = []
    for here in pattern.T:
        (places,) = here.nonzero()
        counts = np.bincount(places // size, minlength=len(lengths)).tolist()
        parts = torch.split(torch.from_numpy(places % size).to(device), counts)
        columns.append(
            [None if count == length else part for part, count, length in zip(parts, counts, lengths, strict=True)]
        )
    return zip(*columns, strict=True)


def _without_absent(values: NDArray[np.generic], here: NDArray[np.bool_]) -> NDArray[np.generic]:
    """``values [n, ...]`` with zeros where the modality is not ``here [n]``; the argument is not changed."""
    if here.all():
        return values
    values = values.copy()
    values[~here] = 0
    return values


@dataclass(frozen=True)
class Outputs:
    """Predictions for a whole split, as float32 arrays; letters as in :class:`mlabench.method.Prediction`."""

    fused: NDArray[np.float32]
    unimodal: dict[str, NDArray[np.float32]]
    embedding: dict[str, NDArray[np.float32]]
    weight: NDArray[np.float32] | None


@torch.inference_mode()
def encode(method: Method, split: SplitTensors, fabric: Fabric) -> list[dict[str, Tensor]]:
    """What a method's encoders give of each of the split's prediction batches; zeros where a modality is absent."""

    def features(batch: Batch, modality: str) -> Tensor:
        # The contract's own, since what a method may do to features there it will do again to these.
        return absent_as_zero(*Method.encode_present(method, batch, modality), len(batch))

    method.eval()
    with fabric.autocast():
        return [{m: features(batch, m) for m in method.task.modalities} for batch in split.prediction_batches()]


@torch.inference_mode()
def predict(method: Method, split: Predictable, fabric: Fabric) -> Outputs:
    """Predictions of ``method`` for every sample of ``split``."""
    parts = _predictions(method, split, fabric)
    modalities = method.task.modalities
    weights = [part.weight for part in parts if part.weight is not None]
    return Outputs(
        fused=_join([part.fused for part in parts]),
        unimodal={modality: _join([part.unimodal[modality] for part in parts]) for modality in modalities},
        embedding={modality: _join([part.embedding[modality] for part in parts]) for modality in modalities},
        weight=_join(weights) if weights else None,
    )


@torch.inference_mode()
def accuracies(method: Method, split: Predictable, fabric: Fabric) -> dict[str, float]:
    """Fused accuracy (``multimodal``) and each modality's, over the samples where it is present."""
    parts = _predictions(method, split, fabric)
    correct = {"multimodal": torch.cat([part.fused.argmax(1) for part in parts]) == split.label}
    result = {"multimodal": correct["multimodal"].float().mean().item()}
    for column, modality in enumerate(method.task.modalities):
        right = torch.cat([part.unimodal[modality].argmax(1) for part in parts]) == split.label
        here = split.present[:, column]
        if here.any():
            result[modality] = right[here].float().mean().item()
    return result


def mean_accuracies(method: Method, splits: Iterable[Predictable], fabric: Fabric) -> dict[str, float]:
    """The mean of :func:`accuracies` over several patterns of a split; a modality's over those that have it."""
    each = [accuracies(method, split, fabric) for split in splits]
    names = dict.fromkeys(name for one in each for name in one)
    return {name: fmean(one[name] for one in each if name in one) for name in names}


def _predictions(method: Method, split: Predictable, fabric: Fabric) -> list[Prediction]:
    method.eval()
    with fabric.autocast():
        return [method.predict(batch) for batch in split.prediction_batches()]


def _join(parts: list[Tensor]) -> NDArray[np.float32]:
    array: NDArray[np.float32] = torch.cat(parts).float().cpu().numpy()
    return array

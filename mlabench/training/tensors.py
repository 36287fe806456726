"""A split as tensors on the device, under one missing pattern."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from statistics import fmean

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from mlabench.datasets import Split, StoredRows
from mlabench.method import Batch, Method, Prediction

#: Samples per batch when predicting, and how many input values such a batch holds at most.
PREDICTION_BATCH, PREDICTION_VALUES = 4096, 2**25
#: What a method sees in place of the label when it predicts.
HIDDEN_LABEL = -1


def prediction_batch(shapes: Iterable[Sequence[int]]) -> int:
    """Samples per batch when predicting from inputs of these shapes. It depends on nothing else, so results do not."""
    return max(1, min(PREDICTION_BATCH, PREDICTION_VALUES // sum(prod(shape) for shape in shapes)))


class SplitTensors:
    """A split on the device, or on disk where its inputs are decoded pictures, sounds or texts.

    Features live in memory, so a batch of them is an indexing operation; what lies on disk is read while the
    batch before it is worked on. Inputs of absent modalities are overwritten with zeros. ``present`` is the missing
    pattern, bool ``[N, M]``; its columns have the order of ``modalities``.
    """

    def __init__(
        self, split: Split, modalities: tuple[str, ...], present: NDArray[np.bool_], device: torch.device
    ) -> None:
        self.device = device
        self._pattern = present
        self.present = torch.from_numpy(present).to(device)
        self.label = torch.from_numpy(split.labels).to(device)
        self._in_memory: dict[str, Tensor] = {}
        self._on_disk: dict[str, tuple[StoredRows, NDArray[np.bool_]]] = {}
        shapes = []
        for column, modality in enumerate(modalities):
            values, here = split.inputs[modality], present[:, column]
            if isinstance(values, tuple):
                raise TypeError(f"the inputs of {modality!r} are not decoded")
            if isinstance(values, StoredRows):
                self._on_disk[modality] = (values, here)
                shapes.append(values.array.shape[1:])
            else:
                self._in_memory[modality] = torch.from_numpy(_without_absent(values, here)).to(device)
                shapes.append(values.shape[1:])
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
        here = self._rows_present(order, size, [len(part) for part in parts])
        for at, read, own in zip(rows, self._read_ahead(parts), here, strict=True):
            inputs = {modality: values.index_select(0, at) for modality, values in self._in_memory.items()}
            inputs |= {modality: values.to(self.device, non_blocking=True) for modality, values in read.items()}
            yield Batch.with_rows(inputs, self.present[at], label[at], at, own)

    def _rows_present(self, order: Tensor, size: int, lengths: Sequence[int]) -> Iterator[tuple[Tensor | None, ...]]:
        """The rows of each batch that have each modality, as :meth:`mlabench.method.Batch.rows` gives them."""
        columns = []
        for here in self._pattern[order.numpy()].T:
            (places,) = here.nonzero()
            counts = np.bincount(places // size, minlength=len(lengths)).tolist()
            parts = torch.split(torch.from_numpy(places % size).to(self.device), counts)
            columns.append(
                [None if count == length else part for part, count, length in zip(parts, counts, lengths, strict=True)]
            )
        return zip(*columns, strict=True)

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
        rows, read = part.numpy(), {}
        for modality, (values, here) in self._on_disk.items():
            own = torch.from_numpy(_without_absent(values.read(rows), here[rows]))
            read[modality] = own.pin_memory() if self.device.type == "cuda" else own
        return read


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
def predict(method: Method, split: SplitTensors, fabric: Fabric) -> Outputs:
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
def accuracies(method: Method, split: SplitTensors, fabric: Fabric) -> dict[str, float]:
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


def mean_accuracies(method: Method, splits: Sequence[SplitTensors], fabric: Fabric) -> dict[str, float]:
    """The mean of :func:`accuracies` over several patterns of a split; a modality's over those that have it."""
    each = [accuracies(method, split, fabric) for split in splits]
    names = dict.fromkeys(name for one in each for name in one)
    return {name: fmean(one[name] for one in each if name in one) for name in names}


def _predictions(method: Method, split: SplitTensors, fabric: Fabric) -> list[Prediction]:
    method.eval()
    with fabric.autocast():
        return [method.predict(batch) for batch in split.prediction_batches()]


def _join(parts: list[Tensor]) -> NDArray[np.float32]:
    array: NDArray[np.float32] = torch.cat(parts).float().cpu().numpy()
    return array

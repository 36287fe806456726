"""A split as tensors on the device, under one missing pattern."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from mlabench.datasets import Split
from mlabench.method import Batch, Method, Prediction

#: Samples per batch when predicting.
PREDICTION_BATCH = 4096
#: What a method sees in place of the label when it predicts.
HIDDEN_LABEL = -1


class SplitTensors:
    """Holds a split on the device; features live in memory, so a batch is an indexing operation.

    Inputs of absent modalities are overwritten with zeros.

    Args:
        split: The samples.
        modalities: In the order of the columns of ``present``.
        present: The missing pattern. bool ``[N, M]``
        device: Where the tensors go.
    """

    def __init__(
        self, split: Split, modalities: tuple[str, ...], present: NDArray[np.bool_], device: torch.device
    ) -> None:
        self.present = torch.from_numpy(present).to(device)
        self.label = torch.from_numpy(split.labels).to(device)
        self.index = torch.arange(len(split), device=device)
        self.inputs: dict[str, Tensor] = {}
        for column, modality in enumerate(modalities):
            array = split.inputs[modality]
            if not present[:, column].all():
                array = array.copy()
                array[~present[:, column]] = 0
            self.inputs[modality] = torch.from_numpy(array).to(device)

    def __len__(self) -> int:
        return len(self.label)

    def training_batch(self, rows: Tensor) -> Batch:
        """The samples at ``rows [B]``, with their labels."""
        inputs = {modality: values[rows] for modality, values in self.inputs.items()}
        return Batch(inputs, self.present[rows], self.label[rows], self.index[rows])

    def prediction_batches(self) -> Iterator[Batch]:
        """All samples in order, in large batches, with every label hidden."""
        for start in range(0, len(self), PREDICTION_BATCH):
            part = slice(start, start + PREDICTION_BATCH)
            inputs = {modality: values[part] for modality, values in self.inputs.items()}
            hidden = torch.full_like(self.label[part], HIDDEN_LABEL)
            yield Batch(inputs, self.present[part], hidden, self.index[part])


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
    method.eval()
    with fabric.autocast():
        parts = [method.predict(batch) for batch in split.prediction_batches()]
    modalities = method.task.modalities
    return Outputs(
        fused=_join([part.fused for part in parts]),
        unimodal={modality: _join([part.unimodal[modality] for part in parts]) for modality in modalities},
        embedding={modality: _join([part.embedding[modality] for part in parts]) for modality in modalities},
        weight=_join([part.weight for part in parts if part.weight is not None])
        if parts[0].weight is not None
        else None,
    )


@torch.inference_mode()
def accuracies(method: Method, split: SplitTensors, fabric: Fabric) -> dict[str, float]:
    """Fused accuracy (``multimodal``) and each modality's, over the samples where it is present."""
    method.eval()
    with fabric.autocast():
        parts: list[Prediction] = [method.predict(batch) for batch in split.prediction_batches()]
    correct = {"multimodal": torch.cat([part.fused.argmax(1) for part in parts]) == split.label}
    result = {"multimodal": correct["multimodal"].float().mean().item()}
    for column, modality in enumerate(method.task.modalities):
        right = torch.cat([part.unimodal[modality].argmax(1) for part in parts]) == split.label
        here = split.present[:, column]
        if here.any():
            result[modality] = right[here].float().mean().item()
    return result


def _join(parts: list[Tensor]) -> NDArray[np.float32]:
    array: NDArray[np.float32] = torch.cat(parts).float().cpu().numpy()
    return array

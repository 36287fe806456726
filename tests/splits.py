"""Splits of random samples, for tests of training."""

from __future__ import annotations

import torch

from mlabench.datasets import Split, Task
from mlabench.testing import make_batch
from mlabench.training.tensors import SplitTensors


def random_split(task: Task, size: int, *, missing: float, seed: int) -> SplitTensors:
    """Random inputs and labels, some modalities missing."""
    batch = make_batch(task, size, missing=missing, seed=seed)
    names = tuple(map(str, range(size)))
    inputs = {modality: values.numpy() for modality, values in batch.inputs.items()}
    content = Split(names, batch.label.numpy(), inputs, names)
    return SplitTensors(content, task.modalities, batch.present.numpy(), torch.device("cpu"))

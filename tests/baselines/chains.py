"""What the tests of FiLM and BiGated share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mlabench.method import Batch, Method

Array = NDArray[np.float64]

WIDTHS = [4, 6, 3, 5]


def linear(layer: Any, values: Array) -> Array:
    """A linear layer in NumPy."""
    weight, bias = (value.detach().double().numpy() for value in (layer.weight, layer.bias))
    return np.asarray(values @ weight.T + bias)


def features_of(method: Method, batch: Batch) -> dict[str, Array]:
    with torch.no_grad():
        return {m: method.encoders[m](x).double().numpy() for m, x in batch.inputs.items()}


def cross_entropy(z: Array, label: torch.Tensor) -> float:
    log_probability = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return float(-log_probability[np.arange(len(z)), label.numpy()].mean())

"""What the tests of FiLM and BiGated share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mlabench.method import Batch, Method
from mlabench.testing import make_batch

Array = NDArray[np.float64]

WIDTHS = [4, 6, 3, 5]

#: Numbers of modalities and their orders.
ORDERS: list[tuple[int, tuple[str, ...]]] = [
    (2, ()),
    (2, ("image", "audio")),
    (3, ()),
    (3, ("text", "image", "audio")),
    (4, ()),
]


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


def check_by_hand(
    method: Method,
    order: tuple[str, ...],
    by_hand: Callable[[Any, tuple[str, ...], dict[str, Array], dict[str, bool]], Array],
) -> None:
    """Prediction and loss of incomplete samples against ``by_hand(method, order, features, present)``, one by one."""
    names = method.task.modalities
    batch = make_batch(method.task, 12, missing=0.4)
    features = features_of(method, batch)
    with torch.no_grad():
        prediction, loss = method.predict(batch), method.loss(batch).item()
    fused = []
    for i in range(12):
        h = {m: value[i] for m, value in features.items()}
        present = {m: bool(batch.present[i, column]) for column, m in enumerate(names)}
        fused.append(by_hand(method, order or names, h, present))
        for m in names:
            alone = {other: value * (other == m) for other, value in h.items()}
            if present[m]:
                expected = by_hand(method, order or names, alone, dict.fromkeys(names, True))
                np.testing.assert_allclose(prediction.unimodal[m][i], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(prediction.fused, np.stack(fused), rtol=1e-4, atol=1e-5)
    assert loss == pytest.approx(cross_entropy(np.stack(fused), batch.label), rel=1e-5)

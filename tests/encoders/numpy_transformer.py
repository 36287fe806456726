"""A pre-norm transformer in float64 NumPy, written from the formulas, to compare the masked autoencoders with."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: The weights of a layer: matrix ``[in, out]`` (or scale ``[d]``) and bias.
Layer = tuple[Array, Array]


def gelu(values: Array) -> Array:
    error_function: Array = np.vectorize(math.erf)(values / math.sqrt(2))
    return values * 0.5 * (1 + error_function)


def gelu_tanh(values: Array) -> Array:
    tanh: Array = np.tanh(math.sqrt(2 / math.pi) * (values + 0.044715 * values**3))
    return 0.5 * values * (1 + tanh)


def layer_norm(tokens: Array, layer: Layer, epsilon: float) -> Array:
    scale, shift = layer
    centred: Array = tokens - tokens.mean(axis=-1, keepdims=True)
    deviation: Array = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    return centred / deviation * scale + shift


def block(
    tokens: Array,
    layers: Mapping[str, Layer],
    heads: int,
    epsilon: float,
    activation: Callable[[Array], Array],
    present: NDArray[np.bool_] | None = None,
) -> Array:
    """One sample: ``tokens [T, d]``, ``present [T]``; layers norm1, qkv, proj, norm2, fc1, fc2."""
    count, width = tokens.shape
    queries, keys, values = np.split(linear(layer_norm(tokens, layers["norm1"], epsilon), layers["qkv"]), 3, axis=1)
    attended = np.empty((count, width))
    for head in range(heads):
        part = slice(head * width // heads, (head + 1) * width // heads)
        for query in range(count):
            scores = keys[:, part] @ queries[query, part] / math.sqrt(width // heads)
            weights = np.exp(scores - scores.max())
            if present is not None:
                weights = weights * present
            attended[query, part] = weights / weights.sum() @ values[:, part]
    tokens = tokens + linear(attended, layers["proj"])
    hidden = activation(linear(layer_norm(tokens, layers["norm2"], epsilon), layers["fc1"]))
    return tokens + linear(hidden, layers["fc2"])


def linear(tokens: Array, layer: Layer) -> Array:
    matrix, bias = layer
    return tokens @ matrix + bias


def sines(position: float, width: int) -> Array:
    """Closed form: all sines, then all cosines, of frequencies 10000^(-2i/width)."""
    angles = [position / 10000 ** (2 * i / width) for i in range(width // 2)]
    return np.array([math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles])


def grid_sines(row: int, column: int, width: int) -> Array:
    return np.concatenate([sines(column, width // 2), sines(row, width // 2)])


def random_layers(generator: np.random.Generator, width: int) -> dict[str, Layer]:
    """A block's weights, large enough for every part of it to show in its output."""
    sizes = {"qkv": (width, 3 * width), "proj": (width, width), "fc1": (width, 4 * width), "fc2": (4 * width, width)}
    layers = {name: random_layer(generator, *size) for name, size in sizes.items()}
    return layers | {name: random_norm(generator, width) for name in ("norm1", "norm2")}


def random_layer(generator: np.random.Generator, inputs: int, outputs: int) -> Layer:
    return generator.normal(size=(inputs, outputs)) / math.sqrt(inputs), generator.normal(size=outputs)


def random_norm(generator: np.random.Generator, width: int) -> Layer:
    return generator.normal(1, 0.3, size=width), generator.normal(size=width)


def parameters(width: int, depth: int) -> int:
    """Number of parameters of the blocks and the last norm."""
    return depth * (12 * width**2 + 13 * width) + 2 * width


class RunsCode:
    """What a malicious checkpoint holds: unpickling it would create a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")

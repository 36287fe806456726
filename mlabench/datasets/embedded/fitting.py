"""What is fitted to the training samples of an embedded dataset: moments, weights of n-grams, principal components.

Every function takes the distinct rows ``[R, D]`` of a tensor and ``uses [R]``, how many training samples use each; a
row that none uses is transformed, and has no say in how. Sums are taken in double precision and results rounded to
:data:`GRID`, so that neither the number of threads nor the machine shows in them. Free of torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlabench.datasets.embedded.storage import Features

#: Results are multiples of this share of a standard deviation.
GRID = 2.0**-10
#: What varies less than this is taken for constant.
CONSTANT = 1e-6

Counts = NDArray[np.int64]
_Doubles = NDArray[np.float64]


def standardise(values: Features, uses: Counts) -> Features:
    """Mean 0 and standard deviation 1 per dimension, over the training samples. ``[R, D]``"""
    return _rounded(_standardise(values, uses))


def standardise_within(values: Features, uses: Counts, group: Counts) -> Features:
    """As :func:`standardise`, by the moments of each row's ``group [R]``, or of all rows where none of it is used."""
    result = standardise(values, uses)
    for number in np.unique(group[uses > 0]):
        own = group == number
        result[own] = standardise(values[own], uses[own])
    return result


def principal_components(values: Features, uses: Counts, components: int) -> Features:
    """The first principal components of the standardised values ``[R, D]``, on a common scale. ``[R, components]``

    They keep their proportions, so that a network starts from the directions that vary most, and have mean square 1 on
    the training samples. A component's largest loading is positive. Where the training samples span fewer
    dimensions, the rest is zero.
    """
    scaled, used = _standardise(values, uses), uses > 0
    own = scaled[used] * np.sqrt(uses[used] / uses.sum())[:, None]
    wide = own.shape[1] > len(own)  # then the inner products of the rows are the smaller matrix
    variances, vectors = np.linalg.eigh(own @ own.T if wide else own.T @ own)
    variances, vectors = variances[::-1][:components], vectors[:, ::-1][:, :components]
    kept = variances > CONSTANT * variances[0]
    directions = vectors[:, kept]
    if wide:
        directions = own.T @ directions / np.sqrt(variances[kept])
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[None], axis=0)
    projected = np.zeros((len(values), components))
    projected[:, : directions.shape[1]] = scaled @ (directions * np.sign(largest))
    return _rounded(projected / np.sqrt(variances[kept].mean()))


def weigh_ngrams(counts: Features, uses: Counts) -> Features:
    """Term frequency (dampened by a logarithm) times inverse document frequency, rows of unit length. ``[R, D]``

    A bucket tells the more, the fewer training samples have it: ``log((1 + N) / (1 + n)) + 1``.
    """
    having = uses @ (counts > 0)
    weights = np.log1p(counts) * (np.log((1 + uses.sum()) / (1 + having)) + 1)
    weighed: Features = weights / np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-9)
    return weighed


def _standardise(values: Features, uses: Counts) -> _Doubles:
    used = uses > 0
    own, weight = values[used].astype(np.float64), uses[used] / uses.sum()
    mean = weight @ own
    deviation = np.sqrt(weight @ (own - mean) ** 2)
    standardised: _Doubles = (values - mean) / np.where(deviation < CONSTANT, 1, deviation)
    return standardised


def _rounded(values: _Doubles) -> Features:
    return (np.rint(values / GRID) * GRID).astype(np.float32)

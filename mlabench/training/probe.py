"""One measure of encoders, however their method reads them out: a linear probe, and a picture of the embeddings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

#: Penalties of the probe, relative to the number of training samples; the validation split chooses.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def linear_probe(train: tuple[Floats, Labels], validation: tuple[Floats, Labels], test: Floats, classes: int) -> Floats:
    """Scores of a linear classifier on frozen embeddings, fitted by penalised least squares (ridge regression).

    It has a closed form, so it is exact, quick and free of choices but the penalty: the validation split chooses among
    :data:`PENALTIES` the strongest of equally good ones. Embeddings ``[N, d]`` are standardised with the training
    split's moments; the scores of ``test`` are ``[T, classes]``.
    """
    inputs, labels = torch.from_numpy(train[0]).double(), torch.from_numpy(train[1])
    deviation, mean = torch.std_mean(inputs, dim=0, correction=0)
    deviation = torch.where(deviation > 1e-9, deviation, torch.ones_like(deviation))

    def standardised(values: Tensor) -> Tensor:
        return (values.double() - mean) / deviation

    targets = torch.nn.functional.one_hot(labels, classes).double()
    offset = targets.mean(dim=0)
    inputs = standardised(inputs)
    eigenvalues, vectors = torch.linalg.eigh(inputs.T @ inputs)
    rotated = vectors.T @ (inputs.T @ (targets - offset))

    def weights(penalty: float) -> Tensor:
        result: Tensor = vectors @ (rotated / (eigenvalues.clamp_min(0) + penalty * len(labels)).unsqueeze(1))
        return result

    held_out, truth = standardised(torch.from_numpy(validation[0])), torch.from_numpy(validation[1])

    def accuracy(penalty: float) -> float:
        return float(((held_out @ weights(penalty) + offset).argmax(dim=1) == truth).double().mean())

    best = max(PENALTIES, key=lambda penalty: (accuracy(penalty), penalty))
    scores: Floats = (standardised(torch.from_numpy(test)) @ weights(best) + offset).float().numpy()
    return scores


def project(embeddings: Mapping[str, Floats]) -> dict[str, Floats]:
    """The first two principal components ``[N, 2]`` of all modalities' L2-normalised embeddings ``[N, d]`` together.

    The largest coefficient of each component is positive.
    """
    rows = {
        modality: torch.nn.functional.normalize(torch.from_numpy(values).double(), dim=1)
        for modality, values in embeddings.items()
    }
    together = torch.cat(list(rows.values()))
    mean = together.mean(dim=0)
    centred = together - mean
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    axes = vectors[:, -2:].flip(1)
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    axes = axes * torch.where(largest < 0, -1.0, 1.0)
    return {modality: ((values - mean) @ axes).float().numpy() for modality, values in rows.items()}

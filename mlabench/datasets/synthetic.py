"""Synthetic data whose best possible accuracies are known, to check methods. Needs no files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mlabench.datasets.contract import Data, Dataset, Split, Task, subset_key
from mlabench.hyperparameters import Hyperparameters
from mlabench.media import Medium

Array = NDArray[np.float64]

#: Largest distance of a feature from the -1 or 1 that it stands for: below 1, so that its sign is never in doubt.
_JITTER = 0.9


class Synthetic(Dataset):
    """Synthetic modalities with known best accuracies, for checking methods rather than comparing them.

    Every class is equally probable, and each modality shows a code from which the class can, or cannot, be told:

    * A share ``synergy`` of the samples is about a modular sum. Each modality shows a summand; all of them add up to
      the class (modulo ``classes``), while any fewer say nothing about it: XOR, where there are two classes.
    * In every other sample, each modality shows the class itself with a probability of its ``strength``, and else
      nothing. A share ``redundancy`` of these is nested: a modality is clear only where each stronger one is, too, so
      that it adds nothing. In the remaining ones, the modalities are clear independently of each other.
    * What is shown is wrong, uniformly over the classes, with a probability of ``noise``, in each modality by itself.

    A code reaches the encoder as one of ``variants`` fixed random patterns of -1 and 1, with jitter too small to
    change a sign. A network has to learn each of them, yet the code can be told from the features without error.
    The Bayes-optimal accuracy of a subset of the modalities is that of its codes,
    ``sum over codes of max_y P(y, codes)``, summed over the whole table of ``P(y, codes)``. The samples are drawn from
    that same table. Without noise it has a closed form: with ``C`` classes and ``p`` for the probability that some
    modality of the subset is clear, ``redundancy * max_m strength_m + (1 - redundancy) (1 - prod_m (1 -
    strength_m))``, it is ``synergy * (1 if the subset is complete else 1 / C) + (1 - synergy) (p + (1 - p) / C)``.
    """

    class Config(Hyperparameters):
        """Options of ``synthetic``; one value per modality where it says so."""

        modalities: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], ...] = Field(
            default=("strong", "weak"), min_length=2, max_length=4, description="Names of two to four modalities."
        )
        classes: int = Field(default=4, ge=2, le=10, description="Number of classes.")
        strength: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
            default=(0.8, 0.6),
            description="Per modality, how often it is clear; the first dominates the second where it is larger.",
        )
        variants: tuple[Annotated[int, Field(ge=1, le=32)], ...] = Field(
            default=(4, 8),
            description="Per modality, the patterns that stand for one code: the more, the slower it is learned. "
            "They do not change what can be known.",
        )
        redundancy: float = Field(default=0.3, ge=0, le=1, description="Share of samples whose clearness is nested.")
        synergy: float = Field(default=0.0, ge=0, le=1, description="Share of samples that only all together reveal.")
        noise: float = Field(default=0.0, ge=0, le=1, description="Probability that what is shown is random.")
        width: int = Field(default=32, ge=32, description="Number of features of each modality.")
        samples: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = Field(
            default=(800, 200, 4000), description="Samples for training, validation and test."
        )
        seed: int = Field(default=0, ge=0, description="Seed of patterns and samples.")

        @model_validator(mode="after")
        def _one_per_modality(self) -> Self:
            for name, values in (("strength", self.strength), ("variants", self.variants)):
                if len(values) != len(self.modalities):
                    raise ValueError(f"{name} needs a value for each of the {len(self.modalities)} modalities")
            if len(set(self.modalities)) < len(self.modalities):
                raise ValueError("each modality can be named once only")
            return self

    config: Config
    source = "Drawn by mlabench from a table of probabilities."
    defaults: ClassVar[Mapping[str, Any]] = {
        "encoders": {"*": {"name": "mlp", "hidden": [64], "width": 8}},
        "training": {"epochs": 10, "batch_size": 32, "optimizer": {"name": "sgd", "lr": 0.02}},
    }

    @property
    def media(self) -> dict[str, Medium]:
        """Features everywhere."""
        return dict.fromkeys(self.config.modalities, "features")

    def fingerprint(self) -> str:
        """First 12 hex digits of a SHA-256 of the options and the version: they decide everything."""
        text = json.dumps([self.version, self.config.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def load(self) -> Data:
        """Draws the three splits."""
        options = self.config
        table = joint_table(
            options.classes, options.strength, options.redundancy, options.synergy, options.noise
        )  # [C, K, ..., K]
        random = np.random.Generator(np.random.PCG64(options.seed))
        codes = table.shape[-1]
        patterns = [_patterns(codes * variants, options.width, random) for variants in options.variants]
        cells = table.ravel().cumsum()

        def split(name: str, size: int) -> Split:
            # The last cell ends at 1 up to rounding: a draw beyond belongs to it.
            drawn = np.minimum(np.searchsorted(cells, random.random(size), side="right"), cells.size - 1)
            labels, *shown = np.unravel_index(drawn, table.shape)
            inputs = {}
            for modality, code, known, variants in zip(
                options.modalities, shown, patterns, options.variants, strict=True
            ):
                variant = (random.random(size) * variants).astype(int)
                jitter = _JITTER * (2 * random.random((size, options.width)) - 1)
                inputs[modality] = (known[code * variants + variant] + jitter).astype(np.float32)
            ids = tuple(f"{name}-{number}" for number in range(size))
            return Split(ids, labels.astype(np.int64), inputs, groups=ids)

        train, validation, test = (
            split(name, size) for name, size in zip(("train", "validation", "test"), options.samples, strict=True)
        )
        return Data(
            task=Task(
                options.modalities,
                tuple(f"class {number}" for number in range(options.classes)),
                dict.fromkeys(options.modalities, (options.width,)),
            ),
            train=train,
            validation=validation,
            test=test,
            notes=("synthetic is made up: it checks methods, and says nothing about how they do on real data.",),
            bayes={
                subset_key(options.modalities[axis] for axis in subset): bayes_accuracy(table, subset)
                for size in range(1, len(options.modalities) + 1)
                for subset in combinations(range(len(options.modalities)), size)
            },
        )


def joint_table(classes: int, strength: Sequence[float], redundancy: float, synergy: float, noise: float) -> Array:
    """Probability of every class and combination of codes: ``[C, K, ..., K]``, with one axis per modality.

    Of the ``K = 2 C + 1`` codes, 0 shows nothing, 1 to ``C`` a class, ``C + 1`` to ``2 C`` a summand.
    """
    shows = (1 - noise) * np.eye(classes) + noise / classes  # P(shown | meant)
    nothing, clear = np.zeros((2, classes, 2 * classes + 1))
    nothing[:, 0] = 1
    clear[:, 1 : classes + 1] = shows
    independent = _product([share * clear + (1 - share) * nothing for share in strength])
    # One uniform number per sample, clear in every modality that is stronger.
    edges = sorted({0.0, 1.0, *strength})
    nested = sum(
        (high - low) * _product([clear if share >= high else nothing for share in strength])
        for low, high in pairwise(edges)
    )
    table = (1 - synergy) * (redundancy * nested + (1 - redundancy) * independent)
    table[:, *[slice(classes + 1, None)] * len(strength)] += synergy * _summands(classes, len(strength), shows)
    result: Array = table / classes
    return result


def bayes_accuracy(table: Array, subset: Sequence[int]) -> float:
    """Accuracy of the best decision from the codes of some modalities, by position."""
    hidden = tuple(axis + 1 for axis in range(table.ndim - 1) if axis not in subset)
    return min(1.0, float(table.sum(axis=hidden).max(axis=0).sum()))  # a sum may end beyond 1 by rounding


def _product(codes: Sequence[Array]) -> Array:
    """Modalities that are independent given the class: ``[C, K]`` each, together ``[C, K, ..., K]``."""
    result: Array = codes[0]
    for code in codes[1:]:
        result = result[..., None] * code.reshape(len(code), *[1] * (result.ndim - 1), -1)
    return result


def _summands(classes: int, modalities: int, shows: Array) -> Array:
    """Uniform over the summands that add up to the class, each shown with its noise. ``[C, C, ..., C]``"""
    total = np.indices((classes,) * modalities).sum(axis=0) % classes
    meant: Array = np.stack([total == label for label in range(classes)]) / classes ** (modalities - 1)
    for axis in range(1, modalities + 1):
        meant = np.moveaxis(np.tensordot(meant, shows, axes=(axis, 0)), -1, axis)
    return meant


def _patterns(count: int, width: int, random: np.random.Generator) -> Array:
    """Distinct rows of -1 and 1. ``[count, width]``"""
    while True:
        patterns: Array = np.where(random.random((count, width)) < 0.5, -1.0, 1.0)
        if len(np.unique(patterns, axis=0)) == count:
            return patterns

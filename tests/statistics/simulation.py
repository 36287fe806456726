"""How often intervals and verdicts are right where the truth is known: ``python -m tests.statistics.simulation``.

Prints the table of the statistics' README, from 600 datasets per row; about 10 minutes on one core.

Two fast learners are trained on datasets that are drawn from a large pool of ``synthetic`` samples and dealt into folds
as a suite does it, with an eighth of the training part held out. The truth is what they reach on the rest of the pool,
on average over many training sets of that size. Other rows draw outcomes from a model of noise, without any learner.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mlabench.datasets.synthetic import Synthetic
from mlabench.statistics import Outcomes, confidence_distribution, corrected_resampled_t

Array = NDArray[Any]

FOLDS = 5

#: Numbers of repeats.
REPEATS = (1, 2, 5)

#: Of practical equality, in points.
MARGIN = 4.0

_POOL = 12_000
_CLASSES = 4


class Entries(NamedTuple):
    """Outcomes of two methods, and of a twin that is truly as good as the first."""

    a: Outcomes
    b: Outcomes
    twin: Outcomes


class World(Protocol):
    """Datasets on which methods are compared."""

    def truth(self) -> tuple[float, float]:
        """The expected accuracies of ``a`` and ``b`` in percent."""
        ...

    def entries(self, repeats: int, random: np.random.Generator) -> Entries:
        """Outcomes on a new dataset."""
        ...


@dataclass(frozen=True)
class Learners:
    """Ridge regression on random features: ``a`` on both modalities at once, ``b`` on each by itself, scores added.

    Attributes:
        features: Number of random features; the fewer, the more it matters which are drawn. None: the inputs
            themselves, so that trainings differ by their training sets alone.
        groups: Number of groups of dependent samples in a dataset.
        size: Mean size of a group; sizes are geometric.
        noise: Of ``synthetic``.
        single: Whether ``b`` sees the first modality only.
        redealt: Whether each repeat deals the groups anew.
        training_sets: Number of training sets that the truth is averaged over.
    """

    features: int | None = 48
    groups: int = 250
    size: float = 1.0
    noise: float = 0.2
    single: bool = False
    redealt: bool = True
    training_sets: int = 500

    def truth(self) -> tuple[float, float]:
        inputs, labels, groups = self._pool()
        random = np.random.default_rng(0)
        found = np.empty((self.training_sets, 2))
        for row in found:
            chosen = np.isin(groups, random.choice(_POOL, round(self.groups * 0.7), replace=False))
            predicted = self._trained(inputs[chosen], labels[chosen], inputs[~chosen], random.integers(2**32, size=1))
            row[:] = [100 * (labels[~chosen] == one).mean() for one in predicted]
        a, b = found.mean(axis=0).tolist()
        return a, b

    def entries(self, repeats: int, random: np.random.Generator) -> Entries:
        inputs, labels, groups = self._pool()
        here = np.isin(groups, random.choice(_POOL, self.groups, replace=False))
        inputs, labels, groups = inputs[here], labels[here], np.unique(groups[here], return_inverse=True)[1]
        folds = _dealt(groups, repeats, random, self.redealt)
        correct = np.empty((3, *folds.shape), dtype=bool)
        for repeat, row in enumerate(folds):
            for fold in range(FOLDS):
                held_out = random.random(self.groups) < 1 / 8
                train, test = (row != fold) & ~held_out[groups], row == fold
                predicted = self._trained(inputs[train], labels[train], inputs[test], random.integers(2**32, size=2))
                correct[:, repeat, test] = [labels[test] == one for one in predicted]
        return _entries(correct, groups, folds)

    def _pool(self) -> tuple[Array, Array, Array]:
        """Inputs of both modalities ``[P, D]``, labels ``[P]`` and groups ``[P]``."""
        if self not in _pools:
            config = Synthetic.Config(
                noise=self.noise, samples=(1, 1, _POOL), strength=(0.7, 0.6), variants=(3, 3), redundancy=0.0
            )
            drawn = Synthetic(config).load().test
            inputs = np.concatenate([np.asarray(values) for values in drawn.inputs.values()], axis=1)
            random = np.random.default_rng(1)
            groups = np.repeat(np.arange(_POOL), random.geometric(1 / self.size, size=_POOL))
            # Samples of one group show the same, up to some jitter.
            jitter = random.normal(0, 0.7, (groups.size, inputs.shape[1]))
            _pools.clear()
            _pools[self] = inputs[groups] + jitter, drawn.labels[groups], groups
        return _pools[self]

    def _trained(self, inputs: Array, labels: Array, asked: Array, seeds: Array) -> list[Array]:
        """What ``a`` and ``b``, trained with the first seed, and the twin, with the second, predict."""
        half = inputs.shape[1] // 2
        both, first, second = slice(None), slice(None, half), slice(half, None)
        targets = np.eye(_CLASSES)[labels] - 1 / _CLASSES

        def scores(columns: slice, seed: int) -> Array:
            random = np.random.default_rng(int(seed))
            return _ridge(inputs[:, columns], targets, asked[:, columns], self.features, random)

        late = scores(first, seeds[0]) if self.single else scores(first, seeds[0]) + scores(second, seeds[0])
        found = [scores(both, seeds[0]), late, *(scores(both, seed) for seed in seeds[1:])]
        return [one.argmax(axis=1) for one in found]


_pools: dict[Learners, tuple[Array, Array, Array]] = {}


def _ridge(inputs: Array, targets: Array, asked: Array, features: int | None, random: np.random.Generator) -> Array:
    if features is not None:
        weights = random.normal(0, 1 / np.sqrt(inputs.shape[1]), (inputs.shape[1], features))
        inputs, asked = np.maximum(inputs @ weights, 0), np.maximum(asked @ weights, 0)
    middle = inputs.mean(axis=0)
    inputs = inputs - middle
    gram = inputs.T @ inputs + 3.0 * np.eye(inputs.shape[1])
    return np.asarray((asked - middle) @ np.linalg.solve(gram, inputs.T @ targets))


@dataclass(frozen=True)
class Noise:
    """Normal effects of the training, the group, the sample and of both together decide what is right.

    Attributes:
        training: Standard deviation of the trainings' effects; the others' add up to about 1.5.
        own: Of the effects of a group on one method alone.
        fold: Of the effects of a fold on one method; then all repeats have the same folds, such as sessions.
        groups: Number of groups.
        size: Mean size of a group; sizes are geometric.
    """

    training: float
    own: float = 0.4
    fold: float = 0.0
    groups: int = 250
    size: float = 1.0

    _shared = 0.8
    _joint = 1.0

    def truth(self) -> tuple[float, float]:
        from scipy.special import ndtr

        spread = np.sqrt(self.training**2 + self.own**2 + self.fold**2 + 2 * self._shared**2 + self._joint**2)
        return float(100 * ndtr(1.2 / spread)), float(100 * ndtr(0.9 / spread))

    def entries(self, repeats: int, random: np.random.Generator) -> Entries:
        sizes = random.geometric(1 / self.size, size=self.groups)
        groups = np.repeat(np.arange(self.groups), sizes)
        folds = _dealt(groups, repeats, random, redealt=self.fold == 0)
        common = random.normal(0, self._shared, self.groups)[groups] + random.normal(0, self._shared, groups.size)
        correct = []
        for skill in (1.2, 0.9, 1.2):
            effects = random.normal(0, self.training, (repeats, FOLDS)) + random.normal(0, self.fold, FOLDS)
            training = np.take_along_axis(effects, folds, axis=1)
            own = random.normal(0, self.own, self.groups)[groups]
            correct.append(skill + common + own + training + random.normal(0, self._joint, folds.shape) > 0)
        return _entries(np.array(correct), groups, folds)


def _dealt(groups: Array, repeats: int, random: np.random.Generator, redealt: bool = True) -> Array:
    """Whole groups dealt into folds. ``[R, N]``"""
    count = groups.max() + 1
    dealt = np.stack([random.permutation(np.arange(count) % FOLDS) for _ in range(repeats)])
    return (dealt if redealt else dealt[[0] * repeats])[:, groups]


def _entries(correct: Array, groups: Array, folds: Array) -> Entries:
    seeds = tuple(range(len(folds)))
    return Entries(*(Outcomes(rows, groups, seeds, folds) for rows in correct))


WORLDS: dict[str, World] = {
    "learners: trainings and samples matter": Learners(),
    "learners: trainings matter most": Learners(features=10, noise=0.0),
    "learners: samples matter most": Learners(features=None),
    "learners: one modality against both": Learners(features=None, single=True),
    "learners: 640 groups": Learners(groups=640),
    "learners: 150 groups of 1 to 20": Learners(groups=150, size=3.0),
    "noise: trainings and samples matter": Noise(training=0.2),
    "noise: trainings matter most": Noise(training=0.5),
    "noise: samples matter most": Noise(training=0.0, own=0.8),
    "noise: 130 groups of 1 to 50": Noise(training=0.2, groups=130, size=8.0),
    "learners: the same folds in each repeat": Learners(redealt=False),
    "noise: the same folds, which matter themselves": Noise(training=0.2, fold=0.2),
}


class Shares(NamedTuple):
    """Over many datasets, in percent; widths in points."""

    accuracies: float  # that their intervals cover
    difference: float  # that its interval covers
    different: float  # that equal methods are taken for different
    equal: float  # that methods that differ by just the margin are taken for equal
    finds_difference: float  # of ``a`` and ``b``
    finds_equality: float  # of ``a`` and its twin, at ``MARGIN``
    width: float  # mean half-width of the interval of the difference
    corrected: float  # of the corrected resampled t-test


def shares(world: World, datasets: int) -> Iterator[tuple[int, Shares]]:
    """How often what is said is right, for every number of repeats."""
    truth = world.truth()
    random = np.random.default_rng(2)
    found: dict[int, list[Shares]] = {repeats: [] for repeats in REPEATS}
    for _ in range(datasets):
        drawn = world.entries(max(REPEATS), random)
        for repeats, told in found.items():
            told.append(_once(Entries(*(entry.of(range(repeats)) for entry in drawn)), *truth))
    for repeats, told in found.items():
        yield repeats, Shares(*np.mean(told, axis=0).tolist())


def _once(entries: Entries, a: float, b: float) -> Shares:
    first, second, twin = (100.0 * entry.correct for entry in entries)
    groups, folds = entries.a.groups, entries.a.folds
    alone = [confidence_distribution(values, groups, 100.0, folds, training_sets=1.0) for values in (first, second)]
    different, same = (confidence_distribution(first - other, groups, 100.0, folds) for other in (second, twin))
    # An interval covers the truth, and a test finds it wrong, just where these probabilities say so.
    accuracies = [found.below(true) for found, true in zip(alone, (a, b), strict=True)]
    difference, none = different.below(a - b), same.below(0.0)
    return Shares(
        accuracies=100 * np.mean([0.025 <= below <= 0.975 for below in accuracies]),
        difference=100 * (0.025 <= difference <= 0.975),
        different=100 * (same.p_value() < 0.05),
        # If the true difference is the margin, a wide one, only one of the two tests of equivalence matters.
        equal=50 * np.mean([(below < 0.05) + (below > 0.95) for below in (difference, none)]),
        finds_difference=100 * (different.p_value() < 0.05),
        finds_equality=100 * (max(same.below(-MARGIN), same.mirrored().below(-MARGIN)) < 0.05),
        width=different.interval.half_width,
        corrected=corrected_resampled_t(entries.a, entries.b).half_width,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table, world by world."""
    parser = argparse.ArgumentParser(description="Prints how often intervals and verdicts are right.")
    parser.add_argument("--datasets", type=int, default=600, help="per row (default: 600)")
    parser.add_argument("--only", default="", help="the worlds whose name contains this")
    options = parser.parse_args(arguments)
    heads = (
        "accuracy covered",
        "difference covered",
        "falsely different",
        "falsely equal",
        "difference found",
        f"equality found (± {MARGIN:g})",
        "half-width",
        "of the corrected t",
    )
    print(f"| {' / '.join(f'{FOLDS} × {repeats}' for repeats in REPEATS)} | {' | '.join(heads)} |")
    print(f"|---|{'---|' * len(heads)}")
    for name, world in WORLDS.items():
        if options.only in name:
            by_repeats = [row for _, row in shares(world, options.datasets)]
            cells = [" / ".join(f"{value:.1f}" for value in told) for told in zip(*by_repeats, strict=True)]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

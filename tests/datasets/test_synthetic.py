"""The best possible accuracies against closed forms, a process and a decision rule written out, and a lookup table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mlabench.datasets import best_accuracies
from mlabench.datasets.synthetic import Synthetic, bayes_accuracy, joint_table

#: Standard errors that a random deviation may have.
SIGMAS = 4

Code = tuple[str, int]


def subsets(modalities: int) -> list[tuple[int, ...]]:
    axes = range(modalities)
    return [chosen for size in range(1, modalities + 1) for chosen in itertools.combinations(axes, size)]


def make(**options: Any) -> Synthetic:
    return Synthetic(Synthetic.Config(**options))


# -- closed forms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 4, 10])
@pytest.mark.parametrize("strength", [(0.8, 0.6), (0.3, 1.0, 0.0), (0.5, 0.5, 0.5, 0.2)])
@pytest.mark.parametrize(("redundancy", "synergy"), [(0.0, 0.0), (1.0, 0.0), (0.3, 0.25), (0.7, 1.0)])
def test_without_noise(classes: int, strength: Sequence[float], redundancy: float, synergy: float) -> None:
    if classes == 10 and len(strength) == 4:
        strength = strength[:3]  # the largest table takes a second
    table = joint_table(classes, strength, redundancy, synergy, 0.0)
    assert table.shape == (classes, *[2 * classes + 1] * len(strength))
    assert (table >= 0).all()
    np.testing.assert_allclose(table.reshape(classes, -1).sum(axis=1), 1 / classes)
    for subset in subsets(len(strength)):
        own = [strength[axis] for axis in subset]
        clear = redundancy * max(own) + (1 - redundancy) * (1 - math.prod(1 - share for share in own))
        summed = 1.0 if len(subset) == len(strength) else 1 / classes
        expected = synergy * summed + (1 - synergy) * (clear + (1 - clear) / classes)
        assert bayes_accuracy(table, subset) == pytest.approx(expected, abs=1e-12)


def test_noise_of_one_modality() -> None:
    """A clear modality shows the class unless noise, with a probability of 0.2, draws another one."""
    table = joint_table(4, (0.5, 0.9), 0.4, 0.0, 0.2)
    for axis, share in enumerate((0.5, 0.9)):
        assert bayes_accuracy(table, [axis]) == pytest.approx(share * (0.8 + 0.2 / 4) + (1 - share) / 4)


def test_noise_of_two_clear_modalities() -> None:
    """They agree on the class, or one of them may be right."""
    right, other = 0.7 + 0.3 / 3, 0.3 / 3  # of three classes
    table = joint_table(3, (1.0, 1.0), 0.0, 0.0, 0.3)
    both_right, disagreeing = right**2, 2 * right * 2 * other
    assert bayes_accuracy(table, [0, 1]) == pytest.approx(both_right + disagreeing / 2)


def test_exclusive_or() -> None:
    table = joint_table(2, (0.0, 0.0), 0.0, 1.0, 0.0)
    assert [bayes_accuracy(table, subset) for subset in subsets(2)] == pytest.approx([0.5, 0.5, 1.0])


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_what_is_nested_adds_nothing(noise: float) -> None:
    table = joint_table(5, (0.9, 0.4), 1.0, 0.0, noise)
    gain = bayes_accuracy(table, [0, 1]) - bayes_accuracy(table, [0])
    assert gain == pytest.approx(0, abs=1e-12) if noise == 0 else gain >= -1e-12


# -- a process and a decision rule of our own -----------------------------------------------------

STRENGTH, CLASSES, REDUNDANCY, SYNERGY, NOISE = (0.7, 0.45, 0.3), 3, 0.4, 0.3, 0.15


def draw(random: np.random.Generator) -> tuple[int, tuple[Code, ...]]:
    """One sample, as the docstring of the dataset describes it."""
    label = int(random.integers(CLASSES))
    if random.random() < SYNERGY:
        first, second = (int(number) for number in random.integers(CLASSES, size=2))
        meant = [("summand", first), ("summand", second), ("summand", (label - first - second) % CLASSES)]
    else:
        together = random.random()
        nested = random.random() < REDUNDANCY
        meant = [
            ("class", label) if (together if nested else random.random()) < share else ("nothing", 0)
            for share in STRENGTH
        ]
    shown = [
        (kind, int(random.integers(CLASSES))) if kind != "nothing" and random.random() < NOISE else (kind, value)
        for kind, value in meant
    ]
    return label, tuple(shown)


def shown_given(meant: int, shown: int) -> float:
    return (1 - NOISE) * (meant == shown) + NOISE / CLASSES


def likelihood(label: int, codes: dict[int, Code]) -> float:
    """Probability of the codes of some modalities, given the class: sums over all that is hidden."""
    kinds = {kind for kind, _ in codes.values()}
    total = 0.0
    if kinds == {"summand"}:
        for summands in itertools.product(range(CLASSES), repeat=3):
            if sum(summands) % CLASSES == label:
                agreement = math.prod(shown_given(summands[axis], value) for axis, (_, value) in codes.items())
                total += SYNERGY / CLASSES**2 * agreement
    if "summand" not in kinds:
        values = math.prod(shown_given(label, value) for kind, value in codes.values() if kind == "class")
        clear = {axis: kind == "class" for axis, (kind, _) in codes.items()}
        apart = math.prod(STRENGTH[axis] if own else 1 - STRENGTH[axis] for axis, own in clear.items())
        # One number below the strength of all that are clear, and not below that of the others.
        top = min((STRENGTH[axis] for axis, own in clear.items() if own), default=1.0)
        bottom = max((STRENGTH[axis] for axis, own in clear.items() if not own), default=0.0)
        total += (1 - SYNERGY) * (REDUNDANCY * max(0.0, top - bottom) + (1 - REDUNDANCY) * apart) * values
    return total


def decision(subset: tuple[int, ...]) -> Callable[[tuple[Code, ...]], int]:
    """Bayes' rule from the codes of a subset."""

    @cache
    def decide(codes: tuple[Code, ...]) -> int:
        seen = {axis: codes[axis] for axis in subset}
        return int(np.argmax([likelihood(label, seen) for label in range(CLASSES)]))

    return decide


def test_against_a_simulation() -> None:
    random = np.random.default_rng(1)
    samples = [draw(random) for _ in range(40_000)]
    table = joint_table(CLASSES, STRENGTH, REDUNDANCY, SYNERGY, NOISE)
    for subset in subsets(3):
        decide = decision(subset)
        simulated = np.mean([decide(codes) == label for label, codes in samples])
        expected = bayes_accuracy(table, subset)
        error = math.sqrt(expected * (1 - expected) / len(samples))
        assert simulated == pytest.approx(expected, abs=SIGMAS * error), subset


# -- what is loaded -------------------------------------------------------------------------------


def test_the_features_hold_the_codes_and_nothing_more() -> None:
    """A lookup table from the features' signs to the commonest class has the best possible accuracy, up to chance."""
    options: dict[str, Any] = {
        "modalities": ("sound", "sight"), "strength": (0.7, 0.5), "variants": (2, 3), "redundancy": 0.4,
        "synergy": 0.2, "noise": 0.1, "classes": 3, "samples": (60_000, 1, 60_000),
    }  # fmt: skip
    data = make(**options).load()
    # 3 classes, 3 summands and nothing, as many patterns each
    for modality, patterns in {"sound": 7 * 2, "sight": 7 * 3}.items():
        assert len(np.unique(np.sign(data.train.inputs[modality]), axis=0)) == patterns
        assert (np.abs(data.train.inputs[modality]) > 0).all()
    for modalities in (("sound",), ("sight",), ("sound", "sight")):
        keys = [
            [np.packbits(row > 0).tobytes() for row in np.hstack([split.inputs[name] for name in modalities])]
            for split in (data.train, data.test)
        ]
        counts: dict[bytes, np.ndarray] = {}
        for key, label in zip(keys[0], data.train.labels, strict=True):
            counts.setdefault(key, np.zeros(3))[label] += 1
        right = [label == counts[key].argmax() for key, label in zip(keys[1], data.test.labels, strict=True)]
        expected = data.bayes["+".join(modalities)]
        error = math.sqrt(expected * (1 - expected) / len(right))
        # Rare combinations of codes are told with few examples: a little is lost, nothing is gained.
        assert expected - SIGMAS * error - 0.003 < np.mean(right) < expected + SIGMAS * error


def test_every_option_changes_the_fingerprint_and_the_seed_the_samples() -> None:
    changes: list[dict[str, Any]] = [
        {}, {"modalities": ("a", "b")}, {"classes": 3}, {"strength": (0.7, 0.6)}, {"variants": (1, 8)}, {"noise": 0.1},
        {"redundancy": 0.5}, {"synergy": 0.1}, {"width": 33}, {"samples": (800, 200, 1001)}, {"seed": 1},
    ]  # fmt: skip
    assert len({make(**change).fingerprint() for change in changes}) == len(changes)
    first, again, other = make().load(), make().load(), make(seed=1).load()
    for modality in ("strong", "weak"):
        assert np.array_equal(first.train.inputs[modality], again.train.inputs[modality])
        assert not np.array_equal(first.train.inputs[modality], other.train.inputs[modality])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"strength": (0.5,)}, "strength needs a value for each of the 2 modalities"),
        ({"variants": (1, 2, 3)}, "variants needs a value for each of the 2 modalities"),
        ({"modalities": ("a", "a")}, "each modality can be named once only"),
        ({"modalities": ("a",), "strength": (1,), "variants": (1,)}, "at least 2 items"),
        ({"modalities": ("a+b", "c")}, "should match pattern"),
        ({"strength": (0.5, 1.5)}, "less than or equal to 1"),
    ],
)
def test_mistakes(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint.replace("+", r"\+")):
        Synthetic.Config(**options)


def test_the_best_accuracy_under_a_missing_pattern() -> None:
    bayes = {"a": 0.5, "b": 0.7, "a+b": 0.9}
    present = np.array([[True, True], [True, False], [True, False], [True, True]])
    assert best_accuracies(bayes, ("a", "b"), present) == pytest.approx({"multimodal": 0.7, "a": 0.5, "b": 0.7})
    present = np.array([[True, False]] * 3)
    assert best_accuracies(bayes, ("a", "b"), present) == pytest.approx({"multimodal": 0.5, "a": 0.5})

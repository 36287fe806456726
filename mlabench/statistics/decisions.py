"""What follows from a family of comparisons: better, worse, practically equal or undecided."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mlabench.statistics.comparisons import Comparison
from mlabench.statistics.resampling import LEVEL, student_quantile

Verdict = Literal["better", "worse", "practically equal", "undecided"]

#: More repeats than this are not foreseen.
_MOST_REPEATS = 1000


@dataclass(frozen=True)
class Decision:
    """What follows from one comparison in a family of them.

    Attributes:
        verdict: What the first is, next to the second.
        comparison: The two, compared.
        p_value: Of no difference, corrected for the number of comparisons in the family.
        equivalence_p: Of a difference of ``margin`` or more, corrected likewise.
        margin: Differences below it are of no practical importance, in the unit of the difference.
        needed: About so many more trainings per method would decide; 0 if it is decided, None if no number of them
            would, or it cannot be foreseen (with folds it takes two repeats).
    """

    verdict: Verdict
    comparison: Comparison
    p_value: float
    equivalence_p: float
    margin: float
    needed: int | None


def decide(comparisons: Mapping[str, Comparison | None], margin: float) -> dict[str, Decision | None]:
    """Decides a family of comparisons, so that even one false verdict of a kind among them is improbable (5 %).

    *Better* or *worse*: the p-value of no difference, corrected by :func:`holm` over the family, is below 0.05. Else
    *practically equal*: the p-value of a difference of at least ``margin`` is, corrected likewise over the family's
    tests of equivalence. Else, and wherever a single training is behind it, *undecided*.

    Args:
        comparisons: The family, by name; None where there is nothing to compare, which then does not count.
        margin: The smallest difference that matters, fixed before the results were seen; in the unit of the
            differences.
    """
    if margin <= 0:
        raise ValueError(f"a margin must be above 0, got {margin}")
    known = {name: comparison for name, comparison in comparisons.items() if comparison is not None}
    differs = holm([one.p_value for one in known.values()])
    equals = holm([one.equivalence_p(margin) for one in known.values()])
    # Those of either kind that are shown no longer count against the others.
    families = sum(p >= 1 - LEVEL for p in differs), sum(p >= 1 - LEVEL for p in equals)
    decisions: dict[str, Decision | None] = dict.fromkeys(comparisons)
    for (name, one), p_value, equivalence_p in zip(known.items(), differs, equals, strict=True):
        verdict = _verdict(one, p_value, equivalence_p)
        needed = further_trainings(one, margin, families) if verdict == "undecided" else 0
        decisions[name] = Decision(verdict, one, p_value, equivalence_p, margin, needed)
    return decisions


def _verdict(one: Comparison, p_value: float, equivalence_p: float) -> Verdict:
    difference = one.difference
    if one.trainings > 1:
        if p_value < 1 - LEVEL and not difference.low <= 0 <= difference.high:
            return "better" if difference.estimate > 0 else "worse"
        if equivalence_p < 1 - LEVEL:
            return "practically equal"
    return "undecided"


def further_trainings(comparison: Comparison, margin: float, families: tuple[int, int] = (1, 1)) -> int | None:
    """About how many more trainings per method would decide, if the estimate stayed what it is.

    The variance is that of the samples, which stays, and that of the trainings, which falls with their number U. It
    is decided when the 95 % interval, ``sqrt((z lasting)^2 + (t_{U-1} passing)^2 / U)`` to either side, no longer
    reaches 0, or the 90 % interval no longer reaches the margin.

    Args:
        comparison: What is known.
        margin: Of practical equality.
        families: Number of comparisons in whose company it must be shown to be different, and equal; the level is
            divided by it.

    Returns:
        A multiple of the trainings of one repeat; None if no number of them would do, or it is not known.
    """
    distance = abs(comparison.difference.estimate)
    step = max(1, comparison.trainings // comparison.seeds)

    def decided(repeats: int) -> bool:
        trainings = comparison.trainings + step * repeats
        wide = expected_half_width(comparison, trainings, 1 - (1 - LEVEL) / max(1, families[0]))
        narrow = expected_half_width(comparison, trainings, 1 - 2 * (1 - LEVEL) / max(1, families[1]))
        return wide < distance or distance + narrow < margin

    if not decided(_MOST_REPEATS):
        return None
    return step * (1 + bisect_left(range(1, _MOST_REPEATS), True, key=decided))


def expected_half_width(comparison: Comparison, trainings: int, level: float = LEVEL) -> float:
    """Half the width that the interval would have with so many trainings per method; infinite if not to be foreseen."""
    found = comparison.distribution
    if found is None or found.lasting is None or comparison.trainings < 2:
        return math.inf
    now = float(found.deviations.var()) + found.training_error**2
    passing = max(0.0, now - found.lasting**2) * comparison.trainings / trainings
    upper = (1 + level) / 2
    return math.hypot(
        student_quantile(upper) * found.lasting, student_quantile(upper, trainings - 1) * math.sqrt(passing)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, so that all may be held against one level (Holm, 1979).

    The probability of even one false rejection among them stays below the level, whatever their dependence.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected

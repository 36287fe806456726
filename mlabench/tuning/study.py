"""Optuna's search for one method. What it proposes depends on the space, the seed and the scores alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlabench.tuning.space import Dimension

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

#: Tries that are proposed before any of them has a score. It bounds the workers that one method keeps busy.
GENERATION = 5
#: What a try that failed counts as: no accuracy is lower.
WORST = 0.0


class Study:
    """The tree-structured Parzen estimator (Bergstra et al., 2011), its first try the defaults.

    Proposals come in generations, whose scores are told in order. So neither the number of workers nor an
    interruption changes what is proposed: after one, the same generations are asked and told again.
    """

    def __init__(self, dimensions: Sequence[Dimension], seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._dimensions = dimensions
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        chosen = {one.path: one.values.choices.index(one.default) for one in dimensions if one.values.choices}
        self._study.enqueue_trial({**{one.path: one.default for one in dimensions}, **chosen})
        self._space = {one.path: _distribution(one) for one in dimensions}
        self._asked: list[Trial] = []

    def ask(self, tries: int) -> list[dict[str, Any]]:
        """The values of the next tries, by path."""
        self._asked = [self._study.ask(self._space) for _ in range(tries)]
        return [{one.path: _decode(one, trial.params[one.path]) for one in self._dimensions} for trial in self._asked]

    def tell(self, scores: Sequence[float | None]) -> None:
        """The scores of the tries last asked for, in order; None for those that failed."""
        for trial, score in zip(self._asked, scores, strict=True):
            self._study.tell(trial, WORST if score is None else score)


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values = dimension.values
    if values.low is None or values.high is None:
        return CategoricalDistribution(range(len(values.choices)))  # by position: a choice may be a list
    if isinstance(dimension.default, int):
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def _decode(dimension: Dimension, drawn: Any) -> Any:
    values = dimension.values
    if values.low is None or values.high is None:
        return values.choices[drawn]
    if drawn == dimension.default:
        return dimension.default
    # Three digits are as precise as any search, and a suite can be read. Rounding must not leave the interval.
    return min(max(float(f"{drawn:.3g}"), values.low), values.high) if isinstance(drawn, float) else drawn

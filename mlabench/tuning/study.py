"""Optuna's search for one method. What it proposes depends on the space, the seed and the scores alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlabench.tuning.space import OPTIMIZER, Dimension, Tunable

if TYPE_CHECKING:
    from optuna.trial import Trial

#: Tries that are proposed before any of them has a score. It bounds the workers that one method keeps busy.
GENERATION = 5
#: Tries before the scores decide what is proposed. They take the optimisers in turn, so that none is judged by chance.
STARTUP = 10
#: What a try that failed counts as: no accuracy is lower.
WORST = 0.0


class Study:
    """The tree-structured Parzen estimator (Bergstra et al., 2011), its first try the defaults.

    Proposals come in generations, whose scores are told in order. So neither the number of workers nor an
    interruption changes what is proposed: after one, the same generations are asked and told again.
    """

    def __init__(self, method: Tunable, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._dimensions = method.dimensions
        self._study.enqueue_trial(
            {_name(one): _encode(one) for one in self._dimensions if one.optimizer in ("", method.optimizer)}
        )
        for one in self._dimensions:
            if one.path == OPTIMIZER:
                for place in range(1, STARTUP):
                    self._study.enqueue_trial({_name(one): place % len(one.values.choices)})
        self._asked: list[Trial] = []

    def ask(self, tries: int) -> list[dict[str, Any]]:
        """The values of the next tries, by path."""
        self._asked = [self._study.ask() for _ in range(tries)]
        return [self._values(trial) for trial in self._asked]

    def _values(self, trial: Trial) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for one in self._dimensions:
            if one.optimizer in ("", values.get(OPTIMIZER)):
                values[one.path] = _suggest(one, trial)
        return values

    def tell(self, scores: Sequence[float | None]) -> None:
        """The scores of the tries last asked for, in order; None for those that failed."""
        for trial, score in zip(self._asked, scores, strict=True):
            self._study.tell(trial, WORST if score is None else score)


def _name(dimension: Dimension) -> str:
    return f"{dimension.optimizer} {dimension.path}".strip()


def _encode(dimension: Dimension) -> Any:
    """The default as Optuna draws it."""
    choices = dimension.values.choices
    return choices.index(dimension.default) if choices else dimension.default


def _suggest(dimension: Dimension, trial: Trial) -> Any:
    name, values = _name(dimension), dimension.values
    if values.low is None or values.high is None:
        return values.choices[trial.suggest_categorical(name, range(len(values.choices)))]  # a choice may be a list
    if isinstance(dimension.default, int):
        return trial.suggest_int(name, int(values.low), int(values.high), log=values.log)
    drawn = trial.suggest_float(name, values.low, values.high, log=values.log)
    if drawn == dimension.default:
        return drawn
    # Three digits are as precise as any search, and a suite can be read. Rounding must not leave the interval.
    return min(max(float(f"{drawn:.3g}"), values.low), values.high)

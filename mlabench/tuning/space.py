"""What is tried for each method of a suite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from mlabench import registry
from mlabench.errors import UserError
from mlabench.hyperparameters import Values
from mlabench.suite import LabelledMethod, Suite
from mlabench.trial import Component, Training

#: How far from the suite's own value a rate is searched, as a factor in both directions.
_AROUND = 10.0
#: Tried where a suite has no weight decay, since there is no "around zero" on a logarithmic scale.
_DECAYS = (0.0, 1e-5, 1e-4, 1e-3)

_LEARNING_RATE, _WEIGHT_DECAY = "training.optimizer.lr", "training.optimizer.weight_decay"


@dataclass(frozen=True)
class Dimension:
    """One thing that is tuned: an option's name or a dotted field of the training, and what may be tried."""

    path: str
    values: Values
    default: Any  # the suite's own value, one of them


@dataclass(frozen=True)
class Candidate:
    """A method and its training, with ``values`` by path in place of their own."""

    values: Mapping[str, Any]
    method: Component
    training: Training


@dataclass(frozen=True)
class Tunable:
    """A method of a suite and what is tuned of it: not what its entry sets, which makes it what its label says."""

    entry: LabelledMethod
    dimensions: tuple[Dimension, ...]

    def candidate(self, values: Mapping[str, Any]) -> Candidate:
        """The method with ``values``, one for each dimension; a UserError if it does not allow one of them."""
        method = self.entry.method
        changed: dict[str, Any] = {"training": self.entry.training.model_dump(mode="json")}
        for path, value in values.items():
            put(changed, path, value)
        training = changed.pop("training")
        try:
            kind = registry.get("methods", method.name).config
            config = kind(**{**method.options, **changed}).model_dump(mode="json", include=set(changed))
            method = method.model_copy(update={"config": {**method.config, **config}})
            return Candidate(values, method, Training.model_validate(training))
        except ValidationError as error:
            what = f"{', '.join(f'{path}={value}' for path, value in values.items())}: {error.errors()[0]['msg']}"
            raise UserError(f"{self.entry.label} does not allow {what}.", field="tuning.space") from None

    def check(self) -> None:
        """Refuses values that would only fail once they are tried."""
        defaults = {one.path: one.default for one in self.dimensions}
        for one in self.dimensions:
            if not one.values.holds(one.default):
                raise UserError(
                    f"the range of {one.path} does not hold {one.default}, the value that {self.entry.label} has.",
                    remedy="Widen the range: the first try is the suite as it is.",
                    field="tuning.space",
                )
            for value in one.values.ends:
                self.candidate({**defaults, one.path: value})


def tunables(suite: Suite) -> list[Tunable]:
    """The suite's methods, each with what is tuned of it: the options it declares, and of the training what all share.

    A UserError if a range names nothing, does not hold the suite's own value, or has values that are not allowed.
    """
    found = []
    for at, entry in enumerate(suite.methods):
        options = registry.get("methods", entry.method.name).search_space
        dimensions = [Dimension(path, values, entry.method.config[path]) for path, values in options.items()]
        dimensions += _of_training(suite, entry)
        free = (one for one in dimensions if suite.written(["methods", at, *one.path.split(".")]) is None)
        found.append(Tunable(entry, tuple(free)))
        found[-1].check()
    return found


def _of_training(suite: Suite, entry: LabelledMethod) -> list[Dimension]:
    """By default learning rate and weight decay, around the value that the suite has for the method."""
    rate, decay = (float(_get(entry.training, path)) for path in (_LEARNING_RATE, _WEIGHT_DECAY))
    space = suite.tuning.space or {
        _LEARNING_RATE: _around(rate),
        _WEIGHT_DECAY: _around(decay) if decay else Values(choices=_DECAYS),
    }
    return [Dimension(path, values, _get(entry.training, path)) for path, values in space.items()]


def _around(value: float) -> Values:
    return Values(low=value / _AROUND, high=value * _AROUND, log=True)


def _get(training: Training, path: str) -> Any:
    """The value at a dotted path, which begins with ``training``."""
    value: Any = {"training": training.model_dump(mode="json")}
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise UserError(
                f"there is no {path!r} to tune.",
                remedy="Name a field of the training that the methods have, such as training.optimizer.lr.",
                field="tuning.space",
            )
        value = value[key]
    return value


def put(document: dict[str, Any], path: str, value: Any) -> None:
    """Sets the value at a dotted path."""
    *inner, last = path.split(".")
    for key in inner:
        document = document.setdefault(key, {})
    document[last] = value

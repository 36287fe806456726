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
#: Learning rates that do alike, in units of Adam's: its steps have the size of the learning rate, those of SGD with
#: momentum 0.9 ten times the gradient, which is mostly smaller. Usual defaults are 1e-3, and 1e-2 to 1e-1.
_RATES = {"adam": 1.0, "adamw": 1.0, "sgd": 20.0}
#: Tried where there is no weight decay to search around: the suite has none, or it means something else, since AdamW
#: multiplies it by the learning rate.
_DECAYS = {
    "adam": (0.0, 1e-5, 1e-4, 1e-3),
    "sgd": (0.0, 1e-5, 1e-4, 1e-3),
    "adamw": (0.0, 1e-3, 1e-2, 1e-1),
}

OPTIMIZER = "training.optimizer.name"
_LEARNING_RATE, _WEIGHT_DECAY = "training.optimizer.lr", "training.optimizer.weight_decay"


@dataclass(frozen=True)
class Dimension:
    """One thing that is tuned: an option's name or a dotted field of the training, and what may be tried.

    Attributes:
        default: The suite's own value, one of ``values``; for an optimiser that the suite does not use any of them.
        optimizer: The optimiser that it is tuned for; empty: whichever is tried.
    """

    path: str
    values: Values
    default: Any
    optimizer: str = ""


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

    @property
    def optimizer(self) -> str:
        """The optimiser that the suite has for the method."""
        return self.entry.training.optimizer.name

    def defaults(self, optimizer: str) -> dict[str, Any]:
        """A value for each dimension under an optimiser: the suite's own values if it is the suite's own."""
        return {one.path: one.default for one in self.dimensions if one.optimizer in ("", optimizer)}

    def candidate(self, values: Mapping[str, Any]) -> Candidate:
        """The method with ``values``, one for each dimension; a UserError if it does not allow one of them."""
        method = self.entry.method
        changed: dict[str, Any] = {"training": self.entry.training.model_dump(mode="json")}
        if values.get(OPTIMIZER, self.optimizer) != self.optimizer:
            changed["training"]["optimizer"] = {}
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
        for one in self.dimensions:
            if not one.values.holds(one.default):
                raise UserError(
                    f"the range of {one.path} does not hold {one.default}, the value that {self.entry.label} has.",
                    remedy="Widen the range: the first try is the suite as it is.",
                    field="tuning.space",
                )
            for value in one.values.ends:
                optimizer = value if one.path == OPTIMIZER else one.optimizer or self.optimizer
                self.candidate({**self.defaults(optimizer), OPTIMIZER: optimizer, one.path: value})


def tunables(suite: Suite) -> list[Tunable]:
    """The suite's methods, each with what is tuned of it: of the training what all share, then the options it declares.

    A UserError if a range names nothing, does not hold the suite's own value, or has values that are not allowed.
    """
    found = []
    for at, entry in enumerate(suite.methods):
        options = registry.get("methods", entry.method.name).search_space
        dimensions = _of_training(suite, entry) if suite.tuning.space else _of_optimizers(suite, at)
        dimensions += [Dimension(path, values, entry.method.config[path]) for path, values in options.items()]
        free = (one for one in dimensions if suite.written(["methods", at, *one.path.split(".")]) is None)
        found.append(Tunable(entry, tuple(free)))
        found[-1].check()
    return found


def _of_training(suite: Suite, entry: LabelledMethod) -> list[Dimension]:
    """What the suite says is searched."""
    return [Dimension(path, values, _get(entry.training, path)) for path, values in suite.tuning.space.items()]


def _of_optimizers(suite: Suite, at: int) -> list[Dimension]:
    """The optimiser, its learning rate and its weight decay; no other optimiser where the entry has one of its own."""
    own = suite.methods[at].training.optimizer
    fixed = suite.written(["methods", at, "training", "optimizer"]) is not None
    tried = (own.name,) if fixed else tuple(dict.fromkeys((own.name, *suite.tuning.optimizers)))
    found = [Dimension(OPTIMIZER, Values(choices=tried), own.name)] if len(tried) > 1 else []
    for name in tried:
        rate = own.lr * _RATES[name] / _RATES[own.name]
        decay = own.weight_decay if name == own.name or "adamw" not in (name, own.name) else 0.0
        decays = _around(decay) if decay else Values(choices=_DECAYS[name])
        only = name if len(tried) > 1 else ""
        found += [
            Dimension(_LEARNING_RATE, _around(rate), rate, only),
            Dimension(_WEIGHT_DECAY, decays, decay, only),
        ]
    return found


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

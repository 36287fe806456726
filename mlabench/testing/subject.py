"""What the checks are run on: a method, its options, and the tasks and batches that it can do."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import SkipTest

from mlabench import registry
from mlabench.errors import UserError
from mlabench.method import Batch, Limit, Method, Task
from mlabench.registry import Entry
from mlabench.testing.fitting import build_method, fit
from mlabench.testing.toys import make_batch, make_task

#: A method: its class, its registered name, or the file that defines it (and no other).
Which = type[Method] | str | Path


@dataclass(frozen=True)
class Subject:
    """A method under test.

    Attributes:
        kind: The class.
        options: Hyper-parameters that differ from the defaults.
        entry: What listings say of it; None if it has none, as in an interactive session.
    """

    kind: type[Method]
    options: Mapping[str, Any]
    entry: Entry | None

    @classmethod
    def of(cls, which: Which, options: Mapping[str, Any]) -> Subject:
        """The subject that ``which`` stands for."""
        if isinstance(which, str):
            entry = registry.get("methods", which)
            return cls(entry.load(), options, entry)
        if isinstance(which, Path):
            entries = [entry for entry in registry.read(which.resolve()) if entry.kind == "methods"]
            if len(entries) != 1:
                names = ", ".join(entry.attribute for entry in entries) or "none"
                raise UserError(f"one method was expected, found: {names}.", remedy="Give the class.", file=str(which))
            return cls(entries[0].load(), options, entries[0])
        return cls(which, options, _entry_of(which))

    def able(self, limit: Limit) -> bool:
        """Whether the method does not say that it cannot do this."""
        return limit not in self.kind.limits

    def skip_unless_able(self, *limits: Limit) -> None:
        """Ends a check that makes sense only for methods that can do one of these; test runners know ``SkipTest``."""
        if not any(map(self.able, limits)):
            reasons = (f"{self.name} cannot do {limit!r}: {self.kind.limits[limit]}" for limit in limits)
            raise SkipTest(" ".join(reasons))

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.kind.__name__

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of modalities to try."""
        return (2, 3, 4) if self.able("more than two modalities") else (2,)

    @cached_property
    def task(self) -> Task:
        """A task of three modalities, or of two if the method cannot do more."""
        return make_task(min(3, max(self.counts)))

    def build(self, task: Task | None = None, *, normalise: bool = False, seed: int = 0) -> Method:
        """The untrained method on tiny encoders."""
        return build_method(self.kind, task or self.task, normalise=normalise, seed=seed, **self.options)

    def batches(self, size: int, missing: float = 0.4, task: Task | None = None, seed: int = 0) -> tuple[Batch, Batch]:
        """A batch to train on and one to predict, with modalities missing where the method can do that."""
        rates = [missing if self.able(limit) else 0.0 for limit in ("missing in training", "missing at test")]
        training, test = (make_batch(task or self.task, size, missing=rate, seed=seed) for rate in rates)
        return training, test

    def trained(
        self, size: int, missing: float = 0.4, task: Task | None = None, epochs: int = 4, *, normalise: bool = False
    ) -> tuple[Method, Batch]:
        """The method after a few steps on a batch, and a batch to predict."""
        method = self.build(task, normalise=normalise)
        training, test = self.batches(size, missing, task)
        fit(method, [training], epochs)
        return method, test


def _entry_of(kind: type[Method]) -> Entry | None:
    try:
        file = Path(inspect.getfile(kind))
    except (TypeError, OSError):
        return None
    return Entry("methods", registry.snake_case(kind.__name__), kind.__module__, kind.__qualname__, str(file), file)

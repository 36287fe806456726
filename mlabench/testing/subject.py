"""What the checks are run on: a method, its options, and the tasks and batches that it can do."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mlabench import plugins, registry
from mlabench.errors import UserError
from mlabench.method import Batch, Limit, Method, Task
from mlabench.registry import Entry
from mlabench.testing.fitting import build_method
from mlabench.testing.toys import make_batch, make_task

#: A method: its class, its registered name, or the file that defines it (and no other).
Which = type[Method] | str | Path


@dataclass(frozen=True)
class Subject:
    """A method under test.

    Attributes:
        kind: The class.
        options: Hyper-parameters that differ from the defaults.
        entry: What listings read from its source; None if it has none, as in an interactive session.
    """

    kind: type[Method]
    options: Mapping[str, Any]
    entry: Entry | None

    @classmethod
    def of(cls, which: Which, options: Mapping[str, Any]) -> Subject:
        """The subject that ``which`` stands for.

        Raises:
            UserError: If there is no such method.
        """
        if isinstance(which, str):
            entry = registry.get("methods", which)
            return cls(entry.load(), options, entry)
        if isinstance(which, Path):
            entries = [entry for entry in plugins.read(which.resolve()) if entry.kind == "methods"]
            if len(entries) != 1:
                names = ", ".join(entry.attribute for entry in entries) or "none"
                raise UserError(f"one method was expected, found: {names}.", remedy="Give the class.", file=str(which))
            return cls(entries[0].load(), options, entries[0])
        return cls(which, options, _entry_of(which))

    def able(self, limit: Limit) -> bool:
        """Whether the method does not say that it cannot do this."""
        return limit not in self.kind.limits

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

    def training_batch(self, size: int, missing: float, task: Task | None = None, seed: int = 0) -> Batch:
        """A batch to train on, with modalities missing if the method can do that."""
        missing = missing if self.able("missing in training") else 0.0
        return make_batch(task or self.task, size, missing=missing, seed=seed)

    def test_batch(self, size: int, missing: float, task: Task | None = None, seed: int = 0) -> Batch:
        """A batch to predict, with modalities missing if the method can do that. The same one, if it can do both."""
        missing = missing if self.able("missing at test") else 0.0
        return make_batch(task or self.task, size, missing=missing, seed=seed)


def _entry_of(kind: type[Method]) -> Entry | None:
    try:
        file = Path(inspect.getfile(kind))
    except (TypeError, OSError):
        return None
    return Entry("methods", plugins.snake_case(kind.__name__), kind.__module__, kind.__qualname__, str(file), file)

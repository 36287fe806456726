"""What a check is, what it is run on, and how it says that a method fails it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import SkipTest

from mlabench import registry
from mlabench.errors import UserError
from mlabench.method import Batch, Limit, Method, Task
from mlabench.processes import one_thread
from mlabench.registry import About, Entry
from mlabench.testing.fitting import build_method, fit
from mlabench.testing.toys import make_batch, make_task

#: A method: its class, its registered name, or the file that defines it (and no other).
Which = type[Method] | str | Path


class ContractError(AssertionError):
    """A method does not do what its contract asks for."""


def require(condition: object, wrong: str) -> None:
    """Ends a check unless ``condition`` holds; ``wrong`` says what the method does instead, as in "changes weights"."""
    if not condition:
        raise ContractError(wrong)


@dataclass(frozen=True)
class Subject:
    """A method under test with options that differ from the defaults, and the tasks and batches that it can do."""

    kind: type[Method]
    options: Mapping[str, Any]

    @property
    def about(self) -> About:
        """What listings say of it."""
        try:
            file = Path(inspect.getfile(self.kind))
        except (TypeError, OSError):  # as in an interactive session
            raise ContractError("is defined in no file") from None
        kind = self.kind
        return Entry("methods", kind.__name__, kind.__module__, kind.__qualname__, str(file), file).about

    def able(self, limit: Limit) -> bool:
        """Whether the method does not say that it cannot do this."""
        return limit not in self.kind.limits

    def skip_unless_able(self, *limits: Limit) -> None:
        """Ends a check that makes sense only for methods that can do one of these; test runners know ``SkipTest``."""
        if not any(map(self.able, limits)):
            reasons = (f"{self.kind.__name__} cannot do {limit!r}: {self.kind.limits[limit]}" for limit in limits)
            raise SkipTest(" ".join(reasons))

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


@dataclass(frozen=True)
class Check:
    """One thing that every method must do; call it with a method to find out whether that one does.

    Attributes:
        run: Raises :class:`ContractError` if the method does not do it, ``SkipTest`` if it need not.
        why: Why it matters, as the rest of a sentence.
    """

    run: Callable[[Subject], None]
    why: str

    @property
    def __name__(self) -> str:
        """Which check it is; pytest shows it."""
        return self.run.__name__

    def __call__(self, which: Which, **options: Any) -> None:
        """Runs the check.

        Args:
            which: The method: its class, its registered name, or the path of the file that defines it.
            options: Hyper-parameters that differ from the defaults, for instance to make networks small.

        Raises:
            ContractError: If the method fails; it says what is wrong and why that matters.
            SkipTest: If the method says that it cannot do what would be checked (:attr:`Method.limits`).
            UserError: If there is no such method.
        """
        kind = _load(which)
        try:
            with one_thread():
                self.run(Subject(kind, options))
        except SkipTest:
            raise
        except Exception as error:
            found = isinstance(error, ContractError | UserError)
            wrong = str(error) if found else f"raises {type(error).__name__} ({' '.join(str(error).split())})"
            message = f"{kind.__name__} {wrong}: {self.why}. [{self.__name__}]"
            raise ContractError(message) from None if found else error


def _load(which: Which) -> type[Method]:
    if isinstance(which, str) and not which.endswith(".py"):
        return registry.get("methods", which).load()
    if isinstance(which, str | Path):
        which = Path(which)
        entries = [entry for entry in registry.read(which.resolve()) if entry.kind == "methods"]
        if len(entries) != 1:
            names = ", ".join(entry.attribute for entry in entries) or "none"
            raise UserError(f"one method was expected, found: {names}.", remedy="Give the class.", file=str(which))
        return entries[0].load()
    return which

"""What a check is, and how it says that a method fails it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import SkipTest

from mlabench.errors import UserError
from mlabench.testing.fitting import one_thread
from mlabench.testing.subject import Subject, Which


class ContractError(AssertionError):
    """A method does not do what its contract asks for."""


def require(condition: object, wrong: str) -> None:
    """Ends a check unless ``condition`` holds; ``wrong`` says what the method does instead, as in "changes weights"."""
    if not condition:
        raise ContractError(wrong)


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
        subject = Subject.of(which, options)
        try:
            with one_thread():
                self.run(subject)
        except SkipTest:
            raise
        except Exception as error:
            found = isinstance(error, ContractError | UserError)
            wrong = str(error) if found else f"raises {type(error).__name__} ({' '.join(str(error).split())})"
            message = f"{subject.name} {wrong}: {self.why}. [{self.__name__}]"
            raise ContractError(message) from None if found else error

"""What a check is, and how it says that a method fails it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import SkipTest

from mlabench.errors import UserError
from mlabench.method import Limit
from mlabench.testing.subject import Subject, Which


class ContractError(AssertionError):
    """A method does not do what its contract asks for."""


class BrokenError(Exception):
    """What a check found wrong: a sentence without its subject, the method."""


def require(condition: object, wrong: str) -> None:
    """Ends a check that found something wrong.

    Args:
        condition: What must hold.
        wrong: What the method does otherwise, e.g. ``"changes its weights"``.

    Raises:
        BrokenError: If it does not hold.
    """
    if not condition:
        raise BrokenError(wrong)


def skip_unless(subject: Subject, *limits: Limit) -> None:
    """Ends a check that makes sense only for methods that can do one of these.

    Raises:
        SkipTest: If the method says that it can do none; test runners know this exception.
    """
    if not any(subject.able(limit) for limit in limits):
        reasons = (f"{subject.name} cannot do {limit!r}: {subject.kind.limits[limit]}" for limit in limits)
        raise SkipTest(" ".join(reasons))


@dataclass(frozen=True)
class Check:
    """One thing that every method must do; call it with a method to find out whether that one does.

    Attributes:
        run: Raises :class:`BrokenError` if the method does not do it, ``SkipTest`` if it need not.
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
            self.run(subject)
        except SkipTest:
            raise
        except (BrokenError, UserError) as error:
            raise ContractError(f"{subject.name} {error}: {self.why}. [{self.__name__}]") from None
        except Exception as error:
            text = f"raises {type(error).__name__} ({' '.join(str(error).split())})"
            raise ContractError(f"{subject.name} {text}: {self.why}. [{self.__name__}]") from error

"""The one error a user can cause, and how to fix it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class UserError(Exception):
    """Bad input: a suite, a flag, a path, a data file. The command line prints it and exits with code 2.

    Args:
        problem: What is wrong, in one sentence, naming the offending value.
        remedy: What to do about it, in one sentence; empty if the problem says it all.
        file: The file at fault, or the command-line flag.
        line: The line in that file, counted from 1.
        field: Dotted path of the field at fault, for example ``training.epochs``.
        others: Further mistakes found in the same go; the message has one line for each.
    """

    def __init__(
        self,
        problem: str,
        *,
        remedy: str = "",
        file: str | None = None,
        line: int | None = None,
        field: str | None = None,
        others: Sequence[UserError] = (),
    ) -> None:
        self.problem = problem
        self.remedy = remedy
        self.file = file
        self.line = line
        self.field = field
        self.others = tuple(others)
        super().__init__(str(self))

    def within(self, file: str) -> UserError:
        """The same mistake, as one in ``file`` if it names no other."""
        if self.file is not None:
            return self
        return UserError(
            self.problem, remedy=self.remedy, file=file, line=self.line, field=self.field, others=self.others
        )

    @classmethod
    def of(cls, errors: Sequence[UserError]) -> UserError:
        """All of these mistakes as one error, the first of them in front."""
        first, *others = errors
        return cls(
            first.problem,
            remedy=first.remedy,
            file=first.file,
            line=first.line,
            field=first.field,
            others=[*first.others, *others],
        )

    def __str__(self) -> str:
        place = self.file or ""
        if self.file and self.line is not None:
            place += f":{self.line}"
        parts = [part for part in (place, self.field) if part]
        where = ": ".join(parts)
        text = f"{where}: {self.problem}" if where else self.problem
        if self.remedy:
            text += f" {self.remedy}"
        return "\n".join([text, *map(str, self.others)])


def cannot_write(what: str, place: Path, error: OSError) -> UserError:
    """The error to raise where the system refuses to write ``what`` to ``place``."""
    reason = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    return UserError(f"cannot write {what} ({reason}).", remedy="Choose another place.", file=str(place))


def missing_extra(package: str, extra: str) -> UserError:
    """The error to raise where a package is not installed that one of mlabench's extras brings."""
    return UserError(
        f"this needs the package {package!r}, which is not installed.",
        remedy=f"Run `pip install 'mlabench[{extra}]'`.",
    )

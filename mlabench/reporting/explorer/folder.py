"""What the leaderboard is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlabench.store import Store
from mlabench.suite import Plan

#: Whose hyper-parameters the methods of a suite run with, as filters call it.
TUNED, AUTHORS, SUITE = "tuned alike", "authors' settings", "not tuned"


@dataclass(frozen=True)
class Folder:
    """A results folder.

    Attributes:
        store: Its records.
        plans: What they were made for.
        title: What the page calls a folder that others contributed; empty for our own.
        facts: What its card says, by term.
    """

    store: Store
    plans: tuple[Plan, ...]
    title: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

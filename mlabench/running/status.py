"""How far a suite is, from the results folder alone: any terminal, any machine that sees the folder. Free of torch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from mlabench.running.devices import default_jobs, visible_gpus
from mlabench.running.standing import Overwrite, Standing, State, estimate_seconds, jobs_to_run, survey
from mlabench.store import Holder, Store, holders
from mlabench.suite import Plan


@dataclass(frozen=True)
class Status:
    """Where a plan stands.

    Attributes:
        standings: Each distinct trial of the plan.
        running: Who works on which of them, by trial id.
        seconds_left: Expected wall-clock seconds, with as many workers as there are now, or as this machine would
            have if there are none; None if nothing says how long trials take.
    """

    standings: Sequence[Standing]
    running: dict[str, Holder]
    seconds_left: float | None

    def counts(self) -> dict[str, int]:
        """Number of trials by state, and of those done by a method that has changed since (stale)."""
        states = Counter(entry.state for entry in self.standings)
        counts = {str(state): states[state] for state in State}
        return {**counts, "stale": sum(entry.stale for entry in self.standings)}

    def failures(self) -> dict[str, str]:
        """Why trials failed, by trial id."""
        return {
            entry.trial.id: f"{entry.failure.kind}: {entry.failure.message}"
            for entry in self.standings
            if entry.state == State.FAILED and entry.failure
        }

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **self.counts(),
            "seconds_left": self.seconds_left,
            "running_trials": [
                {
                    "trial": trial_id,
                    "machine": holder.machine,
                    "pid": holder.pid,
                    "stage": holder.stage,
                    "epochs_done": holder.done,
                    "epochs": holder.total,
                    "seconds": _elapsed(holder),
                }
                for trial_id, holder in self.running.items()
            ],
            "failed_trials": [{"trial": trial_id, "problem": text} for trial_id, text in self.failures().items()],
        }


def find_status(plan: Plan, store: Store) -> Status:
    """Where a plan stands."""
    standings = survey(plan, store)
    held = holders(store.root)
    running = {entry.trial.id: held[entry.trial.id] for entry in standings if entry.trial.id in held}
    return Status(standings, running, _seconds_left(standings, store, running))


def _seconds_left(standings: Sequence[Standing], store: Store, running: dict[str, Holder]) -> float | None:
    """By the pace of what runs, and by recorded times for what has not begun."""
    started = {trial_id: holder for trial_id, holder in running.items() if holder.done}
    paces = {trial_id: _elapsed(holder) / holder.done for trial_id, holder in started.items()}
    jobs = [job for job in jobs_to_run(standings, Overwrite.ONLY_MISSING) if job.trial.id not in started]
    rest = estimate_seconds(jobs, standings, store, 1) if jobs else 0.0
    if rest is None and paces:
        rest = len(jobs) * mean(paces[trial_id] * holder.total for trial_id, holder in started.items())
    if rest is None:
        return None
    rest += sum(paces[trial_id] * (holder.total - holder.done) for trial_id, holder in started.items())
    return rest / (len(running) or default_jobs("auto", visible_gpus("auto")))


def _elapsed(holder: Holder) -> float:
    """Seconds since a lease was taken; clocks of two machines may differ a little."""
    return max(0.0, time.time() - holder.began)

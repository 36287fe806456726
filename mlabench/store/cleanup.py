"""Clears up what killed processes left behind. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable

from mlabench.store.atomic import remove_file
from mlabench.store.leases import held
from mlabench.store.records import Store


def tidy(store: Store, done: Iterable[str]) -> None:
    """Clears up beside the trials ``done``: no worker will, since none takes them again."""
    found = [*store.root.glob("leases/*"), *store.root.glob("checkpoints/*"), *store.trials.glob(".*")]
    names = [path.name.removeprefix(".") for path in found]
    for trial_id in done if names else ():
        if any(name.startswith(trial_id) for name in names):
            with held(store.root, trial_id) as lease:
                if lease is not None:
                    store.recover(trial_id)
                    remove_file(store.checkpoint(trial_id))

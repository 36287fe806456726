"""Several results folders read as one, such as the reference and contributed ones. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlabench.errors import UserError
from mlabench.store.merge import MergeResult, joined_plans
from mlabench.store.outcomes import SampleSet
from mlabench.store.records import Store
from mlabench.suite import Plan


class Together(Store):
    """Reads the trials and plans of several folders; a trial that several have is that of the first.

    Nothing is moved or written, so that a corrupt record is reported and stays where it is.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__(folders[0])
        self._stores = [Store(folder) for folder in folders]
        for store in self._stores:
            if not (store.trials.is_dir() or (store.root / "plans").is_dir()):
                raise UserError("this folder holds no results.", file=str(store.root))

    def folder(self, trial_id: str) -> Path:
        """The folder of one trial."""
        places = [store.folder(trial_id) for store in self._stores]
        return next((place for place in places if place.is_dir()), places[0])

    def ids(self) -> list[str]:
        """Ids of all trials that have a record, sorted."""
        return sorted({trial_id for store in self._stores for trial_id in store.ids()})

    def plans(self) -> list[Plan]:
        """The plans of all folders, those of the same name as one.

        Raises:
            UserError: If two plans of the same name contradict each other.
        """
        plans = joined_plans(self._stores, MergeResult())
        self.unread = [error for store in self._stores for error in store.unread]
        return plans

    def _read_samples(self, key: str) -> SampleSet:
        own = (store for store in self._stores if (store.root / "samples" / f"{key}.npz").is_file())
        return next(own, self._stores[0])._read_samples(key)

    def _set_aside(self, trial_id: str, reason: str) -> None:
        self.set_aside.append((trial_id, reason))

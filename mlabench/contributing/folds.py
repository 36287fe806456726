"""Which samples a trial must have been tested on: from its dataset or, without that, from all folds together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from pydantic import ValidationError

from mlabench.contributing.finding import Finding, differences
from mlabench.datasets import Data, deal, has_raw_inputs, open_dataset, with_fold
from mlabench.errors import UserError
from mlabench.store import SampleSet
from mlabench.trial import DatasetComponent, Fold, Trial


@dataclass
class Divisions:
    """The datasets of a contribution, each opened once.

    Attributes:
        absent: Why the data of a dataset are not here, by its name.
    """

    absent: dict[str, str] = field(default_factory=dict)
    _loaded: dict[str, Data | None] = field(default_factory=dict)
    _divided: dict[tuple[str, Fold | None, int], Data] = field(default_factory=dict)

    def data(self, trial: Trial) -> Data | None:
        """The data of a trial, divided as it says; None if they are not here."""
        key = trial.dataset.model_dump_json()
        if key not in self._loaded:
            self._loaded[key] = self._load(trial.dataset)
        whole, place = self._loaded[key], (key, trial.fold, trial.seed if trial.fold else 0)
        if whole is not None and place not in self._divided:
            self._divided[place] = with_fold(whole, trial.fold, trial.seed) if trial.fold else whole
        return self._divided.get(place)

    def _load(self, component: DatasetComponent) -> Data | None:
        try:
            dataset = open_dataset(component)
            own = dataset.fingerprint()
            if own == component.fingerprint:
                return dataset.load()
            problem = f"those here have the fingerprint {own}, not {component.fingerprint}"
        except (UserError, ValidationError) as error:
            problem = error.problem if isinstance(error, UserError) else "their options are not valid"
        self.absent[component.name] = problem.rstrip(".")
        return None

    def check(self, file: str, trial: Trial, samples: SampleSet) -> Iterator[Finding]:
        """Where the samples of a trial are not the test split of its dataset, as far as that is here."""
        data = self.data(trial)
        if data is None:
            return
        test = data.test
        own = {
            one: (group, label) for one, group, label in zip(test.ids, test.groups, test.labels.tolist(), strict=True)
        }
        if has_raw_inputs(trial.dataset):  # what could not be decoded is left out
            own = {one: own[one] for one in own if one in set(samples.ids.tolist())} or own
        columns = (samples.ids.tolist(), samples.groups.tolist(), samples.labels.tolist())
        stored = {one: (group, label) for one, group, label in zip(*columns, strict=True)}
        if [*stored.items()] != [*own.items()]:
            wrong = [one for one in {**own, **stored} if own.get(one) != stored.get(one)]
            what = f"{len(wrong)} samples, such as {wrong[0]!r}, are" if wrong else "the order of the samples is"
            yield Finding(file, "samples", f"{what} not as in this test part of {trial.dataset.name}.")


def check_dealt(trials: Mapping[str, tuple[Trial, SampleSet]]) -> Iterator[Finding]:
    """Where the folds of a repeat share groups, or groups are not dealt as the repeat's seed deals them.

    It needs no data: all folds together hold all samples. ``trials`` by the file that each comes from.
    """
    repeats: dict[tuple[str, str, int | None, int], dict[str, tuple[str, SampleSet]]] = defaultdict(dict)
    for file, (trial, samples) in trials.items():
        if trial.fold is not None:
            place = (trial.dataset.model_dump_json(), trial.fold.by, trial.fold.count, trial.seed)
            before = repeats[place].setdefault(trial.fold.name, (file, samples))
            yield from differences(file, samples.key, before[1].key, "samples")
    for (_, by, count, seed), folds in repeats.items():
        groups = [group for _, samples in folds.values() for group in samples.groups.tolist()]
        labels = np.concatenate([samples.labels for _, samples in folds.values()])
        dealt = deal(groups, labels, count, f"{seed}\0test") if not by and count == len(folds) else {}
        owner: dict[str, str] = {}
        for name, (file, samples) in folds.items():
            for group in dict.fromkeys(samples.groups.tolist()):
                expected = str(dealt[group] + 1) if dealt else owner.setdefault(group, name)
                if expected != name:
                    problem = f"the group {group!r} is tested in fold {name}, but belongs to fold {expected}."
                    yield Finding(file, "samples", problem)
                    break

"""A suite with folds, from its file to records: what is stored is what folds promise."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import mlabench
from mlabench.missing import Missing
from mlabench.store import Store

MODALITIES = ("strong", "weak")
#: Of the dataset's own split.
SAMPLES = {"train": 30, "validation": 12, "test": 18}
SUITE = {
    "name": "folded",
    "dataset": {"name": "synthetic", "samples": [*SAMPLES.values()], "classes": 2},
    "methods": ["concat", "late_fusion"],
    "missing": {"rates": [0.5]},
    "folds": 3,
    "seeds": [0, 1],
    "training": {"epochs": 1, "batch_size": 16},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("results")
    frame = mlabench.run(SUITE, results=found, jobs=0, quiet=True)
    assert set(frame["status"]) == {"ok"}
    assert set(frame["fold"]) == {"1", "2", "3"}
    assert len(set(frame["trial"])) == 2 * 2 * 3
    return found


def test_every_sample_is_tested_once_per_repeat_by_every_method_under_the_same_pattern(folder: Path) -> None:
    store = Store(folder)
    tested: dict[tuple[str, int], list[str]] = defaultdict(list)
    pattern = Missing.at("balanced", 0.5)
    for record in store.records():
        outcomes = store.outcomes(record.trial.id)
        assert outcomes is not None
        ids = [str(name) for name in outcomes.samples.ids]
        tested[record.trial.method.name, record.trial.seed] += ids
        # Which modality a sample lacks depends on neither method, fold nor repeat.
        expected = pattern.pattern("synthetic", ids, MODALITIES)
        assert np.array_equal(outcomes.tests[pattern.key].present, expected)
    assert len(tested) == 4
    everybody = sorted(f"{split}-{row}" for split, size in SAMPLES.items() for row in range(size))
    assert all(sorted(ids) == everybody for ids in tested.values())


def test_more_repeats_and_another_fold_number_reuse_or_leave_alone_what_is_there(folder: Path) -> None:
    more = mlabench.plan(SUITE, results=folder, seeds=range(3))
    assert sorted(more["state"].value_counts().items()) == [("done", 12), ("missing", 6)]
    assert set(mlabench.plan(SUITE, results=folder, folds=2)["state"]) == {"missing"}
    assert set(mlabench.plan(SUITE, results=folder, folds="none")["state"]) == {"missing"}

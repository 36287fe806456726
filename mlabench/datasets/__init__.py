"""Datasets: what is learned. A dataset turns its options into a task and its train, validation and test splits.

``contract`` says what a dataset is; ``opening`` is the one door through which one is opened by name. ``embedded``
datasets ship with the package, ``published`` ones are read from files that users have or ``sources`` fetches,
``manifest`` reads one table, and ``synthetic`` draws data whose best possible accuracies are known. Suites ask for
their media, plans for their fingerprints, training for their samples. ``folds`` deals the samples of any of them into
folds. Free of torch.
"""

from mlabench.datasets.contract import (
    Data,
    Dataset,
    Inventory,
    ModalityInputs,
    ReportProgress,
    Split,
    StoredRows,
    Task,
    best_accuracies,
    silent,
    subset_key,
)
from mlabench.datasets.embedded.fitting import standardise
from mlabench.datasets.folds import deal, fold_names, with_fold
from mlabench.datasets.listing import LeftOutError, Listing, RawSample
from mlabench.datasets.manifest.export import export_features
from mlabench.datasets.opening import has_raw_inputs, media_of, open_dataset
from mlabench.datasets.published.base import RawDataset

__all__ = [
    "Data",
    "Dataset",
    "Inventory",
    "LeftOutError",
    "Listing",
    "ModalityInputs",
    "RawDataset",
    "RawSample",
    "ReportProgress",
    "Split",
    "StoredRows",
    "Task",
    "best_accuracies",
    "deal",
    "export_features",
    "fold_names",
    "has_raw_inputs",
    "media_of",
    "open_dataset",
    "silent",
    "standardise",
    "subset_key",
    "with_fold",
]

"""The results folder: records that are written in one step and verified when read; also leases, cache and merging.

Training writes one record per trial; running asks what is done and which process works on what; reports read.
``records`` is the :class:`Store`, ``outcomes`` which predictions are right, ``leases`` who works on a trial, ``cache``
decoded inputs, ``editions`` frozen copies of the reference. Free of torch.
"""

from mlabench.registry import cache_folder
from mlabench.store.atomic import remove_file, write_atomically
from mlabench.store.cache import VALUES, CachedArray, Draft, cached_array, open_array
from mlabench.store.cleanup import tidy
from mlabench.store.editions import (
    Edition,
    edition_address,
    edition_archive,
    freeze_edition,
    kept_editions,
    open_edition,
    published_editions,
    results_folder,
    take_edition,
)
from mlabench.store.leases import Holder, held, holders, is_held, release_of
from mlabench.store.merge import merge_folders
from mlabench.store.outcomes import OUTCOMES, DamagedOutcomesError, PatternOutcomes, SampleSet, TrialOutcomes
from mlabench.store.records import MODEL, PREDICTIONS, RECORD, Arrays, CorruptRecordError, Store, read_record
from mlabench.store.together import Together

__all__ = [
    "MODEL",
    "OUTCOMES",
    "PREDICTIONS",
    "RECORD",
    "VALUES",
    "Arrays",
    "CachedArray",
    "CorruptRecordError",
    "DamagedOutcomesError",
    "Draft",
    "Edition",
    "Holder",
    "PatternOutcomes",
    "SampleSet",
    "Store",
    "Together",
    "TrialOutcomes",
    "cache_folder",
    "cached_array",
    "edition_address",
    "edition_archive",
    "freeze_edition",
    "held",
    "holders",
    "is_held",
    "kept_editions",
    "merge_folders",
    "open_array",
    "open_edition",
    "published_editions",
    "read_record",
    "release_of",
    "remove_file",
    "results_folder",
    "take_edition",
    "tidy",
    "write_atomically",
]

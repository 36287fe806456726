"""The results folder: records that are written in one step and verified when read; also leases, cache and merging.

Training writes one record per trial; running asks what is done and which process works on what; reports read.
``records`` is the :class:`Store`, ``outcomes`` which predictions are right, ``leases`` who works on a trial, ``cache``
decoded inputs. Free of torch.
"""

from mlabench.registry import cache_folder
from mlabench.store.atomic import remove_file, write_atomically
from mlabench.store.cache import VALUES, CachedArray, Draft, cached_array, open_array
from mlabench.store.cleanup import tidy
from mlabench.store.leases import Holder, held, holders, is_held, release_of
from mlabench.store.merge import merge_folders
from mlabench.store.outcomes import OUTCOMES, DamagedOutcomesError, PatternOutcomes, SampleSet, TrialOutcomes
from mlabench.store.records import MODEL, PREDICTIONS, Arrays, CorruptRecordError, Store, read_record
from mlabench.store.together import Together

__all__ = [
    "MODEL",
    "OUTCOMES",
    "PREDICTIONS",
    "VALUES",
    "Arrays",
    "CachedArray",
    "CorruptRecordError",
    "DamagedOutcomesError",
    "Draft",
    "Holder",
    "PatternOutcomes",
    "SampleSet",
    "Store",
    "Together",
    "TrialOutcomes",
    "cache_folder",
    "cached_array",
    "held",
    "holders",
    "is_held",
    "merge_folders",
    "open_array",
    "read_record",
    "release_of",
    "remove_file",
    "tidy",
    "write_atomically",
]

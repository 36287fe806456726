"""Raw items become arrays: each is decoded once, as its encoder wants it, and shared by all trials. Free of torch."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mlabench.datasets import Data, ReportProgress, Split, StoredRows, silent
from mlabench.errors import UserError
from mlabench.media import Item, UnreadableError, caught_messages, identity
from mlabench.media.preprocessing import Preprocessing
from mlabench.processes import in_processes
from mlabench.store import VALUES, CachedArray, Draft, cached_array, open_array

#: Items that a worker process decodes in one go.
CHUNK = 16


def decode_inputs(
    data: Data, preprocessing: Mapping[str, Preprocessing], workers: int = 1, progress: ReportProgress = silent
) -> Data:
    """The data with raw modalities decoded, and without the samples of which an item is unreadable.

    ``preprocessing`` has one entry for each raw modality; results do not depend on the number of ``workers``.
    """
    if not preprocessing:
        return data
    items = {modality: _by_id(data, modality) for modality in preprocessing}
    cached = {
        modality: _decode_all(modality, items[modality], step, workers, progress)
        for modality, step in preprocessing.items()
    }
    reasons: dict[str, str] = {}
    for modality, array in cached.items():
        ids = list(items[modality])
        for row, reason in array.failures.items():
            reasons.setdefault(ids[row], f"{modality}: {reason}")
    row_of = {sample: row for row, sample in enumerate(next(iter(items.values())))}

    def decoded(name: str, split: Split) -> Split:
        kept = split.take([at for at, sample in enumerate(split.ids) if sample not in reasons])
        if not kept.ids:
            counts = ", ".join(f"{reason} ({count})" for reason, count in Counter(reasons.values()).items())
            raise UserError(f"no sample of the {name} split can be read: {counts}.")
        rows = np.array([row_of[sample] for sample in kept.ids], dtype=np.int64)
        stored = {modality: StoredRows(array.values, rows) for modality, array in cached.items()}
        return replace(kept, inputs={**kept.inputs, **stored})

    shapes = {**data.task.shapes, **{modality: step.shape for modality, step in preprocessing.items()}}
    skipped = {**data.skipped, **Counter(reasons.values())}
    complaints = {modality: len(array.doubtful) for modality, array in cached.items() if array.doubtful}
    task = replace(data.task, shapes=shapes)
    return with_splits(replace(data, task=task, skipped=skipped, complaints=complaints), decoded)


def with_splits(data: Data, change: Callable[[str, Split], Split]) -> Data:
    """The data with other splits, each made by ``change`` from its name and the old one."""
    train, validation, test = (change(name, getattr(data, name)) for name in ("train", "validation", "test"))
    return replace(data, train=train, validation=validation, test=test)


def _by_id(data: Data, modality: str) -> dict[str, Item]:
    """The items of all splits in the order of their ids, so that another split of them shares the array."""
    pairs: list[tuple[str, Item]] = []
    for split in (data.train, data.validation, data.test):
        pairs += zip(split.ids, split.inputs[modality], strict=True)  # type: ignore[arg-type]
    return dict(sorted(pairs, key=lambda pair: pair[0]))


def _decode_all(
    modality: str, items: Mapping[str, Item], step: Preprocessing, workers: int, progress: ReportProgress
) -> CachedArray:
    content = hashlib.sha256()
    for sample, item in items.items():
        content.update(json.dumps([sample, identity(item)], sort_keys=True).encode())
    return cached_array(
        name=f"{modality}-{type(step).__name__.lower()}",
        key={"items": content.hexdigest(), "preprocessing": step.identity()},
        shape=(len(items), *step.shape),
        dtype=step.dtype,
        make=lambda draft: _fill(draft, list(items.values()), step, workers, partial(progress, modality)),
    )


def _fill(
    draft: Draft, items: Sequence[Item], step: Preprocessing, workers: int, report: Callable[[int, int], None]
) -> None:
    todo = draft.todo.tolist()
    chunks = [todo[start : start + CHUNK] for start in range(0, len(todo), CHUNK)]
    calls = [(draft.folder, rows, [items[row] for row in rows], step) for rows in chunks]
    processes = workers if len(chunks) >= 2 * workers else 1  # for less, starting them would take longer
    broken = UserError(
        "a process that decoded inputs died: memory ran out, or a file broke its decoder.",
        remedy="Run again, perhaps with `--jobs 1`; what is decoded is kept.",
    )
    done = len(items) - len(todo)
    for place, (failures, doubtful) in in_processes(_decode_chunk, calls, processes, broken=broken):
        draft.finish(chunks[place], failures, doubtful)
        done += len(chunks[place])
        report(done, len(items))


def _decode_chunk(
    folder: Path, rows: Sequence[int], items: Sequence[Item], step: Preprocessing
) -> tuple[dict[int, str], set[int]]:
    """Writes the arrays of ``items`` to their ``rows``. Returns why some could not be made, and which are doubtful."""
    values: Any = open_array(folder / VALUES, mode="r+")
    failures, doubtful = {}, set()
    for row, item in zip(rows, items, strict=True):
        with caught_messages() as said:
            try:
                values[row] = step(item)
            except UnreadableError as reason:
                failures[row] = str(reason)
            else:
                if said():
                    doubtful.add(row)
    values.flush()
    return failures, doubtful
